"""Who may knock at which door: every route for everybody who could come, made from the table of routes.

A route that has no row here fails the first test. What an API key opens is read from the table of calls, which the document shows.
"""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import pytest
from msgspec import Struct

from tallyboard.people.keys import Scope
from tallyboard.people.members import Role
from tallyboard.web.api.calls import CALLS
from tallyboard.web.api.shapes import JSON, Call
from tallyboard.web.app import ROUTES
from tallyboard.web.security import SESSION_COOKIE, form_token
from tests import engines
from tests.conftest import Server, event, serving, tallyboard
from tests.web.visitors import Visitor, person

ALICE, BOB = "alice@example.com", "bob@example.com"
MARK = "northwind-alone"
"""A word of one account, which must not be seen in the other."""

ANYBODY, MEMBERS, ADMINISTRATORS = "anybody", "members", "administrators"
PAGES = {
    "GET /": MEMBERS,
    "GET /sign-in": ANYBODY,
    "GET /account": MEMBERS,
    "GET /members": ADMINISTRATORS,
    "GET /users": ADMINISTRATORS,
    "GET /invitation": ANYBODY,
    "GET /my": MEMBERS,
    "GET /my.csv": MEMBERS,
    "GET /set-up": ADMINISTRATORS,
    "GET /usage": ADMINISTRATORS,
    "GET /usage.csv": ADMINISTRATORS,
    "GET /policy": ADMINISTRATORS,
    "GET /keys": ADMINISTRATORS,
    "GET /intake": ADMINISTRATORS,
    "GET /audit": ADMINISTRATORS,
    "GET /audit.csv": ADMINISTRATORS,
    "GET /audit.ndjson": ADMINISTRATORS,
    "GET /api/docs": ANYBODY,
    "GET /api/docs/openapi.json": ANYBODY,
}
"""Who sees a page: others are led to sign-in, members refused what is for administrators."""
FORMS = {
    "POST /sign-out": MEMBERS,
    "POST /account/password": MEMBERS,
    "POST /account/switch": MEMBERS,
    "POST /invitation/join": MEMBERS,
    "POST /account/sessions/end": MEMBERS,
    "POST /account/sessions/end-all": MEMBERS,
    "POST /members/invite": ADMINISTRATORS,
    "POST /members/link": ADMINISTRATORS,
    "POST /members/role": ADMINISTRATORS,
    "POST /members/deactivate": ADMINISTRATORS,
    "POST /members/reactivate": ADMINISTRATORS,
    "POST /users/merge": ADMINISTRATORS,
    "POST /users/undo": ADMINISTRATORS,
    "POST /users/name": ADMINISTRATORS,
    "POST /set-up": ADMINISTRATORS,
    "POST /policy": ADMINISTRATORS,
    "POST /policy/limit": ADMINISTRATORS,
    "POST /policy/limits": ADMINISTRATORS,
    "POST /policy/limit/remove": ADMINISTRATORS,
    "POST /policy/release": ADMINISTRATORS,
    "POST /keys": ADMINISTRATORS,
    "POST /keys/{key_id:str}/rotate": ADMINISTRATORS,
    "POST /keys/{key_id:str}/revoke": ADMINISTRATORS,
    "POST /intake": ADMINISTRATORS,
    "POST /intake/source": ADMINISTRATORS,
    "POST /audit/check": ADMINISTRATORS,
}
"""Who may change something by a form of ours. None is taken without the token that only our page knows."""
BEFORE_SIGNING_IN = {"POST /sign-in", "POST /invitation"}
"""Forms of people without a session; their token is bound to a cookie of the visit."""
THROUGH_A_PROVIDER = {"GET /sign-in/provider", "GET /sign-in/provider/answer"}
"""For anybody, where there is a provider: tests/web/test_openid.py. Here there is none."""
BODIES: dict[str, Any] = {
    "post /api/v1/events": event("matrix"),
    "post /api/v3/openmeter/events": event("matrix"),
    "post /v3/openmeter/events": event("matrix"),
    "post /api/v1/litellm": [],
    "post /v1/traces": {},
    "post /v1/logs": {},
    "post /v1/metrics": {},
    "post /api/v1/meters/{slug}/query": {"windowSize": "DAY"},
    "post /api/v1/check": {"user": "alice"},
    "post /api/v1/check/openai": {"user": "alice"},
    "post /api/v1/check/anthropic": {"user": "alice"},
    "post /api/v1/holds": {"user": "alice", "units": 1},
    "post /api/v1/holds/openai": {"user": "alice", "units": 1},
    "post /api/v1/holds/anthropic": {"user": "alice", "units": 1},
    "post /api/v1/holds/{id}/settle": {"data": {"conversations": 1}},
    "put /api/v1/users/{key}": {"name": "Alice"},
    "put /api/v1/users/{key}/alias": {"of": "never seen"},
    "put /api/v1/policy": {},
    "put /api/v1/policy/overrides/{key}": {"limit": {"credits": "1"}},
    "post /api/v1/policy/preview": {"default_limit": None},
}
SCOPES = [call for call in CALLS if call.scopes]
OPEN = [call for call in CALLS if not call.scopes]


class Cast(Struct):
    """Who comes: a server, the sessions of an administrator and a member by their secrets, and keys that open nothing any more."""

    server: Server
    administrator: str
    member: str
    ended: str
    revoked: str
    expired: str


@pytest.fixture(scope="module")
def cast(shared_server: Server) -> Cast:
    server = shared_server
    server.send(event("1"), event("2", "bob"))
    for user, email in (("alice", ALICE), ("bob", BOB)):
        tallyboard("user", "set", user, "--email", email, data=server.folder)
    person(server, ALICE)
    person(server, BOB, Role.MEMBER)
    gone = _session(server, BOB)
    with Visitor(server) as leaving:
        leaving.client.cookies.set(SESSION_COOKIE, gone)
        assert leaving.client.post("/sign-out", data={"_csrf_token": form_token(gone)}).headers["location"] == "/sign-in"
    revoked, expired = (server.keys.make("admin", "--name", name, "--expires", 1) for name in ("revoked", "expired"))
    engines.look(server.folder, "UPDATE api_key SET revoked_us = 1 WHERE account_id = 1 AND name = 'revoked'")
    engines.look(server.folder, "UPDATE api_key SET expires_us = 1 WHERE account_id = 1 AND name = 'expired'")
    return Cast(server, _session(server, ALICE), _session(server, BOB), gone, revoked, expired)


def test_every_route_has_a_row() -> None:
    routes = {
        f"{method} {path}" for route in ROUTES for path in route.paths for method in route.http_methods if route.include_in_schema is False
    }
    assert routes == {*PAGES, *FORMS, *BEFORE_SIGNING_IN, *THROUGH_A_PROVIDER}
    assert {f"{call.method} {call.path}" for call in CALLS if call.body} == set(BODIES)


@pytest.mark.parametrize("row", sorted(THROUGH_A_PROVIDER))
def test_without_a_provider_the_ways_to_it_and_back_lead_to_sign_in(cast: Cast, row: str) -> None:
    for somebody in ({}, _cookie(cast.ended), _cookie(cast.member), _bearer(cast.server.keys["admin"])):
        _check_led_to_sign_in(_ask(cast.server, "GET", row.removeprefix("GET "), somebody))


@pytest.mark.parametrize("row", PAGES)
def test_a_page_shows_itself_to_those_it_is_for(cast: Cast, row: str) -> None:
    path, who = row.removeprefix("GET "), PAGES[row]
    for nobody in ({}, _cookie(cast.ended), _cookie("made up"), _bearer(cast.server.keys["admin"])):
        answer = _ask(cast.server, "GET", path, nobody)
        if who == ANYBODY:
            assert answer.status_code in {200, 403}  # An invitation without its token is refused, but not for want of a session.
        else:
            _check_led_to_sign_in(answer)
    if who != ANYBODY:
        member, administrator = (_ask(cast.server, "GET", path, _cookie(each)) for each in (cast.member, cast.administrator))
        assert administrator.status_code in {200, 303}
        assert administrator.headers.get("location", "") != "/sign-in"
        assert member.status_code == (403 if who == ADMINISTRATORS else administrator.status_code)
        assert member.headers.get("location", "") != "/sign-in"


@pytest.mark.parametrize("row", FORMS)
def test_a_form_is_taken_from_its_own_page_and_those_it_is_for_alone(cast: Cast, row: str) -> None:
    path = row.removeprefix("POST ").replace("{key_id:str}", "nowhere")
    for cookie in ({}, _cookie(cast.ended), _cookie("made up"), _bearer(cast.server.keys["admin"])):
        answer = _ask(cast.server, "POST", path, cookie, data={"_csrf_token": form_token("made up")})
        assert answer.status_code in {303, 403}
        assert answer.headers.get("location", "/sign-in") == "/sign-in"
    for secret in (cast.administrator, cast.member):
        for token, site in (
            ("", None),
            (form_token(cast.ended), None),
            (form_token(secret), "cross-site"),
            (form_token(secret), "same-site"),
        ):
            headers = _cookie(secret) | ({"sec-fetch-site": site} if site else {})
            assert _ask(cast.server, "POST", path, headers, data={"_csrf_token": token}).status_code == 403
    if FORMS[row] == ADMINISTRATORS:
        answer = _ask(cast.server, "POST", path, _cookie(cast.member), data={"_csrf_token": form_token(cast.member)})
        assert answer.status_code == 403
    assert _ask(cast.server, "GET", "/account", _cookie(cast.member)).status_code == 200


@pytest.mark.parametrize("row", sorted(BEFORE_SIGNING_IN))
def test_forms_before_signing_in_are_bound_to_the_browsers_visit(cast: Cast, row: str) -> None:
    path = row.removeprefix("POST ")
    filled = {"email": ALICE, "password": "violet harbour 17 lamps", "again": "violet harbour 17 lamps", "token": "none"}
    for token in ("", form_token(""), form_token("made up")):
        answer = _ask(cast.server, "POST", path, {}, data={**filled, "_csrf_token": token})
        assert answer.status_code == 403
        assert SESSION_COOKIE not in answer.cookies


@pytest.mark.parametrize("call", SCOPES, ids=lambda call: f"{call.method} {call.path}")
def test_a_call_is_open_to_the_scopes_that_the_document_tells(cast: Cast, call: Call) -> None:
    for headers in (
        {},
        _bearer(cast.revoked),
        _bearer(cast.expired),
        _bearer("tb_made-up"),
        {"authorization": "Bearer"},
        {"authorization": "Basic dGI6dGI="},
    ):
        _check_problem(_call(cast.server, call, headers), 401)
    if not call.path.endswith("/stream"):  # That one is for a page of ours, too.
        for secret in (cast.administrator, cast.member):
            _check_problem(_call(cast.server, call, _cookie(secret)), 401)
    for scope in Scope:
        answer = _call(cast.server, call, _bearer(cast.server.keys[scope]))
        if scope is Scope.ADMIN or scope in call.scopes:
            assert answer.status_code not in {401, 403, 405, 500}, answer.text
        else:
            _check_problem(answer, 403)


def test_the_stream_is_open_to_administrators_alone(cast: Cast) -> None:
    assert _ask(cast.server, "GET", "/api/v1/stream", _cookie(cast.administrator)).status_code == 200
    _check_problem(_ask(cast.server, "GET", "/api/v1/stream", _cookie(cast.member)), 403)
    _check_problem(_ask(cast.server, "GET", "/api/v1/stream", _cookie(cast.ended)), 401)


@pytest.mark.parametrize("call", OPEN, ids=lambda call: call.path)
def test_what_machines_ask_needs_no_key_and_names_nobody(cast: Cast, call: Call) -> None:
    for headers in ({}, _bearer(cast.revoked), _cookie(cast.member)):
        answer = _call(cast.server, call, headers)
        assert answer.status_code == 200
        assert not any(name in answer.text for name in (ALICE, BOB, "alice", "bob"))


@pytest.mark.parametrize("scope", [Scope.CHECK, Scope.INGEST])
def test_a_key_bound_to_a_user_speaks_for_that_user_alone(cast: Cast, scope: Scope) -> None:
    bound = _bearer(cast.server.keys.make(scope, "--user", "bob"))
    if scope is Scope.CHECK:
        assert _ask(cast.server, "POST", "/api/v1/check", bound, json={"user": "alice"}).json()["allowance"]["user"] == "bob"
        assert _ask(cast.server, "GET", "/api/v1/users/alice/allowance", bound).status_code == 404
        hold = _ask(cast.server, "POST", "/api/v1/holds", _bearer(cast.server.keys["check"]), json={"user": "alice", "units": 1}).json()[
            "id"
        ]
        assert _ask(cast.server, "DELETE", f"/api/v1/holds/{hold}", bound).status_code == 404
        assert _ask(cast.server, "POST", f"/api/v1/holds/{hold}/settle", bound, json={"data": {"conversations": 1}}).status_code == 404
    else:
        before = cast.server.usage()
        assert _ask(cast.server, "POST", "/api/v1/events", bound, json=event("bound", "alice")).status_code == 204
        after = cast.server.usage()
        moved = {user["user"] for user, old in product(after["users"], before["users"]) if user["user"] == old["user"] and user != old}
        assert moved == {"bob"}


def _call(server: Server, call: Call, headers: dict[str, str], named: str = "") -> httpx.Response:
    path = (
        call.path.replace("{key}", named or "alice")
        .replace("{id}", named or "none")
        .replace("{slug}", "credits")
        .replace("{feature}", "credits")
    )
    body = BODIES.get(f"{call.method} {call.path}")
    return _ask(server, call.method.upper(), path, headers, **({"json": body} if call.body and JSON in call.body else {}))


def _ask(server: Server, method: str, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
    with httpx.Client(base_url=server.url, timeout=60) as client, client.stream(method, path, headers=headers, **more) as answer:
        if "text/event-stream" not in answer.headers.get("content-type", ""):
            answer.read()
        return answer


def _check_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    otlp = answer.url.path.startswith("/v1/")
    assert answer.headers["content-type"] == ("application/json" if otlp else "application/problem+json")
    assert ("www-authenticate" in answer.headers) == (status == 401)


def _check_led_to_sign_in(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["location"], answer.content) == (303, "/sign-in", b"")


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _cookie(secret: str) -> dict[str, str]:
    return {"cookie": f"{SESSION_COOKIE}={secret}"}


def _session(server: Server, email: str) -> str:
    with Visitor(server) as visitor:
        visitor.sign_in(email)
        return str(visitor.client.cookies[SESSION_COOKIE])


# Who administers another account


class Elsewhere(Struct):
    """An installation with a second account: Charlie's session, who administers it, a key of it for everything, and one of the first."""

    server: Server
    administrator: str
    key: str
    ours: str


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    with serving(tmp_path_factory.mktemp("elsewhere") / "data") as server:
        server.send(event("1", "zoe"), {**event("2", "zoe", model=MARK), "source": MARK})
        tallyboard("user", "set", "zoe", "--email", ALICE, "--name", MARK, data=server.folder)
        server.request("PUT", "/api/v1/policy/overrides/zoe", "admin", json={"limit": {"credits": "1"}, "reason": MARK})
        server.request("POST", "/api/v1/holds", "check", json={"user": "zoe", "units": 1, "id": "zoe"})
        tallyboard("account", "set", "--name", MARK, data=server.folder)
        ours = server.keys["read"]
        tallyboard("account", "create", "--name", "Contoso", data=server.folder)
        scopes = ",".join(Scope)
        made = tallyboard("key", "create", "--name", "all", "--scopes", scopes, "--account", "Contoso", "--json", data=server.folder)
        key = str(json.loads(made.stdout)["key"])
        link = tallyboard("member", "link", "--account", "Contoso", "--json", data=server.folder)
        with Visitor(server) as charlie:
            charlie.open(httpx.URL(json.loads(link.stdout)["link"]).raw_path.decode())
            secret = str(charlie.client.cookies[SESSION_COOKIE])
        yield Elsewhere(server, secret, key, ours)


@pytest.mark.parametrize("row", PAGES)
def test_a_page_shows_the_administrator_of_another_account_nothing_of_this_one(elsewhere: Elsewhere, row: str) -> None:
    for query in ("", "?user=zoe", "?q=zoe", "?search=zoe"):
        answer = _ask(elsewhere.server, "GET", row.removeprefix("GET ") + query, _cookie(elsewhere.administrator))
        assert answer.status_code in {200, 303, 403, 404}
        assert answer.headers.get("location") != "/sign-in"
        assert MARK not in answer.text
        assert ALICE not in answer.text


@pytest.mark.parametrize(
    "call", [call for call in SCOPES if not call.path.endswith("/stream")], ids=lambda call: f"{call.method} {call.path}"
)
def test_a_call_with_a_key_of_another_account_finds_nothing_of_this_one(elsewhere: Elsewhere, call: Call) -> None:
    of_zoe, of_nobody = (_call(elsewhere.server, call, _bearer(elsewhere.key), name) for name in ("zoe", "nobody-knows"))
    assert of_zoe.status_code == of_nobody.status_code
    assert MARK not in of_zoe.text
    assert ALICE not in of_zoe.text
    shown = _ask(elsewhere.server, "GET", "/api/v1/users/zoe/allowance", _bearer(elsewhere.ours)).json()
    assert (shown["limit"]["credits"], shown["held"]["units"]) == ("1.000000", 1)
