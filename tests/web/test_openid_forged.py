"""Signing in with OpenID Connect against whoever cheats: at the browser, between it and the provider, or as the provider."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests import engines
from tests.conftest import Server, serving, tallyboard
from tests.web.openid import (
    ACCESS_TOKEN,
    ANSWER_PATH,
    CLIENT_ID,
    CLIENT_SECRET,
    Claims,
    Provider,
    go,
    person,
    providing,
    settings_for,
    travel,
)
from tests.web.visitors import Visitor, said
from tests.web.visitors import person as member

ALICE = "alice@northwind.example"
UNTRUSTED = "What Northwind ID says of you could not be verified, so it is not believed. The audit log tells administrators more."
BEGIN_AGAIN = "This sign-in was not begun in this browser, or more than 10 minutes ago. Begin again."


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, Server]]:
    folder = tmp_path_factory.mktemp("forged") / "data"
    with providing() as provider, serving(folder, **settings_for(provider.issuer)) as server:
        member(server, ALICE)
        with Visitor(server) as alice:
            travel(alice)
        yield provider, server
    engines.drop(folder)


@pytest.fixture
def server(shared: tuple[Provider, Server]) -> Server:
    """Nobody has failed yet, as far as waiting and the audit log's limit go."""
    engines.look(shared[1].folder, "DELETE FROM sign_in_attempt")
    return shared[1]


@pytest.fixture
def provider(shared: tuple[Provider, Server]) -> Provider:
    shared[0].reset()
    return shared[0]


@pytest.fixture
def visitor(server: Server) -> Iterator[Visitor]:
    with Visitor(server) as browser:
        yield browser


def last_failure(server: Server) -> dict[str, str]:
    lines = [json.loads(line) for line in tallyboard("audit", "export", data=server.folder).stdout.splitlines()]
    failed: list[dict[str, str]] = [line["detail"] for line in lines if line["action"] == "member.sign_in_failed"]
    return failed[-1]


# The browser


def test_nobody_can_be_signed_in_by_the_answer_to_another_browser(server: Server, provider: Provider, visitor: Visitor) -> None:
    """Login CSRF: the attacker's answer, opened by a victim with no journey, or on one of their own."""
    with Visitor(server) as attacker:
        for prepare in (lambda: None, lambda: go(visitor)):
            prepare()
            answer = visitor.open(go(attacker))
            assert (answer.status_code, said(answer)) == (403, [BEGIN_AGAIN])
            assert not visitor.is_in
    assert last_failure(server) == {"by": "Northwind ID", "why": "other_browser"}
    assert "/token" not in provider.asked, "the code of somebody else is not even sent"


def test_an_answer_leads_in_once(server: Server, provider: Provider, visitor: Visitor) -> None:
    """State replay by who has also got the cookie, at a provider that takes a code twice."""
    provider.reusable = True
    back = go(visitor)
    cookie = visitor.client.cookies["tallyboard_journey"]
    assert visitor.open(back).status_code == 303
    assert "tallyboard_journey" not in visitor.client.cookies
    assert visitor.open(back).status_code == 403, "without the cookie"
    with Visitor(server) as thief:
        thief.client.cookies.set("tallyboard_journey", cookie)
        answer = thief.open(back)
        assert (answer.status_code, said(answer)) == (403, ["This sign-in has been used already. Begin again."])
        assert not thief.is_in
    assert last_failure(server)["why"] == "used"


def test_a_journey_ends_after_ten_minutes_and_its_time_cannot_be_changed(server: Server, visitor: Visitor) -> None:
    back = go(visitor)
    began, rest = visitor.client.cookies["tallyboard_journey"].split(".", 1)
    for changed in (int(began) - 601, int(began) + 60, int(began) - 1):
        with Visitor(server) as other:
            other.client.cookies.set("tallyboard_journey", f"{changed}.{rest}")
            answer = other.open(back)
            assert (answer.status_code, said(answer)) == (403, [BEGIN_AGAIN])


@pytest.mark.parametrize("query", ["", "code=x", "code=x&state=", "code=x&state=ü", "error=access_denied", "state=" + "x" * 10_000])
def test_an_answer_that_nobody_asked_for_is_refused(visitor: Visitor, query: str) -> None:
    for cookie in ("", "x", "1.2.3", "9" * 400):
        visitor.client.cookies.set("tallyboard_journey", cookie)
        answer = visitor.open(f"{ANSWER_PATH}?{query}")
        assert (answer.status_code, said(answer)) == (403, [BEGIN_AGAIN])


def test_the_provider_may_say_no_and_its_words_are_not_repeated(server: Server, visitor: Visitor) -> None:
    state = httpx.URL(go(visitor)).params["state"]
    answer = visitor.client.get(ANSWER_PATH, params={"state": state, "error": "access_denied\n<b>", "error_description": "call 555-EVIL"})
    assert said(answer) == ["Northwind ID has not signed you in: it was cancelled, or you are not allowed to use Tallyboard there."]
    assert "EVIL" not in answer.text
    assert last_failure(server) == {"by": "Northwind ID", "why": "declined", "detail": "access_denied<b>"}


def test_who_fails_too_often_waits(provider: Provider, visitor: Visitor) -> None:
    provider.claims = {"nonce": "another"}
    statuses = [travel(visitor).status_code for _ in range(21)]
    assert statuses[:20] == [403] * 20
    refused = travel(visitor)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert said(refused)[0].startswith("Too many sign-ins have failed.")


# Between the two


def test_an_answer_of_another_provider_is_refused(server: Server, provider: Provider, visitor: Visitor) -> None:
    """RFC 9207: the provider says in its answer who it is, so that no other can slip its own in."""
    provider.added = {"iss": "https://evil.example"}
    answer = travel(visitor)
    assert said(answer) == ["This answer does not come from Northwind ID, so it is not believed. Begin again."]
    assert last_failure(server)["why"] == "other_issuer"
    assert "/token" not in provider.asked
    provider.added = {"iss": provider.issuer}
    assert travel(visitor).status_code == 303


def test_a_provider_that_always_says_who_it_is_must_do_so(folder: Any, provider: Provider) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    with serving(folder, **settings_for(provider.issuer)) as server, Visitor(server) as visitor:
        member(server, ALICE)
        assert travel(visitor).status_code == 403
        provider.added = {"iss": provider.issuer}
        assert travel(visitor).status_code == 303


@pytest.mark.usefixtures("provider")
def test_a_code_is_of_no_use_without_the_verifier_of_the_browser_that_began(server: Server, visitor: Visitor) -> None:
    """PKCE: a stolen code, put into an answer to one's own journey."""
    with Visitor(server) as victim:
        stolen = httpx.URL(go(victim)).params["code"]
    own = httpx.URL(go(visitor)).params
    answer = visitor.client.get(ANSWER_PATH, params={"code": stolen, "state": own["state"]})
    assert answer.status_code == 502
    assert last_failure(server)["detail"] == "it refused the code: invalid_grant"
    assert not visitor.is_in


# The token


def unsigned(claims: Claims) -> str:
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def _part(part: Claims) -> str:
    return _encoded(json.dumps(part).encode())


def _encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).decode().rstrip("=")


def by_public_key(provider: Provider, kid: str) -> Callable[[Claims], str]:
    """HS256 with the public key as the secret: who does not fix the algorithm takes it for a signature."""

    def forge(claims: Claims) -> str:
        text = ".".join(_part(part) for part in ({"alg": "HS256", "kid": kid}, claims))
        return f"{text}.{_encoded(hmac.digest(provider.key.as_pem(private=False), text.encode(), 'sha256'))}"

    return forge


def by(key: RSAKey, kid: str) -> Callable[[Claims], str]:
    return lambda claims: jwt.encode({"alg": "RS256", "kid": kid}, claims, key)


FORGED: dict[str, Callable[[Provider], Callable[[Claims], str]]] = {
    "alg none": lambda _: unsigned,
    "alg None": lambda _: lambda claims: unsigned(claims).replace("eyJhbGciOiAibm9uZSJ9", "eyJhbGciOiAiTm9uZSJ9"),
    "HS256 by the public key": lambda provider: by_public_key(provider, "first"),
    "another key of the same name": lambda provider: by(provider.spare, "first"),
    "an unknown key": lambda provider: by(provider.spare, "spare"),
    "its own key in the head": lambda provider: (
        lambda claims: jwt.encode({"alg": "RS256", "jwk": provider.spare.as_dict(private=False)}, claims, provider.spare)
    ),
    "no signature": lambda provider: lambda claims: provider.signed(claims).rpartition(".")[0] + ".",
    "changed after signing": lambda provider: (
        lambda claims: ".".join(
            part if place != 1 else unsigned({**claims, "sub": "subject of bob"}).split(".")[1]
            for place, part in enumerate(provider.signed(claims).split("."))
        )
    ),
    "nothing": lambda _: lambda _: "",
    "garbage": lambda _: lambda _: "a.b.c",
    "no claims": lambda provider: lambda _: jwt.encode({"alg": "RS256", "kid": "first"}, {}, provider.key),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_token_that_the_provider_did_not_sign_is_refused(
    server: Server, provider: Provider, visitor: Visitor, forge: Callable[[Provider], Callable[[Claims], str]]
) -> None:
    provider.forge = forge(provider)
    answer = travel(visitor)
    assert (answer.status_code, said(answer)) == (403, [UNTRUSTED])
    assert not visitor.is_in
    assert last_failure(server)["why"] == "token_wrong"


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": ["another client"]},
        {"aud": None},
        {"aud": [CLIENT_ID, "another client"]},
        {"aud": [CLIENT_ID, "another client"], "azp": "another client"},
        {"azp": "another client"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": None},
        {"iat": 99_999_999_999},
        {"nbf": 99_999_999_999},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": "x" * 256},
        {"sub": "a\0b"},
    ],
    ids=str,
)
def test_a_signed_token_that_is_not_for_this_sign_in_is_refused(
    server: Server, provider: Provider, visitor: Visitor, claims: Claims
) -> None:
    provider.claims = claims
    answer = travel(visitor)
    assert (answer.status_code, said(answer)) == (403, [UNTRUSTED])
    assert not visitor.is_in
    assert last_failure(server)["why"] == "token_wrong"


def test_a_nonce_of_an_earlier_sign_in_is_refused(server: Server, provider: Provider, visitor: Visitor) -> None:
    """Nonce replay: yesterday's token, well signed, in today's answer."""
    kept: list[str] = []
    provider.forge = lambda claims: kept.append(provider.signed(claims)) or kept[0]  # type: ignore[func-returns-value]
    assert travel(visitor).status_code == 303
    with Visitor(server) as other:
        assert said(travel(other)) == [UNTRUSTED]
    assert "nonce" in last_failure(server)["detail"]


@pytest.mark.parametrize("claims", [{"aud": [CLIENT_ID]}, {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}], ids=str)
def test_a_list_of_audiences_is_fine_where_it_is_made_for_this_client(provider: Provider, visitor: Visitor, claims: Claims) -> None:
    provider.claims = claims
    assert travel(visitor).status_code == 303


@pytest.mark.parametrize(("seconds", "status"), [(-50, 303), (-70, 403)])
def test_clocks_may_differ_by_a_minute(provider: Provider, visitor: Visitor, seconds: int, status: int) -> None:
    provider.forge = lambda claims: provider.signed({**claims, "exp": claims["iat"] + seconds, "iat": claims["iat"] - 300})
    assert travel(visitor).status_code == status


def test_new_keys_are_found_but_not_asked_for_over_and_over(folder: Any, provider: Provider) -> None:
    with serving(folder, **settings_for(provider.issuer)) as server, Visitor(server) as visitor:
        member(server, ALICE)
        assert travel(visitor).status_code == 303
        provider.key = provider.spare
        assert travel(visitor).status_code == 303, "the key was unknown, so the keys were read again"
        assert provider.asked.count("/jwks") == 2
        provider.forge = by(RSAKey.generate_key(2048, {"kid": "nowhere"}), "nowhere")
        assert {travel(visitor).status_code for _ in range(3)} == {403}
        assert provider.asked.count("/jwks") == 2, "not again within half a minute"


# The provider


@pytest.mark.parametrize(
    ("path", "answer", "status"),
    [
        ("/.well-known/openid-configuration", (503, b"{}"), 503),
        ("/.well-known/openid-configuration", (404, b"{}"), 502),
        ("/.well-known/openid-configuration", (200, b"<html>"), 502),
        ("/.well-known/openid-configuration", (200, b"{}"), 502),
        ("/.well-known/openid-configuration", (200, b" " * 2_000_000), 502),
    ],
)
def test_a_provider_that_cannot_be_understood_is_said_to_be_so(
    folder: Any, provider: Provider, path: str, answer: tuple[int, bytes], status: int
) -> None:
    provider.answers[path] = answer
    with serving(folder, **settings_for(provider.issuer)) as server, Visitor(server) as visitor:
        refused = visitor.open("/sign-in/provider")
        assert refused.status_code == status
        assert said(refused)[0].startswith("Northwind ID")
        assert visitor.open("/sign-in/provider").status_code == status
        assert len(provider.asked) == 1, "a failure is remembered for seconds"
        assert last_failure(server)["by"] == "Northwind ID"


@pytest.mark.parametrize(
    ("path", "answer", "status"),
    [
        ("/token", (500, b"oh"), 503),
        ("/token", (400, b'{"error": "invalid_client"}'), 502),
        ("/token", (400, b'{"error": "invalid_client", "error_description": "\\u00fc"}'), 502),
        ("/token", (200, b"[]"), 502),
        ("/token", (200, b"{}"), 403),
        ("/token", (302, b"{}"), 403),
        ("/token", (200, b"x" * 2_000_000), 502),
    ],
)
def test_a_provider_that_fails_on_the_way_back_is_not_held_against_who_signs_in(
    server: Server, provider: Provider, visitor: Visitor, path: str, answer: tuple[int, bytes], status: int
) -> None:
    provider.answers[path] = answer
    refused = travel(visitor)
    assert refused.status_code == status
    assert said(refused)
    if status != 403:
        assert engines.look(server.folder, "SELECT max(failures) FROM sign_in_attempt WHERE place >= 0") == [(0,)]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
    ids=str,
)
def test_a_provider_that_says_what_cannot_be_is_not_used(folder: Any, provider: Provider, metadata: Claims) -> None:
    provider.metadata = metadata
    with serving(folder, **settings_for(provider.issuer)) as server, Visitor(server) as visitor:
        assert visitor.open("/sign-in/provider").status_code == 502
        assert last_failure(server)["why"] == "provider_wrong"


def test_no_redirect_of_the_provider_is_followed(folder: Any, provider: Provider) -> None:
    provider.answers["/.well-known/openid-configuration"] = (302, b"{}")
    with serving(folder, **settings_for(provider.issuer)) as server, Visitor(server) as visitor:
        assert visitor.open("/sign-in/provider").status_code == 502
        assert provider.asked == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("keys", [b"{}", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "first"}]}', b'{"keys": 5}'])
def test_a_provider_without_a_key_that_signs_is_not_believed(folder: Any, provider: Provider, keys: bytes) -> None:
    provider.answers["/jwks"] = (200, keys)
    with serving(folder, **settings_for(provider.issuer)) as server, Visitor(server) as visitor:
        assert travel(visitor).status_code == 502


def test_while_the_provider_is_down_links_lead_in_and_the_page_says_so(folder: Any) -> None:
    with providing() as gone:
        issuer = gone.issuer
    with serving(folder, **settings_for(issuer)) as server, Visitor(server) as visitor:
        refused = visitor.open("/sign-in/provider")
        assert (refused.status_code, said(refused)) == (
            503,
            ["Northwind ID cannot be reached now. Try again in a minute; a sign-in link works meanwhile."],
        )
        assert last_failure(server)["why"] == "provider_away"
        assert visitor.open("/sign-in?" + server.sign_in_link().split("?")[1]).status_code == 303


def test_what_is_secret_is_in_no_log(server: Server, provider: Provider, visitor: Visitor) -> None:
    code = httpx.URL(go(visitor)).params["code"]
    provider.claims = {"nonce": "another"}
    travel(visitor)
    told = tallyboard("audit", "export", data=server.folder).stdout + server.log
    for secret in (code, CLIENT_SECRET, ACCESS_TOKEN, "eyJ", visitor.client.cookies.get("tallyboard_journey", "none at all")):
        assert secret not in told
    assert person("alice")["email"] in told


def test_the_secret_of_the_client_is_not_printed() -> None:
    printed = tallyboard("settings", TALLYBOARD_OPENID_CLIENT_SECRET="hush").stdout
    assert "TALLYBOARD_OPENID_CLIENT_SECRET=***" in printed
    assert "hush" not in printed
