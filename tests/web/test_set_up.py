"""The first run: the printed link leads in, and to a page that asks who one is."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests import engines
from tests.conftest import Server, tallyboard, wait_until
from tests.web.visitors import PASSWORD, Visitor, hidden, person

ALICE = "alice@northwind.example"
FILLED_IN = {"email": " Alice@Northwind.example", "name": " Northwind ", "timezone": "Asia/Tokyo", "password": PASSWORD, "again": PASSWORD}


@pytest.fixture
def first(server: Server) -> Iterator[Visitor]:
    """Who opened the link that the server printed."""
    with Visitor(server) as visitor:
        answer = visitor.open(printed(server))
        assert (answer.status_code, answer.headers["location"]) == (303, "/set-up")
        yield visitor


def printed(server: Server) -> str:
    wait_until(lambda: re.search(r"^http\S+/sign-in\?token=\S+\n", server.log, re.MULTILINE) is not None, "the link is printed")
    (line,) = re.findall(r"^(http\S+/sign-in\?token=\S+)$", server.log, re.MULTILINE)
    return httpx.URL(line).raw_path.decode()


def test_who_fills_it_in_is_somebody_somewhere(server: Server, first: Visitor) -> None:
    answer = first.fill_in("/set-up", "/set-up", **FILLED_IN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/usage")
    assert "Days end at midnight, Asia/Tokyo" in first.open("/usage").text
    assert tallyboard("account", "show", data=server.folder).stdout == "Northwind\ndays end at midnight, Asia/Tokyo\n"
    assert engines.look(server.folder, "SELECT email FROM member") == [(ALICE,)]
    assert first.open("/set-up").headers["location"] == "/usage", "it is done once"
    with Visitor(server) as later:
        assert later.sign_in(ALICE).status_code == 303
    assert PASSWORD not in tallyboard("audit", "export", data=server.folder).stdout
    tallyboard("audit", "verify", data=server.folder)


def test_who_puts_it_off_is_signed_in_all_the_same(first: Visitor) -> None:
    assert first.open("/usage").status_code == 200
    assert first.open("/set-up").status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("email", "alice", "This is not an email address."),
        ("email", "Admin@localhost", "This is what the program calls who it does not know"),
        ("name", "  ", "A name has 1 to 80 printable characters."),
        ("name", "x" * 81, "A name has 1 to 80 printable characters."),
        ("timezone", "Mars/Olympus", "Mars/Olympus"),
        ("timezone", "../../etc/passwd", "passwd"),
        ("password", "password1234", "This password is one of the first"),
        ("again", "another one", "The two are not the same."),
    ],
)
def test_what_is_wrong_stands_beside_its_field_and_nothing_is_changed(
    server: Server, first: Visitor, field: str, value: str, words: str
) -> None:
    answer = first.fill_in("/set-up", "/set-up", **{**FILLED_IN, field: value})
    assert answer.status_code == 400
    problem = re.search(rf'<p class="field-problem" id="{field}-note" role="alert">([^<]*)</p>', answer.text)
    assert problem
    assert words in problem[1]
    assert PASSWORD not in answer.text
    assert engines.look(server.folder, "SELECT email, password_hash FROM member") == [("admin@localhost", None)]
    assert first.fill_in("/set-up", "/set-up", **FILLED_IN).status_code == 303


def test_it_is_for_the_first_administrator_alone(server: Server, first: Visitor) -> None:
    person(server, "dora@northwind.example")
    with Visitor(server) as nobody, Visitor(server) as dora:
        assert nobody.open("/set-up").headers["location"] == "/sign-in"
        dora.sign_in("dora@northwind.example")
        assert dora.open("/set-up").headers["location"] == "/usage"
        form = hidden(dora.open("/account").text, "/sign-out")
        assert dora.client.post("/set-up", data={**form, **FILLED_IN}).headers["location"] == "/usage"
        assert first.client.post("/set-up", data=FILLED_IN).status_code == 403
    assert ("admin@localhost",) in engines.look(server.folder, "SELECT email FROM member")


def test_the_link_works_once_and_is_printed_until_somebody_has_come(server: Server, first: Visitor) -> None:
    assert first.open(printed(server)).status_code == 403
    server.stop()
    server.start()
    assert "Nobody has signed in yet" not in server.log


@pytest.mark.parametrize("to", ["https://evil.example", "//evil.example", "/usage", "set-up/../x"])
def test_a_link_leads_nowhere_else(server: Server, to: str) -> None:
    link = httpx.URL(server.sign_in_link()).copy_add_param("to", to)
    with Visitor(server) as visitor:
        assert visitor.open(link.raw_path.decode()).headers["location"] == "/usage"
