"""Passwords: which are refused, how they are kept, how one is checked.

Kept as Argon2id in the parameters that OWASP's cheat sheet on password storage names first (19 MiB, two passes, one lane):
a check takes some 30 milliseconds, beside a server that has usage to take in. Checking takes the same work
whether or not there is a password to compare with, and no more than a few are checked at a time: each takes its memory.
"""

import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from threading import BoundedSemaphore
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tallyboard.errors import Invalid, Overloaded

CHARACTERS_MIN, CHARACTERS_MAX = 12, 128
AT_ONCE_MAX = 4
WAIT_SECONDS_MAX = 3.0
_PIECE_CHARACTERS_MAX = 8
_ROWS = ("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm", "1qaz2wsx3edc4rfv5tgb6yhn7ujm")
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_at_once = BoundedSemaphore(AT_ONCE_MAX)


def check(password: str, email: str) -> None:
    """Invalid, in words for the person, where the password is easy to guess. No service is asked."""
    said = normalize("NFKC", password)
    if len(said) < CHARACTERS_MIN:
        raise Invalid(f"a password has at least {CHARACTERS_MIN} characters; several words are easy to keep in mind")
    if len(said) > CHARACTERS_MAX:
        raise Invalid(f"a password has at most {CHARACTERS_MAX} characters")
    plain = said.casefold()
    if plain == email.casefold():
        raise Invalid("the password must not be the email address")
    if plain in _common() or _undecorated(plain) in _common() or _is_pattern(plain):
        raise Invalid("this password is one of the first that anybody would guess; choose another")


def hashed(password: str) -> str:
    """What is kept of a password."""
    with _turn():
        return _hasher.hash(normalize("NFKC", password))


def matches(kept: str | None, password: str) -> bool:
    """Whether this is the password; where none is kept, or one that nobody can have, the same work for nothing."""
    said = normalize("NFKC", password)
    other = _of_nobody()
    possible = bool(kept) and len(said) <= CHARACTERS_MAX
    with _turn():
        try:
            found = _hasher.verify(kept if kept and possible else other, said[:CHARACTERS_MAX])
        except (VerificationError, InvalidHashError):
            return False
    return found and possible


def outdated(kept: str) -> bool:
    """Whether it was kept with other parameters than those of now."""
    return _hasher.check_needs_rehash(kept)


@contextmanager
def _turn() -> Iterator[None]:
    """Overloaded where too many passwords are being checked; who waits for long holds a thread that others need."""
    if not _at_once.acquire(timeout=WAIT_SECONDS_MAX):
        raise Overloaded("too many people sign in at this moment; try again in a few seconds", retry_seconds=3)
    try:
        yield
    finally:
        _at_once.release()


@lru_cache(maxsize=1)
def _of_nobody() -> str:
    return _hasher.hash("the password of nobody at all")


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    text = gzip.decompress(resources.files("tallyboard.people").joinpath("common_passwords.txt.gz").read_bytes()).decode()
    return frozenset(line for line in text.splitlines() if not line.startswith("# "))


def _undecorated(password: str) -> str:
    """A word without the digits and signs around it: `password` of `Password2026!`."""
    return re.sub(r"^[\W\d_]+|[\W\d_]+$", "", password)


def _is_pattern(password: str) -> bool:
    """One short piece again and again, or a walk along the alphabet, the digits or the keyboard."""
    pieces = range(1, _PIECE_CHARACTERS_MAX + 1)
    if any(password == (password[:size] * len(password))[: len(password)] for size in pieces if size * 2 <= len(password)):
        return True
    return any(password in row or password in row[::-1] for row in _ROWS)
