"""Features whose products are those of a kernel."""
