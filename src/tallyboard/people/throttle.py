"""Slows down who guesses passwords: by the email tried and by the address it comes from, in the database, for all processes.

A try counts as a failure before the password is looked at, so that many at the same time gain nothing; success takes it back.
From some failures on, the next try is looked at only after a delay that doubles, up to a quarter of an hour. What is refused
meanwhile does not count: nobody is locked out for ever, and one-time links work all the time.

The counters are bounded: emails and addresses are hashed to so many places, and a day without a failure clears one.
Who is counted together with somebody else by that shares the delay, never the way in.
"""

from collections.abc import Sequence
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address

from msgspec import Struct

from tallyboard.errors import TooOften
from tallyboard.ledger.contract import Session

PLACES = 1 << 18
FORGOTTEN_US = 86_400_000_000
NOTED_AN_HOUR_MAX = 60
_SECOND_US = 1_000_000
_HOUR_US = 3_600 * _SECOND_US


class Place(Struct, frozen=True, order=True):
    """A counter: where it is, how many failures are free, and the longest delay in seconds."""

    number: int
    free: int
    delay_max: int


def of_email(email: str) -> Place:
    """The counter of an email, whether or not anybody has it."""
    return Place(_bucket(email.strip().casefold()), 5, 900)


def of_address(address: str) -> Place:
    """The counter of an address on the network, of IPv6 that of its /64: one host has all of it. Many people may share one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return Place(PLACES + _bucket(address), 20, 300)
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64)
    return Place(PLACES + _bucket(str(parsed)), 20, 300)


def take(session: Session, places: Sequence[Place], now_us: int) -> None:
    """Count a failure in each place beforehand; TooOften, with nothing counted, where one of them has to wait."""
    session.run("DELETE FROM sign_in_attempt WHERE last_us < :forgotten_us AND place >= 0", forgotten_us=now_us - FORGOTTEN_US)
    taken = [(place, *_lock(session, place)) for place in sorted(places)]
    wait_us = max(free_us for _, _, free_us in taken) - now_us
    if wait_us > 0:
        raise TooOften("too many sign-ins have failed", retry_seconds=-(-wait_us // _SECOND_US))
    for place, failures, _ in taken:
        beyond = failures + 1 - place.free
        delay = min(1 << min(beyond, 30), place.delay_max) if beyond >= 0 else 0
        # Without a delay nothing is to be waited for: tries at the same time come here in another order than that of their instants.
        _set(session, place, failures + 1, now_us, now_us + delay * _SECOND_US if delay else 0)


def forgive(session: Session, email: Place, address: Place) -> None:
    """After a success: forget the email's failures, and take back the one that the address was counted beforehand."""
    forget(session, email)
    take_back(session, address)


def take_back(session: Session, place: Place) -> None:
    """Count one failure less than was counted beforehand."""
    session.run("UPDATE sign_in_attempt SET failures = failures - 1, free_us = 0 WHERE place = :place AND failures > 0", place=place.number)


def forget(session: Session, place: Place) -> None:
    """Begin again from nothing."""
    session.run("DELETE FROM sign_in_attempt WHERE place = :place", place=place.number)


def may_note(session: Session, account_id: int, now_us: int) -> tuple[bool, int]:
    """Whether one more failure may go into the account's audit log, and how many of an hour before did not.

    So many an hour and no more: whoever guesses must not be able to fill the log.
    """
    place = Place(-account_id, 0, 0)
    noted, _, hour_us = _lock_all(session, place)
    if now_us >= hour_us + _HOUR_US:
        _set(session, place, 1, now_us, now_us)
        return True, max(noted - NOTED_AN_HOUR_MAX, 0)
    _set(session, place, noted + 1, now_us, hour_us)
    return noted < NOTED_AN_HOUR_MAX, 0


def _lock(session: Session, place: Place) -> tuple[int, int]:
    failures, _, free_us = _lock_all(session, place)
    return failures, free_us


def _lock_all(session: Session, place: Place) -> tuple[int, int, int]:
    """Failures, when the last was, and until when to wait; nobody else changes them before this transaction ends."""
    session.run(
        "INSERT INTO sign_in_attempt (place, failures, last_us, free_us) VALUES (:place, 0, 0, 0) ON CONFLICT (place) DO NOTHING",
        place=place.number,
    )
    line = session.one(
        "UPDATE sign_in_attempt SET failures = failures WHERE place = :place RETURNING failures, last_us, free_us", place=place.number
    )
    assert line is not None
    return line[0], line[1], line[2]


def _set(session: Session, place: Place, failures: int, last_us: int, free_us: int) -> None:
    session.run(
        "UPDATE sign_in_attempt SET failures = :failures, last_us = :last_us, free_us = :free_us WHERE place = :place",
        failures=failures,
        last_us=last_us,
        free_us=free_us,
        place=place.number,
    )


def _bucket(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()) % PLACES
