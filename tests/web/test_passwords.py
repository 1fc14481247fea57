"""Signing in by email and password: who gets in, what a guess costs, what nobody can find out."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import httpx
import pytest

from tallyboard import clock
from tallyboard.people import throttle
from tests import engines
from tests.conftest import Server, serving, tallyboard, wait_until
from tests.web.visitors import OTHER_PASSWORD, PASSWORD, Visitor, hidden, person, said

ALICE = "alice@northwind.example"
WRONG = ["Email and password do not belong together."]


@pytest.fixture
def alice(server: Server) -> Iterator[Visitor]:
    person(server, ALICE)
    with Visitor(server) as visitor:
        yield visitor


def audited(server: Server, action: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in tallyboard("audit", "export", data=server.folder).stdout.splitlines()]
    return [line for line in lines if line["action"] == action]


def let_time_pass(server: Server) -> None:
    """As if every delay had gone by."""
    engines.look(server.folder, "UPDATE sign_in_attempt SET free_us = 0 WHERE place >= 0")


def test_email_and_password_lead_in_and_it_is_in_the_audit_log(server: Server, alice: Visitor) -> None:
    answer = alice.sign_in("  Alice@Northwind.example ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/usage")
    assert alice.open("/usage").status_code == 200
    (line,) = audited(server, "member.signed_in")
    assert (line["actor"], line["detail"]) == (ALICE, {"by": "password"})
    assert PASSWORD not in tallyboard("audit", "export", data=server.folder).stdout
    assert PASSWORD not in server.log


@pytest.mark.parametrize(
    ("email", "password"),
    [(ALICE, OTHER_PASSWORD), (ALICE, ""), (ALICE, PASSWORD + "x" * 300), ("nobody@northwind.example", PASSWORD), ("", ""), ("'--", "\0")],
)
def test_whatever_is_wrong_the_answer_is_the_same(alice: Visitor, email: str, password: str) -> None:
    answer = alice.sign_in(email, password)
    assert (answer.status_code, said(answer)) == (403, WRONG)
    assert not alice.is_in


def test_who_has_no_password_gets_the_same_answer_as_who_does_not_exist(server: Server, alice: Visitor) -> None:
    person(server, "bob@northwind.example", password=None)
    first, second = (alice.sign_in(email, "the password of nobody at all") for email in ("bob@northwind.example", "eve@northwind.example"))
    assert first.status_code == second.status_code == 403
    assert first.text.replace("bob@", "eve@") == second.text


def test_an_unknown_email_takes_as_long_as_a_wrong_password(alice: Visitor) -> None:
    """Not a benchmark: without the same work the one is tens of times quicker than the other."""
    seconds: dict[str, list[float]] = {ALICE: [], "eve@northwind.example": []}
    for _ in range(4):
        for email, taken in seconds.items():
            form = hidden(alice.open("/sign-in").text, "/sign-in")
            began = time.perf_counter()
            assert alice.client.post("/sign-in", data={**form, "email": email, "password": OTHER_PASSWORD}).status_code == 403
            taken.append(time.perf_counter() - began)
    known, unknown = (median(taken) for taken in seconds.values())
    assert known / 4 < unknown < known * 4


def test_after_five_failures_an_email_waits_longer_each_time_known_or_not(server: Server, alice: Visitor) -> None:
    for email in (ALICE, "nobody@northwind.example"):
        assert [alice.sign_in(email, OTHER_PASSWORD).status_code for _ in range(5)] == [403] * 5
        waits = []
        for _ in range(4):
            let_time_pass(server)
            assert alice.sign_in(email, OTHER_PASSWORD).status_code == 403
            refused = alice.sign_in(email, PASSWORD)
            assert refused.status_code == 429
            assert re.fullmatch(r"Too many sign-ins have failed\. Try again in \d+ seconds?; .*", said(refused)[0])
            waits.append(int(refused.headers["retry-after"]))
        assert waits == sorted(waits)
        assert waits[-1] > waits[0]
    let_time_pass(server)
    assert alice.sign_in(ALICE).status_code == 303, "nobody is locked out for ever"
    assert alice.open("/usage").status_code == 200


def test_what_is_refused_meanwhile_does_not_make_the_wait_longer(server: Server, alice: Visitor) -> None:
    for _ in range(8):
        let_time_pass(server)
        alice.sign_in(ALICE, OTHER_PASSWORD)
    first = int(alice.sign_in(ALICE).headers["retry-after"])
    assert all(int(alice.sign_in(ALICE, OTHER_PASSWORD).headers["retry-after"]) <= first for _ in range(10))


def test_a_link_leads_in_while_the_password_has_to_wait_and_ends_the_wait(server: Server, alice: Visitor) -> None:
    admin = "admin@localhost"
    link = httpx.URL(server.sign_in_link()).raw_path.decode()
    for _ in range(7):
        alice.sign_in(admin, OTHER_PASSWORD)
    assert alice.sign_in(admin, OTHER_PASSWORD).status_code == 429
    assert alice.open(link).headers["location"] == "/usage"
    with Visitor(server) as other:
        assert other.sign_in(admin, OTHER_PASSWORD).status_code == 403


def test_one_address_cannot_try_one_password_on_everybody(alice: Visitor) -> None:
    statuses = [alice.sign_in(f"user{number}@northwind.example", "Autumn2026 Autumn").status_code for number in range(23)]
    assert statuses[:20] == [403] * 20
    assert 429 in statuses[20:]


def test_many_tries_at_once_gain_nothing(alice: Visitor) -> None:
    """The failure is counted before the password is looked at."""
    form = hidden(alice.open("/sign-in").text, "/sign-in")
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(
                lambda number: alice.client.post("/sign-in", data={**form, "email": ALICE, "password": f"guess number {number}"}), range(24)
            )
        )
    assert sum(answer.status_code == 403 for answer in answers) <= 8  # Five are free, then one a second, two, four.
    assert {answer.status_code for answer in answers} <= {403, 429}


def test_the_failures_of_an_attacker_do_not_fill_the_audit_log(server: Server, alice: Visitor) -> None:
    for number in range(2):
        alice.sign_in(f"guess{number}@northwind.example", OTHER_PASSWORD)
    engines.look(server.folder, f"UPDATE sign_in_attempt SET failures = {throttle.NOTED_AN_HOUR_MAX - 1} WHERE place < 0")
    for number in range(4):
        alice.sign_in(f"another{number}@northwind.example", OTHER_PASSWORD)
    lines = audited(server, "member.sign_in_failed")
    assert [line["actor"] for line in lines] == ["unknown"] * 3
    engines.look(server.folder, f"UPDATE sign_in_attempt SET free_us = {clock.now_us() - 3_600_000_000} WHERE place < 0")
    let_time_pass(server)
    alice.sign_in(ALICE, OTHER_PASSWORD)
    assert audited(server, "member.sign_in_failed")[-1]["actor"] == ALICE
    assert [line["detail"] for line in audited(server, "member.sign_ins_failed")] == [{"not_noted": 3}]


def test_a_day_without_failures_clears_the_counters(server: Server, alice: Visitor) -> None:
    for _ in range(3):
        alice.sign_in(ALICE, OTHER_PASSWORD)
    engines.look(server.folder, "UPDATE sign_in_attempt SET last_us = 0")
    alice.sign_in("eve@northwind.example", OTHER_PASSWORD)
    assert engines.look(server.folder, "SELECT max(failures), count(*) FROM sign_in_attempt WHERE place >= 0") == [(1, 2)]


def test_a_password_kept_with_weaker_parameters_is_kept_anew_at_sign_in(server: Server, alice: Visitor) -> None:
    from argon2 import PasswordHasher  # noqa: PLC0415

    weak = PasswordHasher(time_cost=1, memory_cost=8_192).hash(PASSWORD)
    engines.look(server.folder, f"UPDATE member SET password_hash = '{weak}' WHERE email = '{ALICE}'")
    assert alice.sign_in(ALICE).status_code == 303
    ((kept,),) = engines.look(server.folder, f"SELECT password_hash FROM member WHERE email = '{ALICE}'")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2")
    with Visitor(server) as again:
        assert again.sign_in(ALICE).status_code == 303


@pytest.mark.parametrize("forged", [{}, {"_csrf_token": ""}, {"_csrf_token": "0" * 64}, {"_csrf_token": "ü"}], ids=str)
def test_nobody_else_can_sign_a_browser_in(server: Server, alice: Visitor, forged: dict[str, str]) -> None:
    """Login CSRF: the token of the form is bound to a cookie of this browser, with or without one."""
    form = {"email": ALICE, "password": PASSWORD}
    with Visitor(server) as victim:
        assert victim.client.post("/sign-in", data={**form, **forged}).status_code == 403
        victim.open("/sign-in")
        assert victim.client.post("/sign-in", data={**form, **forged}).status_code == 403
        stolen = hidden(alice.open("/sign-in").text, "/sign-in")
        assert victim.client.post("/sign-in", data={**form, **stolen}).status_code == 403
        own = hidden(victim.open("/sign-in").text, "/sign-in")
        for site in ("cross-site", "same-site"):
            assert victim.client.post("/sign-in", data={**form, **own}, headers={"Sec-Fetch-Site": site}).status_code == 403
        assert not victim.is_in
        assert victim.client.post("/sign-in", data={**form, **own}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303
    assert audited(server, "member.sign_in_failed") == []


def test_the_session_is_a_new_one_whatever_the_browser_brought(server: Server, alice: Visitor) -> None:
    """Session fixation: what was in the cookie before opens nothing afterwards."""
    alice.client.cookies.set("tallyboard_session", "chosen-by-the-attacker")
    answer = alice.sign_in(ALICE)
    assert "chosen-by-the-attacker" not in answer.headers["set-cookie"]
    with Visitor(server) as attacker:
        attacker.client.cookies.set("tallyboard_session", "chosen-by-the-attacker")
        assert not attacker.is_in


@pytest.mark.parametrize("path", ["//evil.example", "/sign-in?next=https://evil.example", "/sign-in?token=x&return=//evil.example"])
def test_no_address_leads_to_another_site(alice: Visitor, path: str) -> None:
    assert "evil" not in alice.open(path).headers.get("location", "")


def test_under_https_cookies_belong_to_this_host_alone(folder: Path) -> None:
    with serving(folder, TALLYBOARD_PUBLIC_URL="https://usage.example.com") as server:
        (before,) = server.client.get(f"{server.url}/sign-in").headers.get_list("set-cookie")
        assert before.startswith("__Host-tallyboard_visit=")
        assert set(before.split("; ")[1:]) == {"HttpOnly", "Path=/", "SameSite=lax", "Secure"}


# Setting and changing it


def test_a_member_who_came_by_a_link_sets_a_password_and_signs_in_by_it(server: Server) -> None:
    with Visitor(server) as first, Visitor(server) as second:
        first.open(httpx.URL(server.sign_in_link()).raw_path.decode())
        assert 'id="old"' not in first.open("/account").text
        answer = first.fill_in("/account", "/account/password", new=PASSWORD, again=PASSWORD)
        assert answer.headers["location"] == "/account?done=password"
        assert said(first.open("/account?done=password")) == ["Your password is set. Your other sessions have ended."]
        assert second.sign_in("admin@localhost").status_code == 303
    assert [line["actor"] for line in audited(server, "member.password_set")] == ["admin@localhost"]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"old": "not this one at all", "new": OTHER_PASSWORD, "again": OTHER_PASSWORD}, 403, "This is not your password."),
        ({"new": OTHER_PASSWORD, "again": OTHER_PASSWORD}, 403, "This is not your password."),
        ({"old": PASSWORD, "new": OTHER_PASSWORD, "again": PASSWORD}, 400, "The two are not the same."),
        ({"old": PASSWORD, "new": "short", "again": "short"}, 400, "A password has at least 12 characters"),
        ({"old": PASSWORD, "new": ALICE, "again": ALICE}, 400, "The password must not be the email address."),
        ({"old": PASSWORD, "new": "password1234", "again": "password1234"}, 400, "This password is one of the first"),
        ({"old": PASSWORD}, 400, "A password has at least 12 characters"),
    ],
)
def test_a_change_that_cannot_be_says_why_and_changes_nothing(
    server: Server, alice: Visitor, fields: dict[str, str], status: int, words: str
) -> None:
    alice.sign_in(ALICE)
    answer = alice.fill_in("/account", "/account/password", **fields)
    assert answer.status_code == status
    assert said(answer)[0].startswith(words)
    with Visitor(server) as other:
        assert other.sign_in(ALICE).status_code == 303


def test_a_change_ends_the_other_sessions_and_keeps_this_one(server: Server, alice: Visitor) -> None:
    with Visitor(server) as elsewhere, Visitor(server) as later:
        alice.sign_in(ALICE)
        elsewhere.sign_in(ALICE)
        alice.fill_in("/account", "/account/password", old=PASSWORD, new=OTHER_PASSWORD, again=OTHER_PASSWORD)
        assert alice.is_in
        assert not elsewhere.is_in
        assert later.sign_in(ALICE).status_code == 403
        assert later.sign_in(ALICE, OTHER_PASSWORD).status_code == 303


def test_the_old_password_cannot_be_guessed_from_inside_either(alice: Visitor) -> None:
    alice.sign_in(ALICE)
    form = {"new": OTHER_PASSWORD, "again": OTHER_PASSWORD}
    statuses = [alice.fill_in("/account", "/account/password", old=f"guess {number}", **form).status_code for number in range(8)]
    assert statuses[:5] == [403] * 5
    assert statuses[-1] == 429


def test_two_changes_at_once_leave_one_of_the_passwords(server: Server, alice: Visitor) -> None:
    alice.sign_in(ALICE)
    form = hidden(alice.open("/account").text, "/account/password")
    news = [f"{OTHER_PASSWORD} {number}" for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = pool.map(
            lambda new: alice.client.post("/account/password", data={**form, "old": PASSWORD, "new": new, "again": new}), news
        )
        won = [new for new, answer in zip(news, answers, strict=True) if answer.status_code == 303]
    assert len(won) == 1
    with Visitor(server) as other:
        assert other.sign_in(ALICE, won[0]).status_code == 303


def test_a_forged_form_changes_nothing(server: Server, alice: Visitor) -> None:
    alice.sign_in(ALICE)
    fields = {"old": PASSWORD, "new": OTHER_PASSWORD, "again": OTHER_PASSWORD}
    for forged in ({}, {"_csrf_token": "0" * 64}):
        assert alice.client.post("/account/password", data={**fields, **forged}).status_code == 403
    wait_until(lambda: server.client.get(f"{server.url}/healthz").status_code == 200, "the server is there")
    with Visitor(server) as other:
        assert other.sign_in(ALICE).status_code == 303


def test_who_has_not_signed_in_is_led_to_sign_in(server: Server) -> None:
    with Visitor(server) as visitor:
        assert visitor.open("/account").headers["location"] == "/sign-in"
