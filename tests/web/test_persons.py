"""One person in several accounts: joined only by who has shown to be both, switching, and what each account is told.

Alice administers Northwind, Erin administers Southwind, and Bob comes to both. Charlie belongs to Southwind alone.
"""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tallyboard import clock
from tallyboard.app import App
from tallyboard.people import members, passwords
from tallyboard.people.members import Role
from tests import engines
from tests.conftest import Server, refusal, tallyboard
from tests.web.visitors import OTHER_PASSWORD, PASSWORD, Visitor, hidden, said

NORTHWIND, SOUTHWIND = "Northwind", "Southwind"
ALICE, BOB, CHARLIE, ERIN = (f"{name}@people.example" for name in ("alice", "bob", "charlie", "erin"))
MANY_WORDS = "seven grey pebbles on a wall"


@pytest.fixture
def two(server: Server) -> Server:
    """Two accounts: 1 is Northwind, 2 is Southwind."""
    tallyboard("account", "set", "--name", NORTHWIND, data=server.folder)
    tallyboard("account", "create", "--name", SOUTHWIND, "--timezone", "Australia/Adelaide", data=server.folder)
    add(server, 1, ALICE, Role.ADMIN)
    add(server, 2, ERIN, Role.ADMIN)
    return server


@pytest.fixture
def bob(two: Server) -> Iterator[Visitor]:
    """A member of Northwind, signed in."""
    add(two, 1, BOB, Role.MEMBER)
    with Visitor(two) as visitor:
        visitor.sign_in(BOB)
        yield visitor


def add(server: Server, account_id: int, email: str, role: Role, password: str = PASSWORD) -> None:
    now_us = clock.now_us()
    with App(engines.settings_of(server.folder)) as app, app.ledger.writing() as session:
        member = members.add(session, account_id, email, role, "test", now_us)
        members.set_password(session, member, passwords.hashed(password), now_us, "")


def invitation(server: Server, account: str, email: str = BOB, role: str = "member") -> str:
    """The path of an invitation that the account's administrator got."""
    link = json.loads(tallyboard("member", "add", email, "--role", role, "--account", account, "--json", data=server.folder).stdout)["link"]
    return httpx.URL(link).raw_path.decode()


def another(server: Server, account: str, email: str = BOB) -> str:
    done = tallyboard("member", "link", email, "--invitation", "--account", account, "--json", data=server.folder)
    return httpx.URL(json.loads(done.stdout)["link"]).raw_path.decode()


def accept(server: Server, path: str, password: str) -> httpx.Response:
    with Visitor(server) as visitor:
        return visitor.fill_in(path, "/invitation", new=password, again=password)


def open_to(visitor: Visitor) -> dict[str, str]:
    """What the switcher offers: the member's number by account."""
    found = re.findall(r'<button name="member" value="(\d+)"[^>]*><span>(.*?)</span>', visitor.open("/account").text)
    return {account: number for number, account in found}


def current(visitor: Visitor) -> str:
    found = re.search(r'<span class="brand-name"[^>]*>(.*?)</span>', visitor.open("/account").text)
    assert found
    return found[1]


def switch(visitor: Visitor, account: str) -> httpx.Response:
    return visitor.fill_in("/account", "/account/switch", member=open_to(visitor)[account])


def log(server: Server, account_id: int) -> list[tuple[str, str, str]]:
    return [
        (actor, action, detail)
        for actor, action, detail in engines.look(
            server.folder, f"SELECT actor, action, detail FROM audit WHERE account_id = {account_id} ORDER BY audit_id"
        )
    ]


def test_who_belongs_to_one_account_is_offered_no_other(bob: Visitor) -> None:
    page = bob.open("/account").text
    assert "/account/switch" not in page
    assert current(bob) == NORTHWIND


def test_the_password_one_has_makes_an_invited_member_the_same_person(two: Server, bob: Visitor) -> None:
    assert accept(two, invitation(two, SOUTHWIND, role="admin"), PASSWORD).headers["location"] == "/usage"
    assert open_to(bob).keys() == {NORTHWIND, SOUTHWIND}
    assert bob.open("/members").status_code == 403
    assert switch(bob, SOUTHWIND).headers["location"] == "/usage"
    assert current(bob) == SOUTHWIND
    assert "erin@people.example" in bob.open("/members").text
    assert "alice@people.example" not in bob.open("/members").text
    assert switch(bob, NORTHWIND).headers["location"] == "/my"
    assert bob.open("/members").status_code == 403
    assert current(bob) == NORTHWIND


def test_who_is_signed_in_joins_by_one_button(two: Server, bob: Visitor) -> None:
    path = invitation(two, SOUTHWIND)
    page = bob.open(path).text
    assert f"Join {SOUTHWIND}" in page
    before = bob.client.cookies["tallyboard_session"]
    assert bob.client.post("/invitation/join", data=hidden(page, "/invitation/join")).headers["location"] == "/my"
    assert current(bob) == SOUTHWIND
    assert open_to(bob).keys() == {NORTHWIND, SOUTHWIND}
    bob.client.cookies.set("tallyboard_session", before)
    assert not bob.is_in


def test_who_is_signed_in_as_somebody_else_is_not_offered_to_join(two: Server) -> None:
    path = invitation(two, SOUTHWIND)
    with Visitor(two) as alice:
        alice.sign_in(ALICE)
        page = alice.open(path).text
        assert "Join" not in page
        own = hidden(alice.open("/account").text, "/sign-out")
        token = hidden(page, "/invitation")["token"]
        assert alice.client.post("/invitation/join", data={**own, "token": token}).status_code == 200
        assert current(alice) == NORTHWIND
        assert open_to(alice) == {}


def test_whoever_holds_the_link_of_an_invitation_gets_into_no_other_account(two: Server, bob: Visitor) -> None:
    """Erin invites Bob, opens the link herself and chooses a password: she is in Southwind, where she rules anyway."""
    accept(two, invitation(two, SOUTHWIND), OTHER_PASSWORD)
    with Visitor(two) as erin:
        erin.sign_in(BOB, OTHER_PASSWORD)
        assert current(erin) == SOUTHWIND
        assert open_to(erin) == {}
        before = erin.client.cookies["tallyboard_session"]
        assert open_to(bob) == {}
        # Later Bob takes an invitation of his own: what Erin had opened as him does not come along.
        assert accept(two, another(two, SOUTHWIND), PASSWORD).status_code == 303
        erin.client.cookies.set("tallyboard_session", before)
        assert not erin.is_in
        assert open_to(bob).keys() == {NORTHWIND, SOUTHWIND}
        assert erin.sign_in(BOB, OTHER_PASSWORD).status_code == 403


def test_another_invitation_for_a_person_of_two_accounts_opens_one_of_them(two: Server, bob: Visitor) -> None:
    """What looks like a forgotten password is no way into the other account either."""
    accept(two, invitation(two, SOUTHWIND), PASSWORD)
    accept(two, another(two, SOUTHWIND), OTHER_PASSWORD)
    with Visitor(two) as erin:
        erin.sign_in(BOB, OTHER_PASSWORD)
        assert (current(erin), open_to(erin)) == (SOUTHWIND, {})
    assert (current(bob), open_to(bob)) == (NORTHWIND, {})


def test_guessing_by_invitations_is_slowed_down_as_at_the_door(two: Server, bob: Visitor) -> None:
    accept(two, invitation(two, SOUTHWIND), f"{OTHER_PASSWORD} 0")
    for number in range(1, 7):
        assert accept(two, another(two, SOUTHWIND), f"{OTHER_PASSWORD} {number}").status_code == 303, "the link works all the same"
    # The wait is of seconds, which a slow machine takes, too: whoever has to wait now has to wait an hour.
    engines.look(two.folder, "UPDATE sign_in_attempt SET free_us = free_us + 3600000000 WHERE free_us > last_us")
    assert accept(two, another(two, SOUTHWIND), PASSWORD).status_code == 303
    assert open_to(bob) == {}, "it was not compared"
    with Visitor(two) as door:
        assert door.sign_in(BOB).status_code == 429


def test_one_password_that_opens_both_makes_them_one_person_at_the_door(two: Server, bob: Visitor) -> None:
    accept(two, invitation(two, SOUTHWIND), OTHER_PASSWORD)
    with Visitor(two) as there:
        there.sign_in(BOB, OTHER_PASSWORD)
        there.fill_in("/account", "/account/password", old=OTHER_PASSWORD, new=PASSWORD, again=PASSWORD)
        assert open_to(there) == {}
        bob.client.cookies.clear()
        bob.sign_in(BOB)
        assert open_to(bob).keys() == {NORTHWIND, SOUTHWIND}
        assert not there.is_in, "what was open leads to no more than before"


def test_an_account_is_told_nothing_of_another(two: Server, bob: Visitor) -> None:
    """The page of the invitation, what it leads to, the list of members and the log are the same for a stranger and for Bob."""
    for password, email in ((PASSWORD, BOB), (PASSWORD, CHARLIE), (OTHER_PASSWORD, "dora@people.example")):
        path = invitation(two, SOUTHWIND, email)
        with Visitor(two) as visitor:
            page = visitor.open(path).text
        assert f"Choose a password for <b>{email}</b>. If you sign in" in page
        assert accept(two, path, password).headers["location"] == "/my"
    switch(bob, SOUTHWIND)
    lines = {email: [line[1:] for line in log(two, 2) if line[0] == email] for email in (BOB, CHARLIE, "dora@people.example")}
    signed_in = ("member.signed_in", "{}")
    assert lines[BOB].pop() == signed_in
    assert lines[BOB] == lines[CHARLIE] == lines["dora@people.example"]
    states = json.loads(tallyboard("member", "list", "--account", SOUTHWIND, "--json", data=two.folder).stdout)
    shapes = [{**each, "email": ""} for each in states if each["email"] != ERIN]
    assert shapes == [shapes[0]] * 3
    assert not [line for line in log(two, 1) if SOUTHWIND in str(line) or line[0] == CHARLIE]


def test_a_form_of_the_account_one_was_in_before_changes_nothing_in_the_other(two: Server, bob: Visitor) -> None:
    accept(two, invitation(two, SOUTHWIND, role="admin"), PASSWORD)
    switch(bob, SOUTHWIND)
    form = hidden(bob.open("/members").text, "/members/invite")
    before = bob.client.cookies["tallyboard_session"]
    switch(bob, NORTHWIND)
    assert bob.client.post("/members/invite", data={**form, "email": "x@people.example", "role": "member"}).status_code == 403
    bob.client.cookies.set("tallyboard_session", before)
    assert not bob.is_in
    assert not engines.look(two.folder, "SELECT 1 FROM member WHERE email = 'x@people.example'")


@pytest.mark.parametrize("forged", [{}, {"_csrf_token": "0" * 64}], ids=str)
def test_nobody_else_can_switch_somebody(two: Server, bob: Visitor, forged: dict[str, str]) -> None:
    accept(two, invitation(two, SOUTHWIND), PASSWORD)
    number = open_to(bob)[SOUTHWIND]
    assert bob.client.post("/account/switch", data={"member": number, **forged}).status_code == 403
    whole = hidden(bob.open("/account").text, "/account/switch")
    cross = bob.client.post("/account/switch", data={**whole, "member": number}, headers={"Sec-Fetch-Site": "cross-site"})
    assert cross.status_code == 403
    assert current(bob) == NORTHWIND


def test_nobody_switches_to_where_they_do_not_belong(two: Server, bob: Visitor) -> None:
    accept(two, invitation(two, SOUTHWIND), PASSWORD)
    ((erin,),) = engines.look(two.folder, f"SELECT member_id FROM member WHERE email = '{ERIN}'")
    ((alice,),) = engines.look(two.folder, f"SELECT member_id FROM member WHERE email = '{ALICE}'")
    for number in (erin, alice, 0, -1, "", "2", "9" * 40, "%00"):
        assert bob.fill_in("/account", "/account/switch", member=str(number)).headers["location"] == "/my"
        assert current(bob) == NORTHWIND
        assert bob.open("/members").status_code == 403


def test_deactivation_ends_the_access_to_one_account(two: Server, bob: Visitor) -> None:
    accept(two, invitation(two, SOUTHWIND), PASSWORD)
    with Visitor(two) as there:
        there.sign_in(BOB)
        switch(there, SOUTHWIND)
        assert (current(there), current(bob)) == (SOUTHWIND, NORTHWIND)
        tallyboard("member", "deactivate", BOB, "--account", SOUTHWIND, data=two.folder)
        assert not there.is_in
        assert bob.is_in
        assert open_to(bob) == {}
        there.sign_in(BOB)
        assert current(there) == NORTHWIND
        tallyboard("member", "reactivate", BOB, "--account", SOUTHWIND, data=two.folder)
        assert open_to(bob).keys() == {NORTHWIND, SOUTHWIND}
        tallyboard("member", "deactivate", BOB, "--account", NORTHWIND, data=two.folder)
        assert not bob.is_in
        there.sign_in(BOB)
        assert current(there) == SOUTHWIND


def test_a_role_is_that_of_one_account(two: Server, bob: Visitor) -> None:
    accept(two, invitation(two, SOUTHWIND), PASSWORD)
    tallyboard("member", "role", BOB, "admin", "--account", SOUTHWIND, data=two.folder)
    assert bob.is_in
    assert bob.open("/members").status_code == 403
    switch(bob, SOUTHWIND)
    assert bob.open("/members").status_code == 200


def test_the_last_administrator_is_that_of_one_account(two: Server, bob: Visitor) -> None:
    """Bob is an administrator of both, which helps neither."""
    accept(two, invitation(two, SOUTHWIND, role="admin"), PASSWORD)
    assert bob.is_in
    tallyboard("member", "deactivate", ERIN, "--account", SOUTHWIND, data=two.folder)
    assert "is the last administrator" in refusal("member", "deactivate", BOB, "--account", SOUTHWIND, folder=two.folder)
    assert "is the last administrator" in refusal("member", "deactivate", ALICE, "--account", NORTHWIND, folder=two.folder)


def test_the_password_and_the_sessions_are_the_persons(two: Server, bob: Visitor) -> None:
    accept(two, invitation(two, SOUTHWIND), PASSWORD)
    with Visitor(two) as there:
        there.sign_in(BOB)
        switch(there, SOUTHWIND)
        assert bob.open("/account").text.count('name="session"') == 2, "the one that the invitation began, and this one"
        answer = there.fill_in("/account", "/account/password", old=PASSWORD, new=MANY_WORDS, again=MANY_WORDS)
        assert answer.headers["location"] == "/account?done=password"
        assert there.is_in
        assert not bob.is_in
        assert bob.sign_in(BOB).status_code == 403
        assert bob.sign_in(BOB, MANY_WORDS).status_code == 303
        assert open_to(bob).keys() == {NORTHWIND, SOUTHWIND}
        bob.fill_in("/account", "/account/sessions/end-all")
        assert not there.is_in
        assert not bob.is_in


def test_a_failed_sign_in_is_noted_in_every_account_concerned(two: Server, bob: Visitor) -> None:
    accept(two, invitation(two, SOUTHWIND), OTHER_PASSWORD)
    with Visitor(two) as door:
        assert said(door.sign_in(BOB, MANY_WORDS)) == ["Email and password do not belong together."]
    assert bob.is_in
    for account_id in (1, 2):
        assert log(two, account_id)[-1] == (BOB, "member.sign_in_failed", "{}")
