"""Cumulative counters: whatever is read how often and in which order, what is added is what was counted (laws 2 and 7)."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallyboard.errors import Invalid
from tallyboard.ledger import counters
from tallyboard.ledger.counters import UNSEEN_US_MAX, Reading
from tallyboard.ledger.writer import Writer
from tests.ledger.books import CONTOSO, NORTHWIND, open_ledger

NOW_US = 1_795_000_000_000_000
STEPS = st.lists(st.integers(0, 50), min_size=1, max_size=12)


@pytest.fixture
def ledger(folder: Path) -> Iterator[Writer]:
    opened = open_ledger(folder)
    yield opened
    opened.close()


def read(ledger: Writer, *readings: Reading, account_id: int = NORTHWIND, now_us: int = NOW_US) -> list[int]:
    return ledger.change(lambda session: counters.advance(session, account_id, readings, now_us)).result()


def reading(name: int, at_us: int, value: int, start_us: int = NOW_US - 1) -> Reading:
    return Reading(bytes([name]) * 16, start_us, NOW_US + at_us, value)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=4), st.randoms(use_true_random=False), st.integers(1, 9))
def test_a_counter_adds_up_to_its_last_value_in_whatever_order_and_however_often_it_is_read(
    steps: list[list[int]], chance: object, at_once: int
) -> None:
    """Each request holds several readings; every request is sent again at some time later, and its first sending may come late."""
    shown = {name: [reading(name, at, sum(each[: at + 1])) for at in range(len(each))] for name, each in enumerate(steps)}
    sent = [one for each in shown.values() for one in each] * 2
    chance.shuffle(sent)  # type: ignore[attr-defined]
    sent += [each[-1] for each in shown.values()]
    with TemporaryDirectory() as folder:
        ledger = open_ledger(Path(folder))
        try:
            added = [read(ledger, *sent[start : start + at_once]) for start in range(0, len(sent), at_once)]
        finally:
            ledger.close()
    assert sum(map(sum, added)) == sum(each[-1].value for each in shown.values())
    assert all(number >= 0 for numbers in added for number in numbers)


def test_the_counters_of_two_accounts_do_not_meet(ledger: Writer) -> None:
    assert read(ledger, reading(1, 0, 10)) == [10]
    assert read(ledger, reading(1, 0, 10), account_id=CONTOSO) == [10]
    assert read(ledger, reading(1, 1, 12)) == [2]


def test_a_transaction_that_is_not_kept_counts_nothing(ledger: Writer) -> None:
    def fails(session: object) -> None:
        counters.advance(session, NORTHWIND, [reading(1, 0, 10)], NOW_US)  # type: ignore[arg-type]
        raise Invalid("not today")

    with pytest.raises(Invalid, match="not today"):
        ledger.change(fails).result()
    assert read(ledger, reading(1, 0, 10)) == [10]


def test_there_is_room_for_so_many_counters_and_old_ones_make_room(ledger: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "COUNTERS_MAX", 3)
    assert read(ledger, *(reading(name, 0, 1) for name in range(3))) == [1, 1, 1]
    with pytest.raises(Invalid, match="cumulative counters; use delta temporality"):
        read(ledger, reading(3, 0, 1))
    assert read(ledger, reading(0, 1, 5), account_id=CONTOSO) == [5]
    later_us = NOW_US + UNSEEN_US_MAX + 1
    assert read(ledger, reading(3, 2, 1, start_us=later_us), now_us=later_us) == [1]


def test_a_counter_that_was_forgotten_counts_from_its_next_value_on(ledger: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "COUNTERS_MAX", 1)
    later_us = NOW_US + UNSEEN_US_MAX + 1
    assert read(ledger, reading(0, 0, 100)) == [100]
    assert read(ledger, reading(1, 1, 1, start_us=later_us), now_us=later_us) == [1]
    much_later_us = later_us + UNSEEN_US_MAX + 1
    assert read(ledger, reading(0, 2, 130), now_us=much_later_us) == [0]
    assert read(ledger, reading(0, 3, 131), now_us=much_later_us) == [1]
