"""A refusal in words and headers: which limit, what was used and is held, when it resets on the account's clock, who can raise it."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallyboard import credits, days
from tallyboard.policy.limits import Origin, Standing
from tallyboard.policy.refusal import PROBLEM_TYPE, Refusal, Shape, body, detail, headers, shape_of

CREDIT = credits.UNITS_PER_CREDIT
HOUR_US = 3_600_000_000
many = settings(max_examples=200, derandomize=True, deadline=None)
SHORT_AND_LONG = {
    "America/New_York": [("2026-03-08", 23), ("2026-11-01", 25)],
    "Australia/Lord_Howe": [("2026-10-04", 23.5), ("2026-04-05", 24.5)],
    "Pacific/Chatham": [("2026-09-27", 23), ("2026-04-05", 25)],
    "Asia/Kathmandu": [("2026-11-22", 24)],
    "America/Santiago": [("2026-09-06", 23)],
    "Africa/Cairo": [("2026-10-29", 25)],
}
"""Days on which the clock changes, and their hours. Santiago skips midnight; Cairo shows the hour before it twice."""


def standing(now_us: int, timezone: str, limit: int = 10 * CREDIT, used: int = 10 * CREDIT, held: int = 0) -> Standing:
    zone = days.zone(timezone)
    resets_us = days.ends_at_us(now_us, zone)
    return Standing("bob", "Northwind", timezone, days.today(now_us, zone), resets_us, limit, Origin.DEFAULT, used, held, now_us, resets_us)


def at(text: str) -> int:
    return days.instant_us(datetime.fromisoformat(text))


def test_the_words_say_everything_a_person_needs() -> None:
    now_us = at("2026-11-22T20:48:30Z")
    assert detail(Refusal(standing(now_us, "America/New_York"), None, now_us)) == (
        "bob has used 10.00 of the daily limit of 10 credits. The limit resets on Mon, 23 Nov 2026 at 00:00, America/New York "
        "(in 8 h 11 min). An administrator of Northwind can raise it."
    )


def test_the_words_name_what_is_held_what_is_needed_and_a_limit_of_ones_own() -> None:
    now_us = at("2026-11-22T18:14:20Z")
    found = msgspec.structs.replace(
        standing(now_us, "Asia/Kathmandu", CREDIT, CREDIT // 2, CREDIT // 4), origin=Origin.OVERRIDE, user="zoë", account="Contoso"
    )
    assert detail(Refusal(found, CREDIT // 3, now_us)) == (
        "zoë has used 0.50 of their own daily limit of 1 credit, and 0.25 more are held for requests under way; this request needs up to 0.33. "
        "The limit resets on Mon, 23 Nov 2026 at 00:00, Asia/Kathmandu (in 40 s). An administrator of Contoso can raise it."
    )


@pytest.mark.parametrize(("name", "day", "hours"), [(name, *each) for name, found in SHORT_AND_LONG.items() for each in found])
def test_on_days_when_the_clock_changes_the_reset_is_the_next_midnight(name: str, day: str, hours: float) -> None:
    zone = ZoneInfo(name)
    starts_us = days.starts_at_us(date.fromisoformat(day), zone)
    ends_us = starts_us + int(hours * HOUR_US)
    for now_us in (starts_us, starts_us + 1, starts_us + HOUR_US, ends_us - HOUR_US, ends_us - 1):
        refused = Refusal(standing(now_us, name), None, now_us)
        assert refused.standing.day == date.fromisoformat(day)
        assert refused.standing.resets_us == ends_us
        assert headers(refused)["Retry-After"] == str(-(-(ends_us - now_us) // 1_000_000))
    assert standing(starts_us - 1, name).day == date.fromisoformat(day) - timedelta(days=1)
    assert standing(ends_us, name).day == date.fromisoformat(day) + timedelta(days=1)


@many
@given(
    st.sampled_from(sorted(days.zone_names())),
    st.integers(at("2020-01-01T00:00:00Z"), at("2037-01-01T00:00:00Z")),
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**62),
)
def test_in_every_zone_the_words_and_the_headers_tell_the_same_reset(timezone: str, now_us: int, limit: int, used: int, held: int) -> None:
    refused = Refusal(standing(now_us, timezone, limit, used, held), None, now_us)
    found = headers(refused)
    seconds = int(found["Retry-After"])
    assert 1 <= seconds <= 26 * 3600
    assert (seconds - 1) * 1_000_000 < refused.standing.resets_us - now_us <= seconds * 1_000_000
    assert found["x-should-retry"] == "false"
    assert found["RateLimit-Policy"] == f'"daily-credits";q={limit // CREDIT};qu="credits";w=86400'
    assert found["RateLimit"] == f'"daily-credits";r={max(limit - used - held, 0) // CREDIT};t={seconds}'
    clock = datetime.fromtimestamp(refused.standing.resets_us // 1_000_000, UTC).astimezone(ZoneInfo(timezone))
    assert f"resets on {clock:%a}, {clock.day} {clock:%b} {clock.year} at {clock:%H:%M}, {timezone.replace('_', ' ')} (in " in detail(
        refused
    )
    assert all(value.isascii() and value.isprintable() for value in found.values())


def test_no_day_lies_between_two_resets() -> None:
    """Whoever obeys Retry-After from one instant on comes to the next midnight, and from there to the one after."""
    for timezone, uneven in SHORT_AND_LONG.items():
        zone = days.zone(timezone)
        now_us = at("2026-01-01T00:00:00Z")
        resets = [now_us := days.ends_at_us(now_us, zone) for _ in range(400)]
        assert [days.today(each, zone).toordinal() for each in resets] == list(
            range(days.today(resets[0], zone).toordinal(), days.today(resets[0], zone).toordinal() + 400)
        )
        assert {(later - earlier) / HOUR_US for earlier, later in pairwise(resets)} >= {hours for _, hours in uneven}


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("", Shape.PROBLEM),
        ("openai", Shape.OPENAI),
        ("/v1/chat/completions", Shape.OPENAI),
        ("v1/completions/", Shape.OPENAI),
        ("v1/responses", Shape.OPENAI),
        ("v1/embeddings", Shape.OPENAI),
        ("anthropic", Shape.ANTHROPIC),
        ("v1/messages", Shape.ANTHROPIC),
        ("v1/messages/batches", Shape.PROBLEM),
        ("V1/MESSAGES", Shape.PROBLEM),
    ],
)
def test_the_route_chooses_the_words(path: str, shape: Shape) -> None:
    assert shape_of(path) is shape


def test_each_shape_is_what_its_readers_expect() -> None:
    now_us = at("2026-11-22T20:48:30Z")
    refused = Refusal(standing(now_us, "UTC"), 5, now_us)
    shapes = {shape: json.loads(msgspec.json.encode(body(refused, 429, shape))) for shape in Shape}
    message = detail(refused)
    assert shapes[Shape.OPENAI] == {
        "error": {"message": message, "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}
    }
    assert shapes[Shape.ANTHROPIC] == {"type": "error", "error": {"type": "rate_limit_error", "message": message}}
    problem = shapes[Shape.PROBLEM]
    assert problem.pop("allowance")["resets_at"] == "2026-11-23T00:00:00.000Z"
    assert problem == {
        "type": PROBLEM_TYPE,
        "title": "Daily credit limit reached",
        "status": 429,
        "detail": message,
        "violated-policies": ["daily-credits"],
        "allowed": False,
        "estimate": {"credits": "0.000000", "units": 5},
    }
