"""Servers of the tests of intake."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Server, serving
from tests.intake.telemetry import price_tokens


@pytest.fixture
def priced(folder: Path) -> Iterator[Server]:
    """A server that prices tokens."""
    with serving(folder) as running:
        price_tokens(running)
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that prices tokens, for tests whose users differ."""
    with serving(tmp_path_factory.mktemp("shared") / "data") as running:
        price_tokens(running)
        yield running
