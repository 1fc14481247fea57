"""Tallyboard: the credit usage dashboard and credit policy for AI products."""

from importlib.metadata import version

__version__ = version("tallyboard")
