"""One model for each key."""
