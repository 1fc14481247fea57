"""Files of CloudEvents, one a line."""

from collections.abc import Iterator

from tallyboard.cli.importing.opening import LINE_BYTES_MAX, Advance, Input, Placed, in_batches, lines, opened
from tallyboard.intake import cloudevents
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.intake.event import Reason, Refused


class Ndjson:
    """A file of CloudEvents."""

    def __init__(self, file: Input) -> None:
        self._file = file
        self.shown = file.shown
        self.size = file.size

    def batches(self, advance: Advance) -> Iterator[list[Placed]]:
        """Its events; empty lines are passed over."""
        with opened(self._file) as (raw, content):
            numbered = enumerate(lines(content), 1)
            for part in in_batches(numbered, lambda each: len(each[1])):
                yield [(f"line {number:,}", _item(line)) for number, line in part if line.strip()]
                advance(raw.tell() if self.size else 0)


def _item(line: bytes) -> CloudEvent | Refused:
    if len(line) > LINE_BYTES_MAX:
        return Refused(Reason.EVENT_TOO_LARGE, f"the line is longer than {LINE_BYTES_MAX:,} bytes")
    return cloudevents.from_line(line)
