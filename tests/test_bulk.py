"""Limits of many users from a text: each line counts, and each mistake is named with its line."""

from tallyboard.credits import UNITS_PER_CREDIT
from tallyboard.policy import bulk
from tallyboard.policy.bulk import Asked, LineMistake


def test_a_line_is_a_user_perhaps_with_a_limit_after_a_comma_or_a_tab() -> None:
    asked, mistakes = bulk.read("alice\r\nbob, 1,000\r\n\r\nDoe, Jane\tunlimited\n", " 2 ")
    assert not mistakes
    assert asked == [
        Asked(1, "alice", 2 * UNITS_PER_CREDIT),
        Asked(2, "bob", 1_000 * UNITS_PER_CREDIT),
        Asked(4, "Doe, Jane", None),
    ]


def test_every_mistake_is_named_and_what_is_good_is_kept() -> None:
    asked, mistakes = bulk.read("alice\nbob, many\ncarol, 3\ncarol, 4\n, 5\ndan, -1", "")
    assert [each.user for each in asked] == ["carol"]
    assert [each.line for each in mistakes] == [1, 2, 4, 5, 6]
    assert mistakes[0] == LineMistake(1, "say a limit for alice, here or for all lines")
    assert mistakes[2] == LineMistake(4, "carol is on line 3 already")


def test_nothing_asks_for_nothing() -> None:
    assert bulk.read(" \n\t\n,\n", "5") == ([], [])
