"""The files of deploy/ are parsed here, not run: what they name exists, what they keep secret is not in them."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pglast import ast as sql
from pglast import parse_sql
from pglast.enums import ObjectType

import tallyboard
from tallyboard import settings
from tallyboard.cli import program
from tests.house.test_house import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = {name: yaml.safe_load((DEPLOY / name).read_text()) for name in ("compose.yaml", "compose.citus.yaml")}
SERVICES = [(name, service) for name, file in COMPOSE.items() for service in file["services"]]
IMAGE = f"tallyboard:{tallyboard.__version__}"
SECRET = re.compile(r"password|secret|token", re.IGNORECASE)
ASKED_FOR = re.compile(r"\$\{[A-Z_]+:\?[^}]+\}")
CONDITIONS = {"service_healthy": "healthcheck", "service_completed_successfully": "command"}

each_service = pytest.mark.parametrize(("name", "service"), SERVICES)
each_file = pytest.mark.parametrize("path", sorted(DEPLOY.glob("[!.]*")), ids=lambda path: path.name)


@each_file
def test_every_setting_exists(path: Path) -> None:
    named = set(re.findall(r"\bTALLYBOARD_[A-Z_]+", path.read_text()))
    assert named <= {setting.variable for setting in settings.TABLE}


@each_file
def test_no_secret_is_written_down(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"://[^\s/@]*:[^\s/@]+@", text), "an address with a password"
    assert not re.search(r"tb_[A-Za-z0-9_-]{20,}", text), "an API key"


@each_service
def test_every_password_is_asked_for(name: str, service: str) -> None:
    for variable, value in _environment(name, service).items():
        if SECRET.search(variable):
            assert ASKED_FOR.fullmatch(value), f"{variable} is {value!r}"


@each_service
def test_every_image_has_a_version(name: str, service: str) -> None:
    image = COMPOSE[name]["services"][service]["image"]
    assert re.fullmatch(r"[a-z/]+:\d+(\.\d+)*", image), image
    if "build" in COMPOSE[name]["services"][service]:
        assert image == IMAGE, "the tag is the version that is built"


@each_service
def test_every_command_exists(name: str, service: str) -> None:
    definition = COMPOSE[name]["services"][service]
    if definition["image"] == IMAGE:
        _check_command(definition["command"])


@each_service
def test_whoever_serves_is_asked_whether_it_is_ready(name: str, service: str) -> None:
    definition = COMPOSE[name]["services"][service]
    if definition["image"] == IMAGE and definition["command"] == ["serve"]:
        assert "http://127.0.0.1:8321/readyz" in definition["healthcheck"]["test"][-1]
        assert definition["restart"] == "unless-stopped"


@each_service
def test_whatever_a_service_names_is_defined(name: str, service: str) -> None:
    file, definition = COMPOSE[name], COMPOSE[name]["services"][service]
    for other, how in definition.get("depends_on", {}).items():
        assert CONDITIONS[how["condition"]] in file["services"][other]
    for network in definition.get("networks", []):
        assert network in file["networks"]
    for config in definition.get("configs", []):
        assert config["source"] in file["configs"]
    for volume in definition.get("volumes", []):
        source = volume.split(":")[0]
        assert (DEPLOY / source).is_file() if source.startswith("./") else source in file["volumes"]
    if "build" in definition:
        assert (DEPLOY / definition["build"]["context"] / definition["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")


@each_service
def test_whoever_serves_does_not_own_the_tables(name: str, service: str) -> None:
    definition = COMPOSE[name]["services"][service]
    if definition["image"] == IMAGE:
        role = "tallyboard_owner" if definition["command"][0] == "migrate" else "tallyboard"
        assert _environment(name, service)["TALLYBOARD_DATABASE_URL"].startswith(f"postgresql://{role}@")
        assert _environment(name, service)["PGPASSWORD"].startswith("${OWNER_" if role == "tallyboard_owner" else "${RUN_")


def test_processes_hold_fewer_connections_than_the_server_has() -> None:
    file = COMPOSE["compose.citus.yaml"]
    held = [int(_environment("compose.citus.yaml", name).get("TALLYBOARD_DATABASE_CONNECTIONS", 0)) for name in file["services"]]
    (most,) = {part for part in file["services"]["coordinator"]["command"] if part.startswith("max_connections=")}
    assert 0 < sum(held) + 10 < int(most.removeprefix("max_connections="))


def test_the_proxy_asks_all_three_whether_they_are_ready_and_holds_nothing_back() -> None:
    file = COMPOSE["compose.citus.yaml"]
    proxy = file["configs"]["caddyfile"]["content"]
    processes = [name for name, service in file["services"].items() if service.get("command") == ["serve"]]
    assert len(processes) == 3
    assert f"reverse_proxy {' '.join(f'{name}:8321' for name in processes)} {{" in proxy
    assert "health_uri /readyz" in proxy
    assert "flush_interval -1" in proxy
    assert set(file["services"]["proxy"]["depends_on"]) == set(processes)


@each_service
def test_whoever_serves_may_listen_where_it_does_and_knows_its_proxy(name: str, service: str) -> None:
    definition = COMPOSE[name]["services"][service]
    if definition["image"] == IMAGE and definition["command"] == ["serve"]:
        image = dict(re.findall(r"\b(TALLYBOARD_[A-Z_]+)=(\S+)", re.sub(r"(?m)^#.*$", "", DOCKERFILE)))
        given = {variable: re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", value) for variable, value in _environment(name, service).items()}
        chosen = settings.read({}, {**image, **given})
        assert chosen.host == "0.0.0.0"  # noqa: S104  The image's.
        chosen.check_exposure()
        if chosen.plain_http:
            assert definition["ports"] == ["127.0.0.1:8321:8321"], "only this machine gets to it"
        else:
            (network,) = (each["subnet"] for each in COMPOSE[name]["networks"]["web"]["ipam"]["config"])
            assert chosen.trusted_proxies == (network,)


def test_nodes_trust_only_their_own_network() -> None:
    file = COMPOSE["compose.citus.yaml"]
    (subnet,) = (each["subnet"] for each in file["networks"]["nodes"]["ipam"]["config"])
    lines = [line.split() for line in file["configs"]["pg_hba"]["content"].splitlines()]
    assert {line[3] for line in lines if line[0] == "host" and line[-1] == "trust"} == {subnet, "127.0.0.1/32"}
    assert lines[-1] == ["host", "all", "all", "all", "scram-sha-256"]
    assert file["networks"]["nodes"]["internal"]
    on_it = {name for name, service in file["services"].items() if "nodes" in service.get("networks", [])}
    assert on_it == {"coordinator", "worker-1", "worker-2"}


def test_the_cluster_is_made_of_every_node_before_it_is_migrated() -> None:
    services = COMPOSE["compose.citus.yaml"]["services"]
    nodes = [name for name, service in services.items() if service["image"].startswith("citusdata/") and "healthcheck" in service]
    added = re.findall(r"citus_add_node\('([^']+)'", " ".join(services["cluster"]["command"]))
    assert [*added, "coordinator"] == nodes[1:] + nodes[:1]
    assert set(services["cluster"]["depends_on"]) == set(nodes)
    assert services["migrate"]["command"] == ["migrate", "--citus"]
    assert services["migrate"]["depends_on"] == {"cluster": {"condition": "service_completed_successfully"}}


def test_the_image_is_built_from_files_that_are_there_and_runs_without_rights() -> None:
    lines = re.sub(r"\\\n\s*", "", DOCKERFILE).splitlines()
    assert {line for line in lines if line.startswith("FROM ")} == {"FROM python:3.11-slim AS build", "FROM python:3.11-slim"}
    copied = {source for line in lines if line.startswith("COPY ") and "--from" not in line for source in line.split()[1:-1]}
    assert all((ROOT / source).exists() for source in copied)
    # The pages are known by a fingerprint of all of frontend/ (hatch_build.py): none may be missing.
    assert {f"frontend/{path.name}" for path in (ROOT / "frontend").iterdir() if path.name not in {"node_modules", ".gitignore"}} <= copied
    assert "requirements/runtime.txt" in copied
    assert any("--require-hashes --requirement requirements/runtime.txt" in line for line in lines)
    assert [line for line in lines if line.startswith("USER ")] == ["USER tallyboard"]
    assert lines.index("USER tallyboard") > lines.index("FROM python:3.11-slim")
    assert f"--tag {IMAGE}" in DOCKERFILE
    assert 'ENTRYPOINT ["tallyboard"]' in lines
    _check_command(yaml.safe_load(lines[-1].removeprefix("CMD ")))


def test_the_role_that_serves_may_change_rows_and_nothing_else() -> None:
    statements = _statements((DEPLOY / "roles.sql").read_text())
    granted: dict[tuple[str, str], set[str]] = {}
    for grant in (each.action if isinstance(each, sql.AlterDefaultPrivilegesStmt) else each for each in statements):
        if isinstance(grant, sql.GrantStmt) and grant.is_grant:
            for role in grant.grantees:
                assert role.rolename in {"tallyboard", "tallyboard_owner"}
                place = granted.setdefault((role.rolename, ObjectType(grant.objtype).name), set())
                place |= {privilege.priv_name for privilege in grant.privileges or [sql.AccessPriv(priv_name="all")]}
    rows = {"select", "insert", "update", "delete"}
    assert granted == {
        ("tallyboard", "OBJECT_DATABASE"): {"connect"},
        ("tallyboard", "OBJECT_SCHEMA"): {"usage"},
        ("tallyboard", "OBJECT_TABLE"): rows,
        ("tallyboard_owner", "OBJECT_DATABASE"): {"connect"},
        ("tallyboard_owner", "OBJECT_SCHEMA"): {"usage", "create"},
    }
    assert not [each for each in statements if isinstance(each, sql.GrantRoleStmt)]


def _statements(text: str) -> list[Any]:
    """What psql would send, with its variables and its own commands taken out."""
    plain = re.sub(r"\\gexec", ";", re.sub(r"^\\getenv.*$", "", text, flags=re.MULTILINE))
    plain = plain.replace(':"DBNAME"', "tallyboard")
    assert "PASSWORD '" not in plain
    return [each.stmt for each in parse_sql(re.sub(r":'([a-z_]+)'", r"'\1'", plain))]


def _environment(name: str, service: str) -> dict[str, str]:
    return dict(COMPOSE[name]["services"][service].get("environment", {}))


def _check_command(words: list[str]) -> None:
    """A command of the program with options that it has."""
    command = typer.main.get_command(program).commands[words[0]]  # type: ignore[attr-defined]
    assert set(words[1:]) <= {option for parameter in command.params for option in parameter.opts}
