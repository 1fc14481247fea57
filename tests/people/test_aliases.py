"""An email, an id and a device are one user: what programs and administrators see of it, and that it can be undone."""

import json
import threading
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tallyboard.people.aliases import ALIASES_MAX
from tallyboard.people.members import Role
from tests import engines
from tests.conftest import Server, event, refusal, serving, tallyboard, wait_until
from tests.web.visitors import Visitor, person

DAY = "2026-11-01"
CONVERSATION = 1_000_000
KILLS = 8


def address(user: str, end: str = "alias") -> str:
    return f"/api/v1/users/{quote(user, safe='')}/{end}"


def merge(server: Server, user: str, into: str) -> httpx.Response:
    return server.request("PUT", address(user), "admin", json={"of": into})


def undo(server: Server, user: str) -> httpx.Response:
    return server.request("DELETE", address(user), "admin")


def units(server: Server, **query: str) -> dict[str, int]:
    """Conversations by user on the day of all events."""
    return {user["user"]: user["units"] // CONVERSATION for user in server.usage(first=DAY, last=DAY, **query)["users"]}


def allowance(server: Server, user: str) -> dict[str, object]:
    return dict(server.request("GET", address(user, "allowance"), "check").json())


def put_policy(server: Server, **change: object) -> None:
    tag = server.request("GET", "/api/v1/policy", "read").headers["etag"]
    server.request("PUT", "/api/v1/policy", "admin", json=change, headers={"If-Match": tag}).raise_for_status()


def put_override(server: Server, user: str, credits: str) -> httpx.Response:
    return server.request("PUT", f"/api/v1/policy/overrides/{user}", "admin", json={"limit": {"credits": credits}})


def now(id: str, user: str, conversations: int) -> dict[str, object]:
    return event(id, user, time=None, conversations=conversations)


def checked(server: Server) -> list[int]:
    """Whether each may go on, asked twice: the second answer may come from memory."""
    return [server.request("POST", "/api/v1/check", "check", json={"user": user}).status_code for user in ("alice", "device") * 2]


def listed(server: Server) -> dict[str, tuple[str | None, list[str]]]:
    found = server.request("GET", "/api/v1/users", "read").json()["users"]
    return {each["user"]: (each["alias_of"], each["aliases"]) for each in found}


def test_two_keys_are_one_user_until_that_is_undone(server: Server) -> None:
    server.send(event("1", "alice@x.example", conversations=3), event("2", "u-81/f3", conversations=4), event("3", "bob"))
    before = server.usage(first=DAY, last=DAY)
    merged = merge(server, "u-81/f3", "alice@x.example")
    assert merged.json() == {"user": "u-81/f3", "alias_of": "alice@x.example", "aliases": [], "kept_limit": False}
    assert units(server) == {"alice@x.example": 7, "bob": 1}
    assert units(server, user="u-81/f3") == units(server, user="alice@x.example") == {"alice@x.example": 7}
    assert listed(server) == {"alice@x.example": (None, ["u-81/f3"]), "u-81/f3": ("alice@x.example", []), "bob": (None, [])}
    server.send(event("4", "u-81/f3", conversations=5), event("2", "u-81/f3", conversations=4))
    assert units(server) == {"alice@x.example": 12, "bob": 1}
    assert units(server, timezone="Asia/Tokyo") == units(server)
    csv = server.request("GET", f"/api/v1/usage?from={DAY}&to={DAY}", "read", headers={"Accept": "text/csv"}).text
    assert "alice@x.example" in csv
    assert "u-81" not in csv
    assert merge(server, "u-81/f3", "alice@x.example").json() == merged.json(), "said again, it changes nothing"
    assert undo(server, "u-81/f3").json() == {"user": "u-81/f3", "was_alias_of": "alice@x.example", "aliases": [], "kept_limit": False}
    assert units(server) == {"u-81/f3": 9, "alice@x.example": 3, "bob": 1}
    assert {user["user"]: user["label"] for user in before["users"]} == {
        user["user"]: user["label"] for user in server.usage(first=DAY, last=DAY)["users"]
    }
    tallyboard("reconcile", data=server.folder)
    tallyboard("audit", "verify", data=server.folder)


def test_who_becomes_an_alias_takes_the_own_aliases_along_and_back(server: Server) -> None:
    server.send(*(event(user, user) for user in ("phone", "laptop", "u-1", "alice", "bob")))
    assert merge(server, "phone", "laptop").status_code == 200
    assert merge(server, "laptop", "u-1").json()["aliases"] == ["phone"]
    assert merge(server, "u-1", "alice").json()["aliases"] == ["laptop", "phone"]
    assert units(server) == {"alice": 4, "bob": 1}
    assert merge(server, "bob", "phone").json()["alias_of"] == "alice"
    assert undo(server, "laptop").json()["aliases"] == ["phone"]
    assert units(server) == {"alice": 3, "laptop": 2}
    assert undo(server, "phone").json()["was_alias_of"] == "laptop"
    assert undo(server, "u-1").json()["aliases"] == []
    assert units(server) == {"alice": 2, "laptop": 1, "phone": 1, "u-1": 1}


def test_all_keys_have_one_allowance_and_holds_come_along(server: Server) -> None:
    put_policy(server, default_limit={"units": 100})
    server.send(event("seen", "device", time="2026-11-01T00:00:00Z"), event("seen too", "alice", time="2026-11-01T00:00:00Z"))
    hold = {"units": 60, "id": "one"}
    assert server.request("POST", "/api/v1/holds", "check", json={"user": "device", **hold}).status_code == 201
    assert server.request("POST", "/api/v1/holds", "check", json={"user": "alice", "units": 30, "id": "two"}).status_code == 201
    merge(server, "device", "alice")
    for user in ("alice", "device"):
        told = allowance(server, user)
        assert (told["user"], told["held"], told["remaining"]) == (
            "alice",
            {"credits": "0.000000", "units": 90},
            {"credits": "0.000000", "units": 10},
        )
        refused = server.request("POST", "/api/v1/holds", "check", json={"user": user, "units": 11})
        assert (refused.status_code, refused.json()["allowance"]["user"]) == (429, "alice")
    again = server.request("POST", "/api/v1/holds", "check", json={"user": "alice", **hold})
    assert (again.status_code, again.json()["user"]) == (200, "device"), "the same hold, asked for under another key of the same user"
    assert server.request("POST", "/api/v1/holds", "check", json={"user": "bob", **hold}).status_code == 409
    assert server.request("POST", "/api/v1/holds/one/settle", "check", json={"data": {"conversations": 0.00005}}).status_code == 200
    assert server.request("DELETE", "/api/v1/holds/two", "check").status_code == 204
    assert server.request("POST", "/api/v1/holds", "check", json={"user": "device", "units": 50}).status_code == 201
    assert server.request("POST", "/api/v1/check", "check", json={"user": "alice"}).status_code == 429
    undo(server, "device")
    assert [allowance(server, user)["held"]["units"] for user in ("alice", "device")] == [0, 50]  # type: ignore[index]


def test_the_users_limit_counts_and_that_of_an_alias_comes_back(server: Server) -> None:
    server.send(event("1", "device"), event("2", "alice"))
    put_policy(server, default_limit={"credits": "1"})
    put_override(server, "device", "5")
    assert merge(server, "device", "alice").json()["kept_limit"] is True
    assert allowance(server, "device")["limit"]["credits"] == "1.000000"  # type: ignore[index]
    kept = server.request("GET", "/api/v1/policy/overrides", "read").json()["overrides"]
    assert [(each["user"], each["in_force"]) for each in kept] == [("device", False)]
    assert server.request("GET", "/api/v1/policy/overrides/device", "read").status_code == 404
    assert put_override(server, "device", "7").json()["user"] == "alice"
    assert allowance(server, "alice")["limit"]["credits"] == "7.000000"  # type: ignore[index]
    assert undo(server, "device").json()["kept_limit"] is True
    assert [allowance(server, user)["limit"]["credits"] for user in ("alice", "device")] == ["7.000000", "5.000000"]  # type: ignore[index]


def test_the_users_source_of_record_counts_for_all_keys(server: Server) -> None:
    """An agent on a machine tells the same as the gateway, under another key: of one user, one of them counts."""
    server.send(event("1", "alice"), event("2", "device"))
    merge(server, "device", "alice")
    tallyboard("user", "source", "device", "--only", "/gateway", data=server.folder)
    server.send({**event("3", "alice"), "source": "/gateway"}, event("4", "alice"), event("5", "device"))
    assert units(server) == {"alice": 3}
    undo(server, "device")
    server.send(event("6", "alice"), event("7", "device"))
    assert units(server) == {"alice": 2, "device": 2}


def test_what_makes_no_sense_is_told_and_changes_nothing(server: Server) -> None:
    server.send(*(event(user, user) for user in ("alice", "device", "bob")), event("nobody", None))
    merge(server, "device", "alice")
    for answer, status, words in (
        (merge(server, "never seen", "alice"), 404, "there is no user 'never seen'"),
        (merge(server, "alice", "never seen"), 404, "there is no user 'never seen'"),
        (merge(server, "alice", "alice"), 400, "are one user already"),
        (merge(server, "alice", "device"), 400, "are one user already: 'alice'"),
        (merge(server, "device", "bob"), 409, "'device' is an alias of 'alice'; undo that first"),
        (merge(server, "unattributed", "alice"), 400, "nobody's"),
        (merge(server, "bob", "unattributed"), 400, "nobody's"),
        (undo(server, "alice"), 404, "no alias of anybody"),
        (undo(server, "never seen"), 404, "there is no user"),
        (server.request("PUT", address("bob"), "admin", json={"name": "Bob"}), 400, "of whom"),
        (server.request("PUT", address("bob"), "admin", json={"of": ""}), 400, "printable"),
        (server.request("PUT", "/api/v1/users/bob", "admin", json={"of": "alice"}), 400, "/alias"),
    ):
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    erased = server.request("DELETE", address("bob", "profile"), "admin").json()["user"]
    assert "was erased" in merge(server, erased, "alice").json()["detail"]
    assert listed(server)["alice"] == (None, ["device"])


def test_a_user_has_at_most_so_many_aliases(server: Server) -> None:
    server.send(*(event(f"{number}", f"device {number:03}") for number in range(ALIASES_MAX + 2)), event("alice", "alice"))
    for number in range(ALIASES_MAX):
        assert merge(server, f"device {number:03}", "alice").status_code == 200
    assert f"may have {ALIASES_MAX} aliases" in merge(server, f"device {ALIASES_MAX}", "alice").json()["detail"]
    assert merge(server, "alice", f"device {ALIASES_MAX}").status_code == 400
    assert units(server)["alice"] == ALIASES_MAX + 1


def test_a_member_with_the_email_of_an_alias_sees_the_user(server: Server) -> None:
    person(server, "alice@x.example", Role.MEMBER)
    server.send(now("1", "u-1", 60), now("2", "u-2", 30))
    for user, email in (("u-2", "Alice@X.example"), ("u-1", "a.lice@x.example")):
        tallyboard("user", "set", user, "--email", email, data=server.folder)
    with Visitor(server) as alice:
        alice.sign_in("alice@x.example")
        assert "0.05" in alice.open("/my").text
        merge(server, "u-2", "u-1")
        assert "0.15" in alice.open("/my").text
        tallyboard("user", "set", "u-1", "--email", "alice@x.example", data=server.folder)
        assert "0.15" in alice.open("/my").text, "two keys of one user with the same email leave no doubt whose it is"
    assert '"u-1"' in json.dumps(tallyboard("usage", "--user", "u-2", "--json", data=server.folder).stdout).replace("\\", "")


def test_who_is_erased_under_one_key_is_erased_under_all(server: Server) -> None:
    server.send(event("1", "zerafina@x.example"), event("2", "u-81"), event("3", "Zerafina's phone"), event("4", "bob"))
    for user in ("u-81", "Zerafina's phone"):
        merge(server, user, "zerafina@x.example")
    tallyboard("user", "set", "u-81", "--name", "Zerafina Quill", data=server.folder)
    erased = server.request("DELETE", address("u-81", "profile"), "admin").json()
    assert erased["replaced"] is True
    assert "u-81" in erased["aliases"]
    assert len(erased["aliases"]) == 2
    assert units(server) == {erased["user"]: 3, "bob": 1}
    held = "\n".join(
        str(engines.look(server.folder, f"SELECT * FROM {table}")) for table in ("app_user", "hold", "policy_override", "api_key")
    )
    assert "zerafina" not in held.casefold()
    server.send(event("5", "Zerafina's phone"))
    assert units(server) == {erased["user"]: 3, "bob": 1, "Zerafina's phone": 1}


def test_a_key_bound_to_an_alias_speaks_for_the_user_and_sees_no_other_key(server: Server) -> None:
    put_policy(server, default_limit={"units": 100})
    server.send(event("1", "device"), event("2", "alice"))
    merge(server, "device", "alice")
    bound = {"Authorization": f"Bearer {server.keys.make('check,ingest', '--user', 'device')}"}
    assert server.request("POST", "/api/v1/check", "check", headers=bound).json()["allowance"]["user"] == "alice"
    assert server.request("GET", address("device", "allowance"), "check", headers=bound).json()["user"] == "alice"
    assert server.request("GET", address("alice", "allowance"), "check", headers=bound).status_code == 404
    held = server.request("POST", "/api/v1/holds", "check", headers=bound, json={"units": 1}).json()
    assert server.request("DELETE", f"/api/v1/holds/{held['id']}", "check", headers=bound).status_code == 204
    assert server.request("POST", "/api/v1/events", "ingest", headers=bound, json=event("3", "bob")).status_code == 204
    assert units(server) == {"alice": 3}


def test_a_command_beside_the_server_merges_and_the_very_next_check_knows(server: Server) -> None:
    put_policy(server, default_limit={"credits": "1"})
    server.send(now("1", "device", 600), now("2", "alice", 1))
    assert checked(server) == [200, 429] * 2
    merged = json.loads(tallyboard("user", "merge", "device", "alice", "--json", data=server.folder).stdout)
    assert (merged["user"], merged["alias_of"]) == ("device", "alice")
    assert checked(server) == [429] * 4
    assert tallyboard("user", "find", data=server.folder).stdout == "alice\t\t\ndevice\t\t\talias of alice\n"
    assert "there is no user 'alicia'" in refusal("user", "merge", "device", "alicia", folder=server.folder)
    assert "no longer an alias of alice" in tallyboard("user", "unmerge", "device", data=server.folder).stderr
    assert checked(server) == [200, 429] * 2
    log = [json.loads(line) for line in tallyboard("audit", "export", data=server.folder).stdout.splitlines()]
    assert [(line["action"], line["detail"]) for line in log[-2:]] == [
        ("user.merged", {"user": "device", "into": "alice", "aliases": []}),
        ("user.unmerged", {"user": "device", "was_alias_of": "alice", "aliases": []}),
    ]


def test_killed_in_the_middle_it_is_done_or_it_is_not(folder: Path) -> None:
    """Merging and undoing without a pause while the server is killed: what was acknowledged holds, and nothing is half done."""
    with serving(folder) as server:
        server.send(event("1", "device", conversations=2), event("2", "alice", conversations=3), event("3", "phone", conversations=4))
        merge(server, "phone", "device")
        headers = {"Authorization": f"Bearer {server.keys['admin']}"}
        told: list[bool] = []
        ending = threading.Event()

        def to_and_fro() -> None:
            with httpx.Client(timeout=30, headers=headers) as http:
                merged = False
                while not ending.is_set():
                    try:
                        url = f"{server.url}{address('device')}"
                        answer = http.delete(url) if merged else http.put(url, json={"of": "alice"})
                    except httpx.TransportError:
                        ending.wait(0.01)
                        continue
                    if answer.status_code in {200, 404}:  # It may have been done before the kill.
                        merged = not merged
                        told.append(merged)

        thread = threading.Thread(target=to_and_fro, daemon=True)
        thread.start()
        for _ in range(KILLS):
            enough = len(told) + 7
            wait_until(lambda enough=enough: len(told) >= enough, "it goes to and fro")
            server.kill()
            server.start()
        ending.set()
        thread.join(30)
        expected = {"alice": 9} if told[-1] else {"device": 6, "alice": 3}
        assert units(server) == expected
        of_device = (None, ["phone"]) if not told[-1] else ("alice", [])
        assert listed(server)["device"] == of_device
        now_aliases = engines.look(server.folder, "SELECT user_id, alias_of FROM app_user WHERE alias_of IS NOT NULL ORDER BY user_id")
        assert now_aliases == engines.look(
            server.folder, "SELECT user_id, alias_of FROM user_alias WHERE until_us IS NULL ORDER BY user_id"
        )
        assert engines.look(server.folder, "SELECT aliases FROM account") == [(len(now_aliases),)]
        tallyboard("reconcile", data=server.folder)
        tallyboard("audit", "verify", data=server.folder)


@pytest.mark.parametrize("user", ["a/b", "a//b", "/a", "a/alias", "zoë %41 ?#"])
def test_any_key_can_be_an_alias(shared_server: Server, user: str) -> None:
    shared_server.send(event(user, user), event("alice", "alice"))
    assert merge(shared_server, user, "alice").status_code == 200
    assert listed(shared_server)[user] == ("alice", [])
    assert undo(shared_server, user).status_code == 200
