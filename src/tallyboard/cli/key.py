"""`tallyboard key`: API keys."""

from typing import Annotated

import typer

from tallyboard import clock, days
from tallyboard.cli.options import ACTOR, Data, Json, Of, account_id_of, open_app, print_json, talk
from tallyboard.people import keys

group = typer.Typer(help="Create, list, rotate and revoke API keys.", no_args_is_help=True)


@group.command("create")
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scopes: Annotated[str, typer.Option(help="What it may do: ingest, check, read, adjust, scim, admin; separated by commas.")],
    user: Annotated[str | None, typer.Option(help="Bind the key to a user: all usage it sends is that user's.")] = None,
    expires: Annotated[int | None, typer.Option(help="Days until it expires.")] = None,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Create a key and print it. It is shown this once."""
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        secret, key = keys.create(
            session, account_id, name, keys.parse_scopes(scopes), ACTOR, clock.now_us(), user=user, expires_days=expires
        )
    _print_once(secret, key, as_json)


@group.command("list")
def list_keys(account: Of = None, data: Data = None, as_json: Json = False) -> None:
    """List the keys, newest first."""
    now_us = clock.now_us()
    with open_app(data) as app, app.ledger.reading() as session:
        account_id = account_id_of(session, account)
        found = keys.listed(session, account_id)
    if as_json:
        print_json([_shape(key, now_us) for key in found])
        return
    for key in found:
        state = "in use" if key.valid(now_us) else "revoked" if key.revoked_us else "expired"
        bound = f"  bound to {key.user}" if key.user else ""
        print(f"{key.id}  {state:7}  {','.join(sorted(key.scopes)):28}  {key.name}{bound}")
    if not found:
        talk.print("There are no keys. Make one: tallyboard key create --name app --scopes ingest")


@group.command("rotate")
def rotate(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `key list` shows it.")],
    overlap: Annotated[int, typer.Option(help="Hours for which the old key works on; 0 revokes it at once.")] = 24,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Create a key with the same rights in the place of another, and print it. It is shown this once."""
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        secret, key = keys.rotate(session, account_id, key_id, ACTOR, clock.now_us(), overlap_hours=overlap)
    talk.print(f"{key_id} works for {overlap} hours on." if overlap else f"{key_id} is revoked.", markup=False)
    _print_once(secret, key, as_json)


@group.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `key list` shows it.")], account: Of = None, data: Data = None
) -> None:
    """Make a key useless, at once."""
    with open_app(data) as app, app.ledger.writing() as session:
        account_id = account_id_of(session, account)
        keys.revoke(session, account_id, key_id, ACTOR, clock.now_us())
    talk.print(f"Revoked {key_id}.")


def _print_once(secret: str, key: keys.ApiKey, as_json: bool) -> None:
    if as_json:
        print_json({"key": secret, "id": key.id})
    else:
        talk.print("Copy this key now. You will not see it again.")
        print(secret)


def _shape(key: keys.ApiKey, now_us: int) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "user": key.user,
        "created_at": days.instant_text(key.created_us),
        "created_by": key.created_by,
        "used_at": days.instant_text(key.used_us) if key.used_us else None,
        "expires_at": days.instant_text(key.expires_us) if key.expires_us else None,
        "revoked_at": days.instant_text(key.revoked_us) if key.revoked_us else None,
        "valid": key.valid(now_us),
    }
