"""A strict OpenID provider on loopback, and the way of a browser to it and back.

It is a real HTTP server with keys of its own. It checks what a client must send, and tells what a test wants it to tell: also what an
honest provider never would. https is not needed on loopback.
"""

import json
import threading
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

from tallyboard import clock
from tests.web.visitors import Visitor

CLIENT_ID = "tallyboard"
CLIENT_SECRET = "between the two of us"
ACCESS_TOKEN = "opens-userinfo-once"
ANSWER_PATH = "/sign-in/provider/answer"

Claims = dict[str, Any]


class Provider:
    """What a test may set: who signs in (`person`), how tokens are made (`forge`, `key`), what is answered (`answers`, `added`)."""

    def __init__(self) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.issuer = f"http://127.0.0.1:{self._http.server_port}"
        self.spare = RSAKey.generate_key(2048, {"kid": "spare"})
        self._first = RSAKey.generate_key(2048, {"kid": "first"})
        self.reset()

    def reset(self) -> None:
        """Honest again, and Alice signs in."""
        self.key = self._first
        self.person: Claims = person("alice")
        self.userinfo: Claims | None = None
        self.metadata: Claims = {}
        self.forge: Callable[[Claims], str] = self.signed
        self.claims: Claims = {}
        self.added: dict[str, str] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.reusable = False
        self.asked: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def signed(self, claims: Claims) -> str:
        """An honest token."""
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def authorize(self, address: str) -> str:
        """What a browser is sent back to after somebody has signed in here."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query, keep_blank_values=True).items()}
        assert (query["response_type"], query["client_id"], query["code_challenge_method"]) == ("code", CLIENT_ID, "S256")
        assert set(query["scope"].split()) >= {"openid", "email"}
        assert len(query["state"]) >= 43, "state cannot be guessed"
        assert len(query["nonce"]) >= 43, "nor can the nonce"
        assert len({query["state"], query["nonce"], query["code_challenge"]}) == 3
        code = f"one-time-code-{len(self.codes)}"
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], **self.added})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, Claims]:
        """What a code is worth."""
        if b64decode(authorization.removeprefix("Basic ")).decode() != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return 401, {"error": "invalid_client"}
        asked = self.codes.get(form["code"]) if self.reusable else self.codes.pop(form["code"], None)
        challenge = urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        if asked is None or form["redirect_uri"] != asked["redirect_uri"] or challenge != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now = clock.now_us() // 1_000_000
        honest = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.person}
        claims = {name: value for name, value in {**honest, **self.claims}.items() if value is not None}
        return 200, {"token_type": "Bearer", "access_token": ACCESS_TOKEN, "expires_in": 300, "id_token": self.forge(claims)}

    def discovery(self) -> Claims:
        """What it says of itself."""
        own = {"issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize", "token_endpoint": f"{self.issuer}/token"}
        more = {"userinfo_endpoint": f"{self.issuer}/userinfo"} if self.userinfo is not None else {}
        return {**own, "jwks_uri": f"{self.issuer}/jwks", **more, **self.metadata}


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.provider.asked.append(path)
        if path in self.provider.answers:
            self._send(*self.provider.answers[path])
        elif path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self.provider.authorize(self.path))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path == "/userinfo" and self.provider.userinfo is not None:
            assert self.headers["Authorization"] == f"Bearer {ACCESS_TOKEN}"
            self._send(200, json.dumps(self.provider.userinfo).encode())
        elif path == "/jwks":
            self._send(200, json.dumps({"keys": [self.provider.key.as_dict(private=False, use="sig")]}).encode())
        elif path == "/.well-known/openid-configuration":
            self._send(200, json.dumps(self.provider.discovery()).encode())
        else:
            self._send(404, b"{}")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.provider.asked.append(self.path)
        if self.path in self.provider.answers:
            self._send(*self.provider.answers[self.path])
            return
        form = {name: values[0] for name, values in parse_qs(content).items()}
        status, told = self.provider.token(form, self.headers.get("Authorization", ""))
        self._send(status, json.dumps(told).encode())

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def providing() -> Iterator[Provider]:
    """A provider for the length of a with block."""
    provider = Provider()
    try:
        yield provider
    finally:
        provider.close()


def settings_for(issuer: str, **more: str) -> dict[str, str]:
    """The environment of a server that signs people in there."""
    return {
        "TALLYBOARD_OPENID_ISSUER": issuer,
        "TALLYBOARD_OPENID_CLIENT_ID": CLIENT_ID,
        "TALLYBOARD_OPENID_CLIENT_SECRET": CLIENT_SECRET,
        "TALLYBOARD_OPENID_NAME": "Northwind ID",
        **{f"TALLYBOARD_{name.upper()}": value for name, value in more.items()},
    }


def person(name: str, **claims: object) -> Claims:
    """What the provider knows of somebody at Northwind."""
    return {"sub": f"subject of {name}", "email": f"{name}@northwind.example", "email_verified": True, **claims}


def go(visitor: Visitor, arrival: str = "") -> str:
    """To the provider, and sign in there: the path that its answer sends the browser to."""
    begun = visitor.client.get("/sign-in/provider", params={"next": arrival} if arrival else {})
    assert begun.status_code == 303, begun.text
    signed_in = httpx.get(begun.headers["location"])
    assert signed_in.status_code == 302, signed_in.text
    back = httpx.URL(signed_in.headers["location"])
    assert back.path == ANSWER_PATH
    return back.raw_path.decode()


def travel(visitor: Visitor, arrival: str = "") -> httpx.Response:
    """To the provider and back: what Tallyboard answers."""
    return visitor.open(go(visitor, arrival))
