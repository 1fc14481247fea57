"""The API of limits through the front door: every status, shape and header that docs/api.md promises, and nothing for who may not."""

import asyncio
import gzip
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from tallyboard import clock, credits, days
from tallyboard.app import App
from tallyboard.people import accounts, keys
from tallyboard.people.keys import Scope
from tallyboard.rates import card
from tallyboard.web import limits
from tests import engines
from tests.conftest import Server, event

CREDIT = credits.UNITS_PER_CREDIT
CONVERSATION = 1_000_000
CONTOSO = 2
QUOTA = "https://iana.org/assignments/http-problem-types#quota-exceeded"
STRANGE = ["a/b", "ä 😀", "100%", "%2F", "?x=1#y", "a//b/", "settle", "..", "openai", "a+b&c", "holds/allowance"]
"""Users and ids that a path must carry unharmed."""

AMOUNT = {"credits": str, "units": int}
ALLOWANCE = {
    "user": str,
    "limit": AMOUNT,
    "used": AMOUNT,
    "held": AMOUNT,
    "remaining": AMOUNT,
    "resets_at": str,
    "day": str,
}
HOLD = {"id": str, "user": str, "units": int, "state": str, "granted_at": str, "expires_at": str, "allowance": ALLOWANCE}
SETTLED = {
    "id": str,
    "user": str,
    "state": str,
    "units": int,
    "charged": AMOUNT,
    "accepted": int,
    "duplicate": int,
    "conflict": int,
    "allowance": ALLOWANCE,
}
OVERRIDE = {"user": str, "limit": AMOUNT, "reason": str, "expires_at": str, "in_force": bool, "set_at": str, "set_by": str}


def shape(found: Any) -> Any:
    """An answer's shape: names and types."""
    return {name: shape(value) for name, value in found.items()} if isinstance(found, dict) else type(found)


@pytest.fixture
def bob(shared_server: Server) -> str:
    """A user of this test alone, with a limit of one credit."""
    user = f"bob {uuid4()}"
    give(shared_server, user, units=CREDIT)
    return user


@pytest.fixture(scope="module")
def charlies_key(shared_server: Server) -> str:
    """A key that may do everything in another account."""
    engines.look(
        shared_server.folder,
        "INSERT INTO account (account_id, name, timezone, zone_version, days_version, revision, user_count, shelf, shelf_events, created_us) "
        "VALUES (2, 'Contoso', 'Asia/Tokyo', 1, 1, 1, 0, 0, 0, 0)",
    )
    engine = engines.open_on(shared_server.folder)
    with engine.writing() as session:
        accounts.set_card(session, CONTOSO, card.default_text(), "test", clock.now_us())
        secret, _ = keys.create(session, CONTOSO, "charlie", list(Scope), "test", clock.now_us())
    engine.close()
    return secret


def ask(server: Server, method: str, path: str, scopes: str = "check", **more: Any) -> httpx.Response:
    return server.request(method, f"/api/v1{path}", scopes, **more)


def give(server: Server, user: str, **limit: Any) -> None:
    answered = ask(server, "PUT", f"/policy/overrides/{quote(user, safe='')}", "admin", json={"limit": limit or None})
    assert answered.status_code == 200, answered.text


def hold(server: Server, user: str, units: int = 1, **more: Any) -> dict[str, Any]:
    answered = ask(server, "POST", "/holds", json={"user": user, "units": units, **more})
    assert answered.status_code == 201, answered.text
    return dict(answered.json())


def settle(server: Server, hold_id: str, conversations: object, **more: Any) -> httpx.Response:
    return ask(server, "POST", f"/holds/{quote(hold_id, safe='')}/settle", json={"data": {"conversations": conversations}}, **more)


def standing(server: Server, user: str) -> dict[str, Any]:
    return dict(ask(server, "GET", f"/users/{quote(user, safe='')}/allowance").json())


# check


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
@pytest.mark.parametrize("way", ["body", "query", "header"])
def test_a_check_names_its_user_in_any_of_three_ways(shared_server: Server, bob: str, method: str, way: str) -> None:
    ways: dict[str, dict[str, Any]] = {
        "body": {"json": {"user": bob}},
        "query": {"params": {"user": bob}},
        "header": {"headers": {"X-Tallyboard-User": bob}},
    }
    answered = ask(shared_server, method, "/check", **ways[way])
    assert (answered.status_code, answered.json()["allowed"], answered.headers["content-type"]) == (200, True, "application/json")
    assert shape(answered.json()) == {"allowed": bool, "allowance": ALLOWANCE}
    told = answered.json()["allowance"]
    assert (told["user"], told["limit"]["credits"], told["remaining"]["units"]) == (bob, "1.000000", CREDIT)
    assert told["resets_at"] == days.instant_text(days.ends_at_us(clock.now_us(), days.zone("UTC")))


def test_without_a_limit_limit_and_remaining_are_null(shared_server: Server) -> None:
    told = standing(shared_server, "somebody never seen")
    assert (told["limit"], told["remaining"], told["used"]["units"], told["held"]["units"]) == (None, None, 0, 0)


def test_the_header_carries_any_user_as_utf_8(shared_server: Server) -> None:
    for user in ("zoë", "😀", "a b"):
        answered = ask(shared_server, "GET", "/check", headers={"X-Tallyboard-User": user.encode()})
        assert answered.json()["allowance"]["user"] == user


def test_a_refusal_is_a_problem_with_headers_that_clients_obey(shared_server: Server, bob: str) -> None:
    hold(shared_server, bob, CREDIT)
    answered = ask(shared_server, "POST", "/check", json={"user": bob})
    problem = answered.json()
    assert (answered.status_code, answered.headers["content-type"]) == (429, "application/problem+json")
    assert shape(problem) == {
        "type": str,
        "title": str,
        "status": int,
        "detail": str,
        "violated-policies": list,
        "allowed": bool,
        "allowance": ALLOWANCE,
    }
    assert (problem["type"], problem["status"], problem["allowed"], problem["violated-policies"]) == (QUOTA, 429, False, ["daily-credits"])
    assert problem["detail"].startswith(f"{bob} has used 0 of their own daily limit of 1 credit, and 1.00 more are held")
    seconds = answered.headers["retry-after"]
    assert answered.headers["ratelimit-policy"] == '"daily-credits";q=1;qu="credits";w=86400'
    assert answered.headers["ratelimit"] == f'"daily-credits";r=0;t={seconds}'
    assert answered.headers["x-should-retry"] == "false"
    resets_us = days.instant_us(datetime.fromisoformat(problem["allowance"]["resets_at"]))
    assert 0 <= clock.now_us() + int(seconds) * 1_000_000 - resets_us < 3_000_000


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ("", "problem"),
        ("/openai", "openai"),
        ("/v1/chat/completions", "openai"),
        ("/v1/completions", "openai"),
        ("/v1/responses", "openai"),
        ("/v1/embeddings", "openai"),
        ("/anthropic", "anthropic"),
        ("/v1/messages", "anthropic"),
        ("/v1/something/else", "problem"),
    ],
)
def test_the_route_behind_check_chooses_the_words(shared_server: Server, bob: str, route: str, words: str) -> None:
    give(shared_server, bob, units=0)
    answered = ask(shared_server, "POST", f"/check{route}", headers={"X-Tallyboard-User": bob})
    found = answered.json()
    assert (answered.status_code, answered.headers["x-should-retry"]) == (429, "false")
    if words == "openai":
        assert (found["error"]["type"], found["error"]["code"]) == ("insufficient_quota", "insufficient_quota")
        assert found["error"]["message"].startswith(bob)
    elif words == "anthropic":
        assert (found["type"], found["error"]["type"]) == ("error", "rate_limit_error")
        assert found["error"]["message"].startswith(bob)
    else:
        assert found["type"] == QUOTA


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/messages", "/any/thing"])
def test_what_a_gateway_passes_on_is_not_its_word(shared_server: Server, bob: str, route: str) -> None:
    """Query and body are the request's that somebody wants to make: they name nobody, and need not be JSON."""
    give(shared_server, bob, units=0)
    query, body = {"user": "alice", "deny_status": "403"}, {"user": "alice", "model": "x"}
    assert ask(shared_server, "POST", f"/check{route}", params=query, json=body, headers={"X-Tallyboard-User": bob}).status_code == 429
    assert ask(shared_server, "POST", f"/check{route}", content=b"\xff{", headers={"X-Tallyboard-User": bob}).status_code == 429
    assert ask(shared_server, "POST", f"/check{route}", params=query, json=body).status_code == 400


@pytest.mark.parametrize(("said", "status"), [("403", 403), ("429", 429), ("", 429)])
def test_who_understands_only_403_gets_it(shared_server: Server, bob: str, said: str, status: int) -> None:
    give(shared_server, bob, units=0)
    for route in ("", "/openai", "/anthropic"):
        answered = ask(shared_server, "GET", f"/check{route}", params={"user": bob, "deny_status": said})
        assert (answered.status_code, answered.headers["x-should-retry"]) == (status, "false")
        assert route or answered.json()["status"] == status


# holds


@pytest.mark.parametrize(
    ("said", "units"),
    [
        ({"units": 5}, 5),
        ({"units": 0}, 0),
        ({"credits": "0.2"}, CREDIT // 5),
        ({"credits": 0.2}, CREDIT // 5),
        ({"credits": "0.00000001"}, 6),
        ({"credits": 1}, CREDIT),
        ({"data": {"conversations": 3}}, 3 * CONVERSATION),
        ({"data": {"requests": 1}}, CONVERSATION // 5),
        ({"data": {"conversations": 0.5}, "type": "ai.usage.recorded"}, CONVERSATION // 2),
        ({"data": {"conversations": 0}}, 0),
    ],
)
def test_a_hold_says_how_much_in_any_of_three_ways(shared_server: Server, bob: str, said: dict[str, Any], units: int) -> None:
    answered = ask(shared_server, "POST", "/holds", json={"user": bob, **said})
    found = answered.json()
    assert (answered.status_code, answered.headers["content-type"]) == (201, "application/json")
    assert shape(found) == HOLD
    assert (found["user"], found["units"], found["state"]) == (bob, units, "held")
    assert (found["allowance"]["held"]["units"], found["allowance"]["remaining"]["units"]) == (units, CREDIT - units)
    assert found["id"].startswith("hold_")
    granted, expires = (datetime.fromisoformat(found[name]) for name in ("granted_at", "expires_at"))
    assert (expires - granted).total_seconds() == 900


@pytest.mark.parametrize("ttl", [1, 60, 86_400])
def test_a_hold_lives_as_long_as_it_says(shared_server: Server, bob: str, ttl: int) -> None:
    found = hold(shared_server, bob, ttl_s=ttl)
    granted, expires = (datetime.fromisoformat(found[name]) for name in ("granted_at", "expires_at"))
    assert (expires - granted).total_seconds() == ttl


def test_the_last_unit_is_granted_and_no_more(shared_server: Server, bob: str) -> None:
    hold(shared_server, bob, CREDIT - 1)
    refused = ask(shared_server, "POST", "/holds", json={"user": bob, "units": 2})
    assert refused.status_code == 429
    assert refused.json()["estimate"] == {"credits": "0.000000", "units": 2}
    assert refused.json()["allowance"]["remaining"]["units"] == 1
    assert (refused.headers["x-should-retry"], refused.headers["content-type"]) == ("false", "application/problem+json")
    hold(shared_server, bob, 1)
    hold(shared_server, bob, 0)
    assert ask(shared_server, "POST", "/holds", json={"user": bob, "units": 1}).status_code == 429
    assert ask(shared_server, "POST", "/check", json={"user": bob}).status_code == 429


def test_refused_holds_speak_the_words_of_the_api_behind(shared_server: Server, bob: str) -> None:
    openai = ask(shared_server, "POST", "/holds/openai", json={"user": bob, "units": CREDIT + 1})
    anthropic = ask(shared_server, "POST", "/holds/anthropic", json={"user": bob, "units": CREDIT + 1})
    assert (openai.status_code, openai.json()["error"]["code"]) == (429, "insufficient_quota")
    assert (anthropic.status_code, anthropic.json()["error"]["type"]) == (429, "rate_limit_error")
    assert ask(shared_server, "POST", "/holds/openai", json={"user": bob, "units": 1}).status_code == 201


def test_a_hold_sent_again_is_the_same_hold_whatever_became_of_it(shared_server: Server, bob: str) -> None:
    name = f"mine {uuid4()}"
    first = hold(shared_server, bob, 7, id=name)
    for state, change in (
        ("held", lambda: None),
        ("released", lambda: ask(shared_server, "DELETE", f"/holds/{quote(name, safe='')}")),
        ("released", lambda: settle(shared_server, name, 0)),
    ):
        change()
        again = ask(shared_server, "POST", "/holds", json={"user": bob, "units": 500, "ttl_s": 5, "id": name})
        assert again.status_code == 200
        assert {**again.json(), "allowance": None} == {**first, "state": state, "allowance": None}
    taken = ask(shared_server, "POST", "/holds", json={"user": "alice", "units": 1, "id": name})
    assert (taken.status_code, taken.json()["type"]) == (409, "urn:tallyboard:problem:taken")


@pytest.mark.parametrize("name", STRANGE)
def test_users_and_ids_of_any_kind_keep_their_names(shared_server: Server, name: str) -> None:
    user, hold_id = f"{name}/{uuid4()}/{name}", f"{name}-{uuid4()}-{name}"
    give(shared_server, user, units=10)
    assert hold(shared_server, user, 7, id=hold_id)["id"] == hold_id
    assert standing(shared_server, user)["held"]["units"] == 7
    settled = settle(shared_server, hold_id, 0.000002)
    assert (settled.json()["id"], settled.json()["user"], settled.json()["charged"]["units"]) == (hold_id, user, 2)
    assert hold(shared_server, user, 8, id=f"{hold_id}2")
    assert ask(shared_server, "DELETE", f"/holds/{quote(f'{hold_id}2', safe='')}").status_code == 204
    told = standing(shared_server, user)
    assert (told["user"], told["used"]["units"], told["held"]["units"]) == (user, 2, 0)
    listed = ask(shared_server, "GET", "/policy/overrides", "read", params={"search": user}).json()["overrides"]
    assert [each["user"] for each in listed] == [user]
    found = ask(shared_server, "GET", f"/policy/overrides/{quote(user, safe='')}", "read")
    assert found.json()["user"] == user


def test_users_whose_keys_look_like_addresses_can_be_named(shared_server: Server) -> None:
    for user in ("team/allowance", "a//b/"):
        named = ask(shared_server, "PUT", f"/users/{quote(user, safe='')}", "admin", json={"email": None, "name": f"Team {user}"})
        assert named.status_code == 200, named.text
        found = ask(shared_server, "GET", "/users", "read", params={"search": f"Team {user}"}).json()["users"]
        assert [each["user"] for each in found] == [user]


@pytest.mark.parametrize(("conversations", "left"), [(0, 600), (2, 598), (5, 595), (700, 0)])
def test_settling_counts_what_was_used_and_frees_the_rest(shared_server: Server, bob: str, conversations: int, left: int) -> None:
    found = hold(shared_server, bob, 5 * CONVERSATION)
    answered = settle(shared_server, found["id"], conversations)
    told = answered.json()
    assert answered.status_code == 200
    assert shape(told) == SETTLED
    assert (told["state"], told["units"], told["charged"]["units"]) == ("settled", 5 * CONVERSATION, conversations * CONVERSATION)
    assert (told["accepted"], told["duplicate"], told["conflict"]) == (1, 0, 0)
    assert (told["allowance"]["held"]["units"], told["allowance"]["remaining"]["units"]) == (0, left * CONVERSATION)
    again = settle(shared_server, found["id"], conversations).json()
    other = settle(shared_server, found["id"], conversations + 1).json()
    assert (again["accepted"], again["duplicate"], again["conflict"], again["state"]) == (0, 1, 0, "settled")
    assert (other["accepted"], other["duplicate"], other["conflict"]) == (0, 0, 1)
    assert ask(shared_server, "DELETE", f"/holds/{found['id']}").status_code == 204
    assert standing(shared_server, bob)["used"]["units"] == conversations * CONVERSATION


def test_settling_takes_an_event_of_any_form(shared_server: Server, bob: str) -> None:
    whole = {**event(f"e {uuid4()}", bob, time=None), "data": {"conversations": 2}}
    forms: list[dict[str, Any]] = [
        {"json": whole},
        {"json": whole, "headers": {"Content-Type": "application/cloudevents+json"}},
        {"json": [{**whole, "id": f"e {uuid4()}"}], "headers": {"Content-Type": "application/cloudevents-batch+json"}},
        {"json": {"type": "ai.usage.recorded", "source": "/elsewhere", "data": {"conversations": 2}}},
        {
            "json": {"conversations": 2},
            "headers": {"ce-specversion": "1.0", "ce-id": f"{uuid4()}", "ce-source": "/x", "ce-type": "ai.usage.recorded"},
        },
        {
            "content": gzip.compress(b'{"data": {"conversations": 2}}'),
            "headers": {"Content-Encoding": "gzip", "Content-Type": "application/json"},
        },
    ]
    answers = [ask(shared_server, "POST", f"/holds/{hold(shared_server, bob)['id']}/settle", **form) for form in forms]
    assert [answered.status_code for answered in answers] == [200] * len(forms), [answered.text for answered in answers]
    assert [answered.json()["accepted"] for answered in answers] == [1, 0, 1, 1, 1, 1]
    assert standing(shared_server, bob)["held"]["units"] == 0


def test_a_released_hold_gives_everything_back_and_takes_late_usage(shared_server: Server, bob: str) -> None:
    found = hold(shared_server, bob, CREDIT)
    for _ in range(2):
        released = ask(shared_server, "DELETE", f"/holds/{found['id']}")
        assert (released.status_code, released.content) == (204, b"")
    assert standing(shared_server, bob)["remaining"]["units"] == CREDIT
    late = settle(shared_server, found["id"], 4).json()
    assert (late["state"], late["accepted"], late["allowance"]["used"]["units"]) == ("released", 1, 4 * CONVERSATION)


def test_the_list_shows_what_is_set_aside_now(shared_server: Server, bob: str) -> None:
    first, second = hold(shared_server, bob, 3), hold(shared_server, bob, 4)
    ask(shared_server, "DELETE", f"/holds/{first['id']}")
    listed = [each for each in ask(shared_server, "GET", "/holds", "read").json()["holds"] if each["user"] == bob]
    assert listed == [{name: second[name] for name in ("id", "user", "units", "granted_at", "expires_at")}]


# keys


@pytest.mark.parametrize(
    ("method", "path", "good"),
    [
        ("POST", "/check", {"check", "admin"}),
        ("GET", "/check", {"check", "admin"}),
        ("POST", "/holds", {"check", "admin"}),
        ("POST", "/holds/nothing/settle", {"check", "admin"}),
        ("DELETE", "/holds/nothing", {"check", "admin"}),
        ("GET", "/holds", {"check", "read", "admin"}),
        ("GET", "/users/bob/allowance", {"check", "read", "admin"}),
        ("GET", "/policy", {"read", "admin"}),
        ("PUT", "/policy", {"admin"}),
        ("GET", "/policy/overrides", {"read", "admin"}),
        ("GET", "/policy/overrides/bob", {"read", "admin"}),
        ("PUT", "/policy/overrides/nobody", {"admin"}),
        ("DELETE", "/policy/overrides/nobody", {"admin"}),
        ("POST", "/policy/preview", {"read", "admin"}),
        ("GET", "/policy/history", {"read", "admin"}),
    ],
)
def test_each_door_opens_to_its_scopes_alone(shared_server: Server, method: str, path: str, good: set[str]) -> None:
    body = {"default_limit": None} if "/policy" in path and "overrides" not in path else {"limit": None}
    sent = {"json": body} if method in {"PUT", "POST"} and "/policy" in path else {}
    opened = {scope for scope in map(str, Scope) if ask(shared_server, method, path, scope, **sent).status_code != 403}
    assert opened == good
    for header in ({}, {"Authorization": "Bearer tb_unknown"}, {"Authorization": "Basic x"}):
        answered = shared_server.client.request(method, f"{shared_server.url}/api/v1{path}", headers=header, **sent)
        assert (answered.status_code, answered.json()["type"]) == (401, "urn:tallyboard:problem:unauthorized")
        assert answered.headers["www-authenticate"].startswith("Bearer")


def test_a_key_bound_to_a_user_asks_for_that_user_alone(shared_server: Server, bob: str) -> None:
    mine = {"headers": {"Authorization": f"Bearer {shared_server.keys.make('check', '--user', bob)}"}}
    others = hold(shared_server, "alice", 5)["id"]

    def mine_asks(method: str, path: str, **more: Any) -> httpx.Response:
        return shared_server.client.request(method, f"{shared_server.url}/api/v1{path}", headers={**mine["headers"]}, **more)

    for said in ({"json": {"user": "alice"}}, {"params": {"user": "alice"}}, {}):
        assert mine_asks("POST", "/check", **said).json()["allowance"]["user"] == bob
    held = mine_asks("POST", "/holds", json={"user": "alice", "units": 9}).json()
    assert held["user"] == bob
    assert mine_asks("GET", f"/users/{quote(bob, safe='')}/allowance").json()["held"]["units"] == 9
    assert mine_asks("GET", "/users/alice/allowance").status_code == 404
    assert mine_asks("POST", f"/holds/{others}/settle", json={"data": {}}).status_code == 404
    assert mine_asks("DELETE", f"/holds/{others}").status_code == 404
    assert mine_asks("POST", "/holds", json={"units": 1, "id": others}).status_code == 409
    assert mine_asks("POST", f"/holds/{held['id']}/settle", json={"data": {"conversations": 1}}).json()["state"] == "settled"
    assert ask(shared_server, "DELETE", f"/holds/{others}").status_code == 204


# walls


def test_charlie_sees_and_ends_nothing_of_alices_account(shared_server: Server, charlies_key: str, bob: str) -> None:
    """The same user and the same hold id in two accounts are two users and two holds."""

    def charlie(method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {charlies_key}", **more.pop("headers", {})}
        return shared_server.client.request(method, f"{shared_server.url}/api/v1{path}", headers=headers, **more)

    name = f"same {uuid4()}"
    path = f"/holds/{quote(name, safe='')}"
    hold(shared_server, bob, CREDIT, id=name)
    assert charlie("POST", f"{path}/settle", json={"data": {"conversations": 1}}).status_code == 404
    assert charlie("DELETE", path).status_code == 404
    assert name not in charlie("GET", "/holds").text
    told = charlie("GET", f"/users/{quote(bob, safe='')}/allowance").json()
    assert (told["limit"], told["held"]["units"]) == (None, 0)
    assert charlie("POST", "/check", json={"user": bob}).status_code == 200
    assert charlie("GET", f"/policy/overrides/{quote(bob, safe='')}").status_code == 404
    assert charlie("DELETE", f"/policy/overrides/{quote(bob, safe='')}").status_code == 404
    assert bob not in charlie("GET", "/policy/overrides").text + charlie("GET", "/policy/history").text
    assert charlie("POST", "/policy/preview", json={"default_limit": {"units": 0}}).json()["of"] == {"users": 0, "user_days": 0}
    tag = charlie("GET", "/policy").headers["etag"]
    assert charlie("PUT", "/policy", json={"default_limit": {"units": 1}}, headers={"If-Match": tag}).status_code == 200
    theirs = charlie("POST", "/holds", json={"user": bob, "units": 1, "id": name})
    assert (theirs.status_code, theirs.json()["allowance"]["held"]["units"]) == (201, 1)
    assert charlie("POST", f"{path}/settle", json={"data": {"conversations": 3}}).json()["accepted"] == 1
    ours = standing(shared_server, bob)
    assert (ours["used"]["units"], ours["held"]["units"], ours["limit"]["units"]) == (0, CREDIT, CREDIT)
    assert settle(shared_server, name, 2).json()["accepted"] == 1
    assert ask(shared_server, "GET", "/policy", "read").json()["default_limit"] is None


# policy


def test_the_policy_is_changed_by_who_saw_what_it_was(server: Server) -> None:
    seen = ask(server, "GET", "/policy", "read")
    assert seen.json() == {"default_limit": None, "timezone": "UTC", "resets_at": seen.json()["resets_at"]}
    assert seen.headers["cache-control"] == "no-store"
    body = {"default_limit": {"credits": "0.5"}}
    missing = ask(server, "PUT", "/policy", "admin", json=body)
    assert (missing.status_code, missing.json()["type"]) == (428, "urn:tallyboard:problem:precondition-required")
    changed = ask(server, "PUT", "/policy", "admin", json=body, headers={"If-Match": seen.headers["etag"]})
    assert (changed.status_code, changed.json()["default_limit"]) == (200, {"credits": "0.500000", "units": CREDIT // 2})
    assert changed.headers["etag"] != seen.headers["etag"]
    stale = ask(server, "PUT", "/policy", "admin", json={"timezone": "Asia/Tokyo"}, headers={"If-Match": seen.headers["etag"]})
    assert (stale.status_code, stale.json()["type"]) == (412, "urn:tallyboard:problem:stale")
    moved = ask(server, "PUT", "/policy", "admin", json={"timezone": "Asia/Tokyo"}, headers={"If-Match": changed.headers["etag"]})
    assert (moved.json()["timezone"], moved.json()["default_limit"]["units"]) == ("Asia/Tokyo", CREDIT // 2)
    anyhow = ask(server, "PUT", "/policy", "admin", json={"default_limit": None}, headers={"If-Match": "*"})
    assert anyhow.json()["default_limit"] is None
    assert ask(server, "GET", "/policy", "read").headers["etag"] == anyhow.headers["etag"]


def test_an_override_is_changed_by_who_saw_what_it_was(server: Server) -> None:
    path = "/policy/overrides/bob"
    assert ask(server, "GET", path, "read").status_code == 404
    body = {"limit": {"credits": "5"}, "reason": " pilot ", "expires_at": "2126-12-01T01:00:00+01:00"}
    made = ask(server, "PUT", path, "admin", json=body, headers={"If-None-Match": "*"})
    found = ask(server, "GET", path, "read")
    assert made.status_code == 200
    assert (found.json(), found.headers["etag"]) == (made.json(), made.headers["etag"])
    assert shape(found.json()) == OVERRIDE
    assert {name: found.json()[name] for name in ("user", "limit", "reason", "expires_at", "in_force")} == {
        "user": "bob",
        "limit": {"credits": "5.000000", "units": 5 * CREDIT},
        "reason": "pilot",
        "expires_at": "2126-12-01T00:00:00.000Z",
        "in_force": True,
    }
    assert ask(server, "PUT", path, "admin", json=body, headers={"If-None-Match": "*"}).status_code == 412
    assert ask(server, "PUT", path, "admin", json={"limit": None}, headers={"If-Match": '"0000"'}).status_code == 412
    free = ask(server, "PUT", path, "admin", json={"limit": None}, headers={"If-Match": found.headers["etag"]})
    assert (free.status_code, free.json()["limit"]) == (200, None)
    assert ask(server, "DELETE", path, "admin", headers={"If-Match": found.headers["etag"]}).status_code == 412
    assert ask(server, "DELETE", path, "admin", headers={"If-Match": free.headers["etag"]}).status_code == 204
    assert ask(server, "DELETE", path, "admin").status_code == 404
    changes = ask(server, "GET", "/policy/history", "read").json()["changes"]
    assert [each["action"] for each in changes] == ["override.removed", "override.set", "override.set"]
    assert changes[-1]["after"] == {"limit": "5", "reason": "pilot", "expires_at": "2126-12-01T00:00:00.000Z"}


def test_overrides_come_200_at_a_time_and_are_found_by_what_they_say(server: Server) -> None:
    engine = engines.open_on(server.folder)
    with engine.writing() as session:
        session.many(
            """
            INSERT INTO policy_override (account_id, user_key, override_id, limit_units, reason, expires_us, from_us, actor)
            VALUES (:account_id, :user, :override_id, :units, :reason, :expires, :now, :actor)
            """,
            [(1, f"user {number:03}", 1, number, f"reason {number % 7}", None, 1, "test") for number in range(450)],
        )
    engine.close()
    pages, cursor = [], ""
    while cursor is not None:
        page = ask(server, "GET", "/policy/overrides", "read", params={"cursor": cursor}).json()
        pages.append([each["user"] for each in page["overrides"]])
        cursor = page["cursor"]
    assert [len(page) for page in pages] == [200, 200, 50]
    assert [user for page in pages for user in page] == [f"user {number:03}" for number in range(450)]
    found = ask(server, "GET", "/policy/overrides", "read", params={"search": "REASON 3"}).json()["overrides"]
    assert [each["user"] for each in found] == [f"user {number:03}" for number in range(450) if number % 7 == 3]


def test_the_preview_and_the_history_tell_what_the_documents_say(server: Server) -> None:
    at = days.instant_text(clock.now_us())
    server.send(*(event(f"{number}", user, time=at, conversations=600) for number, user in enumerate(("alice", "bob", "bob"))))
    seen = ask(server, "POST", "/policy/preview", "read", json={"default_limit": {"credits": "2"}})
    assert seen.status_code == 200
    told = seen.json()
    assert set(told) == {"users", "user_days", "of", "days", "who"}
    assert (told["users"], told["user_days"], told["of"]) == (1, 1, {"users": 2, "user_days": 2})
    assert ([each["users"] for each in told["days"]], told["days"][-1]["day"]) == ([0] * 29 + [1], at[:10])
    assert told["who"] == [{"user": "bob", "label": "bob", "days": [at[:10]], "most": {"credits": "2.000000", "units": 2 * CREDIT}}]
    tag = ask(server, "GET", "/policy", "read").headers["etag"]
    ask(server, "PUT", "/policy", "admin", json={"default_limit": {"credits": "2"}, "timezone": "Asia/Tokyo"}, headers={"If-Match": tag})
    (change,) = ask(server, "GET", "/policy/history", "read").json()["changes"]
    assert (change["action"], change["before"], change["after"]) == (
        "policy.changed",
        {"default_limit": "Unlimited", "timezone": "UTC"},
        {"default_limit": "2", "timezone": "Asia/Tokyo"},
    )
    for instant, limit, origin in ((at, None, "default"), (days.instant_text(clock.now_us() + 1_000), 2 * CREDIT, "default")):
        applied = ask(server, "GET", "/policy/history", "read", params={"user": "bob", "at": instant}).json()["applied"]
        assert (applied["limit"] and applied["limit"]["units"], applied["origin"]) == (limit, origin)


# malformed

JSON = {"Content-Type": "application/json"}
MALFORMED: list[tuple[str, str, dict[str, Any], int]] = [
    ("POST", "/check", {}, 400),
    ("POST", "/check", {"json": {}}, 400),
    ("POST", "/check", {"json": {"user": None}}, 400),
    ("POST", "/check", {"json": {"user": ""}}, 400),
    ("POST", "/check", {"json": {"user": 5}}, 400),
    ("POST", "/check", {"json": {"user": ["bob"]}}, 400),
    ("POST", "/check", {"json": {"user": "a\nb"}}, 400),
    ("POST", "/check", {"json": {"user": "x" * 257}}, 400),
    ("POST", "/check", {"json": ["bob"]}, 400),
    ("POST", "/check", {"json": "bob"}, 400),
    ("POST", "/check", {"content": b"{"}, 400),
    ("POST", "/check", {"content": b"\xff\xfe"}, 400),
    ("POST", "/check", {"content": b'{"user": "\xff"}'}, 400),
    ("POST", "/check", {"content": b'{"user": ' + b"[" * 5_000}, 400),
    ("POST", "/check", {"content": b"{}" + b" " * 70_000}, 413),
    ("POST", "/check", {"content": gzip.compress(b" " * 100_000), "headers": {"Content-Encoding": "gzip"}}, 413),
    ("POST", "/check", {"content": b"not gzip", "headers": {"Content-Encoding": "gzip"}}, 400),
    ("POST", "/check", {"content": b"x", "headers": {"Content-Encoding": "br"}}, 415),
    ("GET", "/check", {"params": {"user": ""}}, 400),
    ("GET", "/check", {"params": {"user": "bob", "deny_status": "500"}}, 400),
    ("GET", "/check", {"params": {"user": "bob", "deny_status": "four"}}, 400),
    ("GET", "/check", {"params": {f"p{number}": "x" for number in range(30)}}, 400),
    ("GET", "/check", {"headers": {"X-Tallyboard-User": b"\xff"}}, 400),
    ("GET", "/checks", {"params": {"user": "bob"}}, 404),
    ("POST", "/holds", {}, 400),
    ("POST", "/holds", {"json": []}, 400),
    ("POST", "/holds", {"json": {"units": 1}}, 400),
    ("POST", "/holds", {"json": {"user": "bob"}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "credits": "1"}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "data": {"requests": 1}}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": -1}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1.5}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": "1"}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": True}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 10**18}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 10**30}}, 400),
    ("POST", "/holds", {"content": b'{"user": "bob", "units": 1' + b"0" * 6_000 + b"}"}, 400),
    ("POST", "/holds", {"content": b'{"user": "bob", "credits": 1e999999999999999999999}'}, 400),
    ("POST", "/holds", {"content": b'{"user": "bob", "credits": 1e-999999999}'}, 400),
    ("POST", "/holds", {"content": b'{"user": "bob", "credits": NaN}'}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "credits": "-0.1"}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "credits": "0.000000001"}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "credits": "much"}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "credits": {}}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "data": []}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "data": {}}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "data": {"unknown": 1}}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "data": {"requests": "many"}}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "data": {"requests": -1, "reason": "x"}}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "data": {"requests": 1}, "type": 5}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "data": {"requests": 1}, "type": "nothing.metered"}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "ttl_s": 0}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "ttl_s": -5}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "ttl_s": 86_401}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "ttl_s": 1.5}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "ttl_s": "60"}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "ttl_s": True}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "id": ""}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "id": 7}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "id": "x" * 257}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "id": "\x00"}}, 400),
    ("POST", "/holds", {"json": {"user": "bob", "units": 1, "ttl": 60}}, 400),
    ("PUT", "/holds", {"json": {"user": "bob", "units": 1}}, 405),
    ("GET", "/holds/H", {}, 405),
    ("POST", "/holds/H", {}, 405),
    ("PUT", "/holds/H/settle", {}, 405),
    ("POST", "/holds/H/other", {}, 404),
    ("POST", "/holds/nothing/settle", {"json": {"data": {}}}, 404),
    ("DELETE", "/holds/nothing", {}, 404),
    ("DELETE", "/holds/" + "x" * 300, {}, 404),
    ("DELETE", "/holds/%00", {}, 404),
    ("POST", "/holds/H/settle", {}, 400),
    ("POST", "/holds/H/settle", {"content": b"{", "headers": JSON}, 400),
    ("POST", "/holds/H/settle", {"json": {"data": 5}}, 400),
    ("POST", "/holds/H/settle", {"json": {"data": {"conversations": "x"}}}, 400),
    ("POST", "/holds/H/settle", {"json": {"data": {"conversations": -1, "reason": "x"}}}, 400),
    ("POST", "/holds/H/settle", {"json": {"subject": "alice", "data": {"conversations": 1}}}, 400),
    ("POST", "/holds/H/settle", {"json": {"time": "yesterday", "data": {"conversations": 1}}}, 400),
    ("POST", "/holds/H/settle", {"json": {"time": "2100-01-01T00:00:00Z", "data": {"conversations": 1}}}, 400),
    ("POST", "/holds/H/settle", {"json": {"specversion": "0.3", "data": {"conversations": 1}}}, 400),
    ("POST", "/holds/H/settle", {"json": {"id": "", "data": {"conversations": 1}}}, 400),
    ("POST", "/holds/H/settle", {"content": b"x=1", "headers": {"Content-Type": "text/plain"}}, 415),
    ("POST", "/holds/H/settle", {"json": [], "headers": {"Content-Type": "application/cloudevents-batch+json"}}, 400),
    ("POST", "/holds/H/settle", {"json": {"data": {"x": "y" * 66_000}}}, 400),
    ("GET", "/users/%00/allowance", {}, 404),
    ("POST", "/users/bob/allowance", {}, 405),
    ("PUT", "/policy", {"json": {"default_limit": {"credits": "-1"}}, "headers": {"If-Match": "*"}}, 400),
    ("PUT", "/policy", {"json": {"default_limit": {"credits": "x"}}, "headers": {"If-Match": "*"}}, 400),
    ("PUT", "/policy", {"json": {"default_limit": {}}, "headers": {"If-Match": "*"}}, 400),
    ("PUT", "/policy", {"json": {"default_limit": 5}, "headers": {"If-Match": "*"}}, 400),
    ("PUT", "/policy", {"json": {"default_limit": {"credits": "1", "units": 1}}, "headers": {"If-Match": "*"}}, 400),
    ("PUT", "/policy", {"json": {"timezone": "Mars/Olympus"}, "headers": {"If-Match": "*"}}, 400),
    ("PUT", "/policy", {"json": {"limit": None}, "headers": {"If-Match": "*"}}, 400),
    ("PUT", "/policy", {"json": {"default_limit": None}}, 428),
    ("PUT", "/policy", {"json": {"default_limit": None}, "headers": {"If-Match": '"nonsense"'}}, 412),
    ("PUT", "/policy", {"content": b"{", "headers": {"If-Match": "*"}}, 400),
    ("PUT", "/policy/overrides/bob", {"json": {}}, 400),
    ("PUT", "/policy/overrides/bob", {"json": {"limit": {"units": -1}}}, 400),
    ("PUT", "/policy/overrides/bob", {"json": {"limit": None, "expires_at": "soon"}}, 400),
    ("PUT", "/policy/overrides/bob", {"json": {"limit": None, "expires_at": "2126-01-01T00:00:00"}}, 400),
    ("PUT", "/policy/overrides/bob", {"json": {"limit": None, "expires_at": "2001-01-01T00:00:00Z"}}, 400),
    ("PUT", "/policy/overrides/bob", {"json": {"limit": None, "reason": "x" * 501}}, 400),
    ("PUT", "/policy/overrides/bob", {"json": {"limit": None, "reason": "a\x00b"}}, 400),
    ("PUT", "/policy/overrides/%00", {"json": {"limit": None}}, 400),
    ("PUT", "/policy/overrides/" + "x" * 257, {"json": {"limit": None}}, 400),
    ("DELETE", "/policy/overrides/nobody", {}, 404),
    ("GET", "/policy/overrides/nobody", {}, 404),
    ("POST", "/policy/preview", {"json": {}}, 400),
    ("POST", "/policy/preview", {"json": {"default_limit": {"credits": "x"}}}, 400),
    ("GET", "/policy/history", {"params": {"user": "bob"}}, 400),
    ("GET", "/policy/history", {"params": {"at": "2026-01-01T00:00:00Z"}}, 400),
    ("GET", "/policy/history", {"params": {"user": "bob", "at": "then"}}, 400),
    ("GET", "/policy/history", {"params": {"cursor": "x"}}, 400),
]


@pytest.fixture(scope="module")
def malformed_hold(shared_server: Server) -> str:
    return str(hold(shared_server, "malformed", 1)["id"])


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"), MALFORMED, ids=lambda value: str(value)[:60] if isinstance(value, str) else ""
)
def test_what_makes_no_sense_is_a_problem_and_changes_nothing(
    shared_server: Server, malformed_hold: str, method: str, path: str, sent: dict[str, Any], status: int
) -> None:
    shared_server.keys["admin"]
    before = everything(shared_server)
    answered = ask(shared_server, method, path.replace("/H", f"/{malformed_hold}"), "admin", **sent)
    assert answered.status_code == status, answered.text
    assert answered.headers["content-type"] == "application/problem+json"
    problem = answered.json()
    assert (problem["status"], bool(problem["title"]), bool(problem["detail"])) == (status, True, True)
    assert problem["type"].startswith("urn:tallyboard:problem:")
    assert everything(shared_server) == before


def test_what_is_remembered_of_checks_is_small(folder: Path) -> None:
    """Small checks are answered from memory, large ones are not kept there, though both are answered."""
    with App(engines.settings_of(folder)) as app:
        with app.ledger.writing() as session:
            secret, _ = keys.create(session, 1, "test", [Scope.CHECK], "test", clock.now_us())
        statuses = [
            asyncio.run(_ask_directly(app, secret, b'{"user": "bob", "x": "' + b"y" * size + b'"}')) for size in (1, 2, 5_000, 60_000)
        ]
        remembered = [question for question in app.recent.current() if isinstance(question, tuple) and question[0] == "POST"]
    assert statuses == [200] * 4
    assert len(remembered) == (2 if engines.NAME == "sqlite" else 0)
    assert all(len(question[3]) < 100 for question in remembered)


async def _ask_directly(app: App, secret: str, body: bytes) -> int:
    """A check without a server between: the status."""
    answered: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        answered.append(message)

    headers = [(b"authorization", f"Bearer {secret}".encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/check",
        "raw_path": b"/api/v1/check",
        "query_string": b"",
        "headers": headers,
    }
    await limits.answer(app, scope, receive, send)  # type: ignore[arg-type]
    return int(answered[0]["status"])


def test_a_header_of_ours_said_twice_is_refused(shared_server: Server) -> None:
    headers = [("Authorization", f"Bearer {shared_server.keys['check']}"), ("X-Tallyboard-User", "bob"), ("X-Tallyboard-User", "alice")]
    answered = shared_server.client.get(f"{shared_server.url}/api/v1/check", headers=headers)
    assert (answered.status_code, answered.json()["detail"]) == (400, "the header x-tallyboard-user is there twice")


def test_the_answers_are_counted(shared_server: Server, bob: str) -> None:
    def counted(call: str, answer: str) -> float:
        text = shared_server.client.get(f"{shared_server.url}/metrics").text
        start = f'tallyboard_limit_answers_total{{answer="{answer}",call="{call}"}} '
        return next((float(line.removeprefix(start)) for line in text.splitlines() if line.startswith(start)), 0.0)

    calls: dict[tuple[str, str], Callable[[], object]] = {
        ("check", "allowed"): lambda: ask(shared_server, "POST", "/check", json={"user": bob}),
        ("hold", "granted"): lambda: hold(shared_server, bob, CREDIT, id=f"counted {bob}"),
        ("hold", "refused"): lambda: ask(shared_server, "POST", "/holds", json={"user": bob, "units": 1}),
        ("hold", "repeated"): lambda: ask(shared_server, "POST", "/holds", json={"user": bob, "units": 1, "id": f"counted {bob}"}),
        ("check", "refused"): lambda: ask(shared_server, "POST", "/check", json={"user": bob}),
        ("settle", "settled"): lambda: settle(shared_server, f"counted {bob}", 0),
    }
    for (call, answer), do in calls.items():
        before = counted(call, answer)
        do()
        assert counted(call, answer) == before + 1, (call, answer)


def everything(server: Server) -> list[Any]:
    """What limits keep, as text."""
    return engines.look(
        server.folder,
        """
        SELECT 'hold', hold_id, coalesce(ended_how, '') FROM hold WHERE account_id = 1
        UNION ALL SELECT 'override', user_key, coalesce(until_us, 0) || ' ' || override_id FROM policy_override WHERE account_id = 1
        UNION ALL SELECT 'policy', actor, '' || policy_id FROM policy WHERE account_id = 1
        UNION ALL SELECT 'audit', action, '' || audit_id FROM audit WHERE account_id = 1
        UNION ALL SELECT 'events', '', '' || count(*) FROM event WHERE account_id = 1
        UNION ALL SELECT 'account', timezone, '' || zone_version FROM account WHERE account_id = 1
        ORDER BY 1, 2, 3
        """,
    )
