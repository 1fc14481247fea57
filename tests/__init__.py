"""Tests go in by the front door: the real command line, the real server, the real store in a temporary folder."""
