"""No secret is anywhere but with whom it was given to: not in the data, a log, an address, an error, a metric or an export."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tallyboard.web.security import SESSION_COOKIE
from tests import engines
from tests.conftest import Server, event, serving, tallyboard
from tests.web.visitors import PASSWORD, Visitor, hidden, person

ALICE, BOB = "alice@example.com", "bob@example.com"
TYPED_INSTEAD = "hunter2-typed-into-the-email-field"
WRONG = "a wrong password of seven words here"
READABLE = ("/usage", "/usage.csv", "/policy", "/members", "/keys", "/audit", "/audit.csv", "/audit.ndjson", "/my", "/account", "/set-up")


class Told:
    """Everything the server said to people and programs after the secrets were given out."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def hear(self, answer: httpx.Response) -> httpx.Response:
        headers = [(name, value) for name, value in answer.headers.multi_items() if name != "set-cookie"]
        self.texts.append(f"{answer.request.url}\n{headers}\n{answer.text}")
        return answer


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with serving(folder, TALLYBOARD_LOG_LEVEL="debug") as running:
        yield running


def test_planted_secrets_are_found_nowhere(server: Server) -> None:
    told, secrets = Told(), {"password": PASSWORD, "wrong password": WRONG, "typed into the wrong field": TYPED_INSTEAD}
    person(server, ALICE)
    key = secrets["key"] = server.keys["admin,ingest,read,check"]
    secrets["link"] = server.sign_in_link().partition("token=")[2].partition("&")[0]
    with Visitor(server) as alice, Visitor(server) as bob:
        alice.sign_in(ALICE, WRONG)
        alice.sign_in(TYPED_INSTEAD, PASSWORD)
        assert alice.sign_in(ALICE).status_code == 303
        secrets["session"] = alice.client.cookies[SESSION_COOKIE]
        made = alice.fill_in("/keys?new=1", "/keys", **{"name": "app", "scope-read": "on", "expires": ""}).text
        secrets["key made on the page"] = re.findall(r"tb_[\w-]{20,}", made)[0]
        invited = alice.fill_in("/members?new=1", "/members/invite", email=BOB, role="member").text
        invitation = secrets["invitation"] = re.findall(r"token=([\w-]{20,})", invited)[0]
        accepted = bob.open(f"/invitation?token={invitation}")
        fields = hidden(accepted.text, "/invitation") | {"new": "umber seven brown kettles sing", "again": "umber seven brown kettles sing"}
        secrets["bob's password"] = fields["new"]
        assert bob.client.post("/invitation", data=fields).status_code == 303
        secrets["bob's session"] = bob.client.cookies[SESSION_COOKIE]
        for path in READABLE:
            told.hear(alice.open(path))
            told.hear(bob.open(path))
        told.hear(alice.client.post("/policy", data={"_csrf_token": "no"}))
    _ask_with(told, server, key)
    told.texts += [server.log, *(tallyboard(*command, data=server.folder).stdout for command in _COMMANDS), *_kept(server)]
    secrets["database password"] = "a-password-of-the-database-server"
    address = f"postgresql://tallyboard:{secrets['database password']}@db.invalid/tallyboard"
    for command in (("settings",), ("settings", "--json"), ("doctor",), ("usage",)):
        done = tallyboard(*command, check=False, TALLYBOARD_DATABASE_URL=address)
        told.texts.append(done.stdout + done.stderr)
    assert len(told.texts) > 40
    for name, secret in secrets.items():
        assert len(secret) > 20
        found = [text for text in told.texts if secret in text]
        assert not found, f"the {name} is in {found[0][:2_000]}"


def test_the_search_above_would_find_what_is_kept(server: Server) -> None:
    server.send(event("a-planted-id"))
    assert any("a-planted-id" in text for text in _kept(server))


_COMMANDS = (("doctor",), ("key", "list"), ("member", "list"), ("audit", "export"), ("audit", "verify"), ("policy", "history"))


def _ask_with(told: Told, server: Server, key: str) -> None:
    """Calls that go well and calls that fail, with the key where it belongs and where it does not."""
    right, wrong = {"authorization": f"Bearer {key}"}, {"authorization": f"Basic {key}"}
    for headers in (right, wrong, {**right, "content-encoding": "br"}):
        for method, path, body in (
            ("GET", "/usage", None),
            ("GET", "/usage?window=x", None),
            ("POST", "/events", b"{"),
            ("POST", "/events", b'[{"id": 1}]'),
            ("POST", "/check", b'{"user": "alice"}'),
            ("POST", "/holds", b'{"user": "alice"}'),
            ("PUT", "/policy", b'{"timezone": "nowhere"}'),
            ("GET", "/nowhere", None),
        ):
            told.hear(server.client.request(method, f"{server.url}/api/v1{path}", headers=headers, content=body))
    for path in ("/metrics", "/readyz", "/api/docs", "/api/docs/openapi.json"):
        told.hear(server.client.get(server.url + path))


def _kept(server: Server) -> list[str]:
    """All that is stored, as text."""
    if engines.NAME == "sqlite":
        return [each.read_bytes().decode("latin-1") for each in server.folder.iterdir() if each.is_file()]
    tables = engines.look(server.folder, "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()")
    return [repr(engines.look(server.folder, f"SELECT * FROM {table}")) for (table,) in tables]
