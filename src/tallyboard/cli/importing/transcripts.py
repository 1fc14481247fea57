"""Claude Code's transcripts: all files and folders of an import are read together, since sessions repeat lines of each other."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tallyboard import clock
from tallyboard.cli.importing.opening import ROWS_AT_ONCE, Advance, Input, Placed, lines, opened
from tallyboard.cli.options import talk
from tallyboard.errors import Invalid
from tallyboard.intake import claude_code
from tallyboard.intake.claude_code import Call, Calls
from tallyboard.intake.event import Reason, Refused

LINE_BYTES_MAX = 33_554_432
"""A line can hold a whole file that a tool wrote, or a picture."""
FILES_MAX = 100_000
_ENDINGS = (".jsonl", ".jsonl.gz")
_LINES_AT_ONCE = 1_000


class Transcripts:
    """Files and folders of one person's transcripts."""

    def __init__(self, names: list[str], user: str) -> None:
        self._files = _files(names)
        self._user = user
        self.shown = "Claude Code:"
        self.size = sum(file.size for file in self._files)

    def batches(self, advance: Advance) -> Iterator[list[Placed]]:
        """First what could not be read, then every call that has its final figures."""
        calls, done = Calls(), 0
        for file in self._files:
            yield from self._refused(file, calls, advance, done)
            done += file.size
        running = 0
        final = calls.final(clock.now_us())
        while part := list(islice(final, ROWS_AT_ONCE)):
            yield [(f"call {call.id}", claude_code.event(call, self._user)) for call in part if call]
            running += part.count(None)
        if running:
            talk.print(f"{running:,} calls are left out, since they may still be running; import again in ten minutes")

    def _refused(self, file: Input, calls: Calls, advance: Advance, done: int) -> Iterator[list[Placed]]:
        last: Call | None = None
        latest_us = 0
        refused: list[Placed] = []
        with opened(file) as (raw, content):
            for number, line in enumerate(lines(content, LINE_BYTES_MAX), 1):
                found = _read(line)
                if isinstance(found, Refused):
                    refused.append((f"{file.shown} line {number:,}", found))
                elif found:
                    calls.add(found)
                    latest_us = max(latest_us, found.at_us)
                last = found if isinstance(found, Call) else None if line.strip() else last
                if number % _LINES_AT_ONCE == 0:
                    yield refused
                    refused = []
                    advance(done + raw.tell() if file.path else done)
        yield refused
        calls.close(last, latest_us)


def _read(line: bytes) -> Call | Refused | None:
    if len(line) > LINE_BYTES_MAX:
        return Refused(Reason.EVENT_TOO_LARGE, f"the line is longer than {LINE_BYTES_MAX:,} bytes")
    found = claude_code.read(line) if line.strip() else None
    being_written = isinstance(found, Refused) and found.reason is Reason.BAD_JSON and not line.endswith(b"\n")
    return None if being_written else found


def _files(names: list[str]) -> list[Input]:
    """The transcripts of a list of files and folders, each once; Invalid where one cannot be read, or there are none."""
    found: dict[Path, Input] = {}
    for name in names:
        if name == "-":
            found[Path()] = Input("standard input", None)
            continue
        for path in sorted(_below(Path(name))) if Path(name).is_dir() else [Path(name)]:
            if not (path.is_file() and os.access(path, os.R_OK)):
                raise Invalid(f"there is no file {path} that can be read")
            found[path.resolve()] = Input(str(path), path)
            if len(found) > FILES_MAX:
                raise Invalid(f"more than {FILES_MAX:,} files; import fewer folders at a time")
    if not found:
        raise Invalid(f"there are no files *.jsonl in {', '.join(names)}")
    return list(found.values())


def _below(folder: Path) -> Iterator[Path]:
    for parent, _, files in os.walk(folder):
        yield from (Path(parent, name) for name in files if name.endswith(_ENDINGS))
