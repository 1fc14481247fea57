"""Secrets handed out once: made here, kept only as SHA-256. They have 256 random bits, so a fast hash is safe."""

from hashlib import sha256
from secrets import token_urlsafe

_SECRET_CHARACTERS_MAX = 200


def make(prefix: str = "") -> str:
    """A new secret; show it once and keep only its hash."""
    return prefix + token_urlsafe(32)


def hashed(secret: str) -> bytes:
    """What is kept of a secret, and what it is looked up by."""
    return sha256(secret[:_SECRET_CHARACTERS_MAX].encode("utf-8", "surrogateescape")).digest()
