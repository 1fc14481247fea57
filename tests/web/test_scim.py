"""SCIM 2.0: what identity providers send, as they send it, and what becomes of members, sessions and the directory."""

import json
import os
import subprocess
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from tallyboard.people.members import FIRST_EMAIL, Role
from tests import engines
from tests.conftest import Server, event, refusal, tallyboard
from tests.environments import python_of
from tests.web.visitors import Visitor, person

ALICE, BOB = "alice@northwind.example", "bob@northwind.example"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


class Provider:
    """An identity provider with an API key."""

    def __init__(self, server: Server, key: str) -> None:
        self.server = server
        self.client = httpx.Client(base_url=f"{server.url}/scim/v2", headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.close()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        answer = self.client.request(method, path, content=content, headers={"Content-Type": "application/scim+json", **headers})
        if answer.status_code not in {204, 304}:
            assert answer.headers["content-type"] == "application/scim+json"
            if answer.status_code >= 400:
                said = answer.json()
                assert (said["schemas"], said["status"]) == ([ERROR], str(answer.status_code))
                assert said["detail"]
        return answer

    def add(self, user_name: str = BOB, /, **more: object) -> dict[str, Any]:
        answer = self.ask("POST", "/Users", {"schemas": [USER], "userName": user_name, **more})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def patch(self, id: str, *operations: dict[str, object]) -> httpx.Response:
        return self.ask("PATCH", f"/Users/{id}", {"schemas": [PATCH], "Operations": operations})


@pytest.fixture
def provider(server: Server) -> Iterator[Provider]:
    """Beside Alice, the administrator who has signed in."""
    person(server, ALICE)
    with Provider(server, server.keys["scim"]) as made:
        yield made


@pytest.fixture(scope="module")
def anybody(shared_server: Server) -> Iterator[Provider]:
    """One user, Bob, whom no test changes."""
    with Provider(shared_server, shared_server.keys["scim"]) as made:
        made.add()
        yield made


def states(server: Server) -> dict[str, tuple[str, str]]:
    listed = json.loads(tallyboard("member", "list", "--json", data=server.folder).stdout)
    return {each["email"]: (each["role"], each["state"]) for each in listed if each["email"] != FIRST_EMAIL}


def directory(server: Server) -> dict[str, tuple[str | None, str | None]]:
    found = json.loads(tallyboard("user", "find", "--json", data=server.folder).stdout)
    return {each["user"]: (each["email"], each["name"]) for each in found}


def test_the_compliance_test_passes(provider: Provider) -> None:
    """scim2-cli's own, with nothing but successes: `scim2 test`."""
    program = python_of("scim").with_name("scim2")
    done = subprocess.run(
        [program, "--url", str(provider.client.base_url), "test"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SCIM_CLI_HEADERS": f"Authorization: {provider.client.headers['authorization']}"},
    )
    said = [line.split()[0] for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert done.returncode == 0, done.stdout + done.stderr
    assert said.count("SUCCESS") >= 50
    assert set(said) == {"Performing", "SUCCESS"}, done.stdout


def test_a_provisioned_user_is_a_member_and_in_the_directory(provider: Provider) -> None:
    """As Okta sends it, with more than concerns us."""
    made = provider.add(
        schemas=[USER, ENTERPRISE],
        externalId="00u1",
        name={"givenName": "Bob", "familyName": "Builder"},
        emails=[{"primary": True, "value": "Bob@Northwind.example", "type": "work"}],
        displayName="Bob Builder",
        locale="en-US",
        phoneNumbers=[{"value": "1"}],
        groups=[],
        active=True,
        **{ENTERPRISE: {"department": "Roofs"}},
    )
    assert made["active"] is True
    assert "phoneNumbers" not in made
    assert made["meta"]["location"] == f"{provider.client.base_url}Users/{made['id']}"
    assert states(provider.server) == {ALICE: ("admin", "active"), BOB: ("member", "invited")}
    assert directory(provider.server) == {BOB: (BOB, "Bob Builder")}
    again = provider.ask("GET", f"/Users/{made['id']}")
    assert again.json() == made
    assert again.headers["etag"] == made["meta"]["version"] == 'W/"1"'


def test_a_user_with_usage_under_another_key_is_named_by_the_email(provider: Provider) -> None:
    provider.server.send(event("1", "u-81"))
    tallyboard("user", "set", "u-81", "--email", BOB, data=provider.server.folder)
    provider.add("bob", emails=[{"value": BOB}], displayName="Bob")
    assert directory(provider.server) == {"u-81": (BOB, "Bob")}


def test_a_member_who_was_invited_by_hand_is_taken_over_and_keeps_the_role(provider: Provider) -> None:
    made = provider.add(ALICE)
    assert states(provider.server) == {ALICE: ("admin", "active")}
    refused = provider.ask("POST", "/Users", {"schemas": [USER], "userName": "other", "emails": [{"value": ALICE}]})
    assert (refused.status_code, refused.json()["scimType"]) == (409, "uniqueness")
    assert provider.ask("GET", f"/Users/{made['id']}").status_code == 200


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "active", "value": False},
        {"op": "Replace", "path": "active", "value": "False"},  # Entra ID
        {"op": "replace", "value": {"active": False}},  # Okta
    ],
    ids=["standard", "Entra ID", "Okta"],
)
def test_deactivation_ends_the_sessions_at_once_and_is_taken_back(provider: Provider, operation: dict[str, object]) -> None:
    person(provider.server, BOB)
    made = provider.add()
    with Visitor(provider.server) as bob:
        bob.sign_in(BOB)
        assert bob.is_in
        answer = provider.patch(made["id"], operation)
        assert (answer.status_code, answer.json()["active"]) == (200, False)
        assert not bob.is_in
        assert bob.sign_in(BOB).status_code == 403
        assert provider.patch(made["id"], {"op": "replace", "path": "active", "value": True}).json()["active"] is True
        assert bob.sign_in(BOB).status_code == 303


def test_what_an_administrator_does_by_hand_is_what_the_provider_reads(provider: Provider) -> None:
    made = provider.add(active=True)
    tallyboard("member", "deactivate", BOB, data=provider.server.folder)
    assert provider.ask("GET", f"/Users/{made['id']}").json()["active"] is False
    assert provider.ask("GET", "/Users").json()["Resources"][0]["active"] is False


def test_deleting_keeps_the_usage_and_the_member_may_come_back(provider: Provider) -> None:
    provider.server.send(event("1", BOB))
    before = provider.server.usage()["total"]
    made = provider.add(externalId="00u1")
    assert provider.ask("DELETE", f"/Users/{made['id']}").status_code == 204
    assert provider.ask("GET", f"/Users/{made['id']}").status_code == 404
    assert provider.ask("DELETE", f"/Users/{made['id']}").status_code == 404
    assert states(provider.server)[BOB] == ("member", "deactivated")
    assert provider.server.usage()["total"] == before
    assert provider.add(externalId="00u1")["id"] != made["id"]
    assert states(provider.server)[BOB] == ("member", "invited")


def test_roles_make_administrators_and_the_last_one_stays(provider: Provider) -> None:
    made = provider.add(roles=[{"value": "Admin"}])
    assert states(provider.server)[BOB][0] == "admin"
    assert provider.patch(made["id"], {"op": "replace", "path": "roles", "value": [{"value": "reader"}]}).status_code == 200
    assert states(provider.server)[BOB][0] == "member"
    alice = provider.add(ALICE)
    for answer in (
        provider.patch(alice["id"], {"op": "replace", "path": "active", "value": False}),
        provider.patch(alice["id"], {"op": "add", "path": "roles", "value": [{"value": "member"}]}),
        provider.ask("PUT", f"/Users/{alice['id']}", {"schemas": [USER], "userName": ALICE, "active": False}),
        provider.ask("DELETE", f"/Users/{alice['id']}"),
    ):
        assert (answer.status_code, answer.json()["scimType"]) == (400, "mutability")
        assert "is the last administrator" in answer.json()["detail"]
    assert states(provider.server)[ALICE] == ("admin", "active")
    assert provider.ask("GET", f"/Users/{alice['id']}").json()["meta"]["version"] == 'W/"1"'


def test_putting_replaces_everything_and_renames_the_member(provider: Provider) -> None:
    made = provider.add(displayName="Bob", externalId="00u1")
    body = {"schemas": [USER], "userName": "robert@northwind.example", "name": {"formatted": "Robert"}}
    answer = provider.ask("PUT", f"/Users/{made['id']}", body)
    assert answer.status_code == 200
    assert {"externalId", "displayName"}.isdisjoint(answer.json())
    assert set(states(provider.server)) == {ALICE, "robert@northwind.example"}
    assert directory(provider.server) == {BOB: ("robert@northwind.example", "Robert")}, "usage keeps its key"
    taken = provider.ask("PUT", f"/Users/{made['id']}", {"schemas": [USER], "userName": ALICE})
    assert (taken.status_code, taken.json()["scimType"]) == (409, "uniqueness")


def test_what_is_said_again_changes_nothing(provider: Provider) -> None:
    made = provider.add(displayName="Bob", emails=[{"value": BOB, "primary": True}])
    for answer in (
        provider.ask("PUT", f"/Users/{made['id']}", made),
        provider.patch(made["id"], {"op": "replace", "path": "displayName", "value": "Bob"}),
    ):
        assert (answer.status_code, answer.json()) == (200, made)
    lines = tallyboard("audit", "export", data=provider.server.folder).stdout
    assert "scim.user_changed" not in lines


def test_a_version_guards_against_overwriting(provider: Provider) -> None:
    made = provider.add()
    path, body = f"/Users/{made['id']}", {"schemas": [USER], "userName": BOB, "displayName": "B"}
    assert provider.ask("PUT", path, body, **{"If-Match": 'W/"1"'}).headers["etag"] == 'W/"2"'
    for method in ("PUT", "DELETE"):
        assert provider.ask(method, path, body if method == "PUT" else None, **{"If-Match": 'W/"1"'}).status_code == 412
    assert provider.ask("GET", path, **{"If-None-Match": 'W/"2"'}).status_code == 304
    assert provider.ask("GET", path, **{"If-None-Match": 'W/"1"'}).status_code == 200


def test_users_are_found_sorted_and_paged(provider: Provider) -> None:
    for number in (3, 1, 2):
        provider.add(f"user{number}@northwind.example", externalId=f"e{number}", displayName=f"User {number}")

    def names(**query: object) -> list[str]:
        answer = provider.ask("GET", f"/Users?{httpx.QueryParams(query)}")  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return [each["userName"][:5] for each in answer.json().get("Resources", [])]

    assert names() == ["user3", "user1", "user2"]
    assert names(filter='userName eq "USER1@northwind.example"') == ["user1"]
    assert names(filter='externalId eq "e2"') == ["user2"]
    assert names(filter='externalId eq "E2"') == []
    assert names(filter='emails eq "x"') == []
    assert names(filter='displayName co "user" and not (externalId eq "e2")') == ["user3", "user1"]
    assert names(sortBy="userName") == ["user1", "user2", "user3"]
    assert names(sortBy="userName", sortOrder="descending", startIndex=2, count=1) == ["user2"]
    assert names(startIndex=3, count=9) == ["user2"]
    assert names(startIndex=-5, count=1) == ["user3"]
    assert names(count=0) == []
    assert names(startIndex=10**30) == []
    assert provider.ask("GET", "/Users?count=1").json()["totalResults"] == 3
    assert provider.ask("GET", "/Users?attributes=displayName").json()["Resources"][0].keys() == {"schemas", "id", "displayName"}


def test_no_more_than_200_are_answered_at_once(provider: Provider) -> None:
    for number in range(3):
        provider.add(f"u{number}")
    answer = provider.ask("GET", "/Users?count=99999999")
    assert (answer.json()["itemsPerPage"], answer.json()["totalResults"]) == (3, 3)
    assert provider.ask("GET", "/ServiceProviderConfig").json()["filter"] == {"supported": True, "maxResults": 200}


DEEP = "(" * 400 + 'userName eq "x"' + ")" * 400


@pytest.mark.parametrize(
    ("query", "status", "keyword"),
    [
        ({"filter": DEEP}, 200, None),
        ({"filter": " or ".join(['userName eq "x"'] * 40)}, 200, None),
        ({"filter": "not (" * 150 + 'userName eq "x"' + ")" * 150}, 400, "invalidFilter"),
        ({"filter": "(" * 5000}, 400, "invalidFilter"),
        ({"filter": "userName eq"}, 400, "invalidFilter"),
        ({"filter": 'nonsense eq "x"'}, 400, "invalidFilter"),
        ({"filter": 'active gt "x"'}, 400, "invalidFilter"),
        ({"sortBy": "nonsense"}, 400, "invalidPath"),
        ({"count": "many"}, 400, "invalidValue"),
        ({"startIndex": "x"}, 400, "invalidValue"),
        ({"attributes": "displayName", "excludedAttributes": "emails"}, 400, "invalidValue"),
        ({str(number): "x" for number in range(50)}, 400, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_questions_that_make_no_sense_are_answered_clearly(
    anybody: Provider, query: dict[str, str], status: int, keyword: str | None
) -> None:
    answer = anybody.ask("GET", f"/Users?{httpx.QueryParams(query)}")
    assert (answer.status_code, answer.json().get("scimType")) == (status, keyword), answer.text


@pytest.mark.parametrize(
    ("method", "body", "status", "keyword"),
    [
        ("POST", "not an object", 400, "invalidSyntax"),
        ("POST", [], 400, "invalidSyntax"),
        ("POST", {"schemas": [USER]}, 400, "invalidValue"),
        ("POST", {"schemas": [USER], "userName": ""}, 400, "invalidValue"),
        ("POST", {"schemas": [USER], "userName": 7}, 400, "invalidValue"),
        ("POST", {"schemas": [USER], "userName": "x" * 257}, 400, "invalidValue"),
        ("POST", {"schemas": [USER], "userName": "x\u0000"}, 400, "invalidValue"),
        ("POST", {"schemas": [USER], "userName": "x", "emails": [{"value": "no email"}]}, 400, "invalidValue"),
        ("POST", {"schemas": [USER], "userName": "x", "emails": "x@y.example"}, 400, "invalidValue"),
        ("POST", {"schemas": [USER], "userName": "x", "active": "perhaps"}, 400, "invalidValue"),
        ("POST", {"schemas": ["urn:other"], "userName": "x"}, 400, "invalidSyntax"),
        ("PATCH", {"schemas": [PATCH], "Operations": [{"op": "explode", "path": "active", "value": 1}]}, 400, "invalidValue"),
        ("PATCH", {"schemas": [PATCH], "Operations": [{"op": "remove"}]}, 400, "noTarget"),
        ("PATCH", {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "userName[", "value": "x"}]}, 400, "invalidPath"),
        ("PATCH", {"schemas": [PATCH], "Operations": [{"op": "remove", "path": "userName"}]}, 400, "mutability"),
        ("PATCH", {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "id", "value": "x"}]}, 400, "mutability"),
        ("PATCH", {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "displayName", "value": "x"}] * 101}, 400, "invalidValue"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bodies_that_make_no_sense_change_nothing(anybody: Provider, method: str, body: object, status: int, keyword: str) -> None:
    (bob,) = anybody.ask("GET", "/Users").json()["Resources"]
    answer = anybody.ask(method, "/Users" if method == "POST" else f"/Users/{bob['id']}", body)
    assert (answer.status_code, answer.json().get("scimType")) == (status, keyword), answer.text
    assert anybody.ask("GET", "/Users").json()["Resources"] == [bob]


def test_large_deep_and_foreign_bodies_are_refused(provider: Provider) -> None:
    large = {"schemas": [USER], "userName": "x", "displayName": "y" * 200_000}
    assert provider.ask("POST", "/Users", large).status_code == 413
    for content, kind, status in (
        (b"{", "application/json", 400),
        (b'{"userName": "x"}', "text/plain", 415),
        (b"[" * 100_000, "application/scim+json", 400),
        (b"\xff\xfe", "application/scim+json", 400),
    ):
        answer = provider.client.post("/Users", content=content, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["schemas"]) == (status, [ERROR])
    assert (
        provider.ask(
            "POST", "/Users/.search", {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": 7}
        ).status_code
        == 400
    )


def test_who_may_provision(anybody: Provider) -> None:
    server = anybody.server
    for scope in ("ingest", "check", "read", "adjust"):
        with Provider(server, server.keys[scope]) as other:
            assert other.ask("GET", "/Users").status_code == 403
    with Provider(server, server.keys["admin"]) as administrator:
        assert administrator.ask("GET", "/Users").status_code == 200
    with Provider(server, "tb_unknown") as stranger:
        for path in ("/Users", "/ServiceProviderConfig", "/Schemas", "/ResourceTypes", "/nowhere"):
            answer = stranger.ask("GET", path)
            assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Bearer")
    assert server.request("GET", "/api/v1/usage", "scim").status_code == 403


def test_another_account_sees_and_changes_nothing(provider: Provider) -> None:
    made = provider.add()
    folder = provider.server.folder
    tallyboard("account", "create", "--name", "Southwind", data=folder)
    key = tallyboard("key", "create", "--name", "s", "--scopes", "scim", "--account", "2", "--json", data=folder)
    path, body = f"/Users/{made['id']}", {"schemas": [USER], "userName": "x"}
    with Provider(provider.server, json.loads(key.stdout)["key"]) as other:
        assert other.ask("GET", "/Users").json()["totalResults"] == 0
        for method in ("GET", "PUT", "DELETE"):
            assert other.ask(method, path, body if method == "PUT" else None).status_code == 404
        assert other.patch(made["id"], {"op": "replace", "path": "active", "value": False}).status_code == 404
        assert other.add()["userName"] == BOB, "the same name in another account is another user"
    assert provider.ask("GET", path).json() == made


def test_everything_is_in_the_audit_log_under_the_key(provider: Provider) -> None:
    made = provider.add(roles=[{"value": "admin"}])
    provider.patch(made["id"], {"op": "replace", "path": "active", "value": False})
    provider.ask("DELETE", f"/Users/{made['id']}")
    lines = [json.loads(line) for line in tallyboard("audit", "export", data=provider.server.folder).stdout.splitlines()]
    by_key = [line["action"] for line in lines if line["actor"].startswith("key ")]
    assert by_key == [
        "member.added",
        "member.role_changed",
        "scim.user_created",
        "member.deactivated",
        "scim.user_changed",
        "scim.user_deleted",
    ]


def test_an_erased_person_is_forgotten_here_too(provider: Provider) -> None:
    made = provider.add(displayName="Bob Builder")
    tallyboard("user", "erase", BOB, data=provider.server.folder)
    assert provider.ask("GET", f"/Users/{made['id']}").status_code == 404
    assert engines.look(provider.server.folder, "SELECT document FROM scim_user WHERE account_id = 1") == []
    assert Role.ADMIN.value in str(states(provider.server))
    assert "nothing is kept" in refusal("user", "erase", BOB, folder=provider.server.folder)
