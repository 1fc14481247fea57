"""Guesses are slowed down, and nobody else: not who tries at the same time as others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tallyboard.errors import TooOften
from tallyboard.ledger.writer import Writer
from tallyboard.people import throttle
from tests.ledger.books import NOW_US, open_ledger

ALICE, OFFICE = throttle.of_email("alice@northwind.example"), throttle.of_address("192.0.2.7")
SECOND_US = 1_000_000


@pytest.fixture
def ledger(folder: Path) -> Iterator[Writer]:
    opened = open_ledger(folder)
    yield opened
    opened.close()


def take(ledger: Writer, place: throttle.Place, now_us: int) -> None:
    ledger.change(lambda session: throttle.take(session, (place,), now_us)).result(30)


def test_tries_at_the_same_time_do_not_wait_for_each_other_in_whatever_order_they_come(ledger: Writer) -> None:
    for later_us in (5, 3, 4, 0):
        take(ledger, OFFICE, NOW_US + later_us)


@pytest.mark.parametrize("place", [ALICE, OFFICE])
def test_beyond_the_free_ones_each_failure_doubles_the_wait(ledger: Writer, place: throttle.Place) -> None:
    now_us = NOW_US
    for _ in range(place.free):
        take(ledger, place, now_us)
    for seconds in (1, 2, 4):
        with pytest.raises(TooOften) as caught:
            take(ledger, place, now_us)
        assert caught.value.retry_seconds == seconds
        now_us += seconds * SECOND_US
        take(ledger, place, now_us)
