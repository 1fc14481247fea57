"""Finds every SQL statement of the source, parses it as PostgreSQL does, and says which rule it breaks.

One text serves SQLite, PostgreSQL and Citus as long as all that it touches belongs to one account, said plainly:
then Citus sends it whole to the node that has the account. Each rule was tried on a cluster of Citus 13.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from pglast import ast as sql
from pglast import parse_sql
from pglast.enums import A_Expr_Kind, AlterTableType, BoolExprType, ConstrType, JoinType, ObjectType, SetOperation
from pglast.parser import ParseError

from tallyboard.ledger import postgres
from tallyboard.ledger.citus import DISTRIBUTED, REFERENCE

COUNTED = ("schema_version",)
"""Made by the engine before the first migration; it stays on the coordinator."""
FUNCTIONS = frozenset("abs avg count length lower max min replace round substr sum upper unnest jsonb_array_elements".split())
"""Give the same for the same values on every engine and node. Whoever needs another one makes sure of that and adds it."""
EVERY_ACCOUNT = "every account"
UNKNOWN = "\0"
"""Stands in a collected text for a part that is no constant."""

_BEGINS = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|TRUNCATE|LOCK)\s")
_RUNS = frozenset("all one run many among".split())
_PARAMETER = re.compile(r"%\(([a-z_]+)\)s")


@dataclass(frozen=True)
class Statement:
    """A statement of the source, and the function it stands in ("" for a module's constant)."""

    module: str
    function: str
    line: int
    text: str

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.module}:{self.line}"


# --- finding them -----------------------------------------------------------------------------------------------------


def collect(source: str, module: str) -> list[Statement]:
    """The statements of one module: literals, f-strings and sums that begin as one, and whatever a session is given to run."""
    tree = ast.parse(source)
    constants = _constants(tree)
    found = [Statement(module, function, line, text) for function, line, text in _found(tree, constants, _parts_only(tree), "")]
    return list({(each.function, each.text): each for each in reversed(found)}.values())[::-1]


def _found(node: ast.AST, constants: dict[str, list[str]], parts: set[str], function: str) -> Iterator[tuple[str, int, str]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in parts:
        return
    texts = [] if isinstance(node, ast.Name) else _texts(node, constants)
    if any(_BEGINS.match(text) for text in texts):
        yield from ((function, node.lineno, text) for text in texts)  # type: ignore[attr-defined]
        return
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _RUNS and node.args:
        yield from ((function, node.lineno, text) for text in _texts(node.args[0], constants))
    for child in ast.iter_child_nodes(node):
        yield from _found(child, constants, parts, function)


def _texts(node: ast.AST, constants: dict[str, list[str]]) -> list[str]:
    """The texts that an expression may come to; nothing where it is none that can be read off."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Name(id=name):
            return constants.get(name, [])
        case ast.BinOp(op=ast.Add()):
            pieces = [_texts(node.left, constants), _texts(node.right, constants)]
        case ast.JoinedStr(values=values):
            pieces = [_texts(each.value if isinstance(each, ast.FormattedValue) else each, constants) for each in values]
        case ast.IfExp(body=body, orelse=orelse):
            return _texts(body, constants) + _texts(orelse, constants)
        case _:
            return []
    if not any(pieces):
        return []
    return ["".join(choice) for choice in product(*(piece or [UNKNOWN] for piece in pieces))]


def _constants(tree: ast.Module) -> dict[str, list[str]]:
    constants: dict[str, list[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            constants[node.targets[0].id] = _texts(node.value, constants)
    return constants


def _parts_only(tree: ast.Module) -> set[str]:
    """The names that stand only inside longer texts, so that their own is no statement."""
    inside = {
        id(name): name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp | ast.JoinedStr)
        for name in ast.walk(node)
        if isinstance(name, ast.Name)
    }
    alone = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in inside}
    return set(inside.values()) - alone


# --- statements -------------------------------------------------------------------------------------------------------


def complaints(text: str, *, across_accounts: bool = False) -> list[str]:
    """The rules that a statement breaks. `across_accounts` allows a SELECT whose first table is read for every account."""
    if UNKNOWN in text:
        return ["is put together from a part that is no constant of its module, so nobody can tell what it says"]
    try:
        parsed = parse_sql(in_postgresql(text))
    except (ParseError, AssertionError) as error:
        return [f"cannot be read as PostgreSQL's SQL: {error}"]
    if len(parsed) != 1:
        return ["is more than one statement"]
    statement = parsed[0].stmt
    if not isinstance(statement, sql.SelectStmt | sql.InsertStmt | sql.UpdateStmt | sql.DeleteStmt):
        return ["is no SELECT, INSERT, UPDATE or DELETE"]
    if across_accounts and not isinstance(statement, sql.SelectStmt):
        return ["changes rows across accounts; only a SELECT may look at several"]
    found = [complaint for node in _walk(statement) for complaint in _of_node(node)] + _of_tables(statement)
    bound = _Bound(found)
    _bind(statement, {}, bound, across_accounts=across_accounts)
    if len(bound.accounts) > 1:
        found.append("names two accounts; a statement is about one")
    return found


def in_postgresql(text: str) -> str:
    """The text that the engine would send, its parameters numbered."""
    if "$each" in text:
        each = postgres._EACH.search(text)
        assert each, "$each names account_id first"
        sent, _ = postgres._unnested(text, (int,) * len(each[1].split(", ")))
    elif "$point_keys" in text:
        sent = postgres._pointed(text, "bigint[]")
    else:
        sent = postgres.dialect(text)
    numbers: dict[str, int] = {}
    numbered = _PARAMETER.sub(lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}", sent)
    return numbered.replace("%%", "%")


def _of_node(node: Any) -> Iterator[str]:
    """What can be seen wrong in one place, wherever it stands."""
    match node:
        case sql.FuncCall() if node.funcname[-1].sval not in FUNCTIONS:
            yield f"calls {node.funcname[-1].sval}(), not known to be immutable; times, ids and random values are parameters"
        case sql.SQLValueFunction():
            yield "reads the time or the user of the session, which is volatile; such values are parameters"
        case sql.SelectStmt(lockingClause=clause) if clause:
            yield "locks by FOR UPDATE or FOR SHARE; writers take the account's row instead (ledger/locking.py)"
        case sql.CommonTableExpr(ctequery=query) if not isinstance(query, sql.SelectStmt):
            yield "changes rows in a WITH, which SQLite has not and Citus commits in two phases"
        case sql.UpdateStmt(targetList=targets) | sql.OnConflictClause(targetList=targets) if "account_id" in _names(targets):
            yield "changes account_id, which says on which node a row is"
        case sql.InsertStmt():
            yield from _of_insert(node)


def _of_insert(insert: Any) -> Iterator[str]:
    distributed = insert.relation.relname in DISTRIBUTED
    if insert.onConflictClause:
        target = insert.onConflictClause.infer
        if not (target and target.indexElems):
            yield "has ON CONFLICT without naming its target columns"
        elif distributed and "account_id" not in _names(target.indexElems):
            yield "has ON CONFLICT with a target that leaves out account_id"
    if distributed:
        if _names(insert.cols)[:1] != ["account_id"]:
            yield f"inserts into {insert.relation.relname} without naming account_id first"
        yield from _of_rows(insert.selectStmt)


def _of_rows(source: Any) -> Iterator[str]:
    """What an INSERT into a distributed table takes its rows from."""
    for part in _parts(source):
        level = _Level()
        for item in part.fromClause or ():
            _join(item, level)
        if not all(_parameter(first) or _owner(first, level, {}) in level.tables for first in _firsts(part)):
            yield "inserts rows whose account_id is neither a parameter nor that of the account's row"
        if part.fromClause and not any(name in DISTRIBUTED for name in _tables(part.fromClause)):
            yield "inserts rows that are not joined with the account's row: Citus would commit in two phases"


def _parts(source: Any) -> Iterator[Any]:
    """The sides of a UNION, or the one SELECT or VALUES that there is."""
    if source is not None and source.op != SetOperation.SETOP_NONE:
        yield from _parts(source.larg)
        yield from _parts(source.rarg)
    elif source is not None:
        yield source


def _firsts(part: Any) -> list[Any]:
    """What stands in the first column of each row."""
    return [row[0] for row in part.valuesLists or ()] or [part.targetList[0].val]


def _of_tables(statement: Any) -> list[str]:
    known = {*DISTRIBUTED, *REFERENCE, *COUNTED, *(node.ctename for node in _walk(statement) if isinstance(node, sql.CommonTableExpr))}
    return [f"uses {name}, which is in neither list of ledger/citus.py" for name in sorted(set(_tables(statement)) - known)]


# --- whose rows -------------------------------------------------------------------------------------------------------


@dataclass
class _Bound:
    """What was found out while going through a statement: complaints, and the parameters that name an account."""

    complaints: list[str]
    accounts: set[object] = field(default_factory=set)


@dataclass
class _Level:
    """One SELECT, UPDATE or DELETE: its distributed tables by the name they go by, and what is said to be equal.

    Each equality comes with the names it can bind: of an outer join only the side that may be missing.
    """

    tables: dict[str, str] = field(default_factory=dict)
    equal: list[tuple[Any, Any, set[str]]] = field(default_factory=list)


def _bind(query: Any, outer: dict[str, object], bound: _Bound, *, across_accounts: bool = False) -> None:
    """Find the account of every distributed table of a query and, knowing these, of the queries inside it."""
    level = _Level()
    for item in _items(query):
        _join(item, level)
    _say(getattr(query, "whereClause", None), level, set(level.tables))
    accounts = {name: account for name, account in outer.items() if name not in level.tables}
    if across_accounts and level.tables:
        accounts[next(iter(level.tables))] = EVERY_ACCOUNT
    _spread(level, accounts)
    for name, table in level.tables.items():
        if name not in accounts:
            bound.complaints.append(_unbound(table, level))
        else:
            bound.accounts.add(accounts[name])
    if isinstance(query, sql.InsertStmt) and query.relation.relname in DISTRIBUTED:
        bound.accounts |= {_parameter(first) for part in _parts(query.selectStmt) for first in _firsts(part)} - {None}
    for inner in _inside(query):
        _bind(inner, accounts, bound)


def _unbound(table: str, level: _Level) -> str:
    if len(level.tables) > 1:
        return f"joins {table} on something that leaves out account_id: it is = :account_id plainly, or the other table's"
    return f"names no account of {table}: account_id = :account_id stands plainly in WHERE or ON"


def _spread(level: _Level, accounts: dict[str, object]) -> None:
    """Bind tables by parameters, then others by tables that are bound, until nothing new is found."""
    grown = True
    while grown:
        grown = False
        for one, other, may in level.equal:
            for column, value in ((one, other), (other, one)):
                name = _owner(column, level, accounts)
                account = _parameter(value) or accounts.get(_owner(value, level, accounts) or "")
                if name in may and name not in accounts and account is not None:
                    accounts[name] = account
                    grown = True


def _owner(column: Any, level: _Level, accounts: dict[str, object]) -> str | None:
    """By which name the table of an account_id goes; None where the column is another or its table is not clear."""
    if not _is_account_id(column):
        return None
    if len(column.fields) > 1:
        return str(column.fields[-2].sval)
    names = level.tables or accounts
    return next(iter(names)) if len(names) == 1 else None


def _items(query: Any) -> tuple[Any, ...]:
    match query:
        case sql.SelectStmt():
            return query.fromClause or ()
        case sql.UpdateStmt():
            return (query.relation, *(query.fromClause or ()))
        case sql.DeleteStmt():
            return (query.relation, *(query.usingClause or ()))
    return ()


def _join(item: Any, level: _Level) -> set[str]:
    """Take in what stands in FROM; the names of the distributed tables in it."""
    match item:
        case sql.RangeVar(relname=table) if table in DISTRIBUTED:
            name = item.alias.aliasname if item.alias else table
            level.tables[name] = table
            return {name}
        case sql.JoinExpr():
            left, right = _join(item.larg, level), _join(item.rarg, level)
            may = {JoinType.JOIN_INNER: left | right, JoinType.JOIN_LEFT: right, JoinType.JOIN_RIGHT: left}.get(item.jointype, set())
            _say(item.quals, level, may)
            return left | right
    return set()


def _say(condition: Any, level: _Level, may: set[str]) -> None:
    """Take in what a condition says is always equal."""
    match condition:
        case sql.BoolExpr(boolop=BoolExprType.AND_EXPR):
            for part in condition.args:
                _say(part, level, may)
        case sql.A_Expr(kind=A_Expr_Kind.AEXPR_OP) if condition.name[-1].sval == "=":
            level.equal.append((condition.lexpr, condition.rexpr, may))


def _inside(query: Any) -> Iterator[Any]:
    """The queries right inside one, wherever they stand."""
    for name in query:
        yield from _first_queries(getattr(query, name))


def _first_queries(value: Any) -> Iterator[Any]:
    if isinstance(value, sql.SelectStmt):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _first_queries(each)
    elif isinstance(value, sql.Node):
        yield from _inside(value)


# --- the schema -------------------------------------------------------------------------------------------------------


@dataclass
class Table:
    """The keys of a table, each as its columns; foreign keys with the table they go to."""

    primary: list[str] = field(default_factory=list)
    unique: list[list[str]] = field(default_factory=list)
    foreign: list[tuple[list[str], str]] = field(default_factory=list)


def schema(migrations: Sequence[str]) -> dict[str, Table]:
    """The tables after all migrations."""
    tables: dict[str, Table] = {}
    for text in migrations:
        for parsed in parse_sql(in_postgresql(text)):
            _migrate(parsed.stmt, tables)
    return tables


def schema_complaints(tables: dict[str, Table]) -> list[str]:
    """The rules that a schema breaks."""
    listed = [*DISTRIBUTED, *REFERENCE]
    found = [f"{name} is in neither list of ledger/citus.py" for name in tables if name not in listed and name not in COUNTED]
    found += [f"{name} is listed twice in ledger/citus.py" for name in sorted(set(listed)) if listed.count(name) > 1]
    found += [f"{name} is listed in ledger/citus.py and not in the schema" for name in listed if name not in tables]
    for name, table in tables.items():
        found += [f"{name} {complaint}" for complaint in _of_table(name, table)]
    return found


def _of_table(name: str, table: Table) -> Iterator[str]:
    distributed = name in DISTRIBUTED
    if distributed and table.primary[:1] != ["account_id"]:
        yield "has no PRIMARY KEY that begins with account_id"
    for columns in table.unique:
        if distributed and "account_id" not in columns:
            yield f"has a UNIQUE key ({', '.join(columns)}) that leaves out account_id"
    for columns, target in table.foreign:
        if target in DISTRIBUTED and not distributed:
            yield f"is on every node and has a foreign key to {target}, which is distributed"
        elif target in DISTRIBUTED and "account_id" not in columns:
            yield f"has a foreign key to {target} that leaves out account_id"


def _migrate(statement: Any, tables: dict[str, Table]) -> None:
    match statement:
        case sql.CreateStmt():
            tables[statement.relation.relname] = table = Table()
            for element in statement.tableElts or ():
                _add(element, table)
        case sql.AlterTableStmt(objtype=ObjectType.OBJECT_TABLE):
            for command in statement.cmds:
                if command.subtype in {AlterTableType.AT_AddColumn, AlterTableType.AT_AddConstraint}:
                    _add(command.def_, tables[statement.relation.relname])
        case sql.IndexStmt(unique=True):
            tables[statement.relation.relname].unique.append(_names(statement.indexParams))
        case sql.DropStmt(removeType=ObjectType.OBJECT_TABLE):
            for path in statement.objects:
                tables.pop(path[-1].sval, None)


def _add(element: Any, table: Table) -> None:
    if isinstance(element, sql.ColumnDef):
        for constraint in element.constraints or ():
            _constrain(constraint, [element.colname], table)
    elif isinstance(element, sql.Constraint):
        columns = element.fk_attrs if element.contype == ConstrType.CONSTR_FOREIGN else element.keys
        _constrain(element, [column.sval for column in columns or ()], table)


def _constrain(constraint: Any, columns: list[str], table: Table) -> None:
    match constraint.contype:
        case ConstrType.CONSTR_PRIMARY:
            table.primary = columns
        case ConstrType.CONSTR_UNIQUE | ConstrType.CONSTR_EXCLUSION:
            table.unique.append(columns)
        case ConstrType.CONSTR_FOREIGN:
            table.foreign.append((columns, constraint.pktable.relname))


# --- reading what the parser gives ------------------------------------------------------------------------------------


def _walk(value: Any) -> Iterator[Any]:
    """Every node of a tree."""
    if isinstance(value, tuple):
        for each in value:
            yield from _walk(each)
    elif isinstance(value, sql.Node):
        yield value
        for name in value:
            yield from _walk(getattr(value, name))


def _tables(tree: Any) -> list[str]:
    return [node.relname for node in _walk(tree) if isinstance(node, sql.RangeVar)]


def _names(nodes: Any) -> list[str]:
    return [node.name for node in nodes or ()]


def _parameter(value: Any) -> object:
    """The parameter that a value is, also where it is cast; None where it is something else."""
    if isinstance(value, sql.TypeCast):
        value = value.arg
    return f"${value.number}" if isinstance(value, sql.ParamRef) else None


def _is_account_id(value: Any) -> bool:
    return isinstance(value, sql.ColumnRef) and isinstance(value.fields[-1], sql.String) and value.fields[-1].sval == "account_id"
