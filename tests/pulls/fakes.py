"""Providers on this machine. What they answer goes through the providers' own Python types first, so that it is what they would answer."""

import json
import threading
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from anthropic.types.beta.organization import BetaAnalyticsUsageUsersItem
from openai.types.admin.organization import (
    OrganizationUser,
    UsageAudioSpeechesResponse,
    UsageAudioTranscriptionsResponse,
    UsageCompletionsResponse,
    UsageEmbeddingsResponse,
    UsageImagesResponse,
    UsageModerationsResponse,
)

KEY = "sk-admin-Zq7Wm2Rk9Vx4"
Parameters = list[tuple[str, str]]
Said = list[tuple[str, int, dict[str, Any]]]
"""Operation, start in seconds, and a result's fields."""


class Trouble(Exception):
    """Another answer than the one that was asked for: a status, headers, bytes; `cut` promises more than it sends."""

    def __init__(self, status: int = 200, body: bytes = b"{}", headers: Mapping[str, str] | None = None, *, cut: bool = False) -> None:
        super().__init__(status)
        self.status, self.body, self.headers, self.cut = status, body, headers or {}, cut


class Provider:
    """A provider that knows one key. `troubles` come first, one for each request; `asked` are the requests: path, parameters, body."""

    def __init__(self) -> None:
        self.url = ""
        self.troubles: list[Trouble | None] = []
        self.asked: list[tuple[str, Parameters, Any]] = []
        self.headers: list[dict[str, str]] = []

    def authorized(self, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") == f"Bearer {KEY}"

    def answer(self, path: str, parameters: Parameters, body: Any) -> Any:
        raise NotImplementedError

    def count(self, path: str) -> int:
        return sum(path in each for each, _, _ in self.asked)


_RESPONSES = {
    "completions": UsageCompletionsResponse,
    "embeddings": UsageEmbeddingsResponse,
    "moderations": UsageModerationsResponse,
    "images": UsageImagesResponse,
    "audio_speeches": UsageAudioSpeechesResponse,
    "audio_transcriptions": UsageAudioTranscriptionsResponse,
}


class OpenAI(Provider):
    """OpenAI's usage API: hours without usage are there, empty; so many hours a page, users two a page."""

    def __init__(self, said: Said, emails: Mapping[str, str]) -> None:
        super().__init__()
        self.said = said
        self.emails = emails

    def answer(self, path: str, parameters: Parameters, body: Any) -> Any:  # noqa: ARG002
        asked = dict(parameters)
        if path == "/v1/organization/users":
            return self._users(asked.get("after"))
        operation = path.removeprefix("/v1/organization/usage/")
        assert [value for name, value in parameters if name == "group_by[]"] == ["user_id", "model"]
        start_s, end_s, page, limit = int(asked["start_time"]), int(asked["end_time"]), int(asked.get("page", 0)), int(asked["limit"])
        results: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for of, at_s, fields in self.said:
            if of == operation:
                results[at_s].append({"object": f"organization.usage.{operation}.result", **fields})
        starts = range(start_s, end_s, 3_600)[page * limit : (page + 1) * limit]
        more = start_s + (page + 1) * limit * 3_600 < end_s
        told = {
            "object": "page",
            "data": [{"object": "bucket", "start_time": at_s, "end_time": at_s + 3_600, "results": results[at_s]} for at_s in starts],
            "has_more": more,
            "next_page": str(page + 1) if more else None,
        }
        _RESPONSES[operation].model_validate(told)
        return told

    def _users(self, after: str | None) -> Any:
        ids = sorted(self.emails)
        first = ids.index(after) + 1 if after else 0
        data = [{"object": "organization.user", "id": each, "added_at": 1, "email": self.emails[each]} for each in ids[first : first + 2]]
        for user in data:
            OrganizationUser.model_validate(user)
        return {"object": "list", "data": data, "has_more": first + 2 < len(ids), "last_id": data[-1]["id"] if data else None}


class Anthropic(Provider):
    """Anthropic's usage by user: rows of hours with usage, those with most tokens first, two a page."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        super().__init__()
        self.rows = rows

    def answer(self, path: str, parameters: Parameters, body: Any) -> Any:  # noqa: ARG002
        asked = dict(parameters)
        if path != "/v1/organizations/analytics/user_usage_report":
            raise Trouble(404)
        first = int(asked.get("page", 0))
        of_time = [row for row in self.rows if asked["starting_at"] <= row["starting_at"] < asked["ending_at"]]
        ranked = sorted(of_time, key=lambda row: -int(row["total_tokens"]))
        for row in ranked:
            BetaAnalyticsUsageUsersItem.model_validate(row)
        more = first + 2 < len(ranked)
        return {"data": ranked[first : first + 2], "has_more": more, "next_page": str(first + 2) if more else None}


class Cursor(Provider):
    """Cursor's usage events, newest first, in pages of four whatever is asked for. Shaped as its documentation shows them."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        super().__init__()
        self.events = events
        self.arriving: list[dict[str, Any]] = []
        """Each comes in after a page was read."""

    def authorized(self, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") == f"Basic {b64encode(f'{KEY}:'.encode()).decode()}"

    def answer(self, path: str, parameters: Parameters, body: Any) -> Any:  # noqa: ARG002
        if path != "/teams/filtered-usage-events":
            raise Trouble(404)
        of_time = [each for each in self.events if body["startDate"] <= int(each["timestamp"]) <= body["endDate"]]
        newest = sorted(of_time, key=lambda each: -int(each["timestamp"]))
        first = (body["page"] - 1) * 4
        if of_time and self.arriving:
            self.events.append(self.arriving.pop())
        pages = {"numPages": (len(newest) + 3) // 4, "currentPage": body["page"], "pageSize": 4, "hasNextPage": first + 4 < len(newest)}
        return {"totalUsageEventsCount": len(newest), "pagination": pages, "usageEvents": newest[first : first + 4]}


class LiteLLM(Provider):
    """A LiteLLM proxy's spend logs, by the hour in which calls began."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        super().__init__()
        self.rows = rows

    def answer(self, path: str, parameters: Parameters, body: Any) -> Any:  # noqa: ARG002
        if path != "/spend/logs/v2":
            raise Trouble(404)
        asked = dict(parameters)
        starts, ends = (asked[name].replace(" ", "T") for name in ("start_date", "end_date"))
        of_time = sorted((row for row in self.rows if starts <= row["startTime"] <= ends), key=lambda row: str(row["startTime"]))
        page, size = int(asked["page"]), int(asked["page_size"])
        found = of_time[(page - 1) * size : page * size]
        return {"data": found, "total": len(of_time), "page": page, "page_size": size, "total_pages": -(-len(of_time) // size)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _reply(self, body: Any) -> None:
        provider, parts = self.provider, urlsplit(self.path)
        parameters = parse_qsl(parts.query, keep_blank_values=True)
        headers = {name.lower(): value for name, value in self.headers.items()}
        provider.asked.append((parts.path, parameters, body))
        provider.headers.append(headers)
        try:
            if trouble := provider.troubles.pop(0) if provider.troubles else None:
                raise trouble
            if not provider.authorized(headers):
                raise Trouble(401, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode())
            self._send(200, json.dumps(provider.answer(parts.path, parameters, body)).encode(), {})
        except Trouble as trouble:
            self._send(trouble.status, trouble.body, trouble.headers, cut=trouble.cut)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + 100 * cut))
        self.end_headers()
        with suppress(ConnectionError):  # Who reads no further has had enough.
            self.wfile.write(body)
        self.close_connection = cut

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(provider: Provider) -> Iterator[None]:
    """Have a provider answer at its `url` meanwhile."""
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
