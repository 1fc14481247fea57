"""Sessions: seen, ended one by one or everywhere, and by themselves."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallyboard import clock
from tallyboard.people.sessions import browser_words
from tests import engines
from tests.cli.test_commands import refused
from tests.conftest import Server, serving
from tests.web.visitors import PASSWORD, Visitor, hidden, person, said

ALICE, BOB = "alice@northwind.example", "bob@northwind.example"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1"
HOUR_US = 3_600_000_000


@pytest.fixture
def alice(server: Server) -> Iterator[Visitor]:
    person(server, ALICE)
    with Visitor(server) as visitor:
        visitor.sign_in(ALICE)
        yield visitor


@pytest.fixture
def phone(server: Server, alice: Visitor) -> Iterator[Visitor]:
    """The same person, somewhere else."""
    assert alice.is_in
    with Visitor(server, PHONE) as visitor:
        visitor.sign_in(ALICE)
        yield visitor


def listed(visitor: Visitor) -> list[str]:
    return re.findall(r"<li>\s*<div><b>(.*?)</b>", visitor.open("/account").text)


def ids(visitor: Visitor) -> list[str]:
    return re.findall(r'name="session" value="(\w+)"', visitor.open("/account").text)


def test_a_member_sees_every_session_and_which_is_this_one(alice: Visitor, phone: Visitor) -> None:
    assert listed(alice) == ["Firefox on Linux", "Safari on iPhone"]
    assert listed(phone) == ["Safari on iPhone", "Firefox on Linux"]
    page = alice.open("/account").text
    assert page.count("this one") == 1
    assert re.search(r"signed in today, \d\d:\d\d · last used now", page)


def test_one_session_is_ended_and_the_other_stays(alice: Visitor, phone: Visitor) -> None:
    (place,) = ids(alice)
    answer = alice.fill_in("/account", "/account/sessions/end", session=place)
    assert answer.headers["location"] == "/account?done=session"
    assert alice.is_in
    assert not phone.is_in


def test_nobody_ends_the_session_of_somebody_else(server: Server, alice: Visitor) -> None:
    person(server, BOB)
    with Visitor(server) as bob, Visitor(server, PHONE) as bobs_phone:
        bob.sign_in(BOB)
        bobs_phone.sign_in(BOB)
        (place,) = ids(bob)
        form = hidden(alice.open("/account").text, "/account/sessions/end-all")
        assert alice.client.post("/account/sessions/end", data={**form, "session": place}).status_code == 303
        assert bobs_phone.is_in


def test_signing_out_everywhere_ends_all_of_them_here_too(server: Server, alice: Visitor, phone: Visitor) -> None:
    answer = alice.fill_in("/account", "/account/sessions/end-all")
    assert answer.headers["location"] == "/sign-in"
    assert not alice.is_in
    assert not phone.is_in
    ((detail,),) = engines.look(server.folder, "SELECT detail FROM audit WHERE account_id = 1 AND action = 'member.signed_out_everywhere'")
    assert detail == '{"sessions_ended":2}'


@pytest.mark.parametrize("action", ["/account/sessions/end", "/account/sessions/end-all"])
def test_a_forged_form_ends_nothing(alice: Visitor, phone: Visitor, action: str) -> None:
    (place,) = ids(alice)
    assert alice.client.post(action, data={"session": place}).status_code == 403
    assert alice.client.post(action, data={"session": place, "_csrf_token": "0" * 64}).status_code == 403
    own = hidden(alice.open("/account").text, "/account/sessions/end-all")
    assert alice.client.post(action, data={**own, "session": place}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert phone.is_in


def test_signing_in_again_ends_the_session_the_browser_had(alice: Visitor) -> None:
    before = alice.client.cookies["tallyboard_session"]
    page = alice.open("/account").text
    alice.fill_in("/account", "/sign-out")
    assert hidden(page, "/sign-out")
    alice.client.cookies.set("tallyboard_session", before)
    assert not alice.is_in
    alice.client.cookies.delete("tallyboard_session")
    alice.sign_in(ALICE)
    assert alice.client.cookies["tallyboard_session"] != before


def test_a_link_opened_in_a_browser_that_is_signed_in_begins_anew(server: Server, alice: Visitor) -> None:
    import httpx  # noqa: PLC0415

    before = alice.client.cookies["tallyboard_session"]
    alice.open(httpx.URL(server.sign_in_link()).raw_path.decode())
    assert "admin@localhost" in alice.open("/account").text
    with Visitor(server) as thief:
        thief.client.cookies.set("tallyboard_session", before)
        assert not thief.is_in


def test_a_session_that_nobody_uses_ends(server: Server, alice: Visitor) -> None:
    engines.look(server.folder, f"UPDATE session SET seen_us = {clock.now_us() - 11 * HOUR_US}")
    assert alice.is_in, "eleven hours are not too long, and now it was used"
    engines.look(server.folder, f"UPDATE session SET created_us = {clock.now_us() - 13 * HOUR_US}")
    assert alice.is_in
    engines.look(server.folder, f"UPDATE session SET seen_us = {clock.now_us() - 12 * HOUR_US}")
    assert not alice.is_in


def test_one_that_is_used_every_day_ends_after_fourteen(server: Server, alice: Visitor) -> None:
    engines.look(server.folder, f"UPDATE session SET expires_us = {clock.now_us()}")
    assert not alice.is_in


def test_a_page_that_refreshes_itself_is_no_use(server: Server, alice: Visitor) -> None:
    eleven = clock.now_us() - 11 * HOUR_US
    engines.look(server.folder, f"UPDATE session SET seen_us = {eleven}")
    assert alice.open("/usage?axis=600000000").status_code == 200
    assert engines.look(server.folder, "SELECT seen_us FROM session") == [(eleven,)]
    assert alice.open("/usage").status_code == 200
    assert engines.look(server.folder, "SELECT seen_us FROM session")[0][0] > eleven


def test_a_session_of_the_release_before_is_used_and_listed(server: Server, alice: Visitor) -> None:
    """Its row says nothing of its use and of the browser."""
    engines.look(server.folder, "UPDATE session SET seen_us = NULL, browser = NULL")
    assert listed(alice) == ["Unknown browser"]


def test_how_long_unused_is_a_setting(folder: Path) -> None:
    with serving(folder, TALLYBOARD_SESSION_IDLE_HOURS="2") as server:
        person(server, ALICE)
        with Visitor(server) as visitor:
            visitor.sign_in(ALICE)
            engines.look(server.folder, f"UPDATE session SET seen_us = {clock.now_us() - 2 * HOUR_US}")
            assert not visitor.is_in


@pytest.mark.parametrize("hours", ["0", "337", "-1", "12.5", "soon"])
def test_an_impossible_setting_is_refused(folder: Path, hours: str) -> None:
    assert "a number from 1 to 336" in refused("account", "show", data=folder, TALLYBOARD_SESSION_IDLE_HOURS=hours)


@pytest.mark.parametrize(
    ("said_by_it", "words"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36 Edg/141.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15",
            "Safari on macOS",
        ),
        ("Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Mobile Safari/537.36", "Chrome on Android"),
        (PHONE, "Safari on iPhone"),
        ("curl/8.5", "curl/8.5"),
        ("\x1b[31m<script>" + "x" * 500, "[31m<script>" + "x" * 48),
        ("", ""),
    ],
)
def test_a_browser_is_called_by_short_words(said_by_it: str, words: str) -> None:
    assert browser_words(said_by_it) == words


def test_what_a_browser_calls_itself_is_text_on_the_page(server: Server) -> None:
    person(server, ALICE)
    with Visitor(server, "<script>alert(1)</script>") as visitor:
        visitor.sign_in(ALICE, PASSWORD)
        page = visitor.open("/account")
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
        assert said(page) == []
