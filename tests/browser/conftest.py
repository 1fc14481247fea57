"""One browser and one filled account a session, a server with a copy of it a module, a fresh context a test.

A test fails on anything the browser complains of that it did not say it expects: script errors,
console errors, violations of the content policy.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests import engines
from tests.browser import northwind as account
from tests.browser.northwind import Northwind
from tests.conftest import Server, serving

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
).split()
DESKTOP = {"width": 1440, "height": 900}
TIMEOUT_MS = 10_000
# Runs before the page's own scripts: layout shifts and violations of the policy, for tests to read.
WATCH = """
window.shifts = [];
window.violations = [];
new PerformanceObserver((list) => window.shifts.push(...list.getEntries().filter((shift) => !shift.hadRecentInput).map((shift) => shift.value)))
  .observe({ type: "layout-shift", buffered: true });
document.addEventListener("securitypolicyviolation", (event) => console.error("policy violated:", event.violatedDirective, event.blockedURI));
"""

Open = Callable[..., Page]


class Complaints:
    """What the browser complained of; `expect` names, by pattern, what a test provokes on purpose."""

    def __init__(self) -> None:
        self._heard: list[str] = []
        self._expected: list[str] = []

    def listen(self, page: Page) -> None:
        """Hear a page's errors and warnings."""
        page.on("pageerror", lambda error: self._heard.append(f"script: {error}"))
        page.on("console", lambda line: self._heard.append(f"{line.type}: {line.text}") if line.type in {"error", "warning"} else None)

    def expect(self, pattern: str) -> None:
        """Pass over what matches a pattern."""
        self._expected.append(pattern)

    @property
    def unexpected(self) -> list[str]:
        """What no pattern covers."""
        return [line for line in self._heard if not any(re.search(pattern, line) for pattern in self._expected)]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        path = CHROMIUM if CHROMIUM.exists() else None
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, chromium_sandbox=os.geteuid() != 0)
        yield running
        running.close()


@pytest.fixture(scope="session")
def filled(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Northwind:
    """The account on a server that is stopped again: modules begin with a copy of its folder."""
    with serving(tmp_path_factory.mktemp("filled") / "data") as server:
        zone = account.zone_at_noon()
        today = account.fill(server, zone)
        made = Northwind(server, zone, today, sign_in(browser, server))
        server.stop()
    return made


@pytest.fixture(scope="module")
def northwind(filled: Northwind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Northwind]:
    """The account, on a server that the tests of a module share."""
    folder = tmp_path_factory.mktemp("northwind") / "data"
    engines.copy(filled.server.folder, folder)
    with serving(folder) as server:
        server.keys.update(filled.server.keys)
        yield replace(filled, server=server)


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """What the pages of this test complain of; anything unexpected fails the test."""
    heard = Complaints()
    yield heard
    assert not heard.unexpected


@pytest.fixture
def open_page(browser: Browser, complaints: Complaints) -> Iterator[Open]:
    """Opens pages in contexts of their own: `open_page(url, cookies=…, color_scheme="dark", …)`."""
    contexts: list[BrowserContext] = []

    def opened(url: str, cookies: list[Any] | None = None, **more: Any) -> Page:
        context = browser.new_context(**{"viewport": DESKTOP, **more})
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        context.add_init_script(WATCH)
        context.add_cookies(cookies or [])
        page = context.new_page()
        complaints.listen(page)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def visit(open_page: Open, northwind: Northwind) -> Open:
    """Opens the account's page as its administrator, in a state: `visit(window=7, user="alice")`; `look` are options of the browser."""

    def visited(look: dict[str, Any] | None = None, /, **state: object) -> Page:
        return open_page(northwind.address(**state), northwind.cookies, **(look or {}))

    return visited


def sign_in(browser: Browser, server: Server, link: str | None = None) -> list[Any]:
    """Use a one-time link; the cookies of the session."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(link or server.sign_in_link())
    expect(page).to_have_url(re.compile(r"/usage$"))
    cookies: list[Any] = context.cookies()
    context.close()
    return cookies
