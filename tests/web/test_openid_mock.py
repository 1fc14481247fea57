"""Signing in against somebody else's provider: oidc-provider-mock, a process of its own, over real HTTP redirects."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import engines
from tests.conftest import Server, serving, wait_until
from tests.web.openid import settings_for
from tests.web.visitors import Visitor, said
from tests.web.visitors import person as member

ALICE = {"sub": "a-1", "email": "alice@northwind.example", "email_verified": True, "roles": ["admin"]}
BOB = {"sub": "b-2", "email": "bob@northwind.example", "email_verified": True, "roles": ["staff"]}
EVE = {"sub": "e-3", "email": "eve@northwind.example", "email_verified": False}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("mock") / "log"
    known = [part for each in (ALICE, BOB, EVE) for part in ("--user-claims", json.dumps(each))]
    with log.open("wb") as told:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("oidc-provider-mock"), "--port", "0", "--require-nonce", "true", *known],
            stdout=told,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: _address(process, log) is not None, "the mock provider is ready")
        yield str(_address(process, log))
    finally:
        process.kill()
        process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str | None:
    """Where it listens, as it says."""
    assert process.poll() is None, log.read_text()
    found = re.search(r"running on (http://[\d.:]+)", log.read_text())
    return found[1] if found else None


@pytest.fixture
def server(folder: Path, issuer: str) -> Iterator[Server]:
    wanted = {"openid_new_members": "yes", "openid_domains": "*", "openid_admin_claim": "roles", "openid_admin_values": "admin"}
    with serving(folder, **settings_for(issuer, **wanted)) as running:
        yield running


def come(browser: Visitor, **form: str) -> httpx.Response:
    """To the provider, fill its form in, and back."""
    begun = browser.open("/sign-in/provider")
    chosen = httpx.post(begun.headers["location"], data=form)
    assert chosen.status_code == 302, chosen.text
    return browser.open(httpx.URL(chosen.headers["location"]).raw_path.decode())


def test_who_is_known_there_gets_in_as_what_the_claim_says(server: Server) -> None:
    for who, home in ((ALICE, "/usage"), (BOB, "/my")):
        with Visitor(server) as browser:
            answer = come(browser, sub=str(who["sub"]))
            assert (answer.status_code, answer.headers["location"]) == (303, home)
            assert browser.open(home).status_code == 200
            assert come(browser, sub=str(who["sub"])).status_code == 303, "and the next time"
    assert engines.look(server.folder, "SELECT email, role FROM member WHERE email LIKE '%northwind%' ORDER BY email") == [
        (ALICE["email"], "admin"),
        (BOB["email"], "member"),
    ]


def test_an_unverified_email_and_a_no_lead_nowhere(server: Server) -> None:
    member(server, str(EVE["email"]))
    with Visitor(server) as browser:
        for form, words in (
            ({"sub": "e-3"}, "Northwind ID does not say that your email is really yours."),
            ({"action": "deny"}, "This sign-in was not begun in this browser"),  # The mock leaves out the state when it says no.
        ):
            answer = come(browser, **form)
            assert answer.status_code == 403
            assert said(answer)[0].startswith(words)
            assert not browser.is_in
