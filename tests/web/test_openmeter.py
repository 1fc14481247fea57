"""OpenMeter's clients read what was used: the same figures as everywhere, exactly, or a refusal that says why not."""

import csv
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tallyboard import clock
from tallyboard.people import accounts, keys
from tallyboard.people.keys import Scope
from tallyboard.rates import card
from tests import engines
from tests.conftest import Server, environment, event, tallyboard
from tests.environments import python_of

CONVERSATION = 1_000_000
ALICE, BOB = "alice@example.com", "bob"
FIRST = "2026-11-01T00:00:00+00:00"


def ask(server: Server, slug: str, scopes: str = "read", **query: Any) -> httpx.Response:
    named = {
        {"first": "from", "zone": "windowTimeZone", "window": "windowSize", "by": "groupBy"}.get(name, name): value
        for name, value in query.items()
    }
    return server.request("GET", f"/api/v1/meters/{slug}/query", scopes, params=named)


def rows(server: Server, slug: str, **query: Any) -> list[tuple[str, str | None, Any]]:
    """Beginning, subject and value of each sum; values as they were written."""
    answer = ask(server, slug, **query)
    assert answer.status_code == 200, answer.text
    return [(row["windowStart"], row["subject"], row["value"]) for row in json.loads(answer.text, parse_float=str)["data"]]


@pytest.fixture(scope="module")
def read(shared_server: Server) -> dict[str, Any]:
    """What the client package made of its own events."""
    line = [python_of("openmeter"), Path(__file__).with_name("openmeter_reads.py"), shared_server.url, shared_server.keys["ingest,read"]]
    done = subprocess.run(line, capture_output=True, timeout=120, check=False, env=environment())
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))


def test_the_openmeter_client_reads_what_usage_says(shared_server: Server, read: dict[str, Any]) -> None:
    usage = shared_server.usage(first="2026-11-01", last="2026-11-02")
    assert usage["total"]["units"] == 603_001_500
    assert read["total"] == [[FIRST, None, None, float(usage["total"]["credits"])]]
    assert [value for *_, value in read["days"]] == [day["units"] for day in usage["days"]]
    assert [[subject, value] for _, subject, _, value in read["subjects"]] == [[user["user"], user["units"]] for user in usage["users"]]
    assert read["subject"] == read["subjects"], "subjects are told one by one; November is all of it"
    assert [value for *_, value in read["berlin"]] == [600 * CONVERSATION, 3_001_500], "the second event is of another day there"
    berlin = shared_server.usage(first="2026-11-01", last="2026-11-02", timezone="Europe/Berlin")
    assert [value for *_, value in read["berlin"]] == [day["units"] for day in berlin["days"]]


def test_the_openmeter_client_tells_models_and_single_meters_apart(read: dict[str, Any]) -> None:
    assert read["models"] == [
        [FIRST, ALICE, "claude", 1_001_500],
        [FIRST, ALICE, "gpt-4o", 600 * CONVERSATION],
        [FIRST, BOB, "gpt-4o", 2 * CONVERSATION],
    ]
    assert read["filtered"] == [[FIRST, None, None, 602 * CONVERSATION]]
    assert read["emails"] == [[FIRST, ALICE, None, 2.5]]
    assert read["conversations"] == [[FIRST, None, None, 603]], "five requests stand for one of them"
    assert read["posted"] == [["2026-11-02T00:00:00+00:00", BOB, "gpt-4o", 2 * CONVERSATION]]


def test_the_openmeter_client_understands_the_rest(read: dict[str, Any]) -> None:
    assert [slug for slug, _, _ in read["meters"]][:4] == ["credits", "units", "conversations", "real_time_profiles"]
    assert list(csv.reader(read["csv"].splitlines()))[1][2:] == [ALICE, "601001500"]
    assert read["events"] == [["2", ALICE, "claude"], ["1", ALICE, "gpt-4o"]]
    assert read["value"] == {"hasAccess": True, "usage": 0}
    assert read["access"] == {"entitlements": {"credits": {"hasAccess": True, "usage": 0}}}
    assert read["refused"] == 400


def test_both_ways_to_write_a_filter_are_understood(shared_server: Server, read: dict[str, Any]) -> None:
    assert read["filtered"]
    wanted = [("2026-11-01T00:00:00.000Z", None, 602 * CONVERSATION)]
    span = {"first": FIRST, "to": "2026-11-03T00:00:00Z"}
    for said in (
        {"filterGroupBy[model]": "gpt-4o"},
        {"filterGroupBy": "{'model': 'gpt-4o'}"},
        {"filterGroupBy": '{"model": ["gpt-4o", "none"]}'},
        {"filterGroupBy[model]": ["gpt-4o", "none"]},
    ):
        assert rows(shared_server, "units", **span, **said) == wanted
    posted = {"from": FIRST, "to": "2026-11-03T00:00:00Z", "filterGroupBy": {"model": ["gpt-4o"]}}
    answer = shared_server.request("POST", "/api/v1/meters/units/query", "read", json=posted)
    assert [row["value"] for row in answer.json()["data"]] == [602 * CONVERSATION]
    assert rows(shared_server, "units", **span, **{"filterGroupBy[subject]": BOB}) == [(wanted[0][0], None, 2 * CONVERSATION)]


def test_windows_are_those_of_the_zone_and_hold_nothing_from_outside(server: Server) -> None:
    times = ["2026-04-04T14:10:00Z", "2026-04-04T14:40:00Z", "2026-04-04T15:10:00Z", "2026-04-04T15:40:00Z", "2026-05-01T00:00:00Z"]
    server.send(*(event(str(number), time=time, conversations=10**number) for number, time in enumerate(times)))
    span = {"first": "2026-04-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}
    hours = [(start, value // CONVERSATION) for start, _, value in rows(server, "units", window="HOUR", zone="Asia/Kolkata", **span)]
    assert hours == [
        ("2026-04-04T13:30:00.000Z", 1),
        ("2026-04-04T14:30:00.000Z", 110),
        ("2026-04-04T15:30:00.000Z", 1_000),
        ("2026-04-30T23:30:00.000Z", 10_000),
    ]
    # Lord Howe's clock goes back from 2:00 to 1:30 at 15:00 UTC: after an hour comes half of it again.
    lord_howe = [
        (start, value // CONVERSATION) for start, _, value in rows(server, "units", window="HOUR", zone="Australia/Lord_Howe", **span)
    ]
    assert lord_howe[:3] == [("2026-04-04T14:00:00.000Z", 11), ("2026-04-04T15:00:00.000Z", 100), ("2026-04-04T15:30:00.000Z", 1_000)]
    months = rows(server, "units", window="MONTH", zone="America/New_York", **span)
    assert months == [("2026-04-01T04:00:00.000Z", None, 11_111 * CONVERSATION)], "the first of May has not begun there"
    part = rows(server, "units", window="DAY", first="2026-04-04T14:30:00Z", to="2026-04-04T15:30:00Z")
    assert part == [("2026-04-04T00:00:00.000Z", None, 110 * CONVERSATION)]
    assert rows(server, "units") == [("2026-04-04T14:00:00.000Z", None, 11_111 * CONVERSATION)]


def test_figures_are_exact_and_quantities_too(server: Server) -> None:
    server.send(
        event("1", conversations=10**11),
        event("2", "bob", email_messages=0.000000001),
        event("3", "bob", requests=1),
        event("4", time="2020-02-29T00:00:00Z"),
    )
    day = {"first": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}
    usage = server.usage(first="2026-11-01", last="2026-11-01")
    assert rows(server, "units", **day, by="subject") == [
        (f"{day['first'][:-1]}.000Z", user["user"], user["units"]) for user in usage["users"]
    ]
    assert rows(server, "credits", **day)[0][2] == usage["total"]["credits"]
    assert rows(server, "email_messages", **day)[0][2] in {"0.000000001", "1e-9"}
    assert [value for *_, value in rows(server, "conversations", **day, by="subject")] == [10**11, "0.2"]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"window": "MINUTE"}, "quarter hours"),
        ({"window": "WEEK"}, "HOUR, DAY or MONTH"),
        ({"zone": "Mars/Olympus"}, "windowTimeZone"),
        ({"first": "2026-11-01T00:07:00Z"}, "quarter hour"),
        ({"first": "2026-11-01T00:00:00"}, "offset"),
        ({"to": "yesterday"}, "offset"),
        ({"first": "0001-01-01T00:00:00+14:00"}, "offset"),
        ({"first": "1960-01-01T00:00:00Z"}, "1972"),
        ({"first": "2020-01-01T00:00:00Z"}, "400 days"),
        ({"first": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"}, "before"),
        ({"by": "prompt"}, "not by 'prompt'"),
        ({"filterGroupBy[prompt]": "x"}, "not by 'prompt'"),
        ({"filterGroupBy": "__import__('os').getcwd()"}, "must read"),
        ({"filterGroupBy": "[" * 1_000}, "must read"),
        ({"filterGroupBy": "{" * 300}, "must read"),
        ({"filterGroupBy": "{'model': 'x'}" + " " * 3_000}, "must read"),
        ({"filterGroupBy": "{1: 2}"}, "texts"),
        ({"filterGroupBy": "{'model': [['x']]}"}, "texts"),
        ({"advancedMeterGroupByFilters": "{}"}, "nothing that can be asked"),
        ({"subject": [str(number) for number in range(101)]}, "100 subjects"),
        ({"clientId": ["x"] * 301}, "300 parameters"),
    ],
)
def test_what_cannot_be_answered_exactly_is_refused_for_good(shared_server: Server, query: dict[str, Any], says: str) -> None:
    answer = ask(shared_server, "credits", **query)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), answer.text
    assert says in answer.json()["detail"]
    assert "retry-after" not in answer.headers


def test_a_body_that_asks_for_something_else_is_refused(shared_server: Server) -> None:
    for body in ({"windowsize": "DAY"}, {"subject": "alice"}, {"advancedMeterGroupByFilters": {}}, {"groupBy": ["x"]}, []):
        assert shared_server.request("POST", "/api/v1/meters/credits/query", "read", json=body).status_code == 400
    assert shared_server.request("POST", "/api/v1/meters/none/query", "read", json={}).status_code == 404
    assert ask(shared_server, "none").status_code == 404
    assert ask(shared_server, "credits", "ingest").status_code == 403


@pytest.mark.slow
def test_models_are_told_apart_up_to_a_hundred_thousand_events(server: Server) -> None:
    models = ["one", "two", "three"]
    for batch in range(10):
        server.send(*(event(f"{batch} {number}", conversations=1, model=models[number % 3]) for number in range(10_000)))
    span = {"first": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}
    counted = Counter(models[number % 3] for number in range(10_000))
    answer = ask(server, "conversations", by="model", **span).json()
    assert {row["groupBy"]["model"]: row["value"] for row in answer["data"]} == {model: 10 * count for model, count in counted.items()}
    server.send(event("one more", "bob"))
    refused = ask(server, "units", by="model", **span)
    assert (refused.status_code, "100,000 at most" in refused.json()["detail"]) == (400, True)
    assert [value for *_, value in rows(server, "units", by="model", subject="bob", **span)] == [CONVERSATION]
    assert [value for *_, value in rows(server, "units", **span)] == [100_001 * CONVERSATION]


def test_a_customer_has_access_until_the_limit(server: Server) -> None:
    tallyboard("policy", "set", "--limit", "0.01", data=server.folder)
    path = "/api/v1/customers/al%2Fice%40example.com"

    def value(scopes: str = "read") -> Any:
        return server.request("GET", f"{path}/entitlements/credits/value", scopes).json()

    assert value() == {"hasAccess": True, "usage": 0, "balance": 0.01, "overage": 0, "totalAvailableGrantAmount": 0.01}
    assert (
        server.request("POST", "/api/v1/events", "ingest", json=event("1", "al/ice@example.com", time=None, conversations=9)).status_code
        == 204
    )
    spent = {"hasAccess": False, "usage": 0.015, "balance": 0, "overage": 0.005, "totalAvailableGrantAmount": 0.01}
    assert value("check") == spent
    assert server.request("GET", f"{path}/access", "check").json() == {"entitlements": {"credits": spent}}
    assert server.request("GET", f"{path.replace('customers', 'subjects')}/entitlements/credits/value", "read").json() == spent
    bound = {"Authorization": f"Bearer {server.keys.make('check', '--user', 'bob')}"}
    assert server.client.get(f"{server.url}{path}/access", headers=bound).status_code == 404
    for nothing in ("", "/entitlements", "/entitlements/tokens/value", "/entitlements/credits/grants", "/access/more"):
        assert server.request("GET", path + nothing, "read").status_code == 404


def test_events_are_listed_newest_first(server: Server) -> None:
    server.send(event("1", time="2026-11-01T00:00:00Z", model="gpt-4o", tokens=12345678901234567890))
    server.send(event("2", "bob", time="2026-11-02T00:00:00.5Z", conversations=1.5))

    def listed(**query: Any) -> Any:
        answer = server.request("GET", "/api/v1/events", "read", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    second, first = listed()
    assert second["event"] == event("2", "bob", time="2026-11-02T00:00:00.500Z", conversations=1.5)
    assert first["event"]["data"] == {"model": "gpt-4o", "tokens": 12345678901234567890}
    assert ("validationError" in first, "validationError" in second) == (True, False)
    for query, ids in (
        ({"subject": "alice"}, ["1"]),
        ({"subject": "nobody"}, []),
        ({"limit": 1}, ["2"]),
        ({"from": "2026-11-01T00:00:00.000001Z"}, ["2"]),
        ({"to": "2026-11-02T00:00:00.5Z", "clientId": "x"}, ["1"]),
    ):
        assert [each["event"]["id"] for each in listed(**query)] == ids
    for query in (
        {"limit": 0},
        {"limit": 1001},
        {"limit": "x"},
        {"from": "x"},
        {"subject": "a\nb"},
        {"ingestedAtFrom": "2026-11-01T00:00:00Z"},
    ):
        assert server.request("GET", "/api/v1/events", "read", params=query).status_code == 400


def test_another_account_sees_nothing_of_it(server: Server) -> None:
    server.send(event("1"))
    engines.look(
        server.folder,
        "INSERT INTO account (account_id, name, timezone, zone_version, days_version, revision, user_count, shelf, shelf_events, created_us) "
        "VALUES (2, 'Contoso', 'Asia/Tokyo', 1, 1, 1, 0, 0, 0, 0)",
    )
    engine = engines.open_on(server.folder)
    with engine.writing() as session:
        accounts.set_card(session, 2, card.default_text(), "test", clock.now_us())
        secret, _ = keys.create(session, 2, "charlie", list(Scope), "test", clock.now_us())
    engine.close()
    charlie = {"Authorization": f"Bearer {secret}"}
    for path in ("/api/v1/events", "/api/v1/meters/units/query", "/api/v1/meters/conversations/query?groupBy=model&groupBy=subject"):
        answer = server.client.get(server.url + path, headers=charlie)
        assert answer.status_code == 200, answer.text
        assert "alice" not in answer.text
        assert (answer.json() if isinstance(answer.json(), list) else answer.json()["data"]) == []
