"""docs/clients.md and the client say the same: its Python runs, its names exist."""

import dataclasses
import re
from typing import Any

import pytest

from tallyboard.client import Counts
from tallyboard.client.asgi import Limit
from tests.client.conftest import Limited
from tests.environments import ROOT

DOCUMENT = (ROOT / "docs" / "clients.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["blocking", "awaiting", "middleware"])
def test_what_it_shows_runs(limited: Limited, block: str) -> None:
    filled = block.replace("http://127.0.0.1:8321", limited.url).replace("tb_your_key", limited.key)
    assert filled.count(limited.key) == 1
    names: dict[str, Any] = {"ask_the_model": lambda: "Hello.", "app": None}
    exec(compile(filled, "docs/clients.md", "exec"), names)  # noqa: S102
    if "Client" in names:
        assert (names["answer"], names["client"].counts) == ("Hello.", Counts(granted=1, settled=1))
        names["client"].close()
    elif "Limit" in names:
        assert isinstance(names["app"], Limit)
    else:
        assert limited.used("alice@example.com")[0] > 0


def test_every_count_is_explained() -> None:
    assert {field.name for field in dataclasses.fields(Counts)} <= set(re.findall(r"`(\w+)`", DOCUMENT))


def test_every_setting_of_the_hook_is_explained() -> None:
    named = set(re.findall(r"TALLYBOARD_\w+", (ROOT / "src" / "tallyboard" / "client" / "litellm.py").read_text()))
    assert len(named) == 4
    assert named <= set(re.findall(r"`(TALLYBOARD_\w+)`", DOCUMENT))


def test_every_example_is_told_about_and_holds_no_key() -> None:
    for path in (ROOT / "docs" / "examples").iterdir():
        assert f"examples/{path.name}" in DOCUMENT
        assert set(re.findall(r"tb_\w+", path.read_text())) == {"tb_your_key"}


def test_the_versions_it_was_proved_with_are_those_it_is_tested_with() -> None:
    for name, said in (("litellm", "LiteLLM 1.106.2"), ("envoy", "Envoy 1.40")):
        version = re.search(r"==([\d.]+)", (ROOT / "requirements" / f"{name}.in").read_text())
        assert version
        assert version[1].startswith(said.split()[1])
        assert said in DOCUMENT
