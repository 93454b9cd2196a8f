"""A saved model at work: over files, over streams, and behind HTTP."""
