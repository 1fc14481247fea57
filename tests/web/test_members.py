"""Members: invited, changed, deactivated, and never without an administrator."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tallyboard import clock
from tallyboard.people.members import Role
from tests import engines
from tests.conftest import Server, refusal, serving, tallyboard
from tests.web.visitors import OTHER_PASSWORD, PASSWORD, Visitor, hidden, person, said

ALICE, BOB, DORA = "alice@northwind.example", "bob@northwind.example", "dora@northwind.example"


@pytest.fixture
def alice(server: Server) -> Iterator[Visitor]:
    """The one administrator who has signed in."""
    person(server, ALICE)
    with Visitor(server) as visitor:
        visitor.sign_in(ALICE)
        yield visitor


def number(server: Server, email: str) -> str:
    ((member_id,),) = engines.look(server.folder, f"SELECT member_id FROM member WHERE email = '{email}'")
    return str(member_id)


def change(visitor: Visitor, action: str, member_id: str, **more: str) -> httpx.Response:
    form = hidden(visitor.open("/members").text, "/members/invite")
    return visitor.client.post(f"/members/{action}", data={**form, "member": member_id, **more})


def states(server: Server) -> dict[str, tuple[str, str]]:
    return {
        each["email"]: (each["role"], each["state"])
        for each in json.loads(tallyboard("member", "list", "--json", data=server.folder).stdout)
    }


def link_of(answer: httpx.Response) -> str:
    found = re.search(r'<input id="link" type="text" readonly value="([^"]*)">', answer.text)
    assert found
    return found[1]


def test_an_invitation_leads_in_by_a_password_of_ones_own(server: Server, alice: Visitor) -> None:
    answer = alice.fill_in("/members", "/members/invite", email=" Bob@Northwind.example", role="member")
    assert answer.status_code == 200
    address = httpx.URL(link_of(answer))
    assert str(address).startswith(f"{server.url}/invitation?token=")
    assert states(server)[BOB] == ("member", "invited")
    with Visitor(server) as bob:
        page = bob.open(address.raw_path.decode())
        assert "Choose a password for <b>bob@northwind.example</b>" in page.text
        again = bob.open(address.raw_path.decode())
        assert again.status_code == 200, "looking uses nothing up"
        done = bob.fill_in(address.raw_path.decode(), "/invitation", new=OTHER_PASSWORD, again=OTHER_PASSWORD)
        assert (done.status_code, done.headers["location"]) == (303, "/my")
        assert bob.is_in
        assert bob.open("/usage").status_code == bob.open("/members").status_code == 403
        used = bob.open(address.raw_path.decode())
        assert used.status_code == 403
        assert "was replaced by a newer one" in said(used)[0]
    assert states(server)[BOB] == ("member", "active")
    with Visitor(server) as later:
        assert later.sign_in(BOB, OTHER_PASSWORD).status_code == 303


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"new": "short", "again": "short"}, "A password has at least 12"),
        ({"new": BOB, "again": BOB}, "The password must not be the email"),
        ({"new": PASSWORD, "again": OTHER_PASSWORD}, "The two are not the same."),
    ],
)
def test_a_password_that_is_refused_does_not_use_the_invitation_up(
    server: Server, alice: Visitor, fields: dict[str, str], words: str
) -> None:
    path = httpx.URL(link_of(alice.fill_in("/members", "/members/invite", email=BOB, role="member"))).raw_path.decode()
    with Visitor(server) as bob:
        answer = bob.fill_in(path, "/invitation", **fields)
        assert answer.status_code == 400
        assert said(answer)[0].startswith(words)
        assert bob.fill_in(path, "/invitation", new=PASSWORD, again=PASSWORD).status_code == 303


def test_an_invitation_works_once_even_for_two_at_the_same_time(server: Server, alice: Visitor) -> None:
    path = httpx.URL(link_of(alice.fill_in("/members", "/members/invite", email=BOB, role="member"))).raw_path.decode()
    with Visitor(server) as bob:
        form = hidden(bob.open(path).text, "/invitation")
        with ThreadPoolExecutor(4) as pool:
            news = [f"{PASSWORD} {each}" for each in range(4)]
            answers = list(pool.map(lambda new: bob.client.post("/invitation", data={**form, "new": new, "again": new}), news))
    assert sorted(answer.status_code for answer in answers) == [303, 403, 403, 403]


def test_an_invitation_ends_after_seven_days_and_when_it_is_replaced(server: Server, alice: Visitor) -> None:
    first = httpx.URL(link_of(alice.fill_in("/members", "/members/invite", email=BOB, role="member"))).raw_path.decode()
    second = httpx.URL(link_of(change(alice, "link", number(server, BOB)))).raw_path.decode()
    assert alice.open(first).status_code == 403
    assert alice.open(second).status_code == 200
    ((expires_us,),) = engines.look(server.folder, "SELECT expires_us FROM sign_in_link WHERE used_us IS NULL AND purpose = 'invitation'")
    assert abs(expires_us - clock.now_us() - 7 * 86_400_000_000) < 60_000_000
    engines.look(server.folder, f"UPDATE sign_in_link SET expires_us = {clock.now_us()} WHERE purpose = 'invitation'")
    assert alice.open(second).status_code == 403


@pytest.mark.parametrize("token", ["", "x", "%00", "a" * 2000, "'--"])
def test_a_made_up_invitation_says_the_same_as_a_used_one(server: Server, token: str) -> None:
    with Visitor(server) as visitor:
        answer = visitor.open(f"/invitation?token={token}")
        assert answer.status_code == 403
        assert said(answer)[0].startswith("It has been used, was replaced")


def test_a_sign_in_link_is_no_invitation_and_the_other_way_round(server: Server, alice: Visitor) -> None:
    sign_in = httpx.URL(server.sign_in_link()).params["token"]
    invitation = httpx.URL(link_of(alice.fill_in("/members", "/members/invite", email=BOB, role="admin"))).params["token"]
    with Visitor(server) as visitor:
        assert visitor.open(f"/invitation?token={sign_in}").status_code == 403
        assert visitor.open(f"/sign-in?token={invitation}").status_code == 403
        assert not visitor.is_in


@pytest.mark.parametrize("forged", [{}, {"_csrf_token": "0" * 64}], ids=str)
def test_nobody_else_can_send_the_form_of_an_invitation(server: Server, alice: Visitor, forged: dict[str, str]) -> None:
    url = httpx.URL(link_of(alice.fill_in("/members", "/members/invite", email=BOB, role="member")))
    with Visitor(server) as bob:
        bob.open(url.raw_path.decode())
        form = {"token": url.params["token"], "new": PASSWORD, "again": PASSWORD, **forged}
        assert bob.client.post("/invitation", data=form).status_code == 403
        assert not bob.is_in


@pytest.mark.parametrize(
    ("email", "status", "words"),
    [
        (ALICE, 409, "Alice@northwind.example is a member already."),
        ("ALICE@Northwind.example ", 409, "Alice@northwind.example is a member already."),
        ("nobody", 400, "'nobody' is not an email address."),
        ("", 400, "'' is not an email address."),
        ("a@b\r\nBcc: c@d", 400, "is not an email address."),
        ("<script>@x y", 400, "is not an email address."),
    ],
)
def test_who_cannot_be_invited_is_told_beside_the_field(alice: Visitor, email: str, status: int, words: str) -> None:
    answer = alice.fill_in("/members", "/members/invite", email=email, role="member")
    assert answer.status_code == status
    assert said(answer)[0].casefold().endswith(words.casefold())
    assert 'id="link"' not in answer.text


def test_a_role_is_changed_and_the_member_signs_in_again_with_it(server: Server, alice: Visitor) -> None:
    person(server, BOB, Role.MEMBER)
    with Visitor(server) as bob:
        bob.sign_in(BOB)
        assert change(alice, "role", number(server, BOB), role="admin").headers["location"] == "/members?done=role"
        assert not bob.is_in
        assert bob.sign_in(BOB).headers["location"] == "/usage"
        assert change(alice, "role", number(server, BOB), role="member").status_code == 303
        assert bob.open("/usage").status_code == 303
        assert bob.sign_in(BOB).headers["location"] == "/my"
        assert bob.open("/usage").status_code == 403


def test_who_is_deactivated_is_out_at_once_and_by_every_way(server: Server, alice: Visitor) -> None:
    person(server, BOB)
    link = httpx.URL(json.loads(tallyboard("member", "link", BOB, "--json", data=server.folder).stdout)["link"]).raw_path.decode()
    invitation = httpx.URL(link_of(change(alice, "link", number(server, BOB)))).raw_path.decode()
    with Visitor(server) as bob:
        bob.sign_in(BOB)
        assert change(alice, "deactivate", number(server, BOB)).headers["location"] == "/members?done=deactivated"
        assert not bob.is_in
        assert said(bob.sign_in(BOB)) == ["Email and password do not belong together."]
        assert bob.open(link).status_code == bob.open(invitation).status_code == 403
        assert "is deactivated" in said(change(alice, "link", number(server, BOB)))[0]
        assert "is deactivated" in refusal("member", "link", BOB, folder=server.folder)
        assert states(server)[BOB] == ("admin", "deactivated")
        assert change(alice, "reactivate", number(server, BOB)).status_code == 303
        assert bob.sign_in(BOB).status_code == 303


@pytest.mark.parametrize(("action", "more"), [("role", {"role": "member"}), ("deactivate", {})])
def test_the_last_administrator_stays(server: Server, alice: Visitor, action: str, more: dict[str, str]) -> None:
    """Who is only invited, or is deactivated, does not count: they may never come."""
    alice.fill_in("/members", "/members/invite", email=DORA, role="admin")
    person(server, BOB)
    change(alice, "deactivate", number(server, BOB))
    answer = change(alice, action, number(server, ALICE), **more)
    assert answer.status_code == 400
    assert "is the last administrator" in said(answer)[0]
    assert states(server)[ALICE] == ("admin", "active")
    assert alice.is_in


@pytest.mark.parametrize(("action", "more"), [("role", {"role": "member"}), ("deactivate", {})])
def test_two_administrators_who_remove_each_other_at_the_same_time_leave_one(folder: Path, action: str, more: dict[str, str]) -> None:
    """Through two processes where the engine serves several."""
    with (
        serving(folder) as first,
        serving(folder, TALLYBOARD_LOG_LEVEL="warning") if engines.NAME != "sqlite" else serving(folder) as second,
    ):
        person(first, ALICE)
        person(first, BOB)
        for _ in range(4):
            with Visitor(first) as alice, Visitor(second) as bob:
                alice.sign_in(ALICE)
                bob.sign_in(BOB)
                pairs = [(alice, number(first, BOB)), (bob, number(first, ALICE))]
                forms = [hidden(visitor.open("/members").text, "/members/invite") for visitor, _ in pairs]
                with ThreadPoolExecutor(2) as pool:
                    list(
                        pool.map(
                            lambda each: each[0][0].client.post(f"/members/{action}", data={**each[1], "member": each[0][1], **more}),
                            zip(pairs, forms, strict=True),
                        )
                    )
            left = [email for email, (role, state) in states(first).items() if role == "admin" and state == "active"]
            assert len(left) == 1, left
            back = (
                ("role", ALICE if left == [BOB] else BOB, "admin") if action == "role" else ("reactivate", ALICE if left == [BOB] else BOB)
            )
            tallyboard("member", *back, data=folder)


@pytest.mark.parametrize("action", ["invite", "link", "role", "deactivate", "reactivate"])
def test_a_member_who_is_no_administrator_changes_nobody(server: Server, alice: Visitor, action: str) -> None:
    person(server, BOB, Role.MEMBER)
    before = states(server)
    with Visitor(server) as bob:
        bob.sign_in(BOB)
        form = hidden(bob.open("/account").text, "/sign-out")
        for member_id in (number(server, BOB), number(server, ALICE)):
            fields = {**form, "member": member_id, "role": "admin", "email": "eve@northwind.example"}
            answer = bob.client.post(f"/members/{action}", data=fields)
            assert answer.status_code == 403
            assert ALICE not in answer.text
    assert states(server) == before
    assert alice.client.post(f"/members/{action}", data={"member": number(server, BOB)}).status_code == 403, "a form without its token"
    with Visitor(server) as nobody:
        assert nobody.open("/members").headers["location"] == "/sign-in"


@pytest.mark.parametrize("member_id", ["", "0", "-1", "9" * 16, "9" * 400, "x", "1 OR 1=1", "٣"])
def test_a_member_that_does_not_exist_is_not_found(alice: Visitor, member_id: str) -> None:
    answer = change(alice, "deactivate", member_id)
    assert answer.status_code == 400
    assert said(answer) == ["There is no such member."]


def test_the_members_of_another_account_are_neither_shown_nor_changed(server: Server, alice: Visitor) -> None:
    engines.look(
        server.folder,
        "INSERT INTO account (account_id, name, timezone, zone_version, days_version, revision, user_count, shelf, shelf_events, created_us) "
        "VALUES (2, 'Contoso', 'UTC', 1, 1, 1, 0, 0, 0, 0)",
    )
    person(server, "charlie@contoso.example")
    engines.look(server.folder, "UPDATE member SET account_id = 2 WHERE email = 'charlie@contoso.example'")
    assert "charlie" not in alice.open("/members").text
    for action in ("link", "role", "deactivate", "reactivate"):
        answer = change(alice, action, number(server, "charlie@contoso.example"), role="member")
        assert said(answer) == ["There is no such member."]
        assert "charlie" not in answer.text


def test_a_member_is_linked_to_the_user_with_the_same_email(server: Server, alice: Visitor) -> None:
    tallyboard("user", "set", "u-17", "--email", "Alice@Northwind.Example", "--name", "Alice <Anderson>", data=server.folder)
    assert "<bdi>Alice &lt;Anderson&gt;</bdi>" in alice.open("/members").text
    line, *_ = (each for each in json.loads(tallyboard("member", "list", "--json", data=server.folder).stdout) if each["email"] == ALICE)
    assert line == {"email": ALICE, "role": "admin", "state": "active", "user": "u-17"}
    tallyboard("user", "set", "u-18", "--email", "alice@northwind.example", data=server.folder)
    assert "Anderson" not in alice.open("/members").text, "an email that two users have says nothing"


def test_every_change_is_in_the_audit_log_and_no_secret_is(server: Server, alice: Visitor) -> None:
    address = link_of(alice.fill_in("/members", "/members/invite", email=BOB, role="member"))
    again = link_of(change(alice, "link", number(server, BOB)))
    change(alice, "role", number(server, BOB), role="admin")
    change(alice, "deactivate", number(server, BOB))
    change(alice, "reactivate", number(server, BOB))
    printed = tallyboard("audit", "export", data=server.folder).stdout
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [(line["actor"], line["action"].removeprefix("member.")) for line in lines][-5:] == [
        (ALICE, "added"),
        (ALICE, "invited_again"),
        (ALICE, "role_changed"),
        (ALICE, "deactivated"),
        (ALICE, "reactivated"),
    ]
    for secret in (address, again):
        token = httpx.URL(secret).params["token"]
        assert token not in printed + server.log
        assert not [
            row
            for table in ("sign_in_link", "member", "session")
            for row in engines.look(server.folder, f"SELECT * FROM {table}")
            if token in str(row)
        ]


def test_an_answer_with_a_link_is_kept_by_nobody(alice: Visitor) -> None:
    answer = alice.fill_in("/members", "/members/invite", email=BOB, role="member")
    assert answer.headers["cache-control"] == "no-store"
    assert "token=" not in alice.open("/members").text


# The command line


def test_the_command_line_adds_lists_links_and_changes_members(folder: Path) -> None:
    link = json.loads(tallyboard("member", "add", ALICE, "--role", "admin", "--json", data=folder).stdout)["link"]
    assert link.startswith("http://127.0.0.1:8321/invitation?token=")
    assert tallyboard("member", "add", BOB, data=folder).stdout.count("\n") == 1
    assert tallyboard("member", "list", data=folder).stdout == f"{ALICE}\tadmin\tinvited\t\n{BOB}\tmember\tinvited\t\n"
    assert "/sign-in?token=" in tallyboard("member", "link", BOB, data=folder).stdout
    assert "/invitation?token=" in tallyboard("member", "link", BOB, "--invitation", data=folder).stdout
    assert "/sign-in?token=" in tallyboard("member", "link", data=folder, TALLYBOARD_PUBLIC_URL="https://usage.example.com").stdout
    tallyboard("member", "role", BOB, "admin", data=folder)
    tallyboard("member", "deactivate", BOB, data=folder)
    assert f"{BOB}\tadmin\tdeactivated\t" in tallyboard("member", "list", data=folder).stdout
    tallyboard("member", "reactivate", BOB, data=folder)
    assert f"{BOB}\tadmin\tinvited\t" in tallyboard("member", "list", data=folder).stdout


def test_the_command_line_says_what_cannot_be(folder: Path) -> None:
    tallyboard("member", "add", ALICE, "--role", "admin", data=folder)
    assert "is a member already" in refusal("member", "add", ALICE, folder=folder)
    assert "is not an email address" in refusal("member", "add", "alice", folder=folder)
    assert "is no member of this account" in refusal("member", "link", BOB, folder=folder)
    assert "is the last administrator" in refusal("member", "deactivate", ALICE, folder=folder)
    assert "is the last administrator" in refusal("member", "role", ALICE, "member", folder=folder)
    assert tallyboard("member", "role", ALICE, "king", data=folder, check=False).returncode == 2
