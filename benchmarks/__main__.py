"""`python -m benchmarks`: everything in one table, exit code 1 where a bar is missed. `history`: the long history. `limits`: limits alone; `otlp`: OTLP alone."""

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks import answer, board, doors, history, intake, limits, on_postgresql, otlp, page
from benchmarks.answer import Answers
from benchmarks.board import Line, at_least, at_most
from benchmarks.doors import Door
from benchmarks.intake import Speed
from benchmarks.limits import Limits
from benchmarks.on_postgresql import OnPostgresql
from benchmarks.otlp import Decoded
from tallyboard.ledger import seen

USERS = (1_000, 20_000, 100_000)
BARE_SUM_BAR = 3.0
RAW_EVENTS_BAR = 1.2
BASELINE_ANSWER_BAR = 20.0


def main() -> int:
    """Measure what the command line asks for; the exit code."""
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="tallyboard-benchmarks-", dir=asked.folder) as kept, _progress() as progress:
        if asked.command == "history":
            title, lines = _history(Path(kept), asked.events, asked.shelf_events or [seen.SHELF_EVENTS], progress)
        elif asked.command == "limits":
            title, lines = "Limits, medians of runs that take turns", list(_limit_lines(limits.measure(Path(kept), progress)))
        elif asked.command == "otlp":
            title, lines = (
                "OTLP, medians of runs that take turns",
                list(_otlp_lines(otlp.measure(progress), doors.measure(Path(kept), progress))),
            )
        else:
            title, lines = "Medians of runs that take turns", _everything(Path(kept), progress)
    return 0 if board.show(f"{title} ({_machine()})", lines) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["all", "history", "limits", "otlp"], default="all")
    parser.add_argument("--events", type=int, default=20_000_000, help="history: how many events it has")
    parser.add_argument("--shelf-events", type=int, action="append", help="history: the size of a shelf; may be given several times")
    parser.add_argument("--folder", type=Path, help="where to keep the data meanwhile (default: the system's temporary folder)")
    return parser.parse_args()


def _everything(folder: Path, progress: Progress) -> list[Line]:
    lines = [*_intake_lines(intake.measure(folder, progress)), *_otlp_lines(otlp.measure(progress), doors.measure(folder, progress))]
    lines += _server_lines(on_postgresql.measure(folder, progress))
    lines += _limit_lines(limits.measure(folder, progress))
    for users in USERS:
        lines += _answer_lines(answer.measure(folder, users, progress))
    for weight in page.measure(folder):
        limit = page.JS_BAR_KB if weight.part == "JavaScript" else None
        met = None if limit is None else weight.kilobytes <= limit
        lines.append(Line(f"{weight.part}, gzip", f"{weight.kilobytes:.1f} kB", bar=f"at most {limit:g} kB" if limit else "", met=met))
    return lines


def _intake_lines(speeds: list[Speed]) -> Iterator[Line]:
    for speed in speeds:
        load = speed.load
        what = f"intake over HTTP, {load.spread}, {load.size:,} events a request over {load.connections} connections (beside: baseline)"
        figures = f"{speed.tallyboard:,.0f}/s", f"{speed.baseline:,.0f}/s"
        ratio, bar, met = at_least(speed.times, intake.BAR_TIMES)
        yield Line(what, *figures, ratio, bar, met) if load.size == intake.BAR_SIZE else Line(what, *figures, ratio)


def _otlp_lines(found: list[Decoded], by_door: list[Door]) -> Iterator[Line]:
    for each in found:
        what = f"spans decoded from OTLP, {each.encoding} (beside: generated classes, walked)"
        yield Line(what, f"{each.ours:,.0f}/s", f"{each.theirs:,.0f}/s", *at_least(each.times, otlp.BARS[each.encoding]))
        yield Line("  decoded, understood and charged", f"{each.taken:,.0f}/s")
    (events,) = (each for each in by_door if each.name == doors.CLOUDEVENTS)
    for door in by_door:
        if door is not events:
            what = f"calls over HTTP, {door.name}, {doors.SIZE:,} a request (beside: the same as {doors.CLOUDEVENTS})"
            yield Line(what, f"{door.calls:,.0f}/s", f"{events.calls:,.0f}/s", f"{door.times:.2f}x")


def _server_lines(found: OnPostgresql) -> Iterator[Line]:
    for size, (theirs, ours) in found.intake.items():
        yield Line(
            f"intake on PostgreSQL, last hour, {size:,} events a request (beside: SQLite)",
            f"{theirs:,.0f}/s",
            f"{ours:,.0f}/s",
            f"{theirs / ours:.2f}x",
        )
    alone = found.by_processes[1]
    for processes, speed in found.by_processes.items():
        yield Line(
            f"  by {processes} process{'es' if processes > 1 else ''} (beside: 1 process)",
            f"{speed:,.0f}/s",
            f"{alone:,.0f}/s",
            f"{speed / alone:.2f}x",
        )
    theirs, ours = found.answer
    what = f"answer on PostgreSQL, {on_postgresql.USERS:,} users (beside: SQLite)"
    yield Line(what, f"{theirs:.1f} ms", f"{ours:.1f} ms", f"{theirs / ours:.2f}x")


def _limit_lines(found: Limits) -> Iterator[Line]:
    for each in found.overshoot:
        plural = "s" if each.clients > 1 else ""
        what = f"calls beyond a limit of {limits.CALLS}, {each.clients} client{plural}: holds (beside: look, compare, add)"
        yield Line(what, f"{each.holds}", f"{each.baseline}", "", "exactly 0", each.holds == 0)
        yield Line("  check, then report (beside: look, compare, add)", f"{each.checks}", f"{each.baseline}")
    (ours, theirs), (our_us, their_us) = found.per_second, found.processor_us
    what = f"checks, {limits.CONNECTIONS} connections (beside: FastAPI and pydantic, from memory)"
    yield Line(what, f"{ours:,.0f}/s", f"{theirs:,.0f}/s", *at_least(found.times, limits.CHECK_BAR))
    share = f"asker busy {found.asker_share:.0%}"
    yield Line("  processor time of the server, each", f"{our_us:.0f} µs", f"{their_us:.0f} µs", f"{their_us / our_us:.1f}x", share)
    met = found.busy_p99 <= limits.P99_BAR_MS
    what = f"99 of 100 checks while {found.busy_events:,.0f} events/s arrive by {limits.BATCH_EVENTS:,} (beside: idle)"
    bar = f"at most {limits.P99_BAR_MS:g} ms"
    yield Line(what, f"{found.busy_p99:.1f} ms", f"{found.idle_p99:.1f} ms", f"{found.busy_p99 / found.idle_p99:.1f}x", bar, met)
    what = f"  while {limits.COMPUTING} processes only compute and nothing arrives (beside: idle)"
    computing = f"{found.computing_p99 / found.idle_p99:.1f}x"
    yield Line(what, f"{found.computing_p99:.1f} ms", f"{found.idle_p99:.1f} ms", computing)
    for number in limits.PAIR_CLIENTS:
        (ours, our_p99), (theirs, their_p99) = found.pairs["SQLite"][number], found.pairs["PostgreSQL"][number]
        what = f"hold and settle, {number} client{'s' if number > 1 else ''} (beside: on PostgreSQL)"
        yield Line(what, f"{ours:,.0f}/s", f"{theirs:,.0f}/s", f"{theirs / ours:.2f}x")
        yield Line("  99 of 100 pairs", f"{our_p99:.1f} ms", f"{their_p99:.1f} ms", f"{their_p99 / our_p99:.2f}x")


def _answer_lines(found: Answers) -> Iterator[Line]:
    what = f"answer, {found.users:,} users, {found.events:,} events (filled by {found.seeded_by}; beside: bare sum)"
    if found.users == answer.BASELINE_USERS:
        yield Line(what, f"{found.first:.1f} ms", f"{found.bare_sum:.1f} ms", *at_most(found.first / found.bare_sum, BARE_SUM_BAR))
    else:
        yield Line(what, f"{found.first:.1f} ms", f"{found.bare_sum:.1f} ms", f"{found.first / found.bare_sum:.2f}x")
    yield Line("  the first after opening, file dropped from memory", f"{found.cold:.1f} ms")
    if found.of_times is not None:
        ratio = at_most(found.of_times / found.first, RAW_EVENTS_BAR)
        yield Line(f"  with {answer.TIMES}x the events (beside: with 1x)", f"{found.of_times:.1f} ms", f"{found.first:.1f} ms", *ratio)
    if found.of_year is not None:
        growth = f"{found.of_year / found.first:.2f}x"
        yield Line("  with 360 days kept (beside: with 30)", f"{found.of_year:.1f} ms", f"{found.first:.1f} ms", growth)
    again = f"{found.again / found.first:.2f}x"
    yield Line("  asked again, days before the last remembered (beside: first)", f"{found.again:.1f} ms", f"{found.first:.1f} ms", again)
    for number, (first, ours, theirs) in found.beside_baseline.items():
        plural = "s" if number > 1 else ""
        shown = f"  {number} event{plural} a user and day, asked again (beside: baseline)"
        yield Line(shown, f"{ours:.1f} ms", f"{theirs:,.0f} ms", *at_least(theirs / ours, BASELINE_ANSWER_BAR))
        yield Line("    for the first time (beside: baseline)", f"{first:.1f} ms", f"{theirs:,.0f} ms", f"{theirs / first:.1f}x")


def _history(folder: Path, events: int, shelf_sizes: list[int], progress: Progress) -> tuple[str, list[Line]]:
    found = history.run(events, shelf_sizes, folder, progress)
    plain = found[-1]
    lines = []
    for each in found:
        for size, speed in each.speeds.items():
            lasting, other = each.sustained(size), plain.sustained(size)
            what = f"{each.shelving.name}, {size:,} events a batch (beside: plain)"
            lines.append(Line(what, f"{lasting:,.0f}/s", f"{other:,.0f}/s", f"{lasting / other:.2f}x", f"{speed:,.0f}/s between closings"))
        opened = f"{each.opened.seconds * 1000:.0f} ms, {each.opened.megabytes:.0f} MB"
        lines.append(Line("  opening, up to the first acknowledged event", opened))
        if each.closing_seconds:
            lines.append(Line("  closing a shelf", f"{each.closing_seconds:.2f} s"))
    return f"Durable appends on {events:,} events with random ids", lines


def _machine() -> str:
    return f"{os.cpu_count()} CPUs, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()}"


def _progress() -> Progress:
    return Progress(console=Console(stderr=True), transient=True)


if __name__ == "__main__":
    sys.exit(main())
