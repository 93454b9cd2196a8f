"""Features of text and other things that are no numbers."""
