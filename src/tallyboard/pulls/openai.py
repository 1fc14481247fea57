"""OpenAI's usage of an organization: `GET /v1/organization/usage/…` by the hour, user and model, and who its users are.

Source: the types of openai-python 3.54, `types/admin/organization/usage_*_response.py` and `organization_user.py`.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from tallyboard.intake.replacing import WINDOW_LINES_MAX, Line, Window, said
from tallyboard.intake.tokens import Tokens, fields
from tallyboard.pulls.asking import Asker, Parameters, Place, decoder
from tallyboard.pulls.windows import HOUR_US, Names, Stretch

BASE_URL = "https://api.openai.com"
VARIABLE = "OPENAI_ADMIN_KEY"
SOURCE = "openai-report"
OPERATIONS = ("completions", "embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions")
"""Each a report of its own. What OpenAI reports of stores and sessions has neither a user nor a model."""
HOURS_A_PAGE = 24
USERS_A_PAGE = 100
USERS_MAX = 200_000


class _Result(Struct, gc=False):
    num_model_requests: int | None = None
    input_tokens: int | None = None
    input_cached_tokens: int | None = None
    input_cache_write_tokens: int | None = None
    output_tokens: int | None = None
    images: int | None = None
    characters: int | None = None
    seconds: int | None = None
    user_id: str | None = None
    model: str | None = None


class _Hour(Struct):
    start_time: int
    end_time: int
    results: list[_Result]


class _Page(Struct):
    data: list[_Hour]
    has_more: bool = False
    next_page: str | None = None


class _Nested(Struct):
    email: str | None = None


class _User(Struct):
    id: str
    email: str | None = None
    user: _Nested | None = None


class _Users(Struct):
    data: list[_User]
    has_more: bool = False
    last_id: str | None = None


_page = decoder(_Page)
_users = decoder(_Users)


def place(key: str, base_url: str | None) -> Place:
    """OpenAI, or what stands in front of it."""
    return Place("OpenAI", base_url or BASE_URL, VARIABLE, {"Authorization": f"Bearer {key}"})


def reports(asker: Asker, stretch: Stretch, names: Names) -> Iterator[tuple[str, Iterator[Window]]]:
    """The windows of every operation."""
    emails = _emails(asker)
    for operation in OPERATIONS:
        yield operation, _windows(asker, operation, stretch, names, emails)


def _windows(asker: Asker, operation: str, stretch: Stretch, names: Names, emails: Mapping[str, str]) -> Iterator[Window]:
    """Every hour of the stretch, in order. An hour is done with when another one begins: it may go on on the next page."""
    due_us = stretch.start_us
    lines: list[Line] = []
    for hour in _hours(asker, operation, stretch):
        start_us = hour.start_time * 1_000_000
        if start_us not in stretch.hours or hour.end_time - hour.start_time != HOUR_US // 1_000_000 or start_us < due_us:
            raise asker.wrong(f"{operation} of other hours than those asked for")
        while due_us < start_us:
            yield Window(due_us, due_us + HOUR_US, lines)
            due_us, lines = due_us + HOUR_US, []
        lines += [_line(result, operation, names, emails) for result in hour.results]
        if len(lines) > WINDOW_LINES_MAX:
            raise asker.wrong(f"more than {WINDOW_LINES_MAX:,} lines an hour")
    while due_us < stretch.end_us:
        yield Window(due_us, due_us + HOUR_US, lines)
        due_us, lines = due_us + HOUR_US, []


def _hours(asker: Asker, operation: str, stretch: Stretch) -> Iterator[_Hour]:
    asked: Parameters = [
        ("start_time", stretch.start_us // 1_000_000),
        ("end_time", stretch.end_us // 1_000_000),
        ("bucket_width", "1h"),
        ("group_by[]", "user_id"),
        ("group_by[]", "model"),
        ("limit", HOURS_A_PAGE),
    ]
    following: str | None = None
    while True:
        page = asker.get(f"/v1/organization/usage/{operation}", [*asked, *([("page", following)] if following else [])], _page)
        yield from page.data
        if not page.has_more:
            return
        if not page.next_page or page.next_page == following:
            raise asker.wrong(f"{operation} has more pages, but does not say which")
        following = page.next_page


def _line(result: _Result, operation: str, names: Names, emails: Mapping[str, str]) -> Line:
    user = names.key(emails.get(result.user_id or ""), result.user_id)
    model = result.model or ""
    stated = Tokens(
        input=result.input_tokens,
        cache_read=result.input_cached_tokens,
        cache_write=result.input_cache_write_tokens,
        output=result.output_tokens,
    )
    sums = {
        "requests": result.num_model_requests,
        "images": result.images,
        "characters": result.characters,
        "audio_seconds": result.seconds,
    }
    return Line(user, (model,), said({"model": model, "provider": "openai", "operation": operation}, sums, fields(stated)))


def _emails(asker: Asker) -> dict[str, str]:
    """Emails of the organization's users, by id."""
    found: dict[str, str] = {}
    after: str | None = None
    while True:
        page = asker.get("/v1/organization/users", [("limit", USERS_A_PAGE), *([("after", after)] if after else [])], _users)
        for user in page.data:
            email = user.email or (user.user.email if user.user else None)
            if email:
                found[user.id] = email
        if len(found) > USERS_MAX:
            raise asker.wrong(f"more than {USERS_MAX:,} users")
        if not page.has_more or not page.last_id or page.last_id == after:
            return found
        after = page.last_id
