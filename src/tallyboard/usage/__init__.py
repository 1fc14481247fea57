"""What is answered about usage."""
