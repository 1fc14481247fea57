"""Accounts, users, members, keys."""
