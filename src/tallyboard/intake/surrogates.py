"""Halves of characters in JSON, which some programs write and no strict reader takes: cut texts end in the middle of one."""

import re

_ESCAPES = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


def mended(body: bytes) -> bytes:
    """JSON without them: nothing that somebody wrote may keep what stands beside it from being read."""
    return _ESCAPES.sub(lambda found: b"\\ufffd" if found[1] else found[0], body)
