"""The Credit Policy page's context: what is typed and understood, what it would have done, and the history in sentences."""

import re
from datetime import date, timedelta
from typing import Any, cast

import pytest

from tallyboard import days
from tallyboard.people.directory import User
from tallyboard.policy.bulk import LineMistake
from tallyboard.policy.history import Applied, Change
from tallyboard.policy.holds import Hold
from tallyboard.policy.limits import Origin
from tallyboard.policy.overrides import UserOverride
from tallyboard.policy.policy import Policy
from tallyboard.policy.preview import PausedUser, Preview
from tallyboard.web.pages import changes, policy, render
from tallyboard.web.pages.policy import Dialog, Draft, OverrideLine, Query, Seen
from tallyboard.web.pages.trial import trial
from tests.web.overviews import NOON_US, TODAY, ZONE, credit

NEW_YORK = days.zone(ZONE)
(TEN, TWENTY) = credit(10, 20)
SAVED = Policy(TEN, ZONE, "tag")
HOUR_US = 3_600_000_000


def seen(**changed: Any) -> Seen:
    empty: dict[str, Any] = {
        "now_us": NOON_US, "policy": SAVED, "trial": None, "overrides": [], "overrides_total": 0, "holds": [], "holds_total": (0, 0),
        "changes": [], "applied": "", "applied_problem": "", "people": [], "known": {},
    }  # fmt: skip
    return Seen(**(empty | changed))


def context(found: Seen, values: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return dict(policy.context(found, Query(), policy.draft(values or {}, found.policy), **more))


def previewed(users: int, days_each: int = 2) -> Preview:
    span = tuple(TODAY - timedelta(days=ago) for ago in reversed(range(30)))
    who = tuple(PausedUser(f"user-{rank}", f"user-{rank}", None, span[-days_each:], TWENTY) for rank in range(min(users, 200)))
    return Preview(users, users * days_each, 500, 9_000, tuple((day, users if day in span[-days_each:] else 0) for day in span), who)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Draft(True, "10", ZONE)),
        ({"limit": "7"}, Draft(True, "7", ZONE)),
        ({"limit": "unlimited"}, Draft(False, "", ZONE)),
        ({"mode": "custom"}, Draft(True, "", ZONE)),
        ({"mode": "unlimited", "limit": "7"}, Draft(False, "7", ZONE)),
        ({"timezone": "UTC"}, Draft(True, "10", "UTC")),
    ],
    ids=str,
)
def test_an_address_says_what_is_typed_and_the_rest_is_as_saved(values: dict[str, str], expected: Draft) -> None:
    assert policy.draft(values, SAVED) == expected


def test_only_what_differs_from_what_is_saved_is_unsaved() -> None:
    for same in ({}, {"limit": "10.000"}, {"timezone": "america/new york"}):
        assert not context(seen(), same)["unsaved"], same
    for other in ({"limit": "10.00000001"}, {"limit": "x"}, {"mode": "unlimited"}, {"timezone": "UTC"}, {"timezone": "Mars"}):
        assert context(seen(), other)["unsaved"], other


def test_a_missing_number_is_a_mistake_only_once_it_was_sent() -> None:
    assert context(seen(), {"mode": "custom"})["limit_problem"] == ""
    assert context(seen(), {"mode": "custom"}, touched=True)["limit_problem"] == "Type a number of credits, or choose Unlimited."
    assert context(seen(), {"limit": "x"})["limit_problem"] == "“x” is not a number of credits."


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"limit": "20"}, "saved meanwhile: 10 a day. You typed: 20 a day. Save"),
        ({"limit": "unlimited"}, "saved meanwhile: 10 a day. You typed: no daily limit. Save"),
        (
            {"timezone": "UTC"},
            "saved meanwhile: 10 a day, days end at midnight, America/New York. You typed: 10 a day, days end at midnight, UTC. Save",
        ),
        ({"limit": "x"}, "saved meanwhile: 10 a day. Save"),
        ({"timezone": "Mars"}, "saved meanwhile: 10 a day, days end at midnight, America/New York. Save"),
    ],
    ids=str,
)
def test_a_conflict_says_who_saved_what_and_what_was_typed(values: dict[str, str], told: str) -> None:
    latest = [Change(2, NOON_US, "key 9", "override.set", {}), Change(1, NOON_US, "bob@example.com", "policy.changed", {})]
    found = policy.conflict(SAVED, policy.read(policy.draft(values, SAVED)), latest)
    assert found.startswith(f"bob@example.com {told}")


def test_what_was_typed_is_quoted_and_an_apostrophe_is_left_alone() -> None:
    mistakes = (LineMistake(1, "limit: 'many' is not a number of credits"), LineMistake(2, "o'brien is on line 1 already"))
    dialog = Dialog("limits", mistakes=mistakes)
    assert context(seen(), dialog=dialog)["mistakes"] == (
        "Line 1: “many” is not a number of credits.",
        "Line 2: o'brien is on line 1 already.",
    )


def test_a_zone_tells_its_time_and_its_next_reset() -> None:
    facts = context(seen())["zone"]
    assert facts == {
        "name": "America/New York",
        "now": "Fri, 20 Nov 2026 12:00",
        "next": "Sat, 21 Nov 2026 00:00",
        "left": "12 h 0 min",
        "changes": False,
    }
    assert context(seen(), {"timezone": "Asia/Kolkata"})["zone"]["now"] == "Fri, 20 Nov 2026 22:30"
    assert context(seen(), {"timezone": "Mars"})["zone"] is None


def test_a_preview_is_a_sentence_beside_what_is_saved() -> None:
    found = trial(TWENTY, previewed(14), TEN, previewed(20))
    assert found.sentence == "With 20 a day, 14 users would have been paused on 28 user-days in the last 30 days."
    assert found.extent == "of 500 users with usage on 9,000 user-days"
    assert found.compared == "With the saved 10: 20 users on 40 user-days, 12 more."
    assert [len(found.first), len(found.rest), found.beyond] == [10, 4, 0]
    assert [bar.size for bar in found.bars][-3:] == ["", "x10", "x10"]
    assert found.bars[-1].title == "Fri, 20 Nov: 14 users paused"
    assert found.begins == "22 Oct"


def test_a_preview_of_nobody_and_of_very_many() -> None:
    nobody = trial(None, previewed(0), None, None)
    assert (nobody.sentence, nobody.highest, nobody.compared) == (
        "Without a default limit, nobody would have been paused in the last 30 days.", "", ""
    )  # fmt: skip
    many = trial(0, previewed(450), None, previewed(0), 200)
    assert (many.beyond, many.skipped) == (50, 200)
    assert many.compared == "Without a limit, as saved now: nobody."


def test_a_limit_of_ones_own_is_a_line_with_name_expiry_and_who_set_it() -> None:
    mine = UserOverride("u/1", None, "Pilot", NOON_US + HOUR_US, NOON_US - HOUR_US, "key ab", 1)
    past = UserOverride("u2", TWENTY, "", NOON_US, NOON_US - HOUR_US, "alice@northwind.example", 1)
    shown = seen(overrides=[mine, past], overrides_total=2, known={"u2": User("u2", "bob@northwind.example", "Bob")})
    first, second = cast("tuple[OverrideLine, ...]", context(shown)["overrides"])
    assert (first.limit, first.expires, first.expired, first.set_by) == ("Unlimited", "Fri, 20 Nov 2026 13:00", False, "API key ab")
    assert (first.name, first.detail, first.edit) == ("u/1", "no usage yet", "/policy?edit=u%2F1#own")
    assert (second.name, second.detail, second.limit, second.expired) == ("Bob", "bob@northwind.example", "20", True)


def test_the_kept_limit_of_an_alias_says_that_it_does_not_count_and_offers_no_change() -> None:
    kept = UserOverride("laptop", TWENTY, "Pilot", None, NOON_US - HOUR_US, "key ab", 1, alias_of="alice@northwind.example")
    mine = UserOverride("u2", TWENTY, "", None, NOON_US - HOUR_US, "key ab", 2)
    found = context(seen(overrides=[kept, mine], overrides_total=2))
    page = render.html("partials/own_limits.html", **found).decode()
    of_alias, of_user = re.findall(r'<tr id="o-.*?</tr>', page, re.DOTALL)
    assert "an alias of alice@northwind.example" in of_alias
    assert "does not count" in of_alias
    assert "Edit" not in of_alias
    assert "alias" not in of_user
    assert "Edit" in of_user


def test_pages_are_offered_only_where_there_is_more() -> None:
    lines = [UserOverride(f"u{number:03}", TEN, "", None, NOON_US, "a", 1) for number in range(201)]
    assert context(seen(overrides=lines))["overrides_next"] == "/policy?after=u199#own"
    assert len(context(seen(overrides=lines))["overrides"]) == 200
    assert context(seen(overrides=lines[:200]))["overrides_next"] == ""
    noted = [Change(number, NOON_US, "a", "override.removed", {"user": "u", "before": {"limit": "5"}}) for number in range(51, 0, -1)]
    assert context(seen(changes=noted))["changes_next"] == "/policy?before=2#history"


def test_what_is_set_aside_is_summed_up() -> None:
    found = context(seen(holds=[Hold("h", "u", TEN, NOON_US, NOON_US + 90_000_000)], holds_total=(3, TWENTY)))
    assert found["holds_total"] == "20.00 credits in 3 requests"
    assert found["holds_more"] == "Showing the oldest 1 of 3."
    assert found["holds"][0].left == "1 min"


def test_a_change_is_told_from_what_to_what() -> None:
    def told(action: str, **detail: Any) -> tuple[str, list[tuple[str, str, str, str]], str]:
        found = changes.line(Change(1, NOON_US, "expiry" if action.endswith("expired") else "a@b.example", action, detail), NEW_YORK)
        return found.who, [(step.what, step.user, step.before, step.after) for step in found.steps], found.reason

    both = {"before": {"default_limit": "Unlimited", "timezone": "UTC"}, "after": {"default_limit": "10", "timezone": "America/New_York"}}
    assert told("policy.changed", **both)[1] == [("Default limit", "", "Unlimited", "10"), ("Timezone", "", "UTC", "America/New York")]
    mine = {"limit": "5", "reason": "Pilot", "expires_at": "2026-11-21T05:00:00.000Z"}
    until = "5 until Sat, 21 Nov 2026 00:00"
    assert told("override.set", user="u", before=None, after=mine) == ("a@b.example", [("Limit of", "u", "the default", until)], "Pilot")
    assert told("override.expired", user="u", before=mine) == ("Expired", [("Limit of", "u", until, "the default")], "")
    assert told("account.changed", before={"name": "A", "timezone": "UTC"}, after={"name": "B", "timezone": "UTC"})[1] == []


def test_which_limit_applied_is_a_sentence() -> None:
    own, none = Applied(TEN, Origin.OVERRIDE), Applied(None, Origin.DEFAULT)
    assert (
        changes.applied("Bob", NOON_US, own, NEW_YORK) == "On Fri, 20 Nov 2026 12:00, Bob had a daily limit of 10 credits: their own limit."
    )
    assert changes.applied("Bob", NOON_US, none, NEW_YORK) == "On Fri, 20 Nov 2026 12:00, Bob had no daily limit: the default."


@pytest.mark.parametrize(
    ("text", "instant"),
    [("2026-11-20T12:00", NOON_US), ("2026-11-20", NOON_US - 12 * HOUR_US), ("2026-11-01T01:30", days.starts_at_us(date(2026, 11, 1), NEW_YORK) + HOUR_US * 3 // 2)],
)  # fmt: skip
def test_a_time_on_the_accounts_clock_is_an_instant(text: str, instant: int) -> None:
    assert days.local_us(text, NEW_YORK) == instant
    assert days.local_text(instant, NEW_YORK) == (text if "T" in text else f"{text}T00:00")


@pytest.mark.parametrize("text", ["tomorrow", "2026-13-01", "2026-11-20T12:00Z", "2026-11-20T25:00"])
def test_what_is_no_time_on_a_clock_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        days.local_us(text, NEW_YORK)
