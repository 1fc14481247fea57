"""Tallyboard: the credit usage dashboard and credit policy for AI products."""

__version__ = "0.1.0"
