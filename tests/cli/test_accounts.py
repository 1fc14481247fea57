"""Several accounts on the command line: which one a command is about, and that it stays there."""

import json
from pathlib import Path

import pytest
from tests.conftest import event, refusal, tallyboard

ABOUT_ONE: list[tuple[str, ...]] = [
    ("usage",),
    ("account", "show"),
    ("account", "set", "--name", "x"),
    ("audit", "verify"),
    ("audit", "export"),
    ("import", "-"),
    ("key", "create", "--name", "x", "--scopes", "read"),
    ("key", "list"),
    ("key", "rotate", "x"),
    ("key", "revoke", "x"),
    ("member", "add", "x@y.example"),
    ("member", "list"),
    ("member", "link"),
    ("member", "role", "x@y.example", "admin"),
    ("member", "deactivate", "x@y.example"),
    ("member", "reactivate", "x@y.example"),
    ("policy", "show"),
    ("policy", "set", "--limit", "1"),
    ("policy", "preview", "--limit", "1"),
    ("policy", "history"),
    ("rates", "show"),
    ("rates", "apply", "--since", "2026-11-01"),
    ("reconcile",),
    ("user", "set", "x"),
    ("user", "override", "x", "--limit", "1"),
    ("user", "erase", "x"),
    ("user", "merge", "x", "y"),
    ("user", "unmerge", "x"),
    ("user", "find"),
]


@pytest.fixture
def two(folder: Path) -> Path:
    tallyboard("account", "set", "--name", "Northwind", data=folder)
    made = tallyboard("account", "create", "--name", "Southwind", "--timezone", "Asia/Tokyo", "--json", data=folder)
    assert json.loads(made.stdout) == {"id": 2, "name": "Southwind", "timezone": "Asia/Tokyo"}
    return folder


def test_a_folder_of_one_account_needs_no_word_on_it(folder: Path) -> None:
    assert json.loads(tallyboard("account", "show", "--json", data=folder).stdout) == {"name": "My organization", "timezone": "UTC"}
    assert json.loads(tallyboard("account", "show", "--account", "1", "--json", data=folder).stdout)["timezone"] == "UTC"


def test_accounts_are_listed_and_named_by_id_or_name(two: Path) -> None:
    assert tallyboard("account", "list", data=two).stdout == "1\tNorthwind\tUTC\n2\tSouthwind\tAsia/Tokyo\n"
    for named in ("2", "Southwind", " Southwind "):
        assert tallyboard("account", "show", "--account", named, data=two).stdout.startswith("Southwind\n")


def test_where_there_are_several_a_command_asks_which(two: Path) -> None:
    asked = "tallyboard: there are several accounts; say which one by --account: 1 'Northwind', 2 'Southwind'\n"
    assert [command for command in ABOUT_ONE if refusal(*command, folder=two) != asked] == []


def test_an_account_that_is_not_there_or_not_clear_is_told(two: Path) -> None:
    assert "there is no account 'Westwind'; there are 1 'Northwind', 2 'Southwind'" in refusal("usage", "--account", "Westwind", folder=two)
    assert "there is an account 'Southwind' already" in refusal("account", "create", "--name", "Southwind", folder=two)
    assert "is not an IANA timezone" in refusal("account", "create", "--name", "x", "--timezone", "Mars/Olympus", folder=two)
    tallyboard("account", "set", "--account", "1", "--name", "Southwind", data=two)
    assert "several accounts are called 'Southwind'; say the id: 1, 2" in refusal("usage", "--account", "Southwind", folder=two)
    assert tallyboard("account", "show", "--account", "2", data=two).stdout == "Southwind\ndays end at midnight, Asia/Tokyo\n"


def test_what_is_done_in_one_account_is_not_seen_in_another(two: Path) -> None:
    """The same event and the same user in both."""
    line = json.dumps(event("1", "alice")).encode()
    for name, email in (("Northwind", "a@north.example"), ("Southwind", "a@south.example")):
        assert json.loads(tallyboard("import", "-", "--account", name, "--json", data=two, stdin=line).stdout)["accepted"] == 1
        tallyboard("user", "set", "alice", "--email", email, "--account", name, data=two)
    tallyboard("policy", "set", "--limit", "7", "--account", "Southwind", data=two)
    tallyboard("member", "add", "erin@south.example", "--account", "Southwind", data=two)
    key = json.loads(tallyboard("key", "create", "--name", "s", "--scopes", "read", "--account", "2", "--json", data=two).stdout)["id"]
    answers = {
        name: [
            tallyboard(*command, "--account", name, data=two).stdout
            for command in (
                ("usage", "--json", "--from", "2026-11-01", "--to", "2026-11-02"),
                ("user", "find"),
                ("policy", "show"),
                ("policy", "history"),
                ("member", "list"),
                ("key", "list"),
                ("audit", "export"),
                ("rates", "show"),
            )
        ]
        for name in ("Northwind", "Southwind")
    }
    north, south = ("\n".join(answers[name]) for name in ("Northwind", "Southwind"))
    for mark in ("south", "Southwind", "Tokyo", key, "limit: 7"):
        assert mark in south, mark
        assert mark not in north, mark
    assert "a@north.example" in north
    assert "north" not in south.casefold()
    for name in ("Northwind", "Southwind"):
        assert json.loads(tallyboard("reconcile", "--account", name, "--json", data=two).stdout)["events"] == 1
