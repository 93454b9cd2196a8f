"""Where servers look features up: the newest row of each key, as bytes, in SQLite or Redis."""
