"""Numbers whose products are about those that a kernel gives."""
