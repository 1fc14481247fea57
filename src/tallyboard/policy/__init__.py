"""Limits: what a user may consume in an account day, what is left of it, and what is set aside (law 6)."""
