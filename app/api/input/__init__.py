"""Reading and validating requests."""
