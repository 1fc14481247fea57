"""Two accounts in one installation, doing at random the same things under the same names: neither ever sees anything of the other.

Users' keys, event ids, hold ids and the words of requests are the same in both. Everything else that is written carries the
account's own mark, and the other's mark is looked for in every answer: API, pages, files, streams, refusals. Figures are kept
beside, account by account, and compared.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallyboard.people.members import Role
from tests import engines
from tests.conftest import Server, event, tallyboard
from tests.web.test_persons import add
from tests.web.visitors import Visitor, hidden

MARKS = {1: "kestrel", 2: "plover"}
USERS = ("alice", "bob", "u/3?&")
SHARED = "/shared"


class Side:
    """One account: its key, its administrator's browser, its marks, and what it must hold."""

    def __init__(self, server: Server, account_id: int) -> None:
        self.account_id = account_id
        self.mark, self.other_mark = MARKS[account_id], MARKS[3 - account_id]
        scopes = "ingest,check,read,adjust,admin"
        made = tallyboard(
            "key", "create", "--name", f"{self.mark} key", "--scopes", scopes, "--account", account_id, "--json", data=server.folder
        )
        self.headers = {"Authorization": f"Bearer {json.loads(made.stdout)['key']}"}
        self.client = httpx.Client(base_url=server.url, headers=self.headers, timeout=60)
        self.admin = f"admin@{self.mark}.example"
        add(server, account_id, self.admin, Role.ADMIN)
        self.visitor = Visitor(server)
        assert self.visitor.sign_in(self.admin).status_code == 303
        self.events: dict[tuple[str, str], tuple[str, int]] = {}
        self.limits: dict[str, str] = {}

    @property
    def users(self) -> dict[str, int]:
        """Units by user, as its own events say."""
        found: dict[str, int] = defaultdict(int)
        for user, units in self.events.values():
            found[user] += units
        return dict(found)

    def keep(self, source: str, id: str, user: str, conversations: int) -> None:
        self.events.setdefault((source, id), (user, conversations * 1_000_000))

    def look(self, answer: httpx.Response) -> httpx.Response:
        """Nothing of the other account is in an answer, whatever it is."""
        said = f"{answer.text}\n{answer.headers}".casefold()
        assert self.other_mark not in said, f"{answer.request.method} {answer.request.url} tells account {self.account_id} of the other"
        assert answer.status_code < 500, answer.text
        return answer

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.look(self.client.request(method, path, **more))

    def open(self, path: str) -> httpx.Response:
        return self.look(self.visitor.open(path))

    def fill_in(self, page: str, action: str, **fields: str) -> httpx.Response:
        """Look at a page and send a form with its token."""
        return self.look(self.visitor.client.post(action, data={**hidden(self.open(page).text, "/sign-out"), **fields}))


@pytest.fixture(scope="module")
def sides(shared_server: Server) -> Iterator[dict[int, Side]]:
    tallyboard("account", "set", "--name", f"The {MARKS[1]} house", data=shared_server.folder)
    tallyboard("account", "create", "--name", f"The {MARKS[2]} house", "--timezone", "Asia/Kathmandu", data=shared_server.folder)
    made = {account_id: Side(shared_server, account_id) for account_id in MARKS}
    yield made
    for side in made.values():
        side.client.close()
        side.visitor.client.close()


def send(side: Side, user: str, number: int) -> None:
    """One event under a name that both accounts use, and one under the account's own."""
    now = datetime.now(UTC) - timedelta(minutes=number)
    for source in (SHARED, f"/{side.mark}"):
        amount = side.account_id * 3 + number
        one = {**event(f"e{number}", user, time=now.isoformat(), conversations=amount, model=f"{side.mark}-model"), "source": source}
        side.ask("POST", "/api/v1/events", json=one, headers={"Prefer": "return=representation"})
        side.keep(source, f"e{number}", user, amount)


def send_badly(side: Side, user: str, number: int) -> None:
    side.ask("POST", "/api/v1/events", json={**event(f"e{number}", user), "time": f"{side.mark} o'clock"})
    side.ask("POST", "/api/v1/events", content=f"{side.mark} {{")
    side.ask("GET", f"/api/v1/usage?window={side.mark}")
    side.ask("POST", f"/api/v1/holds/h{number}/settle", json={"data": {"conversations": f"{user} times"}})


def read_usage(side: Side, user: str, number: int) -> None:
    side.ask("GET", "/api/v1/usage", params={"window": (7, 14, 30)[number % 3], "user": user, "top": number})
    side.ask("GET", "/api/v1/usage", headers={"Accept": "text/csv"})
    answer = side.ask("GET", "/api/v1/usage").json()
    assert {each["user"]: each["units"] for each in answer["users"]} == side.users
    assert answer["total"]["units"] == sum(side.users.values())


def same_tag(side: Side, _user: str, _number: int) -> None:
    """A tag of the account's own answer is good for that account alone (see the test after)."""
    tag = side.ask("GET", "/api/v1/usage").headers["etag"]
    assert side.ask("GET", "/api/v1/usage", headers={"If-None-Match": tag}).status_code in {200, 304}


def read_users(side: Side, user: str, _number: int) -> None:
    for search in ("", user, "example", side.mark, side.other_mark[:-1]):
        side.ask("GET", "/api/v1/users", params={"search": search})
    side.ask("GET", f"/api/v1/users/{quote(user, safe='')}/allowance")


def name_user(side: Side, user: str, number: int) -> None:
    side.ask(
        "PUT", f"/api/v1/users/{quote(user, safe='')}", json={"email": f"{number}@{side.mark}.example", "name": f"{side.mark} {number}"}
    )


def merge(side: Side, user: str, number: int) -> None:
    """One user for a while: in this account, whatever the other has under the same keys."""
    into = USERS[(USERS.index(user) + 1 + number % 2) % len(USERS)]
    address = f"/api/v1/users/{quote(user, safe='')}/alias"
    answer = side.ask("PUT", address, json={"of": into})
    if answer.status_code == 200:
        together = side.users.get(user, 0) + side.users.get(into, 0)
        found = side.ask("GET", "/api/v1/usage", params={"user": user}).json()["users"]
        assert {each["user"]: each["units"] for each in found} == ({into: together} if user in side.users or into in side.users else {})
        side.ask("GET", "/api/v1/users", params={"search": user})
        side.ask("PUT", address, json={"of": side.other_mark[:4]})
        assert side.ask("DELETE", address).status_code == 200
    side.ask("DELETE", address)


def check(side: Side, user: str, _number: int) -> None:
    answer = side.ask("POST", "/api/v1/check", json={"user": user}).json()
    used = (answer.get("allowance") or answer)["used"]["units"]
    assert used <= side.users.get(user, 0)
    side.ask("POST", "/api/v1/check/openai", json={"user": user})


def hold(side: Side, user: str, number: int) -> None:
    """Under an id that both use; granted, refused or taken by another question of the same account."""
    side.ask("POST", "/api/v1/holds", json={"user": user, "units": number, "id": f"h{number}"})


def end_hold(side: Side, _user: str, number: int) -> None:
    if number % 2:
        side.ask("DELETE", f"/api/v1/holds/h{number}")
        return
    data = {"conversations": side.account_id, "model": f"{side.mark}-model"}
    answer = side.ask("POST", f"/api/v1/holds/h{number}/settle", json={"data": data, "id": f"s{number}", "source": SHARED})
    if answer.status_code == 200:
        side.keep(SHARED, f"s{number}", answer.json()["allowance"]["user"], side.account_id)


def change_policy(side: Side, _user: str, number: int) -> None:
    tag = side.ask("GET", "/api/v1/policy").headers["etag"]
    limit = {"credits": f"{number}.{side.account_id}"} if number % 4 else None
    side.ask("PUT", "/api/v1/policy", json={"default_limit": limit}, headers={"If-Match": tag})
    side.ask("PUT", "/api/v1/policy", json={"default_limit": None}, headers={"If-Match": '"stale"'})
    side.ask("POST", "/api/v1/policy/preview", json={"default_limit": {"credits": "0.001"}})


def change_own_limit(side: Side, user: str, number: int) -> None:
    name = user if "/" not in user else "bob"
    limit = {"limit": {"credits": str(number)}, "reason": f"{side.mark} wants it"}
    if number % 3:
        side.ask("PUT", f"/api/v1/policy/overrides/{name}", json=limit)
        side.limits[name] = str(number)
    else:
        side.ask("DELETE", f"/api/v1/policy/overrides/{name}")
        side.limits.pop(name, None)
    found = side.ask("GET", "/api/v1/policy/overrides").json()["overrides"]
    assert {each["user"]: each["limit"]["credits"].rstrip("0").rstrip(".") for each in found} == side.limits
    side.ask("GET", f"/api/v1/policy/overrides/{name}")
    side.ask("GET", "/api/v1/policy/history")


def read_pages(side: Side, user: str, number: int) -> None:
    paths = (
        "/usage",
        "/usage.csv",
        "/policy",
        "/members",
        "/users",
        "/keys",
        "/audit",
        "/audit.csv",
        "/audit.ndjson",
        "/my",
        "/my.csv",
        "/account",
    )
    side.open(paths[number % len(paths)])
    side.open(f"/usage?window={(7, 14, 30)[number % 3]}&user={quote(user)}&q={side.other_mark[:4]}")
    side.open(f"/users?merge={quote(user)}&find={side.other_mark[:4]}")
    side.open(f"/users?merge={quote(user)}&into=alice&undo={quote(user)}")
    side.open(f"/{side.mark}")


def manage_members(side: Side, _user: str, number: int) -> None:
    email = f"m{number}@{side.mark}.example"
    side.fill_in("/members", "/members/invite", email=email, role="admin" if number % 2 else "member")
    side.fill_in("/members", "/members/invite", email="both@everywhere.example", role="member")
    side.fill_in("/members", "/members/deactivate", member=str(number))


def provision(side: Side, user: str, number: int) -> None:
    """The same userName and externalId in both."""
    schema = ["urn:ietf:params:scim:schemas:core:2.0:User"]
    one = {"schemas": schema, "userName": f"scim-{number}", "externalId": f"x{number}", "displayName": f"{side.mark} {user}"}
    email = {"emails": [{"value": f"scim-{number}@{side.mark}.example"}]}
    made = side.ask("POST", "/scim/v2/Users", json={**one, **email}).json()
    side.ask("GET", "/scim/v2/Users", params={"filter": f'userName eq "scim-{number}"'})
    side.ask("GET", "/scim/v2/Users", params={"filter": f'displayName co "{side.other_mark[:4]}"'})
    if "id" in made and number % 2:
        side.ask("DELETE", f"/scim/v2/Users/{made['id']}")


def make_key(side: Side, _user: str, number: int) -> None:
    side.fill_in("/keys", "/keys", **{"name": f"{side.mark} {number}", "scope-read": "on", "user": "", "expires": ""})


def listen(side: Side, _user: str, _number: int) -> None:
    """The first words of the stream, for a page that is behind."""
    with side.client.stream("GET", "/api/v1/stream?since=behind") as answer:
        said = next(answer.iter_text())
    assert "event: usage" in said
    assert side.other_mark not in said.casefold()


ACTIONS: list[Callable[[Side, str, int], None]] = [
    send,
    send_badly,
    read_usage,
    same_tag,
    read_users,
    name_user,
    merge,
    check,
    hold,
    end_hold,
    change_policy,
    change_own_limit,
    read_pages,
    manage_members,
    provision,
    make_key,
    listen,
]
STEP = st.tuples(st.sampled_from(sorted(MARKS)), st.sampled_from(ACTIONS), st.sampled_from(USERS), st.integers(0, 11))


@settings(max_examples=30)
@given(steps=st.lists(STEP, min_size=5, max_size=30))
def test_no_answer_ever_holds_anything_of_the_other_account(
    sides: dict[int, Side], steps: list[tuple[int, Callable[[Side, str, int], None], str, int]]
) -> None:
    for account_id, act, user, number in steps:
        act(sides[account_id], user, number)
    for side in sides.values():
        read_usage(side, "alice", 0)
        assert side.visitor.is_in, "nobody of the other account can end a session here"


def test_the_marks_are_where_they_are_looked_for(sides: dict[int, Side]) -> None:
    """A search that could find nothing would prove nothing: each account does see its own mark."""
    for side in sides.values():
        for act in ACTIONS:
            act(side, "alice", 1)
        for path in ("/usage", "/policy", "/members", "/users", "/keys", "/audit", "/audit.csv", "/audit.ndjson", "/account"):
            assert side.mark in side.open(path).text, path
        for path in ("/api/v1/usage", "/api/v1/users", "/api/v1/policy/overrides", "/api/v1/policy/history"):
            assert side.mark in side.ask("GET", path).text, path


def test_a_tag_or_a_number_of_the_other_account_opens_nothing(shared_server: Server, sides: dict[int, Side]) -> None:
    north, south = sides[1], sides[2]
    tag = north.ask("GET", "/api/v1/usage").headers["etag"]
    assert south.ask("GET", "/api/v1/usage", headers={"If-None-Match": tag}).status_code == 200
    lines = engines.look(shared_server.folder, "SELECT member_id, email FROM member WHERE account_id = 2")
    keys = engines.look(shared_server.folder, "SELECT key_id FROM api_key WHERE account_id = 2")
    for member_id, _ in lines:
        for action, more in (("deactivate", {}), ("link", {}), ("role", {"role": "member"}), ("reactivate", {})):
            north.fill_in("/members", f"/members/{action}", member=str(member_id), **more)
        north.fill_in("/account", "/account/switch", member=str(member_id))
    for (key_id,) in keys:
        for action in ("revoke", "rotate"):
            north.fill_in("/keys", f"/keys/{key_id}/{action}", overlap="0")
    assert south.ask("GET", "/api/v1/usage").status_code == 200
    assert south.visitor.is_in
    assert engines.look(shared_server.folder, "SELECT member_id, email FROM member WHERE account_id = 2") == lines
    assert engines.look(shared_server.folder, "SELECT 1 FROM api_key WHERE account_id = 2 AND revoked_us IS NOT NULL") == []
