"""What tests of the clients may ask for: a server with limits, and the road to it."""

import socket
from collections.abc import Iterator

import pytest

from tests.client.road import Road, road_to
from tests.conftest import Server, serving, tallyboard

REQUEST = 200_000
"""Units of one request by the default card: a fifth of a conversation."""
LIMIT = "0.003"
"""Credits: 9 requests."""
REQUESTS_MAX = 9


class Limited:
    """A server on which everybody may use 9 requests a day, and Petra nothing."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.url
        self.key = server.keys["check"]
        tallyboard("policy", "set", "--limit", LIMIT, data=server.folder)
        tallyboard("user", "override", "petra", "--limit", "0", "--reason", "paused", data=server.folder)

    def used(self, user: str) -> tuple[int, int]:
        """What a user has used today and what is held, in units."""
        allowance = self.server.request("GET", f"/api/v1/users/{user}/allowance", "read").json()
        return allowance["used"]["units"], allowance["held"]["units"]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    """A server with limits that the tests of one module share, each with a user of its own."""
    with serving(tmp_path_factory.mktemp("limited") / "data") as server:
        yield Limited(server)


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of one test."""
    return f"{request.node.name}@example.com"


@pytest.fixture
def road(limited: Limited) -> Iterator[Road]:
    """A road to the server."""
    with road_to(limited.url) as road:
        yield road


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
