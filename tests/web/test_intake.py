"""The Intake page and what it counts, through the front door: every event is in one of its numbers."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest

from tallyboard.app import App
from tallyboard.ledger import arrivals
from tallyboard.ledger.arrivals import HOUR_US, KEPT_HOURS, Kind, Note
from tests import engines
from tests.conftest import Server, event, refusal, tallyboard, wait_until
from tests.web.visitors import Visitor, person, said

ALICE = "alice@example.com"


def sent(id: str, source: str = "/chat", late: timedelta = timedelta(), **data: object) -> dict[str, Any]:
    return {**event(id, time=(datetime.now(UTC) - late).isoformat(), **data), "source": source}


@pytest.fixture
def alice(server: Server) -> Iterator[Visitor]:
    person(server, ALICE)
    with Visitor(server) as visitor:
        assert visitor.sign_in(ALICE).status_code == 303
        yield visitor


def text_of(visitor: Visitor) -> str:
    """The page's words, one space between them."""
    page = visitor.open("/intake").text
    main = page[page.index("<main") : page.index("</main>")]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", main)))


def test_an_installation_without_events_says_how_to_send_the_first(server: Server, alice: Visitor) -> None:
    page = text_of(alice)
    assert "Nothing has come in during the last 7 days." in page
    assert f"curl -X POST {server.url}/api/v1/events" in page


def test_the_settings_of_clients_have_a_fresh_key_in_them(server: Server, alice: Visitor) -> None:
    made = alice.fill_in("/keys?new=1", "/keys", **{"name": "app", "scope-ingest": "on", "expires": ""}).text
    secret = re.findall(r'id="secret"[^>]* value="(tb_[^"]+)"', made)[0]
    settings = {slug: unescape(lines) for slug, lines in re.findall(r'<textarea id="way-([^"]+)"[^>]*>(.*?)</textarea>', made, re.DOTALL)}
    assert set(settings) == {"claude-code", "codex", "gemini-cli", "copilot-cli", "opentelemetry", "litellm", "openmeter", "curl"}
    for lines in settings.values():
        assert server.url in lines
        assert secret in lines
    tomllib.loads(settings["codex"])
    done = subprocess.run(["bash", "-c", settings["curl"] + " --silent --fail"], check=False, capture_output=True)
    assert done.returncode == 0
    assert server.usage()["users"][0]["user"] == "alice"
    made = alice.fill_in("/keys?new=1", "/keys", **{"name": "reader", "scope-read": "on", "expires": ""}).text
    assert "way-curl" not in made


def told(id: str, source: str, response: str | None, user: str = "alice") -> dict[str, Any]:
    named = {"response_id": response} if response else {}
    return {**sent(id, source, conversations=1, **named), "subject": user}


def test_a_call_that_two_sources_tell_counts_once_and_the_page_says_so(server: Server, alice: Visitor) -> None:
    assert server.send(told("1", "/app", "chatcmpl-1")) == {"accepted": 1, "duplicate": 0, "conflict": 0, "refused": []}
    assert server.send(told("a", "/gateway", "chatcmpl-1")) == {"accepted": 0, "duplicate": 0, "conflict": 0, "set_aside": 1, "refused": []}
    page = text_of(alice)
    assert "0 duplicates counted once, 1 set aside" in page
    assert "All users Every source; a call that two of them tell counts once Change" in page
    assert re.search(r"Set aside another source .* /gateway test 1 \S.* id a ", page)


def test_an_administrator_chooses_the_source_of_record_of_everybody_and_of_one(server: Server, alice: Visitor) -> None:
    server.send(told("1", "/app", None), told("1", "/gateway", None, "bob"))
    chosen = alice.fill_in("/intake?choose=account", "/intake/source", source="only /gateway")
    assert (chosen.status_code, chosen.headers["Location"]) == (303, "/intake?done=chosen")
    assert alice.fill_in("/intake?choose=user", "/intake/source", of_user="1", user="bob", source="every").status_code == 303
    page = text_of(alice)
    assert "All users Only /gateway ; what others tell is set aside Change" in page
    assert "bob Every source; a call that two of them tell counts once Change" in page
    assert server.send(told("2", "/app", None), told("2", "/gateway", None), told("3", "/app", None, "bob"))["set_aside"] == 1
    assert {each["user"]: each["units"] for each in server.usage()["users"]} == {"alice": 2_000_000, "bob": 2_000_000}
    wrong = alice.fill_in("/intake?choose=user", "/intake/source", of_user="1", user="nobody", source="only /app")
    assert wrong.status_code == 400
    assert "There is no user &#39;nobody&#39;" in wrong.text
    assert 'value="only /app" selected' in wrong.text
    log = alice.open("/audit").text
    assert "From now on only /gateway counts" in log
    assert "From now on every source counts for bob" in log


def test_the_source_of_record_is_chosen_by_command_too(server: Server) -> None:
    server.send(told("1", "/app", None))
    tallyboard("account", "set", "--only-source", "/gateway", data=server.folder)
    tallyboard("user", "source", "alice", "--only", "/app", data=server.folder)
    assert server.send(told("2", "/app", None), told("2", "/gateway", None), told("3", "/app", None, "bob"))["set_aside"] == 2
    tallyboard("user", "source", "alice", "--as-account", data=server.folder)
    tallyboard("account", "set", "--every-source", data=server.folder)
    assert server.send(told("4", "/app", None), told("4", "/gateway", None))["accepted"] == 2
    assert "there is no user 'nobody'" in refusal("user", "source", "nobody", "--every", folder=server.folder)


def test_sources_are_told_with_what_became_of_their_events(server: Server, alice: Visitor) -> None:
    now = sent("1")
    server.send(now, sent("2", late=timedelta(minutes=30)), sent("3", late=timedelta(hours=5)), sent("4", late=timedelta(days=3)))
    server.send(now, {**now, "data": {"conversations": 9}}, sent("1", "/nightly"), {**sent("5"), "subject": None})
    page = text_of(alice)
    assert "Accepted 6 1 duplicate counted once Refused 0 1 conflict: the first stands" in page
    assert "Without a user 1 counted as unattributed" in page
    assert re.search(r"/chat test today, \d\d:\d\d 5 5 1 duplicate, 1 conflict, 1 without a user 40% 20% over a day late", page)
    assert re.search(r"/nightly test today, \d\d:\d\d 1 1 100%", page)
    assert re.search(r"Conflicts .* /chat test 1 today, \d\d:\d\d id 1", page)


def test_refusals_are_told_by_reason_with_the_last_one(server: Server, alice: Visitor) -> None:
    key = {"headers": {"Prefer": "handling=lenient"}}
    for minute in (1, 2):
        bad = [event("t", time=f"2026-11-01T00:0{minute}:00"), event("q", conversations="many"), event("ok")]
        assert server.request("POST", "/api/v1/events", "ingest", json=bad, **key).status_code == 200
    assert server.request("POST", "/api/v1/events", "ingest", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    wait_until(lambda: "A request that makes no sense" in text_of(alice), "refusals are noted")
    page = text_of(alice)
    assert "Refused 5" in page
    assert re.search(r"No time, or one without an offset bad_time test 2 today, \d\d:\d\d time must be .* not '2026-11-01T00:02:00'", page)
    assert re.search(r"A quantity that is none bad_quantity test 2 ", page)


def test_what_a_command_refuses_is_told_too(server: Server, alice: Visitor) -> None:
    tallyboard("import", "-", data=server.folder, stdin=b'{"specversion": "2.0"}\n', check=False)
    wait_until(lambda: "Refused 1" in text_of(alice), "the command's refusal is noted")


def test_unrated_models_are_one_click_from_a_rate(server: Server, alice: Visitor) -> None:
    server.send(sent("1", model="gpt-5*", output_tokens=3_000_000, note="no number", flag=True))
    page = alice.open("/intake").text
    assert re.search(r"Model and type From .* gpt-5\* ai.usage.recorded test 1 today, \d\d:\d\d output_tokens Set a rate", text_of(alice))
    (link,) = re.findall(r'href="(/intake\?rate=[^"]+)"', page)
    asked = unescape(link)
    assert 'value="output_tokens"' in alice.open(asked).text
    wrong = alice.fill_in(asked, "/intake", value="output_tokens", per_credit="none")
    assert wrong.status_code == 400
    assert said(wrong)
    assert 'value="none"' in wrong.text
    done = alice.fill_in(asked, "/intake", value="output_tokens", per_credit="1,000,000")
    assert done.headers["location"] == "/intake?done=rated"
    assert said(alice.open("/intake?done=rated"))[0] == "The rate counts for what comes from now on."
    server.send(sent("2", model="gpt-5*", output_tokens=3_000_000), sent("3", model="gpt-5-mini", output_tokens=1))
    assert server.usage()["total"]["credits"] == "3.000000"
    assert "Unrated 2" in text_of(alice)
    assert "Set rate card 2" in alice.open("/audit").text


def test_only_thirty_days_are_kept(server: Server) -> None:
    now_us = int(datetime.now(UTC).timestamp() * 1_000_000)
    old = Note(Kind.REFUSED, "key 1", "bad_time", "", 1, now_us - (KEPT_HOURS + 1) * HOUR_US, "long ago")
    with App(engines.settings_of(server.folder)) as app:
        app.ledger.change(lambda session: arrivals.note(session, 1, [old])).result()
    wait_until(lambda: engines.look(server.folder, "SELECT count(*) FROM arrival_note WHERE account_id = 1") == [(0,)], "it is forgotten")


def test_the_sums_are_of_all_sources_though_not_all_are_listed(server: Server, alice: Visitor) -> None:
    server.send(*(sent(str(number), f"/source/{number}") for number in range(230)))
    page = text_of(alice)
    assert "Accepted 230 0 duplicates counted once" in page
    assert "Sources the 200 heard of last, 30 more" in page
