"""Which engine the tests run on. The same tests run on all of them; a data folder stands for one ledger on each.

TALLYBOARD_TEST_ENGINE chooses: `sqlite` keeps it in that folder, `postgresql` in a schema of its own on a
throw-away cluster, `citus` in one on the cluster that TALLYBOARD_TEST_CITUS_URL names.
"""

import os
from hashlib import sha256
from pathlib import Path
from shutil import copytree
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from tallyboard import app, settings
from tallyboard.ledger import citus
from tallyboard.ledger.contract import Engine, Line
from tallyboard.ledger.migrate import migrate
from tallyboard.ledger.opening import Place
from tallyboard.settings import Settings

NAME = os.environ.get("TALLYBOARD_TEST_ENGINE", "sqlite")
CLUSTER_VARIABLE = "TALLYBOARD_TEST_CLUSTER"
"""The address of the run's cluster, from the process that started it to those that run tests."""
CITUS_VARIABLE = "TALLYBOARD_TEST_CITUS_URL"

embedded_only = pytest.mark.skipif(NAME != "sqlite", reason="about the embedded engine's files")
once = pytest.mark.skipif(NAME != "sqlite", reason="about what is in front and sees no engine: the run on SQLite has it")
server_only = pytest.mark.skipif(NAME == "sqlite", reason="about a database server")

_made: set[str] = set()


def variables(folder: Path | None) -> dict[str, str]:
    """The environment in which a command works on the ledger of a folder."""
    return {} if NAME == "sqlite" or folder is None else {"TALLYBOARD_DATABASE_URL": url(folder)}


def cluster_variables() -> dict[str, str]:
    """What a process that runs tests' code needs to find the run's cluster."""
    return {} if NAME == "sqlite" else {CLUSTER_VARIABLE: _cluster()}


def url(folder: Path) -> str:
    """The database URL of a folder's ledger; its schema is made when first asked for."""
    schema = _schema(folder)
    if schema not in _made:
        with psycopg.connect(_cluster(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        _made.add(schema)
    return f"{_cluster()}?options={quote(f'-csearch_path={schema},public')}"


def settings_of(folder: Path) -> Settings:
    """The settings of a process on a folder's ledger."""
    return settings.read({"data": folder, "port": 0}, variables(folder))


def place_of(folder: Path) -> Place:
    """Where a folder's ledger is."""
    return app.place_of(settings_of(folder))


def open_on(folder: Path) -> Engine:
    """The engine of a folder's ledger."""
    return app.open_engine(settings_of(folder))


def look(folder: Path, statement: str) -> list[Line]:
    """What a statement finds in a folder's ledger, or does to it, past Tallyboard."""
    engine = open_on(folder)
    try:
        with engine.writing() as session:
            if statement.lstrip().upper().startswith("SELECT"):
                return session.all(statement)
            session.run(statement)
            return []
    finally:
        engine.close()


def drop(folder: Path) -> None:
    """Throw a folder's schema away."""
    schema = _schema(folder)
    if NAME != "sqlite" and schema in _made:
        _made.discard(schema)
        with psycopg.connect(_cluster(), autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def copy(source: Path, target: Path) -> None:
    """Make a folder's ledger the same as another's, which nobody uses now."""
    if NAME == "sqlite":
        copytree(source, target)
        return
    engine = open_on(target)
    migrate(engine)
    engine.close()
    with psycopg.connect(url(target), autocommit=True) as connection:
        for table in (*citus.DISTRIBUTED, *citus.REFERENCE):
            connection.execute(f"INSERT INTO {_schema(target)}.{table} SELECT * FROM {_schema(source)}.{table}")


def start_cluster() -> Any:
    """The run's cluster, in the process that runs pytest itself; None where there is none to start."""
    if NAME == "citus":
        os.environ[CLUSTER_VARIABLE] = os.environ[CITUS_VARIABLE]
    if NAME == "sqlite" or os.environ.get(CLUSTER_VARIABLE):
        return None
    from tests.cluster import Cluster  # noqa: PLC0415  Only a run on PostgreSQL needs it.

    cluster = Cluster(durable=False)
    os.environ[CLUSTER_VARIABLE] = cluster.url
    return cluster


def _schema(folder: Path) -> str:
    return f"t{sha256(str(folder).encode()).hexdigest()[:20]}"


def _cluster() -> str:
    return os.environ[CLUSTER_VARIABLE]
