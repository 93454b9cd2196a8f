"""Images as columns: bytes or paths, changed and made numbers of."""
