"""What every page's door shares: who may see it, the frame around it, a page as an answer, and the way to another."""

from urllib.parse import urlencode

from litestar import MediaType, Request, Response
from litestar.datastructures import Cookie, State

from tallyboard.app import App
from tallyboard.people.members import Member
from tallyboard.web import security

_NAVIGATION = (("/usage", "Credit Usage", "chart"), ("/policy", "Credit Policy", "sliders"))

Ask = Request[None, None, State]


def administrator(request: Ask, now_us: int) -> Member | None:
    """The administrator who asks, None where nobody is signed in; Problem 403 for who is none."""
    app: App = request.app.state.app
    member = security.member(app, request.cookies.get(security.cookie_name(app)), now_us)
    if member is not None:
        security.check_administrator(member)
    return member


def check_form(request: Ask, fields: dict[str, str]) -> None:
    """Refuse a form that was not sent from a page of this session."""
    security.check_form(_secret(request), fields.get("_csrf_token", ""))


def layout(request: Ask, member: Member, account: str, path: str) -> dict[str, object]:
    """What `layout.html` needs."""
    return {
        "account": account,
        "member": member.email,
        "csrf_token": security.form_token(_secret(request)),
        "nav": [(href, label, symbol, href == path) for href, label, symbol in _NAVIGATION],
    }


def page(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    """A page as an answer."""
    return Response(content, status_code=status, media_type=MediaType.HTML, headers=headers or {"Cache-Control": "no-store"})


def redirect(path: str, cookie: Cookie | None = None) -> Response[bytes]:
    """Go on to another page."""
    headers = {"Location": path, "Cache-Control": "no-store"}
    return Response(b"", status_code=303, media_type=MediaType.TEXT, headers=headers, cookies=[cookie] if cookie else [])


def address(path: str, fragment: str = "", **values: str) -> str:
    """A path with a query of what is not empty."""
    query = urlencode({name: value for name, value in values.items() if value})
    return path + (f"?{query}" if query else "") + (f"#{fragment}" if fragment else "")


def _secret(request: Ask) -> str:
    app: App = request.app.state.app
    return request.cookies.get(security.cookie_name(app), "")
