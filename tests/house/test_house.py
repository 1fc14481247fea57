"""The house rules that a machine can check: layout, sizes, words, documents."""

import ast
import re
from pathlib import Path

import pytest
import typer

from tallyboard import settings
from tallyboard.cli import program
from tallyboard.intake.event import Reason
from tallyboard.ledger.migrate import migrations
from tallyboard.people.keys import Scope
from tallyboard.web.app import ROUTES

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "tallyboard").rglob("*.py"))
BANNED = {"utils", "util", "helpers", "common", "misc", "base", "manager", "service", "impl"}
ACCOUNT_TABLES = set(
    "app_user user_alias event seen_filter slot_usage day_usage day_total rate_card audit policy policy_override hold "
    "scim_user counter bucket".split()
)


def test_no_module_is_longer_than_500_lines() -> None:
    long = {str(path): len(path.read_text().splitlines()) for path in SOURCES if len(path.read_text().splitlines()) > 500}
    assert not long


def test_no_function_is_longer_than_70_lines() -> None:
    long = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 70
    ]
    assert not long


def test_the_median_function_is_shorter_than_ten_lines() -> None:
    lengths = sorted(
        (node.end_lineno or 0) - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[len(lengths) // 2] < 10


def test_every_module_opens_with_what_it_holds() -> None:
    assert not [str(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]


def test_no_name_says_nothing() -> None:
    assert not [str(path) for path in SOURCES if path.stem in BANNED]


def test_only_the_clock_reads_the_time() -> None:
    reads = re.compile(r"\btime\.time|\bdatetime\.now\(|\bdate\.today\(|\.utcnow\(")
    found = [str(path.relative_to(ROOT)) for path in SOURCES if reads.search(path.read_text())]
    assert found == ["src/tallyboard/cli/doctor.py", "src/tallyboard/clock.py"]


def test_pages_and_commands_hold_no_sql() -> None:
    statement = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|PRAGMA)\s")
    found = [
        f"{path.name}:{node.lineno}"
        for path in SOURCES
        if path.parts[-2] == "cli" or "web" in path.parts or path.name == "app.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if statement.match(_literal(node))
    ]
    assert not found


def test_every_statement_about_an_account_names_it() -> None:
    """Law 7. Statements are the string literals that read or write a table of accounts."""
    loose = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            text = _literal(node)
            tables = set(re.findall(r"\b(?:FROM|INTO|UPDATE|JOIN|join)\s+([a-z_]+)", text)) & ACCOUNT_TABLES
            if tables and "account_id" not in text:
                loose.append(f"{path.name}:{node.lineno}: {text.strip()[:80]}")
    assert not loose


def test_every_table_of_an_account_has_it_first_in_its_key() -> None:
    schema = "\n".join(each.text for each in migrations())
    for table in ACCOUNT_TABLES:
        definition = re.search(rf"CREATE TABLE {table} \((.*?)\n\)", schema, re.DOTALL)
        assert definition, table
        assert re.search(r"PRIMARY KEY \(account_id\b", definition[1]), table


@pytest.mark.parametrize("setting", settings.TABLE, ids=lambda setting: setting.name)
def test_every_setting_is_documented(setting: settings.Setting) -> None:
    assert f"`{setting.variable}`" in (ROOT / "docs" / "deployment.md").read_text()


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_to_refuse_is_documented(reason: Reason) -> None:
    assert f"`{reason}`" in (ROOT / "docs" / "api.md").read_text()


@pytest.mark.parametrize("scope", list(Scope))
def test_every_scope_is_documented(scope: Scope) -> None:
    assert f"`{scope}`" in (ROOT / "docs" / "api.md").read_text()


@pytest.mark.parametrize("route", [route for route in ROUTES if route.include_in_schema is not False], ids=lambda route: route.fn.__name__)
def test_every_route_of_the_api_is_documented(route: object) -> None:
    (path,) = route.paths  # type: ignore[attr-defined]
    shown = re.sub(r"\{[^}]*\}", "{key}", path.removeprefix("/api/v1"))
    assert shown in (ROOT / "docs" / "api.md").read_text()


def test_every_command_is_documented_and_explains_itself() -> None:
    texts = "".join(path.read_text() for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
    for name, command in typer.main.get_command(program).commands.items():  # type: ignore[attr-defined]
        assert name in texts
        assert command.help


def test_nothing_is_left_to_do_silently() -> None:
    left = re.compile(r"\b(TODO|FIXME|XXX)\b")
    named = [
        str(path.relative_to(ROOT))
        for folder in ("src", "docs", "benchmarks", "frontend/src", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix in {".py", ".md", ".ts", ".css", ".html", ".toml", ".sql", ".sh", ""}
        and left.search(path.read_text())
    ]
    assert not named


def _literal(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "?" for part in node.values)
    return ""
