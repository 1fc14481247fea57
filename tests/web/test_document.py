"""The OpenAPI document tells the truth: every route is in it, and a generator of requests gets no answer that is not."""

import re
import subprocess
from typing import Any

import pytest

from tallyboard.web.api.calls import CALLS
from tallyboard.web.app import ROUTES
from tests.conftest import Server, environment, event
from tests.environments import python_of

IN_FRONT = ("/api/v1/check", "/api/v1/holds", "/api/v1/litellm", "/v1/")
"""What is answered before the framework; and where events are sent, and a user's allowance."""
TRUTHS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)


def test_every_call_of_the_framework_is_in_the_document_and_the_other_way_round() -> None:
    served = {
        (method.lower(), _shape(path))
        for route in ROUTES
        for path in route.paths
        for method in route.http_methods
        if route.include_in_schema is not False
    }
    told = {
        (call.method, _shape(call.path))
        for call in CALLS
        if not call.path.startswith(IN_FRONT)
        and not call.path.endswith("/allowance")
        and (call.method, call.path[-7:]) != ("post", "/events")
    }
    assert served == told


def test_the_page_shows_every_call(shared_server: Server) -> None:
    page = shared_server.client.get(f"{shared_server.url}/api/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for call in CALLS:
        assert call.path in page.text
        assert call.summary in page.text.replace("&#39;", "'")


def test_other_methods_are_told_which_ones_there_are(shared_server: Server) -> None:
    for method, path, allowed in (
        ("POST", "/api/v1/usage", "GET"),
        ("GET", "/api/v1/litellm", "POST"),
        ("PUT", "/api/v1/holds", "GET, POST"),
        ("GET", "/api/v1/holds/one", "DELETE"),
        ("POST", "/api/v1/users/alice/allowance", "GET"),
        ("DELETE", "/api/v1/users/alice", "PUT"),
    ):
        answer = shared_server.request(method, path, "admin")
        assert answer.status_code == 405
        assert set(allowed.split(", ")) <= set(answer.headers["allow"].split(", "))


@pytest.mark.slow
def test_thousands_of_generated_requests_get_no_answer_that_the_document_does_not_tell(shared_server: Server) -> None:
    shared_server.send(event("1"), event("2", "bob"))
    document = shared_server.client.get(f"{shared_server.url}/api/docs/openapi.json").json()
    run: list[Any] = [
        python_of("schemathesis").with_name("schemathesis"),
        *("run", f"{shared_server.url}/api/docs/openapi.json", "--url", shared_server.url, "--no-color"),
        *("--header", f"Authorization: Bearer {shared_server.keys['admin,ingest,check,read,adjust']}"),
        *("--checks", ",".join(TRUTHS), "--max-examples", "60", "--seed", "1"),
        *("--exclude-path", "/api/v1/stream"),  # It has no end.
    ]
    done = subprocess.run(run, capture_output=True, check=False, env=environment(), cwd=shared_server.folder.parent, timeout=600)
    said = done.stdout.decode()
    assert done.returncode == 0, said[-8_000:]
    generated = re.search(r"(\d+) generated", said)
    assert generated, said[-2_000:]
    assert int(generated[1]) > 1_000
    assert "Traceback" not in shared_server.log
    assert sum(len(operations) for operations in document["paths"].values()) == len(CALLS)


def _shape(path: str) -> str:
    """A route without the names of its parts; the framework's `{user:path}` reaches to the end of the address."""
    return re.sub(r"\{[^}]*\}.*", "{}", path)
