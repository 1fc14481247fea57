"""GET /api/v1/users, PUT /api/v1/users/{key} and DELETE /api/v1/users/{key}/profile: who the users are, and to forget it."""

from enum import StrEnum
from urllib.parse import unquote

from litestar import Request, Response, delete, get, put
from litestar.datastructures import State
from msgspec import Struct

from tallyboard import clock
from tallyboard.app import App
from tallyboard.people import directory, erasure
from tallyboard.people.directory import User
from tallyboard.people.erasure import Erased
from tallyboard.people.keys import Scope
from tallyboard.web import problems, raw, security
from tallyboard.web.threads import in_thread

_USERS = "/api/v1/users/"
_PROFILE = "/profile"


class UserPage(Struct):
    """Users in the order of their keys; `cursor` asks for the next page, null where there is none."""

    users: list[User]
    cursor: str | None


class Profile(Struct, forbid_unknown_fields=True):
    """What is known of a user beside the key."""

    email: str | None = None
    name: str | None = None


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
def put_user(request: Request[None, None, State], user: str, data: Profile) -> Response[User]:
    """Set a user's email and name."""
    app: App = request.app.state.app
    key = security.caller(app, request.headers.get("authorization"), (Scope.ADMIN,), clock.now_us()).key
    named = User(raw.rest_of_path(request.scope, "/api/v1/users", user), data.email, data.name)
    app.ledger.change(lambda session: directory.name_user(session, key.account_id, named)).result()
    return Response(named)


@delete("/api/v1/users/{user:path}", status_code=200)
@in_thread
def delete_profile(request: Request[None, None, State], user: str, key: KeyChoice = KeyChoice.AUTO) -> Erased:
    """Email, name and reasons go, and the key where it may be a name; sums stay. The answer says what the user is known by now."""
    app: App = request.app.state.app
    caller = security.caller(app, request.headers.get("authorization"), (Scope.ADMIN,), clock.now_us()).key
    raw_path = request.scope["raw_path"].decode()
    if not raw_path.endswith(_PROFILE):
        raise problems.with_status(405, f"a user's usage cannot be deleted; DELETE {user}{_PROFILE} erases who it was", {"Allow": "PUT"})
    erased_key = unquote(raw_path.removeprefix(_USERS).removesuffix(_PROFILE))
    replace_key = None if key is KeyChoice.AUTO else key is KeyChoice.REPLACE
    now_us = clock.now_us()
    return app.ledger.change(
        lambda session: erasure.erase(session, caller.account_id, erased_key, caller.actor, now_us, replace_key=replace_key)
    ).result()
