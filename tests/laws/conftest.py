"""Three processes on a PostgreSQL that may be killed."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from tests import engines
from tests.cluster import Cluster
from tests.conftest import Server, serving

PROCESSES = 3


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster that may be killed: no other test is on it."""
    if engines.NAME == "citus":
        pytest.skip("the nodes of the Citus cluster are not ours to kill")
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def address(cluster: Cluster) -> dict[str, str]:
    """The environment of a ledger of this test on that cluster."""
    schema = f"t{random.Random().getrandbits(60):x}"
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return {"TALLYBOARD_DATABASE_URL": f"{cluster.url}?options=-csearch_path%3D{schema}"}


@pytest.fixture
def servers(folder: Path, address: dict[str, str]) -> Iterator[list[Server]]:
    """Three processes on it."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving(folder, name=f"-{number}", **address)) for number in range(PROCESSES)]
