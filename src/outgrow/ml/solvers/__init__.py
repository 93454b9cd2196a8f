"""How linear models are solved: losses, and the methods that minimise them in passes over rows."""
