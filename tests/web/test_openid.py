"""Signing in with OpenID Connect: who gets in, as whom, and what people read who do not. Against a strict provider on loopback."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tallyboard.people.members import Role
from tests import engines
from tests.conftest import Server, serving, tallyboard
from tests.web.openid import Provider, go, person, providing, settings_for, travel
from tests.web.visitors import PASSWORD, Visitor, said
from tests.web.visitors import person as member

ALICE, BOB = "alice@northwind.example", "bob@northwind.example"


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[Provider]:
    with providing() as running:
        yield running


@pytest.fixture
def provider(shared_provider: Provider) -> Provider:
    shared_provider.reset()
    return shared_provider


@pytest.fixture
def server(folder: Path, provider: Provider) -> Iterator[Server]:
    """One that only lets members in."""
    with serving(folder, **settings_for(provider.issuer)) as running:
        yield running


@pytest.fixture
def open_server(folder: Path, provider: Provider) -> Iterator[Server]:
    """One that makes members of whoever comes from Northwind; its admins are administrators."""
    wanted = {"openid_new_members": "yes", "openid_domains": "northwind.example, @northwind.test"}
    admins = {"openid_admin_claim": "groups", "openid_admin_values": "admins, owners"}
    with serving(folder, **settings_for(provider.issuer, **wanted, **admins)) as running:
        yield running


@pytest.fixture
def visitor(server: Server) -> Iterator[Visitor]:
    with Visitor(server) as browser:
        yield browser


def audited(server: Server, action: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in tallyboard("audit", "export", data=server.folder).stdout.splitlines()]
    return [line for line in lines if line["action"] == action]


def failures(server: Server) -> list[dict[str, str]]:
    return [line["detail"] for line in audited(server, "member.sign_in_failed")]


def members_of(server: Server) -> dict[str, str]:
    return dict(engines.look(server.folder, "SELECT email, role FROM member WHERE email <> 'admin@localhost'"))


# Getting in


def test_a_member_gets_in_by_a_verified_email_and_it_is_in_the_audit_log(server: Server, visitor: Visitor) -> None:
    member(server, ALICE)
    answer = travel(visitor)
    assert (answer.status_code, answer.headers["location"]) == (303, "/usage")
    assert visitor.open("/usage").status_code == 200
    (linked,) = audited(server, "member.linked")
    assert (linked["actor"], linked["detail"]["email"], linked["detail"]["subject"]) == ("single sign-on", ALICE, "subject of alice")
    (line,) = audited(server, "member.signed_in")
    assert (line["actor"], line["detail"]) == (ALICE, {"by": "Northwind ID"})
    page = visitor.open("/audit").text
    assert "Signed in by Northwind ID" in page
    assert "signs in at http://127.0.0.1" in page
    tallyboard("audit", "verify", data=server.folder)


def test_the_button_leads_there_without_javascript_and_passwords_go_on_working(server: Server, visitor: Visitor) -> None:
    member(server, ALICE)
    page = visitor.open("/sign-in?next=/policy").text
    assert '<a class="button" href="/sign-in/provider?next=%2Fpolicy">Sign in with Northwind ID</a>' in page
    assert visitor.sign_in(ALICE).status_code == 303


def test_one_arrives_at_the_page_that_was_asked_for(server: Server, visitor: Visitor) -> None:
    member(server, ALICE)
    assert travel(visitor, "/policy?user=bob").headers["location"] == "/policy?user=bob"


ELSEWHERE = (
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "javascript:alert(1)",
    "/ /evil.example",
    "/\t/evil.example",
    "/\r\nSet-Cookie:x",
    "http:evil.example",
    "evil.example",
    "/sign-out",
    "/sign-in/provider",
    "/" + "x" * 600,
)


def test_no_address_leads_to_another_site_afterwards(server: Server, visitor: Visitor) -> None:
    member(server, ALICE)
    for arrival in ELSEWHERE:
        assert travel(visitor, arrival).headers["location"] == "/usage", arrival
        with Visitor(server) as other:
            assert "evil" not in other.client.get("/sign-in", params={"next": arrival}).text


def test_afterwards_the_subject_is_known_and_the_email_may_change(server: Server, visitor: Visitor, provider: Provider) -> None:
    member(server, ALICE)
    travel(visitor)
    provider.person |= {"email": "Alice.Meyer@northwind.example"}
    assert travel(visitor).status_code == 303
    assert members_of(server) == {"alice.meyer@northwind.example": "admin"}
    (line,) = audited(server, "member.renamed")
    assert line["detail"] == {"before": ALICE, "after": "alice.meyer@northwind.example"}


@pytest.mark.parametrize("told", [{"email": BOB}, {"email": BOB, "email_verified": False}, {"email": None}, {"email": "not one"}], ids=str)
def test_an_email_that_is_anothers_or_that_nobody_vouches_for_changes_nothing(
    server: Server, visitor: Visitor, provider: Provider, told: dict[str, object]
) -> None:
    member(server, ALICE)
    member(server, BOB, Role.MEMBER)
    travel(visitor)
    provider.person |= told
    assert travel(visitor).headers["location"] == "/usage", "it is still Alice"
    assert members_of(server) == {ALICE: "admin", BOB: "member"}


def test_whoever_gets_the_email_of_somebody_who_left_is_not_taken_for_them(server: Server, visitor: Visitor, provider: Provider) -> None:
    member(server, ALICE)
    travel(visitor)
    provider.person |= {"sub": "another Alice"}
    with Visitor(server) as other:
        answer = travel(other)
        assert (answer.status_code, said(answer)) == (
            403,
            ["A member with your email signs in at Northwind ID as somebody else. Ask an administrator."],
        )
        assert not other.is_in
    assert failures(server) == [{"by": "Northwind ID", "why": "somebody_elses", "email": ALICE}]


def test_the_session_is_a_new_one_and_the_old_one_ends(server: Server, visitor: Visitor) -> None:
    """Session fixation: what the browser brought opens nothing afterwards."""
    member(server, ALICE)
    visitor.client.cookies.set("tallyboard_session", "chosen-by-the-attacker")
    answer = travel(visitor)
    assert "chosen-by-the-attacker" not in str(answer.headers.get_list("set-cookie"))
    first = answer.cookies["tallyboard_session"]
    second = travel(visitor).cookies["tallyboard_session"]
    assert first != second
    with Visitor(server) as thief:
        for stolen in ("chosen-by-the-attacker", first):
            thief.client.cookies.set("tallyboard_session", stolen)
            assert not thief.is_in


def test_under_https_the_journeys_cookie_belongs_to_this_host_alone(folder: Path, provider: Provider) -> None:
    with serving(folder, **settings_for(provider.issuer, public_url="https://usage.example.com")) as server:
        begun = server.client.get(f"{server.url}/sign-in/provider")
        (cookie,) = begun.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-tallyboard_journey=")
        assert set(cookie.split("; ")[1:]) == {"HttpOnly", "Path=/", "SameSite=lax", "Secure", "Max-Age=600"}
        assert "redirect_uri=https%3A%2F%2Fusage.example.com%2Fsign-in%2Fprovider%2Fanswer&" in begun.headers["location"]


# Just in time, domains, roles


def test_many_first_sign_ins_at_once_make_one_member(open_server: Server, provider: Provider) -> None:
    provider.person = person("bob")
    browsers = [Visitor(open_server) for _ in range(6)]
    ways_back = [go(browser) for browser in browsers]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda browser, back: browser.open(back), browsers, ways_back))
    assert [answer.headers["location"] for answer in answers] == ["/my"] * 6
    assert members_of(open_server) == {BOB: "member"}
    for browser in browsers:
        browser.client.close()


def test_whoever_comes_from_an_allowed_domain_becomes_a_member(open_server: Server, provider: Provider) -> None:
    for name, email in (("bob", BOB), ("carol", "carol@northwind.test")):
        provider.person = person(name, email=email)
        with Visitor(open_server) as browser:
            assert travel(browser).headers["location"] == "/my"
            assert browser.open("/usage").status_code == 403
            assert travel(browser).headers["location"] == "/my", "and is the same member the next time"
    assert members_of(open_server) == {BOB: "member", "carol@northwind.test": "member"}
    assert [line["detail"]["email"] for line in audited(open_server, "member.added") if line["actor"] == "single sign-on"] == [
        BOB,
        "carol@northwind.test",
    ]
    listed = tallyboard("member", "list", data=open_server.folder).stdout
    assert f"{BOB}\tmember\tactive" in listed


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"email": "eve@evil.example"}, "domain"),
        ({"email": "eve@northwind.example.evil.example"}, "domain"),
        ({"email": "eve@sub.northwind.example"}, "domain"),
        ({"email_verified": False}, "unverified_email"),
        ({"email_verified": "false"}, "unverified_email"),
        ({"email_verified": None}, "unverified_email"),
        ({"email": None}, "no_email"),
        ({"email": ["alice@northwind.example"]}, "no_email"),
        ({"email": "eve@evil.example\n@northwind.example"}, "no_email"),
    ],
    ids=str,
)
def test_who_comes_from_elsewhere_or_unverified_does_not(
    open_server: Server, provider: Provider, told: dict[str, object], why: str
) -> None:
    provider.person = person("eve") | told
    with Visitor(open_server) as browser:
        answer = travel(browser)
        assert answer.status_code == 403
        assert said(answer)
        assert not browser.is_in
    assert members_of(open_server) == {}
    assert [each["why"] for each in failures(open_server)] == [why]
    assert engines.look(open_server.folder, "SELECT count(*) FROM member_identity") == [(0,)]


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        ("admins", "admin"),
        (["staff", "owners"], "admin"),
        (["staff"], "member"),
        (None, "member"),
        ("admins ", "member"),
        ([["admins"]], "member"),
    ],
    ids=str,
)
def test_a_claim_says_who_is_an_administrator(open_server: Server, provider: Provider, groups: object, role: str) -> None:
    provider.person = person("bob", groups=groups)
    with Visitor(open_server) as browser:
        travel(browser)
    assert members_of(open_server) == {BOB: role}


def test_the_role_follows_the_claim_at_each_sign_in_but_the_last_administrator_stays(open_server: Server, provider: Provider) -> None:
    with Visitor(open_server) as alice, Visitor(open_server) as bob:
        provider.person = person("alice", groups=["admins"])
        travel(alice)
        provider.person = person("bob", groups=["admins"])
        assert travel(bob).headers["location"] == "/usage"
        provider.person = person("bob", groups=[])
        assert travel(bob).headers["location"] == "/my"
        provider.person = person("alice", groups=[])
        assert travel(alice).headers["location"] == "/usage"
    assert members_of(open_server) == {ALICE: "admin", BOB: "member"}


def test_without_a_claim_the_role_is_what_an_administrator_gave(server: Server, visitor: Visitor, provider: Provider) -> None:
    member(server, BOB, Role.MEMBER)
    provider.person = person("bob", groups=["admins"])
    assert travel(visitor).headers["location"] == "/my"


def test_who_is_no_member_is_told_whom_to_ask_where_members_are_invited(server: Server, visitor: Visitor) -> None:
    answer = travel(visitor)
    assert (answer.status_code, said(answer)) == (
        403,
        ["You are known to Northwind ID, but no member here. Ask an administrator to invite you."],
    )
    assert failures(server) == [{"by": "Northwind ID", "why": "no_member", "email": ALICE}]
    tallyboard("member", "add", ALICE, data=server.folder)
    assert travel(visitor).headers["location"] == "/my"


def test_a_deactivated_member_is_refused_known_or_not(server: Server, visitor: Visitor, provider: Provider) -> None:
    member(server, ALICE)
    member(server, BOB)
    travel(visitor)
    tallyboard("member", "deactivate", ALICE, data=server.folder)
    assert not visitor.is_in
    words = ["Your membership is deactivated. An administrator can reactivate it."]
    assert said(travel(visitor)) == words
    tallyboard("member", "add", "dora@northwind.example", data=server.folder)
    tallyboard("member", "deactivate", "dora@northwind.example", data=server.folder)
    provider.person = person("dora")
    assert said(travel(visitor)) == words
    tallyboard("member", "reactivate", ALICE, data=server.folder)
    provider.person = person("alice")
    assert travel(visitor).status_code == 303


def test_what_the_token_leaves_out_is_asked_of_userinfo(server: Server, visitor: Visitor, provider: Provider) -> None:
    member(server, ALICE)
    provider.userinfo = person("alice")
    provider.person = {"sub": "subject of alice"}
    assert travel(visitor).status_code == 303
    provider.userinfo = person("bob")
    answer = travel(visitor)
    assert answer.status_code == 403, "it is about somebody else"
    assert failures(server)[-1]["detail"] == "userinfo is about somebody else"


def test_userinfo_does_not_vouch_for_an_email_that_it_does_not_name(folder: Path, provider: Provider) -> None:
    provider.person = {"sub": "mallory", "email": ALICE}
    provider.userinfo = {"sub": "mallory", "email": "mallory@evil.example", "email_verified": True, "groups": []}
    wanted = {"openid_admin_claim": "groups", "openid_admin_values": "admins"}
    with serving(folder, **settings_for(provider.issuer, **wanted)) as server, Visitor(server) as browser:
        member(server, ALICE)
        assert travel(browser).status_code == 403
        assert failures(server)[0]["why"] == "unverified_email"


# Through the provider alone


@pytest.fixture
def strict_server(folder: Path, provider: Provider) -> Iterator[Server]:
    """One where passwords are not used."""
    with serving(folder, **settings_for(provider.issuer, passwords="no")) as running:
        yield running


def test_without_passwords_every_door_for_them_is_closed_and_says_so(strict_server: Server) -> None:
    member(strict_server, ALICE)
    with Visitor(strict_server) as browser:
        page = browser.open("/sign-in").text
        assert 'type="password"' not in page
        assert "Sign in with Northwind ID" in page
        refused = browser.client.post("/sign-in", data={"email": ALICE, "password": PASSWORD})
        assert (refused.status_code, said(refused)) == (403, ["Passwords are not used here. Sign in with Northwind ID."])
        assert not browser.is_in
        assert travel(browser).status_code == 303
        page = browser.open("/account").text
        assert 'type="password"' not in page
        token = {"_csrf_token": page.split('name="_csrf_token" value="')[1].split('"')[0]}
        changed = browser.client.post("/account/password", data={**token, "old": PASSWORD, "new": "x" * 20, "again": "x" * 20})
        assert changed.status_code == 403
        assert "Passwords are not used here" in changed.text


def test_without_passwords_an_invitation_leads_to_the_provider(strict_server: Server, provider: Provider) -> None:
    made = json.loads(tallyboard("member", "add", BOB, "--json", data=strict_server.folder).stdout)["link"]
    token = made.split("token=")[1]
    provider.person = person("bob")
    with Visitor(strict_server) as browser:
        page = browser.open(f"/invitation?token={token}")
        assert 'type="password"' not in page.text
        assert 'href="/sign-in/provider"' in page.text
        refused = browser.client.post("/invitation", data={"token": token, "new": PASSWORD, "again": PASSWORD})
        assert refused.status_code == 403
        assert engines.look(strict_server.folder, f"SELECT password_hash FROM member WHERE email = '{BOB}'") == [(None,)]
        assert travel(browser).headers["location"] == "/my"


def test_without_passwords_links_still_lead_in_and_the_first_administrator_sets_up_without_one(strict_server: Server) -> None:
    """So nobody is locked out who can run a command where Tallyboard runs."""
    with Visitor(strict_server) as first, Visitor(strict_server) as later:
        link = strict_server.sign_in_link()
        assert first.open("/sign-in?" + link.split("?")[1]).status_code == 303
        assert 'type="password"' not in first.open("/set-up").text
        answer = first.fill_in("/set-up", "/set-up", email=ALICE, name="Northwind", timezone="Asia/Tokyo")
        assert (answer.status_code, answer.headers["location"]) == (303, "/usage")
        assert travel(later).headers["location"] == "/usage"
    assert engines.look(strict_server.folder, "SELECT email, password_hash FROM member") == [(ALICE, None)]


def test_without_a_provider_there_is_no_button(shared_server: Server) -> None:
    with Visitor(shared_server) as browser:
        assert "Sign in with" not in browser.open("/sign-in").text


def test_the_last_administrator_may_be_one_who_came_through_the_provider(open_server: Server, provider: Provider) -> None:
    provider.person = person("alice", groups="admins")
    member(open_server, BOB)
    with Visitor(open_server) as browser:
        travel(browser)
    tallyboard("member", "deactivate", BOB, data=open_server.folder)
    refused = tallyboard("member", "deactivate", ALICE, data=open_server.folder, check=False)
    assert "is the last administrator" in refused.stderr


def test_the_doctor_looks_whether_the_provider_answers(folder: Path, provider: Provider) -> None:
    told = tallyboard("doctor", data=folder, check=False, **settings_for(provider.issuer)).stdout
    assert f"{provider.issuer} answers, and shows keys" in told
    provider.metadata = {"issuer": "https://other.example"}
    told = tallyboard("doctor", data=folder, check=False, **settings_for(provider.issuer)).stdout
    assert "it calls itself https://other.example, not as TALLYBOARD_OPENID_ISSUER says" in told


def test_a_journey_that_was_begun_is_written_down_nowhere(server: Server, visitor: Visitor) -> None:
    before = engines.look(server.folder, "SELECT count(*) FROM audit")
    for _ in range(5):
        go(visitor)
    assert engines.look(server.folder, "SELECT count(*) FROM audit") == before
    assert engines.look(server.folder, "SELECT count(*) FROM sign_in_spent") == [(0,)]
