"""What the doors of SCIM answer: who calls, which resource, what is asked; every refusal as RFC 7644, section 3.12, has it."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from pydantic import ValidationError
from scim2_models import (
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    Context,
    Error,
    ETag,
    Filter,
    ListResponse,
    Meta,
    PatchOp,
    Reference,
    Resource,
    ResourceType,
    ResponseParameters,
    SCIMException,
    SearchRequest,
    ServiceProviderConfig,
    Sort,
)
from scim2_models import Patch as PatchSupport

from tallyboard import clock, errors
from tallyboard.app import App
from tallyboard.ledger.contract import Session
from tallyboard.people import scim
from tallyboard.people.keys import ApiKey, Scope
from tallyboard.people.scim import POLICY, User
from tallyboard.web import metrics, problems, security
from tallyboard.web.scim import Ask

FILTER_CHARACTERS_MAX = 1_000
OPERATIONS_MAX = 100
Result = TypeVar("Result")
_JSON_TYPES = ("", "application/scim+json", "application/json")
_KEYWORDS: Mapping[type[Exception], str] = {
    errors.Needed: "mutability",
    errors.Invalid: "invalidValue",
    errors.Taken: "uniqueness",
}


class Answer(Struct, frozen=True):
    """What is sent back."""

    status: int
    content: bytes
    headers: Mapping[str, str] = {}


def answer(app: App, ask: Ask) -> Answer:
    """The answer to a request, whatever it is."""
    try:
        key = security.caller(app, ask.headers.get("authorization"), (Scope.SCIM,), clock.now_us()).key
        return _route(app, ask, key)
    except SCIMException as error:
        return _refused(error.to_error())
    except ValidationError as error:
        return _refused(Error.from_validation_errors(error)[0])
    except Exception as error:  # noqa: BLE001  The framework's net is not in front of us.
        return of_error(error)


def of_error(error: Exception) -> Answer:
    """The refusal that an error comes to."""
    problem = problems.of(error)
    metrics.log_trouble(error, problem.status)
    keyword = next((word for kind, word in _KEYWORDS.items() if isinstance(error, kind)), "")
    return refusal(problem.status, problem.detail, keyword, problem.headers)


def refusal(status: int, detail: str, keyword: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """A refusal; `keyword` is the scimType."""
    found = Error(status=status, scim_type=keyword or None, detail=detail)
    return _refused(found, headers)


def _refused(found: Error, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(found.status or 400, found.model_dump_json().encode(), headers or {})


def _route(app: App, ask: Ask, key: ApiKey) -> Answer:
    match ask.path:
        case ("Users",):
            doors = {"GET": _list, "POST": _create}
        case (".search",) | ("Users", ".search"):
            doors = {"POST": _search}
        case ("Users", _):
            doors = {"GET": _show, "PUT": _replace, "PATCH": _patch, "DELETE": _remove}
        case ("ServiceProviderConfig",) | ("ResourceTypes",) | ("ResourceTypes", _) | ("Schemas",) | ("Schemas", _):
            doors = {"GET": _discover}
        case _:
            return refusal(404, "there is no such resource; this service has Users, ServiceProviderConfig, ResourceTypes and Schemas")
    if ask.method not in doors:
        return refusal(405, f"{ask.method} is not possible here", headers={"Allow": ", ".join(doors)})
    return doors[ask.method](app, ask, key)


def _create(app: App, ask: Ask, key: ApiKey) -> Answer:
    shown = _parameters(ask)
    wanted = User.model_validate(_json(ask), scim_ctx=Context.RESOURCE_CREATION_REQUEST, scim_policy=POLICY)
    made = _changed(app, lambda session, now: scim.create(session, key.account_id, wanted, key.actor, now))
    answered = _user(ask, made, Context.RESOURCE_CREATION_RESPONSE, shown, 201)
    return Answer(201, answered.content, {**answered.headers, "Location": _location(ask, made)})


def _show(app: App, ask: Ask, key: ApiKey) -> Answer:
    shown = _parameters(ask)
    with app.ledger.reading() as session:
        found = scim.of(session, key.account_id, ask.path[1])
    assert found.meta is not None
    version = str(found.meta.version)
    if version in ask.headers.get("if-none-match", ""):
        return Answer(304, b"", {"ETag": version})
    return _user(ask, found, Context.RESOURCE_QUERY_RESPONSE, shown)


def _replace(app: App, ask: Ask, key: ApiKey) -> Answer:
    shown = _parameters(ask)
    wanted = User.model_validate(_json(ask), scim_ctx=Context.RESOURCE_REPLACEMENT_REQUEST, scim_policy=POLICY)

    def edit(before: User) -> User:
        wanted.replace(before)
        return wanted

    return _user(ask, _edited(app, ask, key, edit), Context.RESOURCE_REPLACEMENT_RESPONSE, shown)


def _patch(app: App, ask: Ask, key: ApiKey) -> Answer:
    shown = _parameters(ask)
    operations = PatchOp[User].model_validate(_json(ask), scim_ctx=Context.RESOURCE_PATCH_REQUEST, scim_policy=POLICY)
    if len(operations.operations or ()) > OPERATIONS_MAX:
        raise errors.Invalid(f"a PATCH has at most {OPERATIONS_MAX} operations")

    def edit(before: User) -> User:
        operations.patch(before, scim_policy=POLICY)
        return before

    return _user(ask, _edited(app, ask, key, edit), Context.RESOURCE_PATCH_RESPONSE, shown)


def _remove(app: App, ask: Ask, key: ApiKey) -> Answer:
    if_match = ask.headers.get("if-match", "")
    _changed(app, lambda session, now: scim.remove(session, key.account_id, ask.path[1], key.actor, now, if_match))
    return Answer(204, b"")


def _list(app: App, ask: Ask, key: ApiKey) -> Answer:
    return _found(app, ask, key, dict(ask.query))


def _search(app: App, ask: Ask, key: ApiKey) -> Answer:
    return _found(app, ask, key, _json(ask))


def _found(app: App, ask: Ask, key: ApiKey, wanted: Any) -> Answer:
    """A page of users; `wanted` is the query or the body of a search."""
    said = wanted.get("filter") if isinstance(wanted, dict) else None
    if isinstance(said, str) and len(said) > FILTER_CHARACTERS_MAX:
        return refusal(400, f"a filter has at most {FILTER_CHARACTERS_MAX:,} characters", "invalidFilter")
    asked = SearchRequest[User].model_validate(wanted, scim_policy=POLICY)
    with app.ledger.reading() as session:
        total, users = scim.find(session, key.account_id, asked)
    for user in users:
        _locate(ask, user)
    page = ListResponse[User](total_results=total, start_index=asked.start_index or 1, items_per_page=len(users), resources=users)
    return Answer(200, page.model_dump_json(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=asked).encode())


def _discover(app: App, ask: Ask, key: ApiKey) -> Answer:
    """What this service can do; one of the three, or one of a list."""
    del app, key  # It is the same for everybody.
    if "filter" in ask.query:
        return refusal(403, "what this service can do is told as a whole")
    if ask.path[0] == "ServiceProviderConfig":
        return _resource(_config(ask))
    known: Resource[Any] = ResourceType.from_resource(User) if ask.path[0] == "ResourceTypes" else User.to_schema()
    known.meta = Meta(
        resource_type="ResourceType" if ask.path[0] == "ResourceTypes" else "Schema", location=f"{ask.address}/{ask.path[0]}/{known.id}"
    )
    if len(ask.path) == 1:
        kind: Any = ListResponse[type(known)]  # type: ignore[misc]
        page = kind(total_results=1, start_index=1, items_per_page=1, resources=[known])
        return Answer(200, page.model_dump_json(scim_ctx=Context.RESOURCE_QUERY_RESPONSE).encode())
    return _resource(known) if ask.path[1] == known.id else refusal(404, f"there is no {ask.path[1][:80]!r} here")


def _config(ask: Ask) -> ServiceProviderConfig:
    return ServiceProviderConfig(
        patch=PatchSupport(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=scim.PAGE_USERS_MAX),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=True),
        etag=ETag(supported=True),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="API key",
                description="A key of the account with the scope scim",
                primary=True,
            )
        ],
        meta=Meta(resource_type="ServiceProviderConfig", location=f"{ask.address}/ServiceProviderConfig"),
    )


def _edited(app: App, ask: Ask, key: ApiKey, edit: Callable[[User], User]) -> User:
    if_match = ask.headers.get("if-match", "")
    return _changed(app, lambda session, now: scim.change(session, key.account_id, ask.path[1], edit, key.actor, now, if_match))


def _changed(app: App, work: Callable[[Session, int], Result]) -> Result:
    return app.ledger.change(lambda session: work(session, clock.now_us())).result()


def _user(ask: Ask, user: User, context: Context, shown: ResponseParameters[User], status: int = 200) -> Answer:
    _locate(ask, user)
    assert user.meta is not None
    content = user.model_dump_json(scim_ctx=context, response_parameters=shown).encode()
    return Answer(status, content, {"ETag": str(user.meta.version)})


def _resource(found: Resource[Any]) -> Answer:
    return Answer(200, found.model_dump_json(scim_ctx=Context.RESOURCE_QUERY_RESPONSE).encode())


def _locate(ask: Ask, user: User) -> None:
    assert user.meta is not None
    user.meta.location = Reference(_location(ask, user))


def _location(ask: Ask, user: User) -> str:
    return f"{ask.address}/Users/{user.id}"


def _parameters(ask: Ask) -> ResponseParameters[User]:
    """Which attributes are to be answered."""
    said = {name: ask.query[name] for name in ("attributes", "excludedAttributes") if name in ask.query}
    return ResponseParameters[User].model_validate(said, scim_policy=POLICY)


def _json(ask: Ask) -> Any:
    if ask.headers.get("content-type", "").partition(";")[0].strip().lower() not in _JSON_TYPES:
        raise problems.with_status(415, "send application/scim+json")
    try:
        return msgspec.json.decode(ask.content)
    except (msgspec.DecodeError, RecursionError):
        raise problems.with_status(400, "the body is not JSON") from None
