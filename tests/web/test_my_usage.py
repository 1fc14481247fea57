"""My usage: the same figures as the administrator's, and nothing of anybody else's in any way they could leak."""

import csv
import re
from collections.abc import Iterator

import pytest

from tallyboard.people.members import Role
from tests.conftest import Server, event, tallyboard
from tests.web.visitors import Visitor, person

ALICE, BOB = "alice@northwind.example", "bob@northwind.example"
SECRETS = ("alice", "anderson", "u-77", "crowd", "77,777", "77777", "46666", "bob-the-other")


@pytest.fixture
def filled(server: Server) -> Server:
    """Bob uses some, Alice a lot. Nothing of hers may reach him."""
    person(server, ALICE)
    person(server, BOB, Role.MEMBER)
    tallyboard("user", "set", "u-1", "--email", "Bob@Northwind.example", "--name", "Bob Brown", data=server.folder)
    tallyboard("user", "set", "u-77", "--email", ALICE, "--name", "Alice Anderson", data=server.folder)
    server.send(now("1", "u-1", 90), now("2", "u-1", 60), now("3", "u-77", 46_666_200), now("4", "crowd", 77))
    return server


@pytest.fixture
def bob(filled: Server) -> Iterator[Visitor]:
    with Visitor(filled) as visitor:
        assert visitor.sign_in(BOB).headers["location"] == "/my"
        yield visitor


def now(id: str, user: str, conversations: int) -> dict[str, object]:
    """An event of this moment: it has no time of its own."""
    return event(id, user, time=None, conversations=conversations)


def figures(page: str) -> dict[str, str]:
    found = re.findall(r"<dt>(.*?)</dt>\s*<dd class=\"kpi-value[^>]*>(?:<bdi>)?(.*?)(?:</bdi>)?</dd>", page)
    return {re.sub(r"\d+ ", "", label): value for label, value in found}


def test_the_figures_are_those_of_the_administrators_view(filled: Server, bob: Visitor) -> None:
    with Visitor(filled) as alice:
        alice.sign_in(ALICE)
        for window in ("7", "14", "30"):
            own, hers = bob.open(f"/my?window={window}").text, alice.open(f"/usage?window={window}&user=u-1").text
            assert figures(own)["Credits, last days"] == figures(hers)["Credits, last days"] == "0.25"
            totals = r'class="day[^"]*" name="day".*?data-total="([^"]*)"'
            assert re.findall(totals, own) == re.findall(totals, hers)
            assert len(re.findall(totals, own)) == int(window)
            assert re.findall(r'<i class="c\d ([^"]*)">', own) == re.findall(r'class="bar"><i class="c\d ([^"]*)">', hers)
        everything = alice.open("/usage.csv?user=u-1").text
    lines = list(csv.DictReader(bob.open("/my.csv").text.splitlines()))
    assert bob.open("/my.csv").text == everything
    assert [(line["user"], line["units"]) for line in lines] == [("u-1", "150000000")]


def test_usage_under_other_keys_is_ones_own_and_says_so(filled: Server, bob: Visitor) -> None:
    assert "Also known as" not in bob.open("/my").text
    for number in range(7):
        filled.send(now(f"5-{number}", f"laptop-{number}", 30))
        tallyboard("user", "merge", f"laptop-{number}", "u-1", data=filled.folder)
    page = bob.open("/my").text
    assert figures(page)["Credits, last days"] == "0.60"
    (named,) = re.findall(r'<p class="known-as">(.*?)</p>', page)
    assert re.sub("<[^>]*>", "", named) == "Also known as laptop-0, laptop-1, laptop-2, laptop-3, laptop-4 and 2 more"


def test_nothing_of_anybody_else_is_in_it(filled: Server, bob: Visitor) -> None:
    tallyboard("policy", "set", "--limit", "1", data=filled.folder)
    answers = [
        bob.open(path)
        for path in (
            "/my",
            "/my?window=7",
            "/my?user=u-77",
            "/my?user=u-77&q=alice&day=2026-01-01",
            "/my.csv",
            "/my.csv?user=u-77",
            "/account",
        )
    ]
    for answer in answers:
        assert answer.status_code == 200
        held = (answer.text + str(answer.headers)).casefold()
        assert not [secret for secret in SECRETS if secret in held]
        assert "others" not in held
        assert "share" not in held


@pytest.mark.parametrize("path", ["/usage", "/usage?user=u-1", "/usage.csv?user=u-1", "/policy", "/members", "/set-up", "/api/v1/stream"])
def test_the_doors_of_administrators_stay_shut(bob: Visitor, path: str) -> None:
    answer = bob.open(path)
    assert answer.status_code == 403
    assert not [secret for secret in SECRETS if secret in answer.text.casefold()]


def test_a_session_is_no_key_to_the_api(bob: Visitor) -> None:
    for path in ("/api/v1/usage?user=u-1", "/api/v1/users", "/api/v1/policy"):
        assert bob.open(path).status_code == 401


def test_the_tag_moves_with_ones_own_usage_only(filled: Server, bob: Visitor) -> None:
    """Else it would tell when others are at work. A minute may pass meanwhile: the page says how long the day still is."""

    def answered(tag: str) -> int:
        return bob.client.get("/my", headers={"If-None-Match": tag}).status_code

    for number in range(3):
        tag = bob.open("/my").headers["etag"]
        filled.send(now(f"more {number}", "u-77", 100))
        if answered(tag) == 304:
            break
    else:
        pytest.fail("the tag moved with the usage of somebody else")
    filled.send(now("own", "u-1", 600))
    assert answered(tag) == 200
    assert figures(bob.open("/my").text)["Used today"] == "1.25"


def test_the_allowance_is_that_of_the_api(filled: Server, bob: Visitor) -> None:
    assert figures(bob.open("/my").text)["Left today"] == "Unlimited"
    tallyboard("policy", "set", "--limit", "1", data=filled.folder)
    assert figures(bob.open("/my").text)["Left today"] == "0.75"
    filled.request("POST", "/api/v1/holds", "check", json={"id": "h", "user": "u-1", "credits": "0.5"}).raise_for_status()
    page = bob.open("/my").text
    assert figures(page)["Left today"] == "0.25"
    assert "0.50 set aside" in page
    filled.send(now("5", "u-1", 600))
    assert "Your daily limit of 1 credits is used up until the next day begins." in bob.open("/my").text


def test_who_has_no_user_or_several_is_told_so_and_sees_nothing(filled: Server, bob: Visitor) -> None:
    tallyboard("user", "set", "bob-the-other", "--email", BOB, data=filled.folder)
    page = bob.open("/my")
    assert page.status_code == 200
    assert "No usage is linked to your email." in page.text
    assert "0.25" not in page.text
    assert bob.open("/my.csv").status_code == 404


def test_an_email_of_another_account_links_to_nobody(filled: Server, bob: Visitor) -> None:
    from tests import engines  # noqa: PLC0415

    engines.look(
        filled.folder,
        "INSERT INTO account (account_id, name, timezone, zone_version, days_version, revision, user_count, shelf, shelf_events, created_us) "
        "VALUES (2, 'Contoso', 'UTC', 1, 1, 1, 0, 0, 0, 0)",
    )
    engines.look(filled.folder, f"UPDATE member SET account_id = 2 WHERE email = '{BOB}'")
    page = bob.open("/my").text
    assert "No usage is linked to your email." in page
    assert "Contoso" in page


def test_who_has_not_signed_in_is_led_to_sign_in(filled: Server) -> None:
    with Visitor(filled) as nobody:
        assert {nobody.open(path).headers["location"] for path in ("/my", "/my.csv", "/")} == {"/sign-in"}


def test_the_root_leads_to_what_one_may_see(filled: Server, bob: Visitor) -> None:
    assert bob.open("/").headers["location"] == "/my"
    with Visitor(filled) as alice:
        alice.sign_in(ALICE)
        assert alice.open("/").headers["location"] == "/usage"
        assert "u-77" not in alice.open("/my").text
        assert figures(alice.open("/my").text)["Used today"] == "77,777"
