"""Hostile bodies, and a program that decodes each of them and prints the most memory it took, in megabytes."""

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.intake.telemetry import framed, metrics, traces

from tallyboard.intake.cloudevents import BadBody
from tallyboard.intake.otlp import protobuf, typed_json

MILLION = 1_000_000
_POINT = framed(1, b"\x19" + b"\x01" * 8 + b"\x31" + b"\x05" + b"\x00" * 7)
_MARK = framed(1, framed(1, framed(1, b"tallyboard.count") + framed(2, framed(1, b"metrics"))))
_NAME = framed(1, b"gen_ai.client.inference.usage.input_tokens")
_JSON_METRIC = str(metrics()).replace("'", '"').replace('"metrics": []', '"metrics": [{"name": "gen_ai.client.token.usage", "sum": %s}]')
_JSON_SPANS = str(traces()).replace("'", '"').replace('"spans": []', '"spans": [%s]')

PROTOBUF: dict[str, tuple[str, bytes]] = {
    "a million empty spans": ("traces", framed(1, framed(2, b"\x12\x00" * MILLION))),
    "as many empty log records as are not counted": ("logs", framed(1, framed(2, b"\x12\x00" * 1_240_000))),
    "a million empty resources": ("traces", b"\x0a\x00" * MILLION * 4),
    "a million empty scopes": ("logs", framed(1, b"\x12\x00" * MILLION * 4)),
    "a million attributes": ("traces", framed(1, framed(2, framed(2, b"\x4a\x00" * MILLION * 4)))),
    "five spans of a million attributes": ("traces", framed(1, framed(2, framed(2, b"\x4a\x00" * MILLION) * 5))),
    "a million attributes of a resource": ("logs", framed(1, framed(1, b"\x0a\x00" * MILLION * 4))),
    "a million attributes of a record": ("logs", framed(1, framed(2, framed(2, b"\x32\x00" * MILLION * 4)))),
    "a million series": ("metrics", framed(1, _MARK + framed(2, framed(2, _NAME + framed(7, _POINT * 400_000 + b"\x18\x01"))))),
    "millions of empty points": (
        "metrics",
        framed(1, _MARK + framed(2, framed(2, _NAME + framed(7, b"\x0a\x00" * MILLION * 4 + b"\x18\x01")))),
    ),
    "a million metrics": ("metrics", framed(1, _MARK + framed(2, b"\x12\x00" * MILLION * 4))),
    "a varint without an end": ("traces", b"\x0a" + b"\xff" * 100_000),
    "a length of exabytes": ("logs", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
    "a length one too long": ("metrics", b"\x0a\x05\x0a\x02ab"),
    "a group without an end": ("traces", b"\x0b" * 100_000),
    "ten thousand and one spans": ("traces", framed(1, framed(2, b"\x12\x00" * 10_001))),
}
JSON: dict[str, tuple[str, bytes]] = {
    "a million empty spans": ("traces", (_JSON_SPANS % ",".join(["{}"] * MILLION * 3)).encode()),
    "nested without an end": ("traces", b'{"resourceSpans":' + b"[" * 9 * MILLION),
    "nested in what is passed over": ("logs", b'{"x":' + b'{"x":' * 300_000 + b"1" + b"}" * 300_001),
    "a value nested deeply": (
        "traces",
        (_JSON_SPANS % ('{"attributes":[{"key":"a","value":{"arrayValue":' + "[" * MILLION + "]" * MILLION + "}}]}")).encode(),
    ),
    "a million attributes": ("traces", (_JSON_SPANS % ('{"attributes":[' + ",".join(["{}"] * MILLION * 3) + "]}")).encode()),
    "a million series": (
        "metrics",
        (_JSON_METRIC % ('{"isMonotonic": true, "dataPoints": [' + ",".join(["{}"] * MILLION) + "]}")).encode(),
    ),
    "ten thousand and one points": (
        "metrics",
        (_JSON_METRIC % ('{"isMonotonic": true, "dataPoints": [' + ",".join(["{}"] * 10_001) + "]}")).encode(),
    ),
    "an endless number": ("traces", b'{"resourceSpans": ' + b"9" * 9 * MILLION + b"}"),
    "cut off": ("logs", b'{"resourceLogs": [{"scopeLogs"'),
}
DECODERS: dict[str, Any] = {"protobuf": (protobuf, PROTOBUF), "json": (typed_json, JSON)}


def decoder_of(module: Any, signal: str) -> Callable[[bytes], list[Any]]:
    """The function that decodes a signal."""
    found: Callable[[bytes], list[Any]] = getattr(module, {"traces": "spans", "logs": "log_records", "metrics": "points"}[signal])
    return found


def main() -> None:
    """Decode every body; whatever is no BadBody ends this program."""
    for module, floods in DECODERS.values():
        before = _most()
        for name, (signal, body) in floods.items():
            with suppress(BadBody):
                decoder_of(module, signal)(body)
            sys.stdout.write(f"{module.__name__}: {name}: {_most() - before} MB\n")
            before = _most()
    sys.stdout.write(f"{_most()}\n")


def _most() -> int:
    """Megabytes that this program has taken at most. Not `getrusage`, which counts what the one that started it had taken."""
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) // 1_024


if __name__ == "__main__":
    main()
