"""What users may like, from what they and others liked."""
