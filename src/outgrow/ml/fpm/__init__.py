"""What often stands together: sets of items, rules between them, and sequences."""
