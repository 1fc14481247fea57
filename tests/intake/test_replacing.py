"""Reports that later ones replace: whatever was reported in whichever order, what counts is what the last report of each window says."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import engines
from tests.ledger.books import CONTOSO, NORTHWIND, NOW_US, open_ledger, result
from tests.ledger.test_interruptions import Interrupting

from tallyboard import days
from tallyboard.errors import Invalid
from tallyboard.intake import replacing
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.intake.replacing import From, Line, Replacing, Report, Tally, Window
from tallyboard.ledger import buckets, rollups, writer
from tallyboard.ledger.contract import Batch
from tallyboard.ledger.writer import Writer
from tallyboard.people import aliases, erasure, source_of_record
from tallyboard.rates import card
from tallyboard.rates.charge import Charger

HOUR_US = 3_600_000_000
FIRST_US = NOW_US - NOW_US % (24 * HOUR_US) - 24 * HOUR_US
TOKENS = Charger(card.read((Path(card.__file__).with_name("tokens.toml")).read_text()))
MODEL = "claude-sonnet-4-5"
ZONES = ("Asia/Tokyo", "America/New_York", "UTC")
Sums = dict[str, int | Decimal]


@pytest.fixture
def ledger(folder: Path) -> Iterator[Writer]:
    opened = open_ledger(folder)
    yield opened
    opened.close()


def line(user: str | None, apart: str = MODEL, **sums: int | Decimal) -> Line:
    return Line(user, (apart,), {"model": apart, **sums})


def window(number: int, *lines: Line) -> Window:
    """The hour of that number."""
    return Window(FIRST_US + number * HOUR_US, FIRST_US + (number + 1) * HOUR_US, lines)


def told(
    ledger: Writer, *windows: Window, source: str = "report", read_us: int = NOW_US, beside: bool = False, account_id: int = NORTHWIND
) -> dict[str, int]:
    """What became of a report, without what did not happen."""
    replaces = Replacing(ledger, Report(source, "", read_us, beside), From(account_id, "test", TOKENS))
    replaces.take(windows, NOW_US)
    return {name: count for name in Tally.__struct_fields__ if (count := getattr(replaces.tally, name))}


def tell_live(ledger: Writer, user: str, at_us: int, name: str) -> None:
    item = CloudEvent("1.0", name, "/live", "ai.usage.recorded", user, days.instant_text(at_us), {"model": MODEL, "output_tokens": 1})
    result(ledger.append(Batch(NORTHWIND, accept([item], Sender(), TOKENS, NOW_US).entries, NOW_US, "test")))


def change_zone(ledger: Writer, name: str, rebuilt: int) -> None:
    """Give the account another zone, and rebuild so many of its days."""
    ledger.change(lambda session: rollups.change_zone(session, NORTHWIND, name)).result()
    for _ in range(rebuilt):
        ledger.change(lambda session: rollups.rebuild_some(session, NORTHWIND)).result()


def kept(ledger: Writer, account_id: int = NORTHWIND) -> dict[tuple[str, int, str], Sums]:
    """What the events of reports come to, by user, instant and model; and every rollup is what the events say."""
    sums: defaultdict[tuple[str, int, str], Sums] = defaultdict(dict)
    with ledger.reading() as session:
        assert rollups.reconcile(session, account_id) == []
        lines = session.all(
            """
            SELECT app_user.key, event.at_us, event.model, event.data FROM event
            JOIN app_user ON app_user.account_id = event.account_id AND app_user.user_id = event.user_id
            WHERE event.account_id = :account_id AND event.source <> '/live'
            """,
            account_id=account_id,
        )
    for user, at_us, model, data in lines:
        of = sums[user, at_us, model]
        for name, value in json.loads(data, parse_float=Decimal).items():
            if not isinstance(value, str):
                of[name] = of.get(name, 0) + value
    without_zeros = {place: {name: value for name, value in of.items() if value} for place, of in sums.items()}
    return {place: of for place, of in without_zeros.items() if of}


AMOUNTS = st.fixed_dictionaries(
    {}, optional={"output_tokens": st.integers(0, 9), "requests": st.integers(0, 3), "cost_usd": st.decimals(0, 2, places=3)}
)
INPUTS = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda of: {"input_tokens": sum(of), "cache_read_tokens": of[0]})
SUMS = st.tuples(AMOUNTS, st.one_of(st.just({}), INPUTS)).map(lambda each: {**each[0], **each[1]})
LINES = st.dictionaries(st.tuples(st.sampled_from(["alice", "bob"]), st.sampled_from([MODEL, "gpt-4o"])), SUMS, max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("report"), st.dictionaries(st.sampled_from([1, 2, 14, 23, 25]), LINES, max_size=3), st.booleans()),
        st.tuples(st.just("live"), st.sampled_from(["alice", "bob"]), st.integers(0, 30)),
        st.tuples(st.just("zone"), st.sampled_from(ZONES), st.integers(0, 3)),
    ),
    max_size=9,
)


@settings(max_examples=60, derandomize=True)
@given(STEPS, st.integers(1, 3))
def test_what_counts_is_what_the_last_report_of_each_window_says_of_those_whose_day_was_not_told_live(
    steps: list[tuple[str, object, object]], at_once: int
) -> None:
    """Against a dict, through zone changes whose days are rebuilt only in part, in transactions of few lines."""
    zone, live, books = ZoneInfo("Etc/UTC"), [], {}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as small:
        small.setattr(replacing, "LINES_AT_ONCE", at_once)
        small.setattr(replacing, "LEFT_AT_ONCE", at_once)
        small.setattr(replacing, "WINDOWS_AT_ONCE", at_once)
        ledger = open_ledger(Path(folder))
        try:
            with ledger.reading() as session:
                zone = rollups.zone_of(session, NORTHWIND).info
            for number, (what, one, other) in enumerate(steps):
                if what == "zone":
                    zone = ZoneInfo(str(one))
                    change_zone(ledger, zone.key, int(str(other)))
                elif what == "live":
                    at_us = FIRST_US + int(str(other)) * HOUR_US
                    live.append((one, at_us))
                    tell_live(ledger, str(one), at_us, f"live {number}")
                else:
                    assert isinstance(one, dict)
                    reported = [window(hour, *(line(*of, **sums) for of, sums in lines.items())) for hour, lines in one.items()]
                    told(ledger, *reported, read_us=NOW_US + number, beside=bool(other))
                    told_on = {(user, _date(at_us, zone)) for user, at_us in live} if not other else set()
                    for each in reported:
                        books = {place: of for place, of in books.items() if place[1] != each.at_us}
                        for (user, model), sums in one[_hour(each)].items():
                            if (user, _date(each.at_us, zone)) not in told_on and any(sums.values()):
                                books[user, each.at_us, model] = {name: value for name, value in sums.items() if value}
            assert kept(ledger) == books
        finally:
            ledger.close()
            engines.drop(Path(folder))


def _date(at_us: int, zone: ZoneInfo) -> object:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).astimezone(zone).date()


def _hour(each: Window) -> int:
    return (each.start_us - FIRST_US) // HOUR_US


def test_a_window_that_grew_is_one_event_more_and_one_that_is_said_again_is_none(ledger: Writer) -> None:
    assert told(ledger, window(1, line("alice", output_tokens=10), line(None, requests=1))) == {
        "windows": 1,
        "lines": 2,
        "new": 2,
        "unattributed": 1,
        "unrated": 1,
    }
    assert told(ledger, window(1, line("alice", output_tokens=10), line(None, requests=1))) == {"windows": 1, "lines": 2, "unchanged": 2}
    assert told(ledger, window(1, line("alice", output_tokens=25), line(None, requests=1))) == {
        "windows": 1,
        "lines": 2,
        "changed": 1,
        "unchanged": 1,
    }
    assert events(ledger) == [{"output_tokens": 10}, {"output_tokens": 15}]
    assert corrections(ledger) == []


def test_what_a_report_takes_back_is_a_correction_with_its_reason(ledger: Writer) -> None:
    told(ledger, window(1, line("alice", input_tokens=100, cache_read_tokens=20), line("bob", output_tokens=5)))
    assert told(ledger, window(1, line("alice", input_tokens=100, cache_read_tokens=70)), read_us=NOW_US + 1) == {
        "windows": 1,
        "lines": 1,
        "changed": 1,
        "gone": 1,
    }
    middle_us = FIRST_US + HOUR_US + HOUR_US // 2
    assert kept(ledger) == {("alice", middle_us, MODEL): {"input_tokens": 100, "cache_read_tokens": 70}}
    assert corrections(ledger) == [
        ("alice", "a later report of report says otherwise"),
        ("bob", "a later report of report does not say it any more"),
    ]


def test_what_was_told_live_meanwhile_is_taken_back_unless_it_may_stand_beside(ledger: Writer) -> None:
    said = window(1, line("alice", output_tokens=10), line("bob", output_tokens=10))
    told(ledger, said)
    tell_live(ledger, "alice", FIRST_US + 9 * HOUR_US, "live")
    assert told(ledger, said) == {"windows": 1, "lines": 2, "unchanged": 1, "set_aside": 1}
    assert told(ledger, said) == {"windows": 1, "lines": 2, "unchanged": 1, "set_aside": 1}
    assert [user for user, _, _ in kept(ledger)] == ["bob"]
    assert corrections(ledger) == [("alice", "told live meanwhile")]
    assert told(ledger, said, beside=True)["changed"] == 1
    assert sorted(user for user, _, _ in kept(ledger)) == ["alice", "bob"]


def test_what_was_told_live_under_another_key_of_a_user_is_told_live(ledger: Writer) -> None:
    said = window(1, line("alice", output_tokens=10), line("bob", output_tokens=10))
    tell_live(ledger, "laptop", FIRST_US + 9 * HOUR_US, "live")
    assert told(ledger, said)["new"] == 2
    ledger.change(lambda session: aliases.merge(session, NORTHWIND, "laptop", "alice", "test", NOW_US)).result()
    assert told(ledger, said) == {"windows": 1, "lines": 2, "unchanged": 1, "set_aside": 1}
    assert [user for user, _, _ in kept(ledger)] == ["bob"]
    ledger.change(lambda session: aliases.undo(session, NORTHWIND, "laptop", "test", NOW_US)).result()
    assert told(ledger, said) == {"windows": 1, "lines": 2, "changed": 1, "unchanged": 1}


def test_of_whom_another_source_is_of_record_nothing_changes_any_more(ledger: Writer) -> None:
    told(ledger, window(1, line("alice", output_tokens=10)))
    ledger.change(lambda session: source_of_record.choose(session, NORTHWIND, "litellm", "test", NOW_US)).result()
    later = window(1, line("alice", output_tokens=99), line("bob", output_tokens=5))
    assert told(ledger, later, read_us=NOW_US + 1) == {"windows": 1, "lines": 2, "of_another_source": 2}
    assert told(ledger, window(1), read_us=NOW_US + 2) == {"windows": 1}
    ledger.change(lambda session: source_of_record.choose_for(session, NORTHWIND, "alice", "report", "test", NOW_US)).result()
    assert told(ledger, later, read_us=NOW_US + 3) == {"windows": 1, "lines": 2, "changed": 1, "of_another_source": 1}
    assert events(ledger) == [{"output_tokens": 10}, {"output_tokens": 89}]


def test_reports_of_other_sources_and_accounts_stand_beside_each_other(ledger: Writer) -> None:
    said = window(1, line("alice", output_tokens=10))
    told(ledger, said)
    told(ledger, said, source="another")
    told(ledger, said, account_id=CONTOSO)
    middle_us = FIRST_US + HOUR_US + HOUR_US // 2
    assert kept(ledger) == {("alice", middle_us, MODEL): {"output_tokens": 20}}
    assert kept(ledger, CONTOSO) == {("alice", middle_us, MODEL): {"output_tokens": 10}}


def test_a_report_that_was_overtaken_by_a_later_one_changes_nothing(ledger: Writer) -> None:
    told(ledger, window(1, line("alice", output_tokens=10)), read_us=NOW_US)
    assert told(ledger, window(1, line("alice", output_tokens=7)), read_us=NOW_US - 1) == {"windows": 1, "lines": 1, "overtaken": 1}
    assert told(ledger, window(1), read_us=NOW_US - 1) == {"windows": 1}
    assert events(ledger) == [{"output_tokens": 10}]


def test_lines_that_nothing_tells_apart_are_added_and_a_window_counts_from_its_middle_on(ledger: Writer) -> None:
    assert told(
        ledger,
        window(1, line("alice", output_tokens=1), line("alice", output_tokens=2)),
        Window(NOW_US - HOUR_US, NOW_US + 2 * HOUR_US, [line("alice", output_tokens=5)]),
    ) == {"windows": 1, "lines": 1, "new": 1, "not_yet": 1}
    assert events(ledger) == [{"output_tokens": 3}]


def test_a_line_that_cannot_be_counted_is_refused_and_leaves_what_was(ledger: Writer) -> None:
    told(ledger, window(1, line("alice", output_tokens=1)))
    bad = [line("alice", output_tokens=10**17), line("bob", "x" * 300, output_tokens=1), line("\0", output_tokens=1), line("é" * 300)]
    assert told(ledger, window(1, *bad), read_us=NOW_US + 1) == {"windows": 1, "lines": 4, "refused": 4}
    assert events(ledger) == [{"output_tokens": 1}]


def test_two_who_report_at_once_end_at_the_later_report(folder: Path) -> None:
    """Two processes on a database server, two writers of one file on SQLite."""
    both = [open_ledger(folder), open_ledger(folder)]
    chance = Random(7)
    reports = [[window(hour, line("alice", output_tokens=chance.randrange(1, 9))) for hour in range(6)] for _ in range(8)]
    try:
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(told, both[number % 2], *each, read_us=NOW_US + number) for number, each in enumerate(reports)]
            assert [job.result()["windows"] for job in jobs] == [6] * 8
        expected = {("alice", each.at_us, MODEL): dict(list(each.lines[0].fields.items())[1:]) for each in reports[-1]}
        assert kept(both[0]) == expected
    finally:
        for each in both:
            each.close()


@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 2), (1, 1)])
def test_a_report_whose_transaction_is_interrupted_counts_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, before: int, after: int
) -> None:
    """Before it is kept, or after that: then nobody knows, and the second try finds its records."""
    monkeypatch.setattr(writer, "TRIES_AGAIN_SECONDS", (0.01, 0.01, 0.01))
    open_ledger(folder).close()
    ledger = Writer(Interrupting(engines.open_on(folder), before, after))
    told(ledger, window(1, line("alice", output_tokens=10), line("bob", output_tokens=5)))
    assert ledger.figures()["transactions_tried_again_total"] == before + after
    middle_us = FIRST_US + HOUR_US + HOUR_US // 2
    assert kept(ledger) == {("alice", middle_us, MODEL): {"output_tokens": 10}, ("bob", middle_us, MODEL): {"output_tokens": 5}}
    ledger.close()


def test_whoever_is_erased_stays_so_and_is_not_counted_twice(ledger: Writer, folder: Path) -> None:
    said = window(1, line("alice@example.com", output_tokens=10))
    told(ledger, said)
    erased = ledger.change(lambda session: erasure.erase(session, NORTHWIND, "alice@example.com", "test", NOW_US)).result()
    assert "alice" not in str(engines.look(folder, "SELECT * FROM bucket"))
    assert [user for user, _, _ in kept(ledger)] == [erased.user]
    assert told(ledger, said, read_us=NOW_US + 1) == {"windows": 1, "lines": 1, "new": 1, "gone": 1}
    assert [(user, of) for (user, _, _), of in kept(ledger).items()] == [("alice@example.com", {"output_tokens": 10})]


def test_reports_are_bounded(ledger: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    long_ago = FIRST_US - 400 * 24 * HOUR_US
    with pytest.raises(Invalid, match="may go back 399 days"):
        told(ledger, Window(long_ago, long_ago + HOUR_US))
    monkeypatch.setattr(replacing, "WINDOWS_MAX", 1)
    with pytest.raises(Invalid, match="may have 1 windows; what came before is counted"):
        told(ledger, window(1, line("alice", output_tokens=1)), window(2, line("alice", output_tokens=1)))
    monkeypatch.setattr(replacing, "WINDOW_LINES_MAX", 1)
    with pytest.raises(Invalid, match="a window may have 1 lines"):
        told(ledger, window(3, line("alice", output_tokens=1), line("bob", output_tokens=1)))
    monkeypatch.setattr(buckets, "BUCKETS_MAX", 3)
    monkeypatch.setattr(buckets, "ROOM_FOR", 3)
    with pytest.raises(Invalid, match="as many as there may be"):
        told(ledger, window(4, line("alice", output_tokens=1)))
    later_us = NOW_US + (buckets.KEPT_DAYS + 2) * 24 * HOUR_US
    ledger.change(lambda session: buckets.make_room(session, NORTHWIND, later_us)).result()


def events(ledger: Writer) -> list[Mapping[str, int]]:
    """What the rated events of reports say, in the order in which they were made."""
    with ledger.reading() as session:
        lines = session.all("SELECT data FROM event WHERE account_id = 1 AND source <> '/live' AND rated = 1 ORDER BY at_us, id")
    said = [json.loads(data) for (data,) in lines]
    return [{name: value for name, value in each.items() if isinstance(value, int)} for each in said]


def corrections(ledger: Writer) -> list[tuple[str, str]]:
    with ledger.reading() as session:
        lines = session.all("SELECT detail FROM audit WHERE account_id = 1 AND action = 'usage.corrected' ORDER BY audit_id")
    details = [json.loads(detail) for (detail,) in lines]
    return sorted((each["user"], each["reason"]) for each in details)
