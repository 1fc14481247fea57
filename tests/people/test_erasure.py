"""A person is forgotten and the sums stay: everywhere the key is kept, whichever process remembers it."""

import json
from urllib.parse import quote

import httpx
import pytest

from tallyboard.people.erasure import PSEUDONYM, tells_who
from tests import engines
from tests.conftest import Server, event, refusal, tallyboard

CANARY = "Zerafina"
PERSON = "zerafina@example.com"
TABLES = ("app_user", "policy_override", "hold", "api_key", "audit", "event", "member")
DAY = "2026-11-01"


def erase(server: Server, user: str, **query: str) -> httpx.Response:
    return server.request("DELETE", f"/api/v1/users/{quote(user, safe='')}/profile", "admin", params=query)


def told(answer: httpx.Response) -> dict[str, object]:
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def units(server: Server) -> dict[str, int]:
    """Units by user on the day of all events."""
    return {user["user"]: user["units"] for user in server.usage(first=DAY, last=DAY)["users"]}


def fill(server: Server, user: str) -> None:
    """Everything that can be kept of a user."""
    server.send(event("1", user), event("2", user), event("3", "bob"))
    path = quote(user, safe="")
    server.request("PUT", f"/api/v1/users/{path}", "admin", json={"email": "z.quill@example.com", "name": f"{CANARY} Quill"})
    limit = {"limit": {"credits": "5"}, "reason": f"{CANARY} tests"}
    assert server.request("PUT", f"/api/v1/policy/overrides/{path}", "admin", json=limit).status_code == 200
    assert server.request("POST", "/api/v1/holds", "check", json={"user": user, "units": 1, "id": "held"}).status_code == 201


def everything(server: Server) -> str:
    """All that the ledger holds outside of the audit log, as text."""
    return "\n".join(str(engines.look(server.folder, f"SELECT * FROM {table}")) for table in TABLES if table != "audit")


def test_a_key_that_is_an_address_goes_everywhere_and_the_sums_stay(server: Server) -> None:
    fill(server, PERSON)
    bound = server.keys.make("ingest", "--user", PERSON)
    before = units(server)
    erased = told(erase(server, PERSON))
    key = str(erased["user"])
    assert erased == {"user": key, "replaced": True}
    assert key.startswith(PSEUDONYM)
    assert units(server) == {key: before[PERSON], "bob": before["bob"]}
    assert CANARY.casefold() not in everything(server).casefold()
    (user,) = server.request("GET", "/api/v1/users", "read", params={"search": key}).json()["users"]
    assert user == {"user": key, "email": None, "name": None, "alias_of": None, "aliases": []}
    own = server.request("GET", f"/api/v1/policy/overrides/{key}", "read").json()
    assert (own["limit"]["credits"], own["reason"]) == ("5.000000", "")
    (hold,) = server.request("GET", "/api/v1/holds", "read").json()["holds"]
    assert hold["user"] == key
    refused = server.request("POST", "/api/v1/events", "ingest", headers={"Authorization": f"Bearer {bound}"}, json=event("4"))
    assert refused.status_code == 401, "who has a key that was bound to the name does not go on under it"


def test_later_events_of_the_same_subject_begin_a_new_user(server: Server) -> None:
    server.send(event("1", PERSON), event("2", PERSON))
    key = str(told(erase(server, PERSON))["user"])
    assert server.send(event("1", PERSON), event("3", PERSON)) == {"accepted": 1, "duplicate": 1, "conflict": 0, "refused": []}
    assert units(server) == {key: 2_000_000, PERSON: 1_000_000}


def test_what_another_process_remembers_of_a_key_is_forgotten_too(server: Server) -> None:
    """The server has the user's number in memory; the command runs beside it."""
    server.send(event("1", PERSON))
    key = tallyboard("user", "erase", PERSON, data=server.folder).stdout.strip()
    server.send(event("2", PERSON))
    assert units(server) == {key: 1_000_000, PERSON: 1_000_000}
    again = json.loads(tallyboard("user", "erase", PERSON, "--json", data=server.folder).stdout)
    assert again["user"] not in {key, PERSON}
    server.send(event("3", PERSON))
    assert units(server) == {key: 1_000_000, again["user"]: 1_000_000, PERSON: 1_000_000}
    assert tallyboard("reconcile", data=server.folder).returncode == 0


def test_a_key_that_is_nobodys_name_stays_and_is_shown_short(server: Server) -> None:
    key = "0123456789abcdef0123456789abcdef"
    fill(server, key)
    assert told(erase(server, key)) == {"user": key, "replaced": False}
    assert CANARY not in everything(server)
    server.send(event("4", key))
    (shown,) = (user for user in server.usage(first=DAY, last=DAY)["users"] if user["user"] == key)
    assert (shown["units"], shown["email"], shown["label"]) == (3_000_000, None, "0123456789ab…89abcdef")


@pytest.mark.parametrize(("key", "choice", "replaced"), [("alice", "keep", False), ("u-17", "replace", True), ("u-17", "auto", False)])
def test_who_knows_better_says_what_becomes_of_the_key(server: Server, key: str, choice: str, replaced: bool) -> None:
    server.send(event("1", key))
    assert told(erase(server, key, key=choice))["replaced"] is replaced


def test_the_audit_log_says_that_it_was_done_and_not_who_it_was(server: Server) -> None:
    server.send(event("1", PERSON))
    server.request("PUT", f"/api/v1/users/{PERSON}", "admin", json={"email": PERSON, "name": CANARY})
    key = told(erase(server, PERSON))["user"]
    lines = [json.loads(line) for line in tallyboard("audit", "export", data=server.folder).stdout.splitlines()]
    assert (lines[-1]["action"], lines[-1]["detail"]) == ("user.erased", {"user": key, "replaced": True})
    assert CANARY.casefold() not in json.dumps(lines).casefold()
    tallyboard("audit", "verify", data=server.folder)


@pytest.mark.parametrize("user", ["a/b", "a//b", "/a", "a/profile", "zoë %41 ?#", "a/allowance"])
def test_any_key_can_be_named(server: Server, user: str) -> None:
    server.send(event("1", user), event("2", "bob"))
    key = told(erase(server, user, key="replace"))["user"]
    assert units(server) == {key: 1_000_000, "bob": 1_000_000}


def test_nothing_is_erased_by_who_may_not_or_of_nobody(shared_server: Server) -> None:
    shared_server.send(event("1", PERSON), event("2", None))
    for scopes, status in (("ingest", 403), ("read,check,adjust", 403)):
        answer = shared_server.request("DELETE", f"/api/v1/users/{PERSON}/profile", scopes)
        assert answer.status_code == status
    assert erase(shared_server, "never seen").status_code == 404
    assert erase(shared_server, "unattributed").status_code == 400
    assert erase(shared_server, PERSON, key="sometimes").status_code == 400
    assert shared_server.request("DELETE", f"/api/v1/users/{PERSON}", "admin").status_code == 405
    assert set(units(shared_server)) == {PERSON, "unattributed"}
    assert "nothing is kept" in refusal("user", "erase", "never seen", folder=shared_server.folder)


@pytest.mark.parametrize(
    ("key", "email", "name", "tells"),
    [
        ("alice@example.com", None, None, True),
        ("17@example.com", None, None, True),
        ("alice", None, None, True),
        ("Alice Smith 2", None, None, True),
        ("李", None, None, True),
        ("asmith2", "asmith@example.com", None, True),
        ("SMITH-2", None, "Alice Smith", True),
        ("u2-smith", "alice.smith@example.com", None, True),
        ("u-81f3", "alice@example.com", "Alice Smith", False),
        ("6f9619ff-8b86-d011-b42d-00c04fc964ff", "alice@example.com", "Alice", False),
        ("user-17", None, None, False),
        ("100042", "al@example.com", "Al Bo", False),
    ],
)
def test_a_key_is_taken_for_a_name_rather_than_not(key: str, email: str | None, name: str | None, tells: bool) -> None:
    assert tells_who(key, email, name) is tells
