"""A refusal that a person understands and a client obeys: words, headers, and the body in the shape its reader expects. Pure.

Sources: RFC 9457 and the registered problem type quota-exceeded; draft-ietf-httpapi-ratelimit-headers for RateLimit and
RateLimit-Policy; the error objects of the OpenAI and Anthropic APIs. `x-should-retry: false` makes their SDKs give up at once
instead of sleeping until the limit resets.
"""

from collections.abc import Mapping
from enum import StrEnum
from zoneinfo import ZoneInfo

from msgspec import Struct

from tallyboard import credits, days
from tallyboard.policy.limits import Origin, Standing, allowance, amount, limit_text

PROBLEM_TYPE = "https://iana.org/assignments/http-problem-types#quota-exceeded"
TITLE = "Daily credit limit reached"
POLICY_NAME = "daily-credits"
_DAY_SECONDS = 86_400
_SECOND_US = 1_000_000


class Shape(StrEnum):
    """In whose words a refusal is written."""

    PROBLEM = "problem"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"


_ROUTES = {
    "openai": Shape.OPENAI,
    "v1/chat/completions": Shape.OPENAI,
    "v1/completions": Shape.OPENAI,
    "v1/responses": Shape.OPENAI,
    "v1/embeddings": Shape.OPENAI,
    "anthropic": Shape.ANTHROPIC,
    "v1/messages": Shape.ANTHROPIC,
}


class Refusal(Struct, frozen=True):
    """Why a user may not go on, as of `now_us`; `estimate` is what a hold asked for, in units, None for a check."""

    standing: Standing
    estimate: int | None
    now_us: int

    @property
    def seconds(self) -> int:
        """Whole seconds until the limit resets, at least one."""
        return max(-(-(self.standing.resets_us - self.now_us) // _SECOND_US), 1)


def shape_of(path: str) -> Shape:
    """The shape for a route: `openai`, `anthropic`, or the path of one of their APIs, with or without a slash before it."""
    return _ROUTES.get(path.strip("/"), Shape.PROBLEM)


def detail(refusal: Refusal) -> str:
    """What a person reads: limit, used, held, when it resets on the account's clock, and who can raise it."""
    standing = refusal.standing
    assert standing.limit is not None
    whose = "their own" if standing.origin is Origin.OVERRIDE else "the"
    noun = "credit" if standing.limit == credits.UNITS_PER_CREDIT else "credits"
    parts = [f"{standing.user} has used {credits.shown(standing.used)} of {whose} daily limit of {limit_text(standing.limit)} {noun}"]
    if standing.held:
        parts.append(f", and {credits.shown(standing.held)} more are held for requests under way")
    if refusal.estimate is not None:
        parts.append(f"; this request needs up to {credits.shown(refusal.estimate)}")
    resets = days.instant(standing.resets_us).astimezone(ZoneInfo(standing.timezone))
    parts.append(f". The limit resets on {resets:%a}, {resets.day} {resets:%b} {resets.year} at {resets:%H:%M}, {_zone(standing)}")
    parts.append(f" (in {_span(refusal.seconds)}). An administrator of {standing.account} can raise it.")
    return "".join(parts)


def headers(refusal: Refusal) -> dict[str, str]:
    """What clients obey. Amounts are whole credits, rounded down; the day's length is nominal, the seconds to the reset are exact."""
    standing = refusal.standing
    limit, remaining = standing.limit or 0, standing.remaining or 0
    return {
        "RateLimit-Policy": f'"{POLICY_NAME}";q={limit // credits.UNITS_PER_CREDIT};qu="credits";w={_DAY_SECONDS}',
        "RateLimit": f'"{POLICY_NAME}";r={remaining // credits.UNITS_PER_CREDIT};t={refusal.seconds}',
        "Retry-After": str(refusal.seconds),
        "x-should-retry": "false",
    }


def body(refusal: Refusal, status: int, shape: Shape) -> Mapping[str, object]:
    """The answer's JSON."""
    message = detail(refusal)
    if shape is Shape.OPENAI:
        return {"error": {"message": message, "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}}
    if shape is Shape.ANTHROPIC:
        return {"type": "error", "error": {"type": "rate_limit_error", "message": message}}
    estimate = {} if refusal.estimate is None else {"estimate": amount(refusal.estimate)}
    return {
        "type": PROBLEM_TYPE,
        "title": TITLE,
        "status": status,
        "detail": message,
        "violated-policies": [POLICY_NAME],
        "allowed": False,
        "allowance": allowance(refusal.standing),
        **estimate,
    }


def _zone(standing: Standing) -> str:
    return standing.timezone.replace("_", " ")


def _span(seconds: int) -> str:
    """`5 h 12 min`, `12 min`, `40 s`."""
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
