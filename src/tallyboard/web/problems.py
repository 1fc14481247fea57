"""The one error shape: RFC 9457 problem+json. Every way a call can fail becomes a status here and nowhere else."""

from collections.abc import Mapping

import orjson
from msgspec import Struct

from tallyboard import errors
from tallyboard.rates.card import CardError

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:tallyboard:problem:"


class Problem(Exception):
    """An answer other than success. `name` is the stable end of its type; `more` are further members."""

    def __init__(
        self,
        status: int,
        name: str,
        title: str,
        detail: str,
        *,
        more: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.title = title
        self.detail = detail
        self.more = more or {}
        self.headers = headers or {}

    def body(self) -> bytes:
        """The problem as JSON."""
        shape = {"type": _TYPE + self.name, "title": self.title, "status": self.status, "detail": self.detail, **self.more}
        return orjson.dumps(shape)


class _Kind(Struct, frozen=True):
    status: int
    name: str
    title: str


_KINDS: dict[type[Exception], _Kind] = {
    errors.CellFull: _Kind(400, "cell-full", "More than the ledger can hold"),
    errors.Invalid: _Kind(400, "invalid", "The request makes no sense"),
    errors.NotFound: _Kind(404, "not-found", "There is no such thing"),
    errors.Stale: _Kind(412, "stale", "It has changed meanwhile"),
    errors.Taken: _Kind(409, "taken", "It is somebody else's"),
    errors.TooOften: _Kind(429, "too-often", "Too many tries"),
    errors.Overloaded: _Kind(503, "overloaded", "Too much at once"),
    errors.Migrating: _Kind(503, "migrating", "Tallyboard is being brought up to date"),
    errors.Unavailable: _Kind(503, "unavailable", "Tallyboard cannot answer now"),
}
_BY_STATUS = {
    400: ("invalid", "The request makes no sense"),
    401: ("unauthorized", "Who are you?"),
    403: ("forbidden", "You may not do this"),
    404: ("not-found", "There is no such thing"),
    405: ("method-not-allowed", "Not this method"),
    413: ("too-large", "Too large"),
    415: ("unsupported-media-type", "Not this kind of content"),
    421: ("misdirected", "Not under this name"),
}
RETRY_SECONDS = 2


def of(error: Exception) -> Problem:
    """The problem an exception stands for; of a mistake of our own it says nothing but that."""
    if isinstance(error, Problem):
        return error
    for kind, found in _KINDS.items():
        if isinstance(error, kind):
            seconds = error.retry_seconds if isinstance(error, errors.Overloaded | errors.TooOften) else RETRY_SECONDS
            headers = {"Retry-After": str(seconds)} if found.status in {429, 503} else {}
            more = {"mistakes": [{"line": m.line, "message": m.message} for m in error.mistakes]} if isinstance(error, CardError) else {}
            return Problem(found.status, found.name, found.title, str(error), more=more, headers=headers)
    return Problem(500, "internal", "A mistake of ours", "Something went wrong that should not; the server's log says what.")


def with_status(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """A problem known by its status alone."""
    name, title = _BY_STATUS.get(status, ("invalid", "The request cannot be answered"))
    return Problem(status, name, title, detail, headers=headers)


def unauthorized(detail: str) -> Problem:
    """No key, or one that opens nothing."""
    return with_status(401, detail, {"WWW-Authenticate": 'Bearer realm="Tallyboard"'})
