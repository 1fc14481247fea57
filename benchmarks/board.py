"""The one table, and the bars that each figure is held to."""

from collections.abc import Iterable

from msgspec import Struct
from rich import box
from rich.console import Console
from rich.table import Table


class Line(Struct, frozen=True):
    """One figure beside what it is compared with. `met` is None where no bar is set."""

    what: str
    figure: str
    beside: str = ""
    ratio: str = ""
    bar: str = ""
    met: bool | None = None


def at_least(ratio: float, bar: float) -> tuple[str, str, bool]:
    """Ratio, bar and whether it is met, where more is better."""
    return f"{ratio:.1f}x", f"at least {bar:g}x", ratio >= bar


def at_most(ratio: float, bar: float) -> tuple[str, str, bool]:
    """Ratio, bar and whether it is met, where less is better."""
    return f"{ratio:.2f}x", f"at most {bar:g}x", ratio <= bar


def show(title: str, lines: Iterable[Line]) -> bool:
    """Print the table; whether every bar is met."""
    listed = list(lines)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("measured", "Tallyboard", "beside", "ratio", "bar", ""):
        table.add_column(heading, justify="left" if heading in {"measured", "bar", ""} else "right")
    for line in listed:
        table.add_row(line.what, line.figure, line.beside, line.ratio, line.bar, _VERDICTS[line.met])
    Console(width=150).print(table)
    return all(line.met is not False for line in listed)


_VERDICTS = {None: "", True: "met", False: "MISSED"}
