"""Keys are made, rotated with an overlap and revoked; when they were used is known to the minute, at one write a minute."""

import json
from pathlib import Path
from typing import Any

import pytest

from tallyboard import days
from tallyboard.app import App
from tallyboard.errors import Invalid, NotFound
from tallyboard.ledger.contract import Session
from tallyboard.people import keys
from tallyboard.people.keys import Scope
from tests import engines
from tests.conftest import Server, event, refusal, serving, tallyboard
from tests.ledger.books import CONTOSO, NORTHWIND, NOW_US, open_ledger

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def listed(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads(tallyboard("key", "list", "--json", data=folder).stdout))


def works(server: Server, secret: str) -> bool:
    answer = server.client.get(f"{server.url}/api/v1/usage", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


@pytest.mark.parametrize(("overlap", "old_works"), [(24, True), (0, False)])
def test_a_rotated_key_works_beside_the_new_one_as_long_as_was_said(server: Server, overlap: int, old_works: bool) -> None:
    old = server.keys.make("read", "--user", "alice", "--expires", 30)
    (before,) = listed(server.folder)
    new = json.loads(tallyboard("key", "rotate", before["id"], "--overlap", overlap, "--json", data=server.folder).stdout)
    assert works(server, new["key"])
    assert works(server, old) is old_works
    by_id = {key["id"]: key for key in listed(server.folder)}
    assert len(by_id) == 2
    assert by_id[before["id"]]["valid"] is old_works
    same = {name: by_id[new["id"]][name] for name in ("name", "scopes", "user")}
    assert same == {name: before[name] for name in ("name", "scopes", "user")}


def test_the_old_key_never_lives_longer_by_rotation_and_the_new_one_as_long_again(folder: Path) -> None:
    ledger = open_ledger(folder)

    def rotated(session: Session) -> tuple[int | None, int | None]:
        _, old = keys.create(session, NORTHWIND, "app", [Scope.READ], "test", NOW_US, expires_days=10)
        later = NOW_US + 10 * DAY_US - HOUR_US
        _, new = keys.rotate(session, NORTHWIND, old.id, "alice", later, overlap_hours=24)
        ended = keys.of(session, NORTHWIND, old.id)
        assert ended is not None
        assert new.expires_us == later + 10 * DAY_US
        assert new.created_by == "alice"
        return ended.expires_us, ended.revoked_us

    assert ledger.change(rotated).result() == (NOW_US + 10 * DAY_US, None)
    ledger.close()


def test_only_a_key_in_use_of_the_own_account_is_rotated(folder: Path) -> None:
    ledger = open_ledger(folder)

    def tried(session: Session) -> None:
        _, key = keys.create(session, NORTHWIND, "app", [Scope.READ], "test", NOW_US)
        for account_id, key_id, hours, error in (
            (CONTOSO, key.id, 1, NotFound),
            (NORTHWIND, "never", 1, NotFound),
            (NORTHWIND, key.id, -1, Invalid),
            (NORTHWIND, key.id, 721, Invalid),
        ):
            with pytest.raises(error):
                keys.rotate(session, account_id, key_id, "test", NOW_US, overlap_hours=hours)
        keys.revoke(session, NORTHWIND, key.id, "test", NOW_US)
        with pytest.raises(NotFound):
            keys.rotate(session, NORTHWIND, key.id, "test", NOW_US, overlap_hours=1)
        assert len(keys.listed(session, NORTHWIND)) == 1

    ledger.change(tried).result()
    ledger.close()


def test_rotation_is_in_the_audit_log_without_a_secret(folder: Path) -> None:
    made = json.loads(tallyboard("key", "create", "--name", "app", "--scopes", "read", "--json", data=folder).stdout)
    new = json.loads(tallyboard("key", "rotate", made["id"], "--json", data=folder).stdout)
    log = tallyboard("audit", "export", data=folder).stdout
    last = json.loads(log.splitlines()[-1])
    assert (last["action"], last["detail"]["id"], last["detail"]["new"]) == ("key.rotated", made["id"], new["id"])
    assert made["key"] not in log
    assert new["key"] not in log
    assert "no key 'nothing' in use" in refusal("key", "rotate", "nothing", folder=folder)


def test_the_minute_of_the_last_use_is_known_after_the_server_has_ended(folder: Path) -> None:
    with serving(folder) as server:
        for number in range(50):
            server.send(event(str(number)))
        unused = server.keys.make("read")
        assert unused
        server.stop()
    by_scope = {key["scopes"][0]: key for key in listed(folder)}
    assert by_scope["read"]["used_at"] is None
    assert by_scope["ingest"]["used_at"].endswith(":00.000Z"), "to the minute"
    assert by_scope["ingest"]["used_at"] > by_scope["ingest"]["created_at"][:16]


def test_however_many_requests_there_are_their_use_is_one_write(folder: Path) -> None:
    secret = json.loads(tallyboard("key", "create", "--name", "app", "--scopes", "read", "--json", data=folder).stdout)["key"]
    with App(engines.settings_of(folder)) as app:
        version = _revisions(folder)
        for second in range(1_000):
            assert app.caller(secret, NOW_US * 2 + second * 1_000_000) is not None
        assert _used(folder) is None, "nothing was written by a request"
    assert _used(folder) == (NOW_US * 2 + 999_000_000) // 60_000_000 * 60_000_000
    assert _revisions(folder) == version, "no page looks different"


def test_an_older_use_does_not_take_the_place_of_a_newer_one(folder: Path) -> None:
    """Several processes write what each has seen."""
    ledger = open_ledger(folder)

    def written(session: Session) -> int | None:
        _, key = keys.create(session, NORTHWIND, "app", [Scope.READ], "test", NOW_US)
        for used_us in (NOW_US + DAY_US, NOW_US):
            keys.record_uses(session, {(NORTHWIND, key.id): used_us, (CONTOSO, key.id): NOW_US + 9 * DAY_US})
        found = keys.of(session, NORTHWIND, key.id)
        return found.used_us if found else None

    assert ledger.change(written).result() == (NOW_US + DAY_US) // 60_000_000 * 60_000_000
    ledger.close()


def _used(folder: Path) -> int | None:
    ((used_us,),) = engines.look(folder, "SELECT used_us FROM api_key")
    assert used_us is None or days.instant_text(used_us)
    return used_us if used_us is None else int(used_us)


def _revisions(folder: Path) -> list[Any]:
    return engines.look(folder, "SELECT revision FROM account")
