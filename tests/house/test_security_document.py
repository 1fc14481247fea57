"""docs/security.md names tests that are there, and says of every chapter of the standard whether it is met."""

import re

import pytest

from tests.house.test_house import ROOT

TEXT = (ROOT / "docs" / "security.md").read_text()
ROWS = [line.split(" | ") for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith(("| asked for", "| ---"))]
CHAPTERS = 17


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[^`]+)`", TEXT))))
def test_a_test_that_is_named_is_there(path: str) -> None:
    assert "def test_" in (ROOT / path).read_text()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][2:40])
def test_every_row_says_whether_and_how(row: list[str]) -> None:
    assert len(row) == 3, "a cell is missing, or has a bar in it"
    asked, verdict, how = row
    assert re.match(r"\| \d", asked), "the number of the requirement"
    assert verdict in {"met", "partly", "not met", "–"}
    if verdict != "not met":
        assert len(how.strip(" |")) > 10, "how, or why not"


def test_every_chapter_is_there() -> None:
    headings = " ".join(line for line in TEXT.splitlines() if line.startswith("## "))
    assert {int(number) for number in re.findall(r"V(\d+)", headings)} == set(range(1, CHAPTERS + 1))
