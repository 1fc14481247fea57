"""Whatever is sent as OTLP, the answer is clear, the memory bounded, and the server goes on."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Server, environment
from tests.intake import otlp_floods
from tests.intake.otlp_floods import DECODERS, decoder_of
from tests.intake.telemetry import JSON, PROTOBUF, RECORDED, chat, marked, post, traces

from tallyboard.intake.cloudevents import BadBody, CloudEvent
from tallyboard.intake.event import Refused
from tallyboard.intake.otlp import counters, usage

MEGABYTES_MAX = 400
"""Of which the bodies themselves, all at once, are about 120."""
MEDIA_TYPES = {"protobuf": PROTOBUF, "json": JSON}
FLOODS = [(encoding, name) for encoding, (_, floods) in DECODERS.items() for name in floods]
SIGNALS = ("traces", "logs", "metrics")


def test_no_body_takes_much_memory() -> None:
    root = Path(__file__).parents[2]
    line = [sys.executable, "-m", otlp_floods.__name__]
    done = subprocess.run(line, capture_output=True, timeout=300, check=False, env=environment(), cwd=root)
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout.split()[-1]) < MEGABYTES_MAX, done.stdout.decode()


@pytest.mark.parametrize(("encoding", "name"), FLOODS, ids=[f"{encoding}: {name}" for encoding, name in FLOODS])
def test_a_hostile_body_is_answered_and_the_next_one_too(shared_server: Server, encoding: str, name: str) -> None:
    signal, body = DECODERS[encoding][1][name]
    answer = post(shared_server, signal, gzip.compress(body[: 10 << 20], 1), Content_Type=MEDIA_TYPES[encoding], Content_Encoding="gzip")
    assert answer.status_code in {200, 400, 413}
    assert answer.headers["Content-Type"] == MEDIA_TYPES[encoding]
    assert answer.content
    assert post(shared_server, "traces", traces()).json() == {}


def test_a_bomb_is_refused(shared_server: Server) -> None:
    bomb = gzip.compress(b"\x00" * (200 << 20))
    answer = post(shared_server, "traces", bomb, Content_Type=PROTOBUF, Content_Encoding="gzip")
    assert answer.status_code == 413
    assert b"10,485,760 bytes" in answer.content


def bodies_of(encoding: str, signal: str) -> list[bytes]:
    """Recorded bodies of a signal in an encoding; those of metrics say that they count."""
    found = [path.read_bytes() for path in sorted(RECORDED.glob(f"*/*_v1_{signal}.body")) if "gzip" not in str(path)]
    found = [body for body in found if body.startswith(b"{") == (encoding == "json")]
    if encoding == "json" and signal == "logs":
        found = [b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":1,"attributes":[{"key":"a","value":{}}]}]}]}]}']
    return [marked(body, "metrics") for body in found] if signal == "metrics" else found


def understood(module: Any, signal: str, body: bytes) -> None:
    """Decode and map a body: usage, refusals, or a BadBody; never anything else."""
    try:
        found = decoder_of(module, signal)(body)
    except BadBody:
        return
    if signal == "metrics":
        for group in counters.groups(found):
            assert isinstance(group, Refused) or isinstance(event_or_refused(group), CloudEvent | Refused)
        return
    events = usage.of_spans(found) if signal == "traces" else usage.of_log_records(found)
    assert all(isinstance(each, CloudEvent | Refused) for each in events)


def event_or_refused(group: counters.Group) -> CloudEvent | Refused:
    try:
        return counters.event(group, [count.value for count in group.counts])
    except Refused as refused:
        return refused


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("encoding", DECODERS)
@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_recorded_body_with_any_bytes_changed_is_understood_or_refused(encoding: str, signal: str, data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(bodies_of(encoding, signal))))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    understood(DECODERS[encoding][0], signal, bytes(body[: data.draw(st.integers(len(body) // 2, len(body)))]))
    understood(DECODERS[encoding][0], signal, bytes(body))


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("encoding", DECODERS)
@settings(max_examples=200, derandomize=True, deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_understood_or_refused(encoding: str, signal: str, body: bytes) -> None:
    understood(DECODERS[encoding][0], signal, body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.sampled_from(["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "user.email", "gen_ai.response.model", "tallyboard.count"]),
    st.sampled_from(["stringValue", "intValue", "doubleValue", "boolValue", "arrayValue"]),
    VALUES,
)
def test_any_value_of_what_is_read_is_understood_or_refused(name: str, kind: str, value: object) -> None:
    call = chat(1, "alice")
    call["attributes"].append({"key": name, "value": {kind: value}})
    understood(DECODERS["json"][0], "traces", json.dumps(traces(call)).encode(errors="surrogatepass"))
