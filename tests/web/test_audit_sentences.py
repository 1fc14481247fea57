"""Every action that the program notes has a sentence; a line of another release is told plainly; what an address asks for is forgiving."""

import re
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tallyboard import days
from tallyboard.ledger.audit import Entry
from tallyboard.web.pages import audit
from tests.house.test_house import SOURCES

ZONE = ZoneInfo("America/New_York")


def told(action: str, **detail: object) -> str:
    return audit.sentence(Entry(1, 0, "alice", action, msgspec.json.encode(detail).decode(), None))


@pytest.mark.parametrize(
    ("action", "detail", "sentence"),
    [
        ("policy.changed", {"before": {"default_limit": "Unlimited", "timezone": "UTC"}, "after": {"default_limit": "0.5", "timezone": "UTC"}},
         "Set the default limit to 0.5 credits a day, before unlimited"),
        ("policy.changed", {"before": {"default_limit": "5", "timezone": "UTC"}, "after": {"default_limit": "5", "timezone": "Asia/Tokyo"}},
         "Changed the timezone from UTC to Asia/Tokyo"),
        ("account.changed", {"before": {"name": "a", "timezone": "UTC"}, "after": {"name": "b", "timezone": "UTC"}},
         "Renamed the account from “a” to “b”"),
        ("override.set", {"user": "bob", "before": None, "after": {"limit": "5", "reason": "pilot", "expires_at": "2026-12-01T00:00:00.000Z"}},
         "Set the limit of bob to 5 credits a day until 2026-12-01 00:00 UTC, before the default: pilot"),
        ("override.expired", {"user": "bob", "before": {"limit": "5"}}, "The limit of bob, 5 credits a day, expired"),
        ("override.removed", {"user": "bob", "before": {"limit": "Unlimited"}}, "Removed the limit of bob, which was unlimited"),
        ("usage.corrected", {"user": "bob", "units": -2000, "at": "2026-11-01T12:00:00.000Z", "reason": "twice"},
         "Corrected the usage of bob by -2,000 units at 2026-11-01 12:00 UTC: twice"),
        ("key.created", {"id": "1", "name": "app", "scopes": ["check", "ingest"]}, "Created the API key “app” with check, ingest"),
        ("key.rotated", {"id": "1", "name": "app", "new": "2", "until": "2026-11-25T09:00:00.000Z"},
         "Rotated the API key “app”; the old one ends 2026-11-25 09:00 UTC"),
        ("key.revoked", {"id": "1"}, "Revoked the API key “1”"),
        ("account.created", {"name": "Southwind", "timezone": "Asia/Tokyo"}, "Created the account “Southwind” with the days of Asia/Tokyo"),
        ("member.invitation_accepted", {"sessions_ended": 1}, "Accepted the invitation"),
        ("member.added", {"email": "bob@example.com", "role": "member"}, "Added bob@example.com as member"),
        ("member.signed_in", {}, "Signed in"),
        ("rates.set", {"card": 2}, "Set rate card 2"),
        ("user.erased", {"user": "erased-1", "replaced": True}, "Erased who erased-1 was; the key was replaced"),
        ("scim.user_created", {"id": "1", "user_name": "bob"}, "Provisioned the user bob"),
        ("scim.user_changed", {"id": "1", "user_name": "bob"}, "Changed the provisioned user bob"),
        ("scim.user_deleted", {"id": "1", "user_name": "bob"}, "Deleted the provisioned user bob"),
        ("something.new_here", {"how_many": 3, "why": None}, "Something new here: how many 3"),
        ("something.new_here", {}, "Something new here"),
        ("policy.changed", {"other": "words"}, "Policy changed: other words"),
        ("key.created", {"name": "app", "scopes": None}, "API key created: name app"),
    ],
)  # fmt: skip
def test_a_line_reads_as_a_sentence(action: str, detail: dict[str, object], sentence: str) -> None:
    assert told(action, **detail) == sentence


def test_every_action_that_is_noted_has_a_name_and_a_sentence() -> None:
    """Sign-in is in motion; its actions are told plainly where they have no sentence yet."""
    noted = {
        action
        for path in SOURCES
        for action in re.findall(r'audit\.note\([^)]*?"([a-z]+\.[a-z_]+)"', path.read_text())
        if not action.startswith("member.")
    }
    assert {"policy.changed", "key.rotated", "user.erased", "usage.corrected"} <= noted
    assert noted <= set(audit.ACTIONS)
    for action in noted:
        assert action in audit._SENTENCES


@pytest.mark.parametrize("text", ["", "x", "1", "-", "1-", "-1", "1-2-3", "٣-1", f"1-{'9' * 30}", "1.5-2"])
def test_a_place_that_is_none_is_passed_over(text: str) -> None:
    assert audit.place(text) is None


@pytest.mark.parametrize("text", ["2026-02-30", "0001-01-01", "9999-12-31", "20261124", "2026-W48-2", "yesterday", "2026-11-24x"])
def test_a_date_that_is_none_is_passed_over(text: str) -> None:
    assert not audit.asked({"from": text, "to": text}).any


def test_days_begin_and_end_in_the_accounts_zone() -> None:
    wanted = audit.asked({"from": "2026-11-01", "to": "2026-11-01"}).wanted(ZONE)
    assert wanted.from_us is not None
    assert wanted.until_us is not None
    assert days.instant_text(wanted.from_us) == "2026-11-01T04:00:00.000Z"
    assert wanted.until_us - wanted.from_us == 25 * 3_600_000_000, "the day on which clocks go back"


def test_an_address_says_only_what_is_asked() -> None:
    asked = audit.asked({"action": "key.created", "who": " alice@example.com ", "from": "", "before": "1-1"})
    assert asked.address(before="5-6") == "/audit?action=key.created&who=alice%40example.com&before=5-6"
    assert audit.asked({}).address("/audit.csv") == "/audit.csv"
