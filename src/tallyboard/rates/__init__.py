"""What usage is charged."""
