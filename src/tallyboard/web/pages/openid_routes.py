"""The doors of signing in with OpenID Connect: to the provider, and back from it."""

from litestar import Response, get

from tallyboard import clock
from tallyboard.app import App
from tallyboard.errors import TooOften
from tallyboard.people import federation, journey
from tallyboard.people.federation import Answer
from tallyboard.people.identity import NotLetIn
from tallyboard.web import security
from tallyboard.web.pages import frame, openid, sign_in_routes
from tallyboard.web.pages.frame import Ask

ANSWER_PATH = "/sign-in/provider/answer"
TEXT_CHARACTERS_MAX = 4_096


@get("/sign-in/provider", sync_to_thread=True, include_in_schema=False)
def get_provider(request: Ask, next: str = "") -> Response[bytes]:
    """To the provider, with a cookie that its answer must fit. `next` is where to arrive afterwards: a path of ours."""
    app: App = request.app.state.app
    if app.provider is None:
        return frame.redirect("/sign-in")
    now_us = clock.now_us()
    begun = journey.begin(next, now_us)
    try:
        address = federation.to_provider(app.ledger, app.provider, begun, _answer_at(request), now_us)
    except NotLetIn as refused:
        return _refusal(request, refused)
    return frame.redirect(address, frame.journey_cookie(app, begun.cookie))


@get(ANSWER_PATH, sync_to_thread=True, include_in_schema=False)
def get_provider_answer(request: Ask) -> Response[bytes]:
    """Back from the provider: in, or told why not. The cookie of the journey goes in any case."""
    app: App = request.app.state.app
    if app.provider is None:
        return frame.redirect("/sign-in")
    now_us = clock.now_us()
    answer = _answer(request, now_us)
    try:
        secret = federation.by_provider(app.ledger, app.provider, answer, _answer_at(request), frame.visitor(request), now_us)
    except NotLetIn as refused:
        return _refusal(request, refused)
    except TooOften as refused:
        return sign_in_routes.too_often(request, refused)
    entered = frame.begin(request, secret, now_us, answer.journey.arrival if answer.journey else "")
    entered.cookies.append(frame.journey_cookie(app, ""))
    return entered


ROUTES = [get_provider, get_provider_answer]


def _answer(request: Ask, now_us: int) -> Answer:
    told = {name: request.query_params.get(name, "")[:TEXT_CHARACTERS_MAX] for name in ("state", "code", "error")}
    kept = request.cookies.get(security.journey_cookie_name(request.app.state.app), "")
    return Answer(told["state"], told["code"], request.query_params.get("iss"), told["error"], journey.of_cookie(kept, now_us))


def _answer_at(request: Ask) -> str:
    """Where the provider sends the browser back to: the public URL, else the name of this machine that it has come by."""
    app: App = request.app.state.app
    return (app.settings.public_url or str(request.base_url).rstrip("/")) + ANSWER_PATH


def _refusal(request: Ask, refused: NotLetIn) -> Response[bytes]:
    app: App = request.app.state.app
    answer = sign_in_routes.sign_in_page(request, openid.words(refused.why, app.provider_name), openid.status(refused.why))
    answer.cookies.append(frame.journey_cookie(app, ""))
    return answer
