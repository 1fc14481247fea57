"""GET /api/v1/users and PUT /api/v1/users/{key}: who the users are."""

from litestar import Request, Response, get, put
from litestar.datastructures import State
from msgspec import Struct

from tallyboard import clock
from tallyboard.app import App
from tallyboard.people import directory
from tallyboard.people.directory import User
from tallyboard.people.keys import Scope
from tallyboard.web import raw, security


class UserPage(Struct):
    """Users in the order of their keys; `cursor` asks for the next page, null where there is none."""

    users: list[User]
    cursor: str | None


class Profile(Struct, forbid_unknown_fields=True):
    """What is known of a user beside the key."""

    email: str | None = None
    name: str | None = None


@get("/api/v1/users", sync_to_thread=True, summary="Search the directory of users", tags=["users"])
def get_users(request: Request[None, None, State], search: str = "", cursor: str = "") -> UserPage:
    """Up to 200 users at a time whose key, email or name holds the searched text."""
    app: App = request.app.state.app
    key = security.caller(app, request.headers.get("authorization"), (Scope.READ,), clock.now_us()).key
    with app.ledger.reading() as session:
        users = directory.find(session, key.account_id, search[:256], cursor[:256])
    return UserPage(users, users[-1].user if len(users) == directory.PAGE_USERS_MAX else None)


@put("/api/v1/users/{user:path}", sync_to_thread=True, summary="Name a user", tags=["users"])
def put_user(request: Request[None, None, State], user: str, data: Profile) -> Response[User]:
    """Set a user's email and name."""
    app: App = request.app.state.app
    key = security.caller(app, request.headers.get("authorization"), (Scope.ADMIN,), clock.now_us()).key
    named = User(raw.rest_of_path(request.scope, "/api/v1/users", user), data.email, data.name)
    app.ledger.change(lambda session: directory.name_user(session, key.account_id, named)).result()
    return Response(named)
