"""`tallyboard import --format claude-code`: each call once by its final figures, and not a word of what was said."""

import json
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as some
from tests import engines
from tests.cli.tables import take
from tests.cli.transcripts import CANARY, answer, asked, usage, write
from tests.conftest import Server, refusal, tallyboard
from tests.intake.telemetry import CACHE_READ, CACHE_WRITE, END_NS, INPUT, OUTPUT, TOKENS_CARD, logs, pairs, post, price_tokens, units_of
from tests.intake.test_otlp_secrets import everything

from tallyboard.intake import claude_code
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.claude_code import Call
from tallyboard.intake.event import Refused
from tallyboard.rates import card
from tallyboard.rates.charge import Charger

OPTIONS = ("--format", "claude-code", "--user", "alice@example.com")


def projects(folder: Path) -> Path:
    """Two sessions, the second a resumed copy of the first, and a subagent's."""
    root = folder.parent / "projects"
    first = [
        {"type": "summary", "summary": CANARY, "leafUuid": "x"},
        asked(),
        answer(1, usage(3, 1000, 0, 1), seconds=1, stop_reason=None),
        answer(1, usage(3, 1000, 0, 1), seconds=2, stop_reason=None),
        answer(1, usage(3, 1000, 0, 250), seconds=3),
        asked(4),
        answer(2, usage(5, 200, 1000, 90), seconds=6),
        answer(3, None, seconds=7, model="<synthetic>"),
        answer(4, usage(0, 0, 0, 0), seconds=8),
        {**answer(5, usage(1, 0, 0, 1), seconds=9, model="<synthetic>"), "isApiErrorMessage": True},
    ]
    write(root / "-home-alice" / "b-first.jsonl", *first)
    resumed = [*first[:4], answer(6, usage(7, 0, 1200, 11), seconds=60, session="s2"), asked(61)]
    write(root / "-home-alice" / "a-resumed.jsonl", *resumed)
    write(
        root / "-home-alice" / "b-first" / "subagents" / "agent-1.jsonl",
        answer(7, usage(10, 0, 0, 20), seconds=5, model="claude-haiku-4-5"),
    )
    write(root / "notes.txt", b"not read")
    return root


def documents(folder: Path) -> dict[str, dict[str, object]]:
    return {row[0]: json.loads(row[1]) for row in engines.look(folder, "SELECT id, data FROM event")}


def test_every_call_counts_once_by_its_final_figures(folder: Path) -> None:
    tallyboard("rates", "set", TOKENS_CARD, data=folder)
    root = projects(folder)
    assert take(folder, root, *OPTIONS) == {"accepted": 4}
    found = documents(folder)
    assert found.keys() == {f"msg_000{number}:req_000{number}" for number in (1, 2, 6, 7)}
    assert found["msg_0001:req_0001"] == {
        "requests": 1,
        "model": "claude-sonnet-4-5",
        "input_tokens": 1003,
        "uncached_input_tokens": 3,
        "cache_read_tokens": 0,
        "cache_write_tokens": 1000,
        "output_tokens": 250,
        "response_id": "msg_0001",
        "provider_request_id": "req_0001",
    }
    answered = json.loads(tallyboard("usage", "--from", "2026-11-01", "--to", "2026-11-01", "--json", data=folder).stdout)
    large = (3 + 5 + 7) * INPUT + 1200 * CACHE_WRITE + 2200 * CACHE_READ + (250 + 90 + 11) * OUTPUT
    assert answered["total"]["units"] == large + 10 * 150 + 20 * 750
    assert [each["user"] for each in answered["users"]] == ["alice@example.com"]
    assert take(folder, root, *OPTIONS) == {"duplicate": 4}
    write(root / "c-forked.jsonl", answer(2, usage(5, 200, 1000, 90), seconds=6, session="s3"))
    assert take(folder, root / "-home-alice" / "b-first.jsonl", root, *OPTIONS) == {"duplicate": 4}


def test_a_call_that_may_still_run_waits_for_its_final_figures(folder: Path) -> None:
    now = datetime.now(UTC)
    old = answer(1, usage(1, 0, 0, 5))
    fresh = write(folder.parent / "p" / "a.jsonl", old, answer(2, usage(1, 0, 0, 1), at=now), b'{"type":"assistant","mess')
    done = tallyboard("import", fresh.parent, *OPTIONS, data=folder)
    assert done.stdout.startswith("1 accepted  0 duplicate  0 conflict  0 refused")
    assert "1 calls are left out, since they may still be running" in done.stderr
    write(fresh, old, answer(3, usage(1, 0, 0, 1), seconds=9, stop_reason=None))
    assert take(folder, fresh.parent, *OPTIONS) == {"duplicate": 1}
    write(fresh, old, answer(3, usage(1, 0, 0, 1), seconds=9, stop_reason=None), answer(3, usage(1, 0, 0, 70), seconds=11))
    assert take(folder, fresh.parent, *OPTIONS) == {"accepted": 1, "duplicate": 1}
    assert documents(folder)["msg_0003:req_0003"]["output_tokens"] == 70
    write(fresh, answer(3, usage(1, 0, 0, 80), seconds=11))
    assert take(folder, fresh.parent, *OPTIONS) == {"conflict": 1}


def test_nothing_that_was_said_or_done_is_kept_or_told(server: Server) -> None:
    root = projects(server.folder)
    bad = [
        {**answer(20, usage(1, 0, 0, 1)), "timestamp": None},
        answer(21, {"input_tokens": CANARY}),
        answer(22, usage(-1, 0, 0, 1)),
        {**answer(23, usage(1, 0, 0, 1)), "requestId": "x" * 300},
        answer(24, usage(1, 0, 0, 1), id=None),
        f'{{"type": "assistant", "message": {CANARY}\n'.encode(),
        b'{"type": "assistant", "note": "half a \\ud83d", ' + json.dumps(answer(25, usage(1, 0, 0, 1))).encode()[1:] + b"\n",
        b'{"type": "user", "message": "' + b"x" * 34_000_000 + b'"}\n',
    ]
    file = write(root / "bad" / "x.jsonl", *bad)
    done = tallyboard("import", root, *OPTIONS, data=server.folder)
    assert done.stdout.startswith("5 accepted  0 duplicate  0 conflict  7 refused")
    assert [f"{file} line {number}: " in done.stderr for number in range(1, 9)] == [True] * 6 + [False, True]
    server.stop()
    stored = everything(server)
    assert "req_0025" in stored
    assert CANARY not in stored + server.log + done.stdout + done.stderr
    assert "projects" not in stored


def test_a_call_that_telemetry_told_of_too_counts_once(server: Server) -> None:
    price_tokens(server)
    said = pairs(
        event__name="api_request",
        model="claude-sonnet-4-5",
        input_tokens=3,
        output_tokens=250,
        request_id="req_0001",
        user__email="alice@example.com",
    )
    told = {"timeUnixNano": str(END_NS), "attributes": said}
    assert post(server, "logs", logs(told, service__name="claude-code")).status_code == 200
    before = units_of(server, "alice@example.com")
    assert before == 3 * INPUT + 250 * OUTPUT
    write(server.folder.parent / "a.jsonl", answer(1, usage(3, 0, 0, 250), at=datetime.fromtimestamp(END_NS // 10**9, UTC)))
    assert take(server.folder, server.folder.parent / "a.jsonl", *OPTIONS) == {"set_aside": 1}
    assert units_of(server, "alice@example.com") == before


def test_whose_transcripts_they_are_must_be_said(folder: Path) -> None:
    root = projects(folder)
    assert "say it: --user alice@example.com" in refusal("import", root, "--format", "claude-code", folder=folder)
    assert "control character" in refusal("import", root, "--format", "claude-code", "--user", "a\nb", folder=folder)
    assert "--user is for --format claude-code" in refusal("import", root / "notes.txt", "--user", "alice", folder=folder)
    (root / "-home-alice" / "b-first" / "nothing").mkdir()
    assert "there are no files *.jsonl" in refusal("import", root / "-home-alice" / "b-first" / "nothing", *OPTIONS, folder=folder)
    assert not folder.exists()


_values = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False)
    | some.text(max_size=20)
    | some.just({})
    | some.just([[]])
)
_odd = some.fixed_dictionaries(
    {"type": some.just("assistant")},
    optional={
        "timestamp": _values | some.just("2026-11-01T12:00:00Z"),
        "requestId": _values,
        "message": _values
        | some.fixed_dictionaries(
            {"id": _values | some.just("msg_1")},
            optional={
                "model": _values,
                "stop_reason": _values,
                "usage": some.dictionaries(some.sampled_from(["input_tokens", "output_tokens", "cache_read_input_tokens"]), _values),
            },
        ),
    },
).map(lambda each: json.dumps(each).encode())


@settings(max_examples=400)
@given(_odd | some.binary(max_size=40))
def test_any_line_is_a_call_a_refusal_or_no_usage(line: bytes) -> None:
    found = claude_code.read(line)
    assert found is None or isinstance(found, Call | Refused)
    if isinstance(found, Call):
        charger = Charger(card.read(TOKENS_CARD.read_text()))
        accepted = accept([claude_code.event(found, "alice")], Sender(), charger, END_NS // 1000)
        assert len(accepted.entries) + len(accepted.refused) == 1
