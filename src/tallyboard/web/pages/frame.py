"""What the doors of all pages share: who looks, the frame around a page, cookies, forms, answers."""

from typing import Annotated
from urllib.parse import urlencode

from litestar import MediaType, Request, Response
from litestar.datastructures import Cookie, State
from litestar.enums import RequestEncodingType
from litestar.params import Body

from tallyboard.app import App
from tallyboard.people import journey, persons, secrets, sessions
from tallyboard.people.members import Member, Role
from tallyboard.people.sign_in import Visitor
from tallyboard.web import security

Ask = Request[None, None, State]
Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]
NAVIGATION = (
    ("/usage", "Credit Usage", "chart"),
    ("/policy", "Credit Policy", "sliders"),
    ("/members", "Members", "people"),
    ("/users", "Users", "directory"),
    ("/keys", "API Keys", "key"),
    ("/intake", "Intake", "arrow"),
    ("/audit", "Audit Log", "log"),
)
"""What administrators see at the side: address, label, symbol."""
ID_DIGITS_MAX = 16
EVERYONES = (("/my", "My usage", "own"),)


def home(member: Member) -> str:
    """Where a member arrives."""
    return "/usage" if member.role is Role.ADMIN else "/my"


def signed_in(request: Ask, now_us: int) -> Member | None:
    """Who looks, None where nobody has signed in. A live page that fetches itself again says so by the axis it has drawn."""
    return security.member(request.app.state.app, session_secret(request), now_us, by_hand="axis" not in request.query_params)


def administrator(request: Ask, now_us: int) -> Member | None:
    """Who looks, None where nobody has signed in; Problem 403 where it is no administrator."""
    member = signed_in(request, now_us)
    if member is not None:
        security.check_administrator(member)
    return member


def session_secret(request: Ask) -> str:
    """What the session cookie holds, "" where there is none."""
    return request.cookies.get(security.cookie_name(request.app.state.app), "")


def form_token(request: Ask) -> str:
    """What the forms of a signed-in member carry."""
    return security.form_token(session_secret(request))


def visitor(request: Ask) -> Visitor:
    """Where a request comes from."""
    return Visitor(request.client.host if request.client else "", sessions.browser_words(request.headers.get("user-agent", "")))


def field(form: dict[str, str], name: str) -> str:
    """What a form says in one field, "" where it has none."""
    return str(form.get(name, ""))


def member_number(form: dict[str, str]) -> int:
    """The member a form is about; -1, which nobody has, where it names none."""
    text = field(form, "member")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= ID_DIGITS_MAX else -1


def check_form(request: Ask, form: dict[str, str]) -> None:
    """Refuse a form of a signed-in member that some other page sent."""
    security.check_same_site(request.headers.get("sec-fetch-site"))
    security.check_form(session_secret(request), field(form, "_csrf_token"))


def check_visit_form(request: Ask, form: dict[str, str]) -> None:
    """Refuse a form of somebody who has not signed in that some other page sent."""
    security.check_same_site(request.headers.get("sec-fetch-site"))
    security.check_form(
        request.cookies.get(security.visit_cookie_name(request.app.state.app)) or secrets.make(), field(form, "_csrf_token")
    )


def begin(request: Ask, secret: str, now_us: int, path: str = "") -> Response[bytes]:
    """Let somebody in who has just got a session: to a page of ours, or where they arrive. The session that the browser had before ends."""
    app: App = request.app.state.app
    member = security.member(app, secret, now_us)
    assert member is not None
    before = session_secret(request)
    if before:
        app.ledger.change(lambda session: sessions.end(session, before)).result()
    return redirect(path or home(member), session_cookie(app, secret), visit_cookie(app, ""))


def layout(request: Ask, member: Member, account: str, path: str) -> dict[str, object]:
    """The keys of `layout.html`. `switch` is empty for who belongs to this account alone."""
    app: App = request.app.state.app
    with app.ledger.reading() as session:
        open_to = persons.memberships(session, member)
    shown = NAVIGATION + EVERYONES if member.role is Role.ADMIN else EVERYONES
    return {
        "account": account,
        "switch": open_to if len(open_to) > 1 else [],
        "member": member.email,
        "csrf_token": security.form_token(session_secret(request)),
        "nav": [(href, label, symbol, href == path) for href, label, symbol in shown],
        "path": path,
    }


def page(content: bytes, status: int = 200, headers: dict[str, str] | None = None, cookie: Cookie | None = None) -> Response[bytes]:
    """A page; where nothing else is said, nobody keeps it."""
    headers = headers or {"Cache-Control": "no-store"}
    return Response(content, status_code=status, media_type=MediaType.HTML, headers=headers, cookies=[cookie] if cookie else [])


def redirect(path: str, *cookies: Cookie) -> Response[bytes]:
    """To a page of ours."""
    headers = {"Location": path, "Cache-Control": "no-store"}
    return Response(b"", status_code=303, media_type=MediaType.TEXT, headers=headers, cookies=list(cookies))


def address_of(request: Ask) -> str:
    """Where programs reach this server, as far as we know: as people do."""
    app: App = request.app.state.app
    return app.settings.public_url or str(request.base_url).rstrip("/")


def address(path: str, fragment: str = "", **values: str) -> str:
    """A path with a query of what is not empty."""
    query = urlencode({name: value for name, value in values.items() if value})
    return path + (f"?{query}" if query else "") + (f"#{fragment}" if fragment else "")


def provider_link(app: App, arrival: str = "") -> tuple[str, str] | None:
    """The name of the provider and the address that leads to it and back to a path of ours; None where there is no provider."""
    return (app.provider_name, address("/sign-in/provider", next=journey.local(arrival))) if app.provider else None


def session_cookie(app: App, secret: str) -> Cookie:
    """Keeps a session in the browser; "" takes it out again."""
    return _cookie(app, security.cookie_name(app), secret, sessions.DAYS * 86_400 if secret else 0)


def visit_cookie(app: App, secret: str) -> Cookie:
    """What forms are bound to before there is a session; it goes when the browser is closed."""
    return _cookie(app, security.visit_cookie_name(app), secret, None if secret else 0)


def journey_cookie(app: App, value: str) -> Cookie:
    """Keeps a way to the provider and back in the browser; "" takes it out again."""
    return _cookie(app, security.journey_cookie_name(app), value, journey.MINUTES * 60 if value else 0)


def _cookie(app: App, name: str, value: str, max_age: int | None) -> Cookie:
    return Cookie(key=name, value=value, path="/", max_age=max_age, httponly=True, secure=app.settings.secure, samesite="lax")
