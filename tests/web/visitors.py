"""A person at a browser without a screen: keeps cookies, fills in forms with the token that the page gives, follows nothing."""

import html
import re
from types import TracebackType
from typing import Self

import httpx

from tallyboard import clock
from tallyboard.app import App
from tallyboard.cli.options import ACCOUNT_ID
from tallyboard.people import members, passwords
from tallyboard.people.members import Member, Role
from tests import engines
from tests.conftest import Server

PASSWORD = "violet harbour 17 lamps"
OTHER_PASSWORD = "nine brass kettles, sinking"


class Visitor:
    """Somebody's browser."""

    def __init__(self, server: Server, user_agent: str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0") -> None:
        self.client = httpx.Client(base_url=server.url, headers={"User-Agent": user_agent}, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.close()

    def open(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def fill_in(self, page: str, action: str, **fields: str) -> httpx.Response:
        """Open a page and send one of its forms, with all that the form holds hidden."""
        return self.client.post(action, data=hidden(self.open(page).text, action) | fields)

    def sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return self.fill_in("/sign-in", "/sign-in", email=email, password=password)

    @property
    def is_in(self) -> bool:
        return self.open("/account").status_code == 200


def hidden(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the page's form that goes to an address."""
    form = re.search(rf'<form[^>]* action="{re.escape(action)}".*?</form>', page, re.DOTALL)
    assert form, f"no form for {action}"
    inputs = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form[0])
    return {name: html.unescape(value) for name, value in inputs}


def said(answer: httpx.Response) -> list[str]:
    """What a page says aloud: its problems and its good news."""
    found = re.findall(r'<(\w+)[^>]* role="(?:alert|status)">(.*?)</\1>', answer.text, re.DOTALL)  # One that is hidden ends otherwise.
    return [html.unescape(text).strip() for _, text in found]


def person(server: Server, email: str, role: Role = Role.ADMIN, password: str | None = PASSWORD) -> Member:
    """A member who has a password already."""
    now_us = clock.now_us()
    with App(engines.settings_of(server.folder)) as app, app.ledger.writing() as session:
        member = members.add(session, ACCOUNT_ID, email, role, "test", now_us)
        if password:
            members.set_password(session, member, passwords.hashed(password), now_us, "")
        return member
