"""The doors of the Credit Policy page, knocked at without a browser: what somebody saved meanwhile is never overwritten unseen."""

import html
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.conftest import Server


class Administrator:
    """Alice in one window: she sees the page, and sends its form as she saw it."""

    def __init__(self, server: Server, client: httpx.Client) -> None:
        self.client = client
        self.client.get(server.sign_in_link())
        self.see()

    def see(self, page: str | None = None) -> None:
        """Take in what the form carries hidden."""
        found = re.search(r'<form id="policy-form".*?</form>', page or self.client.get("/policy").text, re.DOTALL)
        assert found
        self.hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', found[0]))

    def save(self, limit: str, **more: str) -> httpx.Response:
        """Send the form."""
        fields = {**self.hidden, "mode": "custom", "limit": limit, "timezone": "Europe/Berlin", **more}
        return self.client.post("/policy", data=fields)


@pytest.fixture
def window(server: Server) -> Iterator[Callable[[], Administrator]]:
    """Opens windows."""
    with ExitStack() as open_windows:
        yield lambda: Administrator(server, open_windows.enter_context(httpx.Client(base_url=server.url)))


@pytest.fixture
def two(window: Callable[[], Administrator]) -> tuple[Administrator, Administrator]:
    """Two windows, the second of which is about to save what it saw before the first saved 50."""
    first, second = window(), window()
    assert first.save("50").status_code == 303
    return first, second


def limit_of(server: Server) -> str:
    answer = server.request("GET", "/api/v1/policy", "read").json()
    return str(answer["default_limit"]["credits"])


def test_both_are_shown_to_who_saves_second(two: tuple[Administrator, Administrator], server: Server) -> None:
    answer = two[1].save("60")
    assert answer.status_code == 412
    page = html.unescape(answer.text)
    assert "saved meanwhile: 50 a day. You typed: 60 a day. Save to put yours in the place of theirs, or discard to keep theirs." in page
    assert limit_of(server) == "50.000000"
    two[1].see(answer.text)
    assert two[1].save("60").status_code == 303
    assert limit_of(server) == "60.000000"


@pytest.mark.parametrize("limit", ["0", "ten", "1,5", ""])
def test_no_question_and_no_mistake_hides_what_was_saved_meanwhile(
    two: tuple[Administrator, Administrator], server: Server, limit: str
) -> None:
    answer = two[1].save(limit)
    assert answer.status_code == 412
    assert "saved meanwhile: 50 a day" in answer.text
    assert limit_of(server) == "50.000000"


def test_the_conflict_names_who_changed_the_policy_and_not_who_changed_something_else(
    two: tuple[Administrator, Administrator], server: Server
) -> None:
    put = server.request("PUT", "/api/v1/policy/overrides/bob", "admin", json={"limit": {"credits": "5"}})
    assert put.status_code == 200
    answer = two[1].save("60")
    assert re.search(r'class="conflict"[^>]*>admin@localhost saved meanwhile', answer.text)


def test_a_limit_with_a_decimal_comma_is_refused_and_kept_as_it_was_typed(window: Callable[[], Administrator], server: Server) -> None:
    answer = window().save("1,5")
    assert answer.status_code == 400
    assert "decimals follow a point" in answer.text
    assert 'value="1,5"' in answer.text
    assert server.request("GET", "/api/v1/policy", "read").json()["default_limit"] is None
