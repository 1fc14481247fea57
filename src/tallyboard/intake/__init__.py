"""What comes in: wire formats, events, the way in."""
