"""The command line: what it prints, what it answers to programs, and how it ends."""

import gzip
import json
import socket
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import engines
from tests.conftest import Server, environment, event, tallyboard, wait_until
from tests.program import PROGRAM

NOTHING = {"accepted": 0, "duplicate": 0, "conflict": 0, "refused": 0, "unrated": 0, "unattributed": 0}
CARD = '[[meters]]\nname = "tokens"\ntype = "ai.usage.recorded"\nvalue = "tokens"\nrates = [{ per_credit = 1_000 }]\n'


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in events)


def take(folder: Path, *arguments: object, stdin: bytes = b"") -> dict[str, int]:
    """Import; the last line that was printed, as counts beyond zero."""
    printed = tallyboard("import", *arguments, "--json", data=folder, stdin=stdin).stdout
    counts = json.loads(printed.splitlines()[-1])
    assert counts.keys() == NOTHING.keys()
    return {name: count for name, count in counts.items() if count}


def sql(folder: Path, statement: str) -> list[Any]:
    return engines.look(folder, statement)


def total(folder: Path, *more: str) -> int:
    answer = json.loads(tallyboard("usage", "--from", "2026-11-01", "--to", "2026-11-01", "--json", *more, data=folder).stdout)
    return int(answer["total"]["units"])


def refused(*arguments: object, code: int = 1, **more: Any) -> str:
    """A command that fails: one sentence on stderr, no stack trace, nothing on stdout."""
    done = tallyboard(*arguments, check=False, **more)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    return done.stderr


# import


def test_import_tells_what_became_of_every_line(folder: Path) -> None:
    file = folder.parent / "events.ndjson"
    good = [event("1"), event("2"), event("1"), event("2", conversations=9), {**event("3"), "type": "other"}, event("4", None)]
    file.write_bytes(
        lines(*good, event("5", time="never"), {"id": 6}) + b"not json\n\n" + b'{"data": 1e' + b"9" * 30 + b"}\n" + lines(event("7"))[:-1]
    )
    assert take(folder, file) == {"accepted": 5, "duplicate": 1, "conflict": 1, "refused": 4, "unrated": 1, "unattributed": 1}
    told = tallyboard("import", file, data=folder)
    assert told.stdout.split("  ")[:4] == ["0 accepted", "6 duplicate", "1 conflict", "4 refused"]
    assert [f"line {number}: " in told.stderr for number in range(6, 13)] == [False, True, True, True, False, True, False]


def test_import_reads_standard_input_gzip_and_several_files(folder: Path) -> None:
    packed = folder.parent / "packed.gz"
    packed.write_bytes(gzip.compress(lines(event("1"), event("2"))) + gzip.compress(lines(event("3"))))
    plain = folder.parent / "plain"
    plain.write_bytes(lines(event("3"), event("4")))
    empty = folder.parent / "empty"
    empty.write_bytes(b"")
    assert take(folder, packed, plain, empty) == {"accepted": 4, "duplicate": 1}
    assert take(folder, "-", stdin=lines(event("5"))) == {"accepted": 1}
    assert take(folder, "-", stdin=gzip.compress(lines(event("5"), event("6")))) == {"accepted": 1, "duplicate": 1}
    assert total(folder) == 6_000_000


@pytest.mark.parametrize("end", [-4, -20], ids=["checksum", "content"])
def test_import_of_a_gzip_cut_short_keeps_what_came_before_and_fails(folder: Path, end: int) -> None:
    file = folder.parent / "cut.gz"
    file.write_bytes(gzip.compress(lines(*(event(f"{number}") for number in range(12_000))), 1)[:end])
    assert "cannot be read after line" in refused("import", file, "--json", data=folder)
    kept = sql(folder, "SELECT count(*) FROM event")[0][0]
    assert 5_000 <= kept <= 12_000
    tallyboard("reconcile", data=folder)


def test_import_of_garbled_gzip_fails_in_words(folder: Path) -> None:
    file = folder.parent / "garbled.gz"
    file.write_bytes(gzip.compress(lines(event("1")))[:14] + b"\xff\x00" * 40)
    assert "garbled.gz cannot be read" in refused("import", file, "--json", data=folder)


def test_strict_import_stops_at_the_first_refused_line(folder: Path) -> None:
    file = folder.parent / "events.ndjson"
    file.write_bytes(lines(event("1"), event("2", time="never"), event("3")))
    told = refused("import", file, "--strict", "--json", data=folder)
    assert "line 2: bad_time" in told
    assert sql(folder, "SELECT count(*) FROM event") == [(0,)]


def test_import_of_a_missing_file_or_a_folder_is_told(folder: Path) -> None:
    assert "nowhere.ndjson" in refused("import", "nowhere.ndjson", data=folder)
    assert str(folder.parent) in refused("import", folder.parent, data=folder)


def test_very_long_lines_are_refused_one_by_one(folder: Path) -> None:
    file = folder.parent / "long.ndjson"
    file.write_bytes(lines(event("1"), event("2", note="x" * 5_000_000), event("3"), event("4", note="y" * 70_000), event("5")))
    assert take(folder, file) == {"accepted": 3, "refused": 2}


# usage, account, rates, reconcile


def test_usage_is_the_same_answer_on_the_command_line_and_over_http(server: Server) -> None:
    server.send(event("1"), event("2", "zoë", conversations=7), event("3", "=1+1", time="2026-11-02T03:30:00Z"))
    for query in (
        {"first": "2026-10-30", "last": "2026-11-03"},
        {"first": "2026-11-01", "last": "2026-11-02", "user": "zoë"},
        {"window": "7", "timezone": "Asia/Kathmandu"},
        {"first": "2026-11-01", "last": "2026-11-01", "top": "1", "timezone": "America/New_York"},
    ):
        options = [part for name, value in query.items() for part in (f"--{ {'first': 'from', 'last': 'to'}.get(name, name) }", value)]
        printed = json.loads(tallyboard("usage", *options, "--json", data=server.folder).stdout)
        asked = server.usage(**query)
        del printed["complete_through"], asked["complete_through"]
        assert printed == asked
    as_csv = server.request(
        "GET", "/api/v1/usage", "read", params={"from": "2026-11-01", "to": "2026-11-02"}, headers={"Accept": "text/csv"}
    )
    assert tallyboard("usage", "--from", "2026-11-01", "--to", "2026-11-02", "--csv", data=server.folder).stdout == as_csv.text
    assert "'=1+1" in as_csv.text


def test_keys_are_made_listed_and_revoked_beside_a_running_server(server: Server) -> None:
    made = json.loads(
        tallyboard(
            "key", "create", "--name", "app", "--scopes", "ingest,read", "--user", "bob", "--expires", 30, "--json", data=server.folder
        ).stdout
    )
    assert made.keys() == {"key", "id"}
    (listed,) = json.loads(tallyboard("key", "list", "--json", data=server.folder).stdout)
    assert (listed["id"], listed["scopes"], listed["user"], listed["valid"]) == (made["id"], ["ingest", "read"], "bob", True)
    headers = {"Authorization": f"Bearer {made['key']}"}
    url = f"{server.url}/api/v1/events"
    assert server.client.post(url, headers=headers, json=event("1")).status_code == 204
    tallyboard("key", "revoke", made["id"], data=server.folder)
    assert server.client.post(url, headers=headers, json=event("2")).status_code == 401
    assert "revoked" in tallyboard("key", "list", data=server.folder).stdout
    ((kept,),) = engines.look(server.folder, "SELECT secret_hash FROM api_key")
    assert kept == sha256(made["key"].encode()).digest()
    assert made["id"] in refused("key", "revoke", made["id"], data=server.folder)
    assert "'fly'" in refused("key", "create", "--name", "x", "--scopes", "ingest,fly", data=server.folder)


def test_the_account_is_renamed_and_moved_and_history_regrouped(folder: Path) -> None:
    take(folder, "-", stdin=lines(event("1", time="2026-11-01T00:30:00Z"), event("2", time="2026-11-01T23:30:00Z")))
    assert total(folder) == 2_000_000
    moved = json.loads(tallyboard("account", "set", "--timezone", "America/New_York", "--name", "Northwind", "--json", data=folder).stdout)
    assert moved == {"name": "Northwind", "timezone": "America/New_York"}
    assert total(folder) == 1_000_000
    assert total(folder, "--timezone", "UTC") == 2_000_000
    assert "Mars/Olympus" in refused("account", "set", "--timezone", "Mars/Olympus", data=folder)
    assert "80" in refused("account", "set", "--name", "x" * 81, data=folder)
    shown = json.loads(tallyboard("account", "show", "--json", data=folder).stdout)
    assert shown == moved


def test_rates_are_checked_set_shown_and_applied_to_the_past(folder: Path) -> None:
    take(folder, "-", stdin=lines(event("1", tokens=500), event("2", conversations=1), event("3", time="2026-10-01T00:00:00Z", tokens=500)))
    card = folder.parent / "card.toml"
    card.write_text(CARD.replace("per_credit = 1_000", "per_credit = 0"))
    wrong = tallyboard("rates", "check", card, check=False)
    assert (wrong.returncode, wrong.stdout.startswith(f"{card}:5: meter 1: per_credit")) == (1, True)
    assert "line 5" in refused("rates", "set", card, data=folder)
    card.write_text(CARD)
    assert json.loads(tallyboard("rates", "check", card, "--json").stdout)["ok"]
    tallyboard("rates", "set", card, data=folder)
    assert tallyboard("rates", "show", data=folder).stdout == CARD
    assert total(folder) == 1_000_000  # Past charges stay.
    done = json.loads(tallyboard("rates", "apply", "--since", "2026-11-01", "--json", data=folder).stdout)
    assert (done["events"], done["changed"], done["units"]) == (2, 2, 300_000_000 - 1_000_000)
    assert total(folder) == 300_000_000
    again = json.loads(tallyboard("rates", "apply", "--since", "2026-11-01", "--json", data=folder).stdout)
    assert (again["changed"], again["units"]) == (0, 0)
    tallyboard("reconcile", data=folder)
    assert [row[0] for row in sql(folder, "SELECT action FROM audit WHERE action LIKE 'rates.%' ORDER BY audit_id")] == [
        "rates.set"
    ] * 2 + ["rates.applied"] * 2


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE slot_usage SET units = units + 7", "slot 2026-11-01T12:00:00.000Z user 1: +7 units"),
        ("UPDATE day_usage SET events = 0", "day 2026-11-01 user 1: +0 units, -1 events"),
        ("UPDATE day_total SET units = units - 1", "total 2026-11-01 user 0: -1 units"),
        ("DELETE FROM event", "slot 2026-11-01T12:00:00.000Z user 1: +1,000,000 units, +1 events"),
        ("DELETE FROM day_usage", "day 2026-11-01 user 1: -1,000,000 units"),
    ],
)
def test_reconcile_names_where_a_rollup_is_wrong(folder: Path, damage: str, named: str) -> None:
    take(folder, "-", stdin=lines(event("1")))
    assert tallyboard("reconcile", data=folder).returncode == 0
    sql(folder, damage)
    found = tallyboard("reconcile", data=folder, check=False)
    assert found.returncode == 1
    assert named in found.stdout
    assert json.loads(tallyboard("reconcile", "--json", data=folder, check=False).stdout)["differences"]


def test_reconcile_and_a_zone_change_hold_beyond_fifteen_billion_credits(folder: Path) -> None:
    """Each cell fits 64 bits; their sum does not."""
    big = {"conversations": 600_000_000_000}
    stdin = lines(*(event(f"{day} {number}", time=f"2026-11-0{day}T12:00:00Z", **big) for day in (1, 2) for number in range(15)))
    assert take(folder, "-", stdin=stdin) == {"accepted": 30}
    assert json.loads(tallyboard("reconcile", "--json", data=folder).stdout)["units"] == 30 * 10**9 * 600_000_000
    both = json.loads(tallyboard("usage", "--from", "2026-11-01", "--to", "2026-11-02", "--json", data=folder).stdout)
    assert both["total"]["units"] == 30 * 10**9 * 600_000_000
    tallyboard("account", "set", "--timezone", "Asia/Tokyo", data=folder)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("usage", "--json", "--csv"),
        ("import",),
        ("key", "create"),
        ("account", "set"),
        ("serve", "--port", "many"),
        ("rates", "apply", "--since", "soon"),
        ("key", "create", "--name", "x", "--scopes", "read", "--expires", "soon"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(folder: Path, arguments: tuple[str, ...]) -> None:
    assert refused(*arguments, code=2, data=folder)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--window", "8"),
        ("--from", "2026-11-01"),
        ("--from", "2026-11-02", "--to", "2026-11-01"),
        ("--top", "201"),
        ("--timezone", "Mars/X"),
        ("--from", "1999-01-01", "--to", "2026-01-01"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_in_words(folder: Path, arguments: tuple[str, ...]) -> None:
    assert refused("usage", *arguments, data=folder).startswith("tallyboard: ")


# demo


def test_the_demo_reaches_a_signed_in_page(tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    with printed.open("wb") as out, (tmp_path / "said").open("wb") as err:
        demo = subprocess.Popen(
            [PROGRAM, "demo", "--no-browser", "--port", "0"], stdout=out, stderr=err, env=environment(TMPDIR=str(tmp_path))
        )
    try:
        wait_until(lambda: printed.read_text().endswith("\n") or demo.poll() is not None, "the demo prints its link", 60)
        (link,) = printed.read_text().split()
        with httpx.Client(follow_redirects=True, timeout=30) as browser:
            page = browser.get(link)
            assert (page.status_code, page.url.path) == (200, "/usage")
            assert "Credit Usage" in page.text
            assert "Northwind" in page.text
        with httpx.Client(follow_redirects=True, timeout=30) as another:
            assert another.get(link).url.path == "/sign-in"
    finally:
        demo.terminate()
        assert demo.wait(20) in {0, -15, 143}
    assert not list(tmp_path.glob("tallyboard-demo-*"))


def test_a_port_in_use_is_told(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "choose another with --port" in refused("serve", "--port", taken.getsockname()[1], data=folder)


def test_a_command_loads_only_what_it_needs() -> None:
    """Starting is what most commands take longest for: what a page, a provider or telemetry needs is not loaded to make a key."""
    loaded = "import sys; sys.argv[1:] = ['key', '--help']; import tallyboard.cli, atexit; atexit.register(lambda: print(*sys.modules)); tallyboard.cli.main()"
    done = subprocess.run([sys.executable, "-P", "-c", loaded], capture_output=True, check=True, text=True, env=environment())
    modules = set(done.stdout.splitlines()[-1].split())
    assert "tallyboard.cli.key" in modules
    assert not modules & {"httpx", "google.protobuf", "jinja2", "litestar", "psycopg", "pyarrow", "tallyboard.cli.serving"}
