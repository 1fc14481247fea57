"""Reads limits for many users from a text: a user a line, perhaps with a limit of their own after a tab or a comma. Pure.

A line with a mistake is named with its number, and all of them at once, so that nothing has to be typed again.
"""

from msgspec import Struct

from tallyboard.errors import Invalid
from tallyboard.intake.event import KEY_CHARACTERS_MAX, is_key
from tallyboard.policy.limits import parse_limit

MISTAKES_MAX = 20


class LineMistake(Struct, frozen=True):
    """What is wrong with a line, counted from 1."""

    line: int
    message: str


class Asked(Struct, frozen=True):
    """A line that makes sense: who, and the limit in units or None for none."""

    line: int
    user: str
    units: int | None


def read(text: str, common: str) -> tuple[list[Asked], list[LineMistake]]:
    """The lines of a text, and what is wrong with the others; `common` is the limit of lines that say none."""
    asked: list[Asked] = []
    mistakes: list[LineMistake] = []
    lines_by_user: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        user, limit = _parts(line)
        if not user and not limit:
            continue
        try:
            units = _limit(user, limit or common.strip())
        except Invalid as error:
            mistakes.append(LineMistake(number, str(error)))
            continue
        if user in lines_by_user:
            mistakes.append(LineMistake(number, f"{user[:80]} is on line {lines_by_user[user]} already"))
            continue
        lines_by_user[user] = number
        asked.append(Asked(number, user, units))
    return asked, mistakes


def _parts(line: str) -> tuple[str, str]:
    separator = "\t" if "\t" in line else ","
    user, _, limit = line.partition(separator)
    return user.strip(), limit.strip()


def _limit(user: str, limit: str) -> int | None:
    if not is_key(user):
        raise Invalid(f"a user has 1 to {KEY_CHARACTERS_MAX} printable characters")
    if not limit:
        raise Invalid(f"say a limit for {user[:80]}, here or for all lines")
    return parse_limit(limit)
