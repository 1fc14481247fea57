"""What an attacker writes into every field that takes text, and what they put into addresses: none of it does anything.

Brute force, fixation, forged forms and redirects have tests of their own (test_passwords.py, test_sessions.py, test_authorization.py).
"""

import csv
import io
import json
import re
import socket
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import Server, event, tallyboard
from tests.web.test_authorization import ANYBODY, PAGES
from tests.web.visitors import Visitor, person

TAG = "<img src=x onerror=struck()>"
HOSTILE = f'=cmd|"/c calc"!A1"\'>{TAG}</title></script><script>struck()</script>{{{{7*7}}}}'
ALICE = "alice@example.com"
STATES = (
    "",
    "?user={}",
    "?q={}",
    "?search={}",
    "?day={}",
    "?window={}",
    "?actor={}",
    "?action={}",
    "?done={}",
    "?page={}",
    "?token={}",
    "?to={}",
)
"""The parameters that pages read, each with hostile text."""


@pytest.fixture(scope="module")
def alice(shared_server: Server) -> Iterator[Visitor]:
    """An administrator of an account in which every text is hostile."""
    server, folder = shared_server, shared_server.folder
    tallyboard("account", "set", "--name", HOSTILE[:80], data=folder)
    person(server, ALICE)
    server.send(
        event("1", HOSTILE),
        {**event("2", "bob"), "source": HOSTILE, "type": HOSTILE},
        event(HOSTILE, "bob", model=HOSTILE, conversations=1),
    )
    server.send(event("3", HOSTILE, conversations=-1, reason=HOSTILE), scopes="ingest,adjust")
    for user in (HOSTILE, "bob"):
        answer = server.request("PUT", f"/api/v1/users/{quote(user, safe='')}", "admin", json={"name": HOSTILE})
        assert answer.status_code == 200, answer.text
        limit = {"limit": {"credits": "0"}, "reason": HOSTILE}
        assert server.request("PUT", f"/api/v1/policy/overrides/{quote(user, safe='')}", "admin", json=limit).status_code == 200
    assert server.request("POST", "/api/v1/holds", "check", json={"user": "carol", "units": 1, "id": HOSTILE}).status_code == 201
    server.keys.make("read", "--name", HOSTILE[:80], "--user", HOSTILE)
    with Visitor(server, HOSTILE) as visitor:
        visitor.sign_in(HOSTILE, "wrong")
        assert visitor.sign_in(ALICE).status_code == 303
        yield visitor


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("row", PAGES)
def test_a_page_shows_hostile_text_as_text(alice: Visitor, row: str, state: str) -> None:
    answer = alice.open(row.removeprefix("GET ") + state.format(quote(HOSTILE)))
    assert answer.status_code in {200, 303, 400, 403, 404}
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.headers.get("content-type", "").startswith("text/html"):
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        _check_page(answer.text)


@pytest.mark.parametrize("path", ["/usage", "/policy", "/keys", "/audit", "/my", "/account"])
def test_the_text_is_there_to_be_seen(alice: Visitor, path: str) -> None:
    page = alice.open(path).text
    assert "&lt;img src=x onerror=struck()&gt;" in page or "&lt;img src=x onerro" in page, "the test would prove nothing"


@pytest.mark.parametrize("path", ["/usage.csv", "/audit.csv", "/my.csv"])
def test_no_cell_of_a_table_is_a_formula(alice: Visitor, path: str) -> None:
    answer = alice.open(path)
    if path == "/my.csv" and answer.status_code == 404:
        return  # Nobody's usage is linked to Alice.
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.reader(io.StringIO(answer.text)))
    assert len(lines) > 1
    for cell in (cell for line in lines for cell in line):
        assert not cell.startswith(("=", "@", "\t", "\r")), cell
        assert not re.match(r"[+-](?![0-9.]+$)", cell), cell


@pytest.mark.usefixtures("alice")
def test_the_api_answers_hostile_text_as_data(shared_server: Server) -> None:
    key = quote(HOSTILE, safe="")
    for path in (
        "/usage",
        "/users",
        f"/users/{key}/allowance",
        "/policy/overrides",
        f"/policy/overrides/{key}",
        "/policy/history",
        "/holds",
    ):
        answer = shared_server.request("GET", f"/api/v1{path}", "admin")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert HOSTILE[:60] in json.dumps(answer.json(), ensure_ascii=False).replace('\\"', '"')
    refused = shared_server.request("POST", "/api/v1/check", "check", json={"user": HOSTILE})
    assert refused.status_code == 429
    assert HOSTILE in refused.json()["detail"]


@pytest.mark.parametrize("row", PAGES)
@pytest.mark.parametrize("break_", ["%0d%0ax-struck:%201%0d%0a%0d%0a<script>", "%0ax-struck:%201", "%E5%98%8A%E5%98%8Dx-struck:%201"])
def test_no_address_puts_a_header_into_an_answer(alice: Visitor, row: str, break_: str) -> None:
    path = row.removeprefix("GET ")
    for query in ("user", "q", "to", "done", "token", "day", "from", "to"):
        answer = alice.open(f"{path}?{query}={break_}")
        assert "x-struck" not in answer.headers
        assert "\n" not in answer.headers.get("location", "")
        if answer.headers["content-type"].startswith("text/html"):
            _check_page(answer.text)


@pytest.mark.usefixtures("alice")
def test_no_text_puts_a_header_into_a_refusal(shared_server: Server) -> None:
    user = "a\u010d\u010ax-struck: 1"  # Letters whose last bytes are those of a line's end.
    key = quote(user, safe="")
    assert shared_server.request("PUT", f"/api/v1/policy/overrides/{key}", "admin", json={"limit": {"units": 0}}).status_code == 200
    refused = shared_server.request("POST", "/api/v1/check", "check", json={"user": user})
    assert refused.status_code == 429
    assert "x-struck" not in refused.headers
    listed = shared_server.request("GET", f"/api/v1/policy/overrides/{key}", "read")
    assert "x-struck" not in listed.headers


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../../../../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/assets/..%5c..%5cetc%5cpasswd",
        "/assets//etc/passwd",
        "/assets/%00/etc/passwd",
        "/assets/../templates/layout.html",
        "/assets/../app.py",
        "/../../../../etc/passwd",
        "//etc/passwd",
        "/api/docs/../../etc/passwd",
    ],
)
def test_no_path_leaves_the_assets(shared_server: Server, path: str) -> None:
    address = httpx.URL(shared_server.url)
    with socket.create_connection((address.host, address.port or 80)) as connection:  # A client would tidy the path before it asks.
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address.host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert b" 404 " in answer.split(b"\r\n", 1)[0]
    assert b"root:" not in answer
    assert b"import" not in answer
    assert b"{% " not in answer


@pytest.mark.usefixtures("alice")
def test_what_is_logged_stays_on_its_line(shared_server: Server) -> None:
    for text in ("one\r\nERROR forged by a user", "one\x1b[31mred"):
        shared_server.request("POST", "/api/v1/check", "check", json={"user": text})
        shared_server.client.get(f"{shared_server.url}/{quote(text)}", headers={"user-agent": "x"})
        shared_server.request("POST", "/api/v1/events", "ingest", json=event(text))
    assert "\nERROR forged" not in shared_server.log
    assert "\x1b" not in shared_server.log


def test_every_page_but_those_for_anybody_was_looked_at(alice: Visitor) -> None:
    for row, who in PAGES.items():
        answer: Any = alice.open(row.removeprefix("GET "))
        assert who == ANYBODY or answer.headers.get("location") != "/sign-in"


class _Elements(HTMLParser):
    """What a browser makes of a page: no element does anything but what our own files do."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        assert not any(name.startswith("on") for name in names), names
        assert tag not in {"iframe", "object", "embed", "base", "math"}, tag
        assert tag != "img" or "struck" not in str(names), names
        assert tag != "script" or str(names.get("src")).startswith("/assets/"), names
        for name in ("href", "src", "action", "formaction"):
            assert re.match(r"(/(?!/)|#|\?|$)", names.get(name) or ""), names


def _check_page(text: str) -> None:
    parser = _Elements()
    parser.feed(text)
    parser.close()
