"""How rows lie in files: what that costs, and files that are written anew."""
