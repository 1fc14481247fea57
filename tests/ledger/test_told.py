"""One truth: a call that several sources tell counts once, and of a user only the source of record (laws 2, 3 and 7)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from tallyboard import days
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger.contract import Batch, Outcome
from tallyboard.ledger.told import EVERY_SOURCE
from tallyboard.ledger.writer import Writer
from tallyboard.people import source_of_record
from tallyboard.usage.question import Question, answer
from tests.ledger.books import AT_US, CHARGER, CONTOSO, CONVERSATION, NORTHWIND, NOW_US, SPAN, open_ledger

MIDNIGHT_US = AT_US // 86_400_000_000 * 86_400_000_000
Told = tuple[str, str, str, str | None]
"""source, id, user, and the id that the model's provider gave the call."""


@pytest.fixture
def ledger(folder: Path) -> Iterator[Writer]:
    opened = open_ledger(folder)
    yield opened
    opened.close()


def batch(*told: Told, account_id: int = NORTHWIND, at_us: int = AT_US, field: str = "response_id") -> Batch:
    """One conversation each."""
    time = days.instant(at_us).isoformat()
    items = [
        CloudEvent("1.0", name, source, "ai.usage.recorded", user, time, {"conversations": 1, **({field: call} if call else {})})
        for source, name, user, call in told
    ]
    accepted = accept(items, Sender(), CHARGER, NOW_US)
    assert not accepted.refused
    return Batch(account_id, accepted.entries, NOW_US, "test")


def tell(ledger: Writer, *told: Told, at_us: int = AT_US) -> Outcome:
    return ledger.append(batch(*told, at_us=at_us)).result()


def used(ledger: Writer, account_id: int = NORTHWIND) -> dict[str, int]:
    """Conversations by user."""
    with ledger.reading() as session:
        report = answer(session, account_id, Question(SPAN), NOW_US)
    found = {user.user: user.units // CONVERSATION for user in report.users}
    assert sum(found.values()) * CONVERSATION == report.units
    return found


def choose(ledger: Writer, source: str | None, user: str | None = None) -> None:
    if user is None:
        ledger.change(lambda session: source_of_record.choose(session, NORTHWIND, source, "test", NOW_US)).result()
    else:
        ledger.change(lambda session: source_of_record.choose_for(session, NORTHWIND, user, source, "test", NOW_US)).result()


def test_what_another_source_tells_of_a_call_is_set_aside(ledger: Writer) -> None:
    assert tell(ledger, ("litellm", "1", "alice", "chatcmpl-1")) == Outcome(accepted=1)
    assert tell(ledger, ("copilot", "a", "alice", "chatcmpl-1"), ("copilot", "b", "alice", "chatcmpl-2")) == Outcome(
        accepted=1, set_aside=1
    )
    assert tell(ledger, ("litellm", "2", "alice", "chatcmpl-2")) == Outcome(set_aside=1)
    assert used(ledger) == {"alice": 2}


def test_told_again_it_is_set_aside_again_and_what_counted_is_a_duplicate(ledger: Writer) -> None:
    for outcome in (Outcome(accepted=1, set_aside=1), Outcome(duplicate=1, set_aside=1)):
        assert tell(ledger, ("litellm", "1", "alice", "r"), ("copilot", "a", "alice", "r")) == outcome
    assert used(ledger) == {"alice": 1}


def test_one_source_may_give_many_calls_one_response_id(ledger: Writer) -> None:
    """As the mock servers of tests do."""
    assert tell(ledger, ("app", "1", "alice", "mock"), ("app", "2", "alice", "mock")) == Outcome(accepted=2)
    assert tell(ledger, ("app", "3", "alice", "mock")) == Outcome(accepted=1)


def test_a_call_is_known_by_the_providers_request_id_too(ledger: Writer) -> None:
    assert ledger.append(batch(("claude-code", "1", "alice", "req_1"), field="provider_request_id")).result() == Outcome(accepted=1)
    assert tell(ledger, ("proxy", "1", "alice", "req_1")) == Outcome(set_aside=1)


@pytest.mark.parametrize("apart_us", [-1_000_000, 1_000_000])
def test_a_call_around_midnight_is_one_call(ledger: Writer, apart_us: int) -> None:
    assert tell(ledger, ("litellm", "1", "alice", "r"), at_us=MIDNIGHT_US) == Outcome(accepted=1)
    assert tell(ledger, ("copilot", "1", "alice", "r"), at_us=MIDNIGHT_US + apart_us) == Outcome(set_aside=1)


def test_an_id_of_another_day_is_another_call(ledger: Writer) -> None:
    assert tell(ledger, ("litellm", "1", "alice", "r")) == Outcome(accepted=1)
    assert tell(ledger, ("copilot", "1", "alice", "r"), at_us=AT_US - 2 * 86_400_000_000) == Outcome(accepted=1)


def test_the_calls_of_two_accounts_do_not_meet(ledger: Writer) -> None:
    assert tell(ledger, ("litellm", "1", "alice", "r")) == Outcome(accepted=1)
    assert ledger.append(batch(("copilot", "1", "charlie", "r"), account_id=CONTOSO)).result() == Outcome(accepted=1)
    assert used(ledger, CONTOSO) == {"charlie": 1}


def test_the_settling_of_a_hold_counts_whoever_told_before_and_others_are_set_aside_after(ledger: Writer) -> None:
    assert tell(ledger, ("copilot", "1", "alice", "r")) == Outcome(accepted=1)
    for call in ("r", "s"):
        settled = structs.replace(batch(("litellm", call, "alice", call)), settles=True)
        assert ledger.append(settled).result() == Outcome(accepted=1)
    assert tell(ledger, ("copilot", "2", "alice", "s")) == Outcome(set_aside=1)


def test_of_an_account_with_a_source_of_record_only_that_one_counts_from_then_on(ledger: Writer) -> None:
    assert tell(ledger, ("copilot", "1", "alice", None)) == Outcome(accepted=1)
    choose(ledger, "litellm")
    assert tell(ledger, ("copilot", "2", "alice", None), ("litellm", "1", "bob", None)) == Outcome(accepted=1, set_aside=1)
    assert tell(ledger, ("copilot", "1", "alice", None)) == Outcome(duplicate=1)
    choose(ledger, None)
    assert tell(ledger, ("copilot", "2", "alice", None)) == Outcome(accepted=1)


def test_a_user_may_have_another_source_of_record_than_the_account(ledger: Writer) -> None:
    tell(ledger, ("app", "0", "alice", None), ("app", "1", "bob", None))
    choose(ledger, "litellm")
    choose(ledger, "copilot", "alice")
    choose(ledger, EVERY_SOURCE, "bob")
    told = [(source, "x", user, None) for source in ("litellm", "copilot", "app") for user in ("alice", "bob", "new")]
    told = [(source, f"{user}-{name}", user, call) for source, name, user, call in told]
    assert tell(ledger, *told) == Outcome(accepted=5, set_aside=4)
    assert used(ledger) == {"alice": 2, "bob": 4, "new": 1}
    choose(ledger, None, "alice")
    assert tell(ledger, ("copilot", "y", "alice", None)) == Outcome(set_aside=1)


Tellings = st.lists(
    st.tuples(st.sampled_from(["app", "litellm", "copilot"]), st.integers(0, 12), st.sampled_from([None, "r", "s", "t"])), max_size=30
)


@settings(max_examples=25, derandomize=True)
@given(st.lists(Tellings, max_size=4))
def test_whoever_tells_what_first_is_counted_and_the_others_never(parts: Sequence[Sequence[tuple[str, int, str | None]]]) -> None:
    """Beside a recount by hand: the first source of a call owns it; an id of a source counts once. `call` belongs to the id, as in life."""
    owners: dict[str, str] = {}
    counted: set[tuple[str, int]] = set()
    calls: dict[tuple[str, int], str | None] = {}
    with TemporaryDirectory() as folder:
        ledger = open_ledger(Path(folder))
        try:
            for part in parts:
                told = [(source, number, calls.setdefault((source, number), call)) for source, number, call in part]
                outcome = tell(ledger, *((source, str(number), "alice", call) for source, number, call in told))
                new = set()
                for source, number, call in told:
                    if (source, number) not in counted and (call is None or owners.setdefault(call, source) == source):
                        new.add((source, number))
                        counted.add((source, number))
                assert outcome.accepted == len(new)
                assert outcome.accepted + outcome.duplicate + outcome.conflict + outcome.set_aside == len(told)
            assert used(ledger).get("alice", 0) == len(counted)
        finally:
            ledger.close()
