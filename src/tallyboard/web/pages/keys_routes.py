"""The doors of the API keys page. A secret is in the answer to the form that made it and nowhere else: no address, no log, no cache."""

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body

from tallyboard import clock, days
from tallyboard.app import App
from tallyboard.errors import Invalid, NotFound
from tallyboard.people import accounts, keys
from tallyboard.people.keys import ApiKey, Scope
from tallyboard.people.members import Member
from tallyboard.web.pages import connect, render
from tallyboard.web.pages import keys as sight
from tallyboard.web.pages.frame import Ask, address_of, administrator, check_form, layout, page, redirect
from tallyboard.web.pages.keys import PATH, Draft, Once, Question
from tallyboard.web.threads import in_thread

Fields = Annotated[dict[str, Any], Body(media_type=RequestEncodingType.URL_ENCODED)]
TYPED_CHARACTERS_MAX = 1_000
_NUMBER_DIGITS_MAX = 6
_SENDING = {Scope.INGEST, Scope.ADMIN}


@get(PATH, include_in_schema=False)
@in_thread
def get_keys_page(request: Ask) -> Response[bytes]:
    """API keys: every state of it has a URL, but for a secret just made."""
    now_us = clock.now_us()
    member = administrator(request, now_us)
    if member is None:
        return redirect("/sign-in")
    asked = {name: value[:TYPED_CHARACTERS_MAX] for name, value in request.query_params.items()}
    return _show(request, member, now_us, draft=Draft() if "new" in asked else None, asked=asked)


@post(PATH, include_in_schema=False, status_code=200)
@in_thread
def post_key(request: Ask, data: Fields) -> Response[bytes]:
    """Create a key; the answer shows its secret once. A form that cannot be taken comes back as it was typed."""
    fields, now_us = text_fields(data), clock.now_us()
    member = _sender(request, fields, now_us)
    if member is None:
        return redirect("/sign-in")
    draft = _draft(fields)
    if draft.problems:
        return _show(request, member, now_us, draft=draft, status=400)
    app: App = request.app.state.app
    try:
        secret, key = app.ledger.change(
            lambda session: keys.create(
                session,
                member.account_id,
                draft.name,
                [Scope(scope) for scope in draft.scopes],
                member.email,
                now_us,
                user=draft.user or None,
                expires_days=int(draft.expires) if draft.expires else None,
            )
        ).result()
    except Invalid as error:
        place = "user" if "user key" in str(error) else "name"
        problems = {place: f"{str(error)[:1].upper()}{str(error)[1:]}."}
        return _show(request, member, now_us, draft=_draft(fields, problems), status=400)
    return _show(request, member, now_us, once=Once(secret, key.name, key.scopes))


@post(f"{PATH}/{{key_id:str}}/rotate", sync_to_thread=True, include_in_schema=False, status_code=200)
def post_rotation(request: Ask, key_id: str, data: Fields) -> Response[bytes]:
    """Make a key with the same rights in the place of another; the answer shows its secret once."""
    fields, now_us = text_fields(data), clock.now_us()
    member = _sender(request, fields, now_us)
    if member is None:
        return redirect("/sign-in")
    chosen = fields.get("overlap", "")
    if chosen not in sight.OVERLAPS:
        raise Invalid("say how long the old key works on")
    app: App = request.app.state.app
    hours = int(chosen)
    secret, key = app.ledger.change(
        lambda session: keys.rotate(session, member.account_id, key_id, member.email, now_us, overlap_hours=hours)
    ).result()
    with app.ledger.reading() as session:
        old = keys.of(session, member.account_id, key_id)
        zone = days.zone(accounts.of(session, member.account_id).timezone)
    until = sight.moment(old.expires_us, zone) if hours and old and old.expires_us else "now"
    return _show(request, member, now_us, once=Once(secret, key.name, key.scopes, until))


@post(f"{PATH}/{{key_id:str}}/revoke", sync_to_thread=True, include_in_schema=False, status_code=303)
def post_revocation(request: Ask, key_id: str, data: Fields) -> Response[bytes]:
    """Make a key useless. Twice is once."""
    fields, now_us = text_fields(data), clock.now_us()
    member = _sender(request, fields, now_us)
    if member is None:
        return redirect("/sign-in")
    app: App = request.app.state.app
    with app.ledger.reading() as session:
        found = keys.of(session, member.account_id, key_id)
    if found is None:
        raise NotFound("there is no such key")
    if found.revoked_us is None:
        app.ledger.change(lambda session: keys.revoke(session, member.account_id, key_id, member.email, now_us)).result()
    return redirect(f"{PATH}?done=revoked")


def _show(
    request: Ask,
    member: Member,
    now_us: int,
    *,
    asked: dict[str, str] | None = None,
    draft: Draft | None = None,
    once: Once | None = None,
    status: int = 200,
) -> Response[bytes]:
    app: App = request.app.state.app
    asked = asked or {}
    with app.ledger.reading() as session:
        account = accounts.of(session, member.account_id)
        found = keys.listed(session, member.account_id)
    number = asked.get("page", "")
    content = render.html(
        "keys.html",
        **layout(request, member, account.name, PATH),
        **sight.context(
            found,
            days.zone(account.timezone),
            now_us,
            number=int(number) if number.isascii() and number.isdecimal() and len(number) <= _NUMBER_DIGITS_MAX else 1,
            draft=draft,
            question=_question(found, asked, now_us),
            once=once,
            done=asked.get("done", ""),
        ),
        zone_name=account.timezone,
        ways=connect.ways(address_of(request), once.secret) if once and not once.scopes.isdisjoint(_SENDING) else (),
    )
    return page(content, status=status)


def _question(found: list[ApiKey], asked: dict[str, str], now_us: int) -> Question | None:
    """What a URL asks about a key in use; what makes no sense is passed over."""
    for kind in ("revoke", "rotate"):
        for key in found:
            if key.id == asked.get(kind) and key.valid(now_us):
                return Question(kind, key)
    return None


def _draft(fields: dict[str, str], more: dict[str, str] | None = None) -> Draft:
    """What was typed, with what is wrong."""
    scopes = frozenset(scope.value for scope in Scope if fields.get(f"scope-{scope.value}"))
    name, user, expires = fields.get("name", "").strip(), fields.get("user", "").strip(), fields.get("expires", "")
    problems = {
        **({} if name else {"name": "Say what the key is for."}),
        **({} if scopes else {"scopes": "Choose at least one thing it may do."}),
        **({} if expires in sight.LIVES else {"expires": "Choose when it expires."}),
        **(more or {}),
    }
    return Draft(name, scopes, user, expires, problems)


def text_fields(data: dict[str, Any]) -> dict[str, str]:
    """The fields of a form that are one text each, none longer than anybody types."""
    return {name: value[:TYPED_CHARACTERS_MAX] for name, value in data.items() if isinstance(value, str)}


def _sender(request: Ask, fields: dict[str, str], now_us: int) -> Member | None:
    member = administrator(request, now_us)
    if member is not None:
        check_form(request, fields)
    return member
