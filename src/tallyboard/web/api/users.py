"""GET /api/v1/users, PUT /api/v1/users/{key} and what ends in /alias and /profile: who the users are, who is whom, and to forget it."""

from enum import StrEnum
from urllib.parse import unquote

from litestar import Request, Response, delete, get, put
from litestar.datastructures import State
from msgspec import UNSET, Struct, UnsetType

from tallyboard import clock
from tallyboard.app import App
from tallyboard.errors import Invalid
from tallyboard.intake.event import KEY_CHARACTERS_MAX, is_key
from tallyboard.people import aliases, directory, erasure
from tallyboard.people.aliases import Merged, Unmerged
from tallyboard.people.directory import Entry, User
from tallyboard.people.erasure import Erased
from tallyboard.people.keys import ApiKey, Scope
from tallyboard.web import problems, raw, security
from tallyboard.web.threads import in_thread

_USERS = "/api/v1/users/"
_ALIAS, _PROFILE = "/alias", "/profile"


class UserPage(Struct):
    """Users in the order of their keys; `cursor` asks for the next page, null where there is none."""

    users: list[Entry]
    cursor: str | None


class Said(Struct, forbid_unknown_fields=True):
    """What is known of a user beside the key; or, at `/alias`, of whom it is one."""

    email: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    of: str | UnsetType = UNSET


class KeyChoice(StrEnum):
    """What becomes of an erased user's key: replaced by a random one, kept, or what is right for such a key."""

    REPLACE = "replace"
    KEEP = "keep"
    AUTO = "auto"


@get("/api/v1/users", sync_to_thread=True)
def get_users(request: Request[None, None, State], search: str = "", cursor: str = "") -> UserPage:
    """Up to 200 users at a time whose key, email or name holds the searched text."""
    app: App = request.app.state.app
    key = security.caller(app, request.headers.get("authorization"), (Scope.READ,), clock.now_us()).key
    with app.ledger.reading() as session:
        users = directory.find(session, key.account_id, search[:256], cursor[:256])
    return UserPage(users, users[-1].user if len(users) == directory.PAGE_USERS_MAX else None)


@put("/api/v1/users/{user:path}")
@in_thread
def put_user(request: Request[None, None, State], user: str, data: Said) -> Response[User] | Response[Merged]:
    """Set a user's email and name; or make the user an alias of another."""
    app: App = request.app.state.app
    key = security.caller(app, request.headers.get("authorization"), (Scope.ADMIN,), clock.now_us()).key
    if (alias := _before(request, _ALIAS)) is not None:
        return Response(_merge(app, key, alias, data))
    if data.of is not UNSET:
        raise Invalid(f"'of' is said to {_USERS}{{key}}{_ALIAS}, not to the user's name")
    email, name = (None if said is UNSET else said for said in (data.email, data.name))
    named = User(raw.rest_of_path(request.scope, "/api/v1/users", user), email, name)
    app.ledger.change(lambda session: directory.name_user(session, key.account_id, named)).result()
    return Response(named)


@delete("/api/v1/users/{user:path}", status_code=200)
@in_thread
def delete_of_user(
    request: Request[None, None, State], user: str, key: KeyChoice = KeyChoice.AUTO
) -> Response[Erased] | Response[Unmerged]:
    """Erase a person: email, name and reasons go, and the key where it may be a name; sums stay. Or undo that a user is an alias."""
    app: App = request.app.state.app
    caller = security.caller(app, request.headers.get("authorization"), (Scope.ADMIN,), clock.now_us()).key
    now_us = clock.now_us()
    if (alias := _before(request, _ALIAS)) is not None:
        return Response(app.ledger.change(lambda session: aliases.undo(session, caller.account_id, alias, caller.actor, now_us)).result())
    erased = _before(request, _PROFILE)
    if erased is None:
        raise problems.with_status(405, f"a user's usage cannot be deleted; DELETE {user}{_PROFILE} erases who it was", {"Allow": "PUT"})
    replace_key = None if key is KeyChoice.AUTO else key is KeyChoice.REPLACE
    return Response(
        app.ledger.change(
            lambda session: erasure.erase(session, caller.account_id, erased, caller.actor, now_us, replace_key=replace_key)
        ).result()
    )


def _before(request: Request[None, None, State], end: str) -> str | None:
    """The key in an address with this end, None for another address; a key that ends so itself has its slash escaped."""
    raw_path = request.scope["raw_path"].decode()
    if not raw_path.endswith(end) or len(raw_path) <= len(_USERS) + len(end):
        return None
    return unquote(raw_path.removeprefix(_USERS).removesuffix(end))


def _merge(app: App, key: ApiKey, alias: str, data: Said) -> Merged:
    if not isinstance(data.of, str) or data.email is not UNSET or data.name is not UNSET:
        raise Invalid('say of whom it is an alias, and nothing else: {"of": "alice"}')
    if not is_key(data.of):
        raise Invalid(f"a user key has 1 to {KEY_CHARACTERS_MAX} printable characters")
    of, now_us = data.of, clock.now_us()
    return app.ledger.change(lambda session: aliases.merge(session, key.account_id, alias, of, key.actor, now_us)).result()
