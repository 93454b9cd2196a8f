"""Pages in HTML: figures, numbers as people read them, and the templates that reports share."""
