"""What every answer carries, under which names pages are opened, and where the server starts at all."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tallyboard import settings
from tallyboard.errors import Invalid
from tallyboard.web import body
from tests.conftest import Server, refusal, serving, wait_until

PUBLIC = "usage.example.com"
EVERYWHERE = "0.0.0.0"  # noqa: S104  What these tests are about.


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that people open by https, under its name and one more."""
    variables = {"TALLYBOARD_PUBLIC_URL": f"https://{PUBLIC}/", "TALLYBOARD_ALLOWED_HOSTS": "old.example.com, [fd00::1]"}
    with serving(tmp_path_factory.mktemp("public") / "data", **variables) as running:
        yield running


def get(server: Server, path: str, host: str | None = None, **headers: str) -> httpx.Response:
    return server.client.get(server.url + path, headers={**({"Host": host} if host is not None else {}), **headers})


def test_browsers_are_told_to_come_by_https_alone_where_people_do(public: Server, shared_server: Server) -> None:
    for path in ("/sign-in", "/nothing", "/api/v1/policy", "/healthz"):
        assert get(public, path).headers["strict-transport-security"] == "max-age=31536000"
        assert "strict-transport-security" not in get(shared_server, path).headers


@pytest.mark.parametrize("path", ["/usage", "/usage.csv"])
def test_a_page_with_personal_data_is_stored_nowhere(shared_server: Server, path: str) -> None:
    with httpx.Client(base_url=shared_server.url, follow_redirects=True) as browser:
        browser.get(shared_server.sign_in_link())
        answer = browser.get(path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/users", "/users/alice/allowance", "/policy", "/policy/overrides", "/policy/history", "/holds"])
def test_an_answer_about_people_is_stored_nowhere(shared_server: Server, path: str) -> None:
    answer = shared_server.request("GET", f"/api/v1{path}", "read")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "host",
    [PUBLIC, f"{PUBLIC}:443", PUBLIC.upper(), f"{PUBLIC}.", "old.example.com", "localhost:1", "127.0.0.1", "[::1]:8321", "[fd00::1]"],
)
def test_pages_are_opened_under_names_of_ours(public: Server, host: str) -> None:
    assert get(public, "/sign-in", host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "", f"{PUBLIC}.evil.example", f"evil.{PUBLIC}", "127.0.0.2", "[::2]", f"{PUBLIC}@evil.example"]
)
@pytest.mark.parametrize("path", ["/", "/usage", "/usage.csv", "/sign-in", "/api/v1/stream"])
def test_no_other_site_takes_our_place_by_its_name(public: Server, path: str, host: str) -> None:
    answer = get(public, path, host)
    assert answer.status_code == 421
    assert "TALLYBOARD_ALLOWED_HOSTS" in answer.text
    assert 'href="/usage"' not in answer.text, "it would lead to the same refusal"


def test_programs_with_a_key_and_those_who_watch_come_by_any_name(public: Server) -> None:
    key = {"Authorization": f"Bearer {public.keys['read']}"}
    assert get(public, "/api/v1/usage", "10.2.3.4:8321", **key).status_code == 200
    for path in ("/healthz", "/readyz", "/metrics"):
        assert get(public, path, "10.2.3.4:8321").status_code == 200


def test_a_form_or_body_that_is_too_large_does_not_get_in(public: Server) -> None:
    large = b"x" * 1_048_577
    for method, path in (("POST", "/sign-out"), ("PUT", "/api/v1/policy"), ("PUT", "/api/v1/users/alice")):
        answer = public.client.request(method, public.url + path, content=large)
        assert (answer.status_code, answer.json()["status"]) == (413, 413)
    assert '"mistake"' not in public.log


def test_a_form_whose_body_does_not_come_ends_with_its_connection(public: Server) -> None:
    """That it is given up in time is shown in test_body.py; here that what was begun leaves nothing behind."""
    assert body.BODY_SECONDS_MAX == 60
    with socket.create_connection(("127.0.0.1", httpx.URL(public.url).port or 0)) as client:
        client.sendall(b"POST /sign-out HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
    wait_until(lambda: get(public, "/healthz").status_code == 200, "the server goes on")
    assert '"mistake"' not in public.log


@pytest.mark.parametrize(
    "path",
    [
        "/users?search=%00",
        "/users?cursor=%00",
        "/usage?user=%00",
        "/policy/overrides/%00",
        "/policy/history?user=%00&at=2026-11-01T00:00:00Z",
    ],
)
def test_a_zero_byte_is_nobodys_name_on_any_engine(shared_server: Server, path: str) -> None:
    """PostgreSQL keeps no such text, and says so only when it is asked."""
    assert shared_server.request("GET", f"/api/v1{path}", "read").status_code < 500
    assert '"mistake"' not in shared_server.log


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PATCH", "DELETE"])
def test_a_method_that_is_not_used_is_refused(public: Server, method: str) -> None:
    answer = public.client.request(method, f"{public.url}/sign-in", headers={"X-Secret": "canary"})
    assert answer.status_code in {400, 404, 405}
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    ("given", "starts"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"host": "::1"}, True),
        ({"host": "127.0.0.9"}, True),
        ({"host": EVERYWHERE}, False),
        ({"host": "::"}, False),
        ({"host": "192.0.2.1"}, False),
        ({"host": "usage.internal"}, False),
        ({"host": EVERYWHERE, "public_url": "http://usage.example.com"}, False),
        ({"host": EVERYWHERE, "public_url": "https://usage.example.com"}, True),
        ({"host": EVERYWHERE, "plain_http": "yes"}, True),
    ],
    ids=str,
)
def test_it_starts_in_the_open_only_with_https_or_where_that_is_meant(given: dict[str, str], starts: bool) -> None:
    chosen = settings.read(given, {})
    if starts:
        chosen.check_exposure()
    else:
        with pytest.raises(Invalid, match="TALLYBOARD_PUBLIC_URL=https"):
            chosen.check_exposure()


def test_serve_says_how_to_mend_it(folder: Path) -> None:
    said = refusal("serve", "--host", EVERYWHERE, "--port", 0, folder=folder)
    assert "TALLYBOARD_PLAIN_HTTP=yes" in said
    assert not folder.exists(), "it looked before it began"


def test_where_plain_http_is_meant_it_serves(tmp_path: Path) -> None:
    with serving(tmp_path / "data", TALLYBOARD_HOST=EVERYWHERE, TALLYBOARD_PLAIN_HTTP="yes") as running:
        assert get(running, "/sign-in").status_code == 200
        assert get(running, "/sign-in", "192.0.2.1").status_code == 421


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain_http", "1"),
        ("trusted_proxies", "*"),
        ("trusted_proxies", "proxy.example.com"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("allowed_hosts", "https://a.example"),
        ("allowed_hosts", "a.example:443"),
        ("allowed_hosts", "*.example.com"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(name: str, text: str) -> None:
    with pytest.raises(Invalid, match=name.split("_")[1] if name != "plain_http" else "yes or no"):
        settings.read({name: text}, {})
