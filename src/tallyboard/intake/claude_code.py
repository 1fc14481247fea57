"""Claude Code's own transcripts (`~/.claude/projects/**/*.jsonl`) as CloudEvents: each call of a model once, by its final figures.

A call is written as several lines, one for each block of its answer, with figures that grow; sessions that are resumed or forked
repeat lines of others. Fields are named one by one: prompts, answers, tool inputs, paths and commands are passed over unread.
"""

from collections.abc import Iterator
from hashlib import blake2b

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder
from msgspec.msgpack import Decoder as Unpacker
from msgspec.msgpack import Encoder as Packer

from tallyboard import days
from tallyboard.errors import Invalid
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.intake.event import PROVIDER_REQUEST_ID, RESPONSE_ID, Reason, Refused, is_key, parse_time
from tallyboard.intake.surrogates import mended
from tallyboard.intake.tokens import Tokens, fields

SOURCE = "claude-code-transcripts"
"""Not the name under which its telemetry comes: what two sources tell of one call is seen by the provider's ids, and counts once."""
EVENT_TYPE = "ai.usage.recorded"
SYNTHETIC = "<synthetic>"
"""The model of answers that Claude Code made up itself, such as errors."""
CALLS_MAX = 500_000
"""What is kept of all calls at a time: about 200 MB."""
SETTLED_US = 10 * 60 * 1_000_000
"""A call without a new line for so long is not written any further."""
_FAR_US = 2**62


class _Usage(Struct, gc=False):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None


class _Message(Struct):
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Kind(Struct):
    type: str | None = None


class _Line(Struct):
    """What is read of a line of type assistant."""

    message: _Message
    timestamp: str | None = None
    requestId: str | None = None  # noqa: N815  Claude Code's name.


class Call(Struct, frozen=True, array_like=True, gc=False):
    """A call of a model as one line tells it. `ended` says that the answer was complete by then."""

    message: str
    request: str
    model: str
    at_us: int
    tokens: tuple[int | None, int | None, int | None, int | None]
    ended: bool

    @property
    def key(self) -> bytes:
        """The same for all lines of a call."""
        return blake2b(f"{len(self.message)}:{self.message}{self.request}".encode(), digest_size=16).digest()

    @property
    def id(self) -> str:
        """The event's: that of the answer and that of the request."""
        both = f"{self.message}:{self.request}" if self.request else self.message
        return both if is_key(both) else self.key.hex()


_kind = Decoder(_Kind)
_line = Decoder(_Line)
_pack = Packer().encode
_unpack = Unpacker(Call).decode


def read(line: bytes) -> Call | Refused | None:
    """The call that a line tells of, None where it tells of no usage, or why it cannot be read. Nothing else of it is kept."""
    try:
        try:
            return _read(line)
        except ValidationError:
            raise
        except DecodeError:
            return _read(mended(line))
    except Refused as refused:
        return refused
    except ValidationError as error:
        return Refused(Reason.NOT_AN_EVENT, f"not a line of Claude Code's: {error}")
    except (DecodeError, UnicodeDecodeError) as error:
        return Refused(Reason.BAD_JSON, f"not JSON: {error}")
    except RecursionError:
        return Refused(Reason.TOO_DEEP, "the line is nested too deeply")


def _read(line: bytes) -> Call | None:
    if _kind.decode(line).type != "assistant":
        return None
    found = _line.decode(line)
    return _call(found, found.message.usage or _Usage())


def _call(line: _Line, usage: _Usage) -> Call | None:
    message = line.message
    stated = (usage.input_tokens, usage.cache_creation_input_tokens, usage.cache_read_input_tokens, usage.output_tokens)
    if message.model == SYNTHETIC or not any(stated):
        return None
    if not message.id:
        raise Refused(Reason.MISSING_FIELD, "an answer needs a message.id")
    if not line.timestamp:
        raise Refused(Reason.MISSING_FIELD, "an answer needs a timestamp")
    if min(count or 0 for count in stated) < 0 or max(count or 0 for count in stated) >= 2**63:
        raise Refused(Reason.BAD_QUANTITY, "tokens cannot be fewer than none, nor more than there are")
    at_us = parse_time(line.timestamp, _FAR_US)
    names = (message.id, line.requestId or "", message.model or "")
    for name in names:
        if name and not is_key(name):
            raise Refused(Reason.BAD_TEXT, "an id or the model is longer than 256 characters, or holds a control character")
    return Call(*names, at_us, stated, message.stop_reason is not None)


class Calls:
    """Calls of any number of transcripts, each by its last line: the latest, and of several at one time the one with the most output.

    At most CALLS_MAX of them are kept, as bytes; Invalid beyond.
    """

    def __init__(self) -> None:
        self._found: dict[bytes, bytes] = {}
        self._newest = (0, b"")

    def add(self, call: Call) -> None:
        """A further line of a call, or its first."""
        key = call.key
        before = self._found.get(key)
        if before is None and len(self._found) >= CALLS_MAX:
            raise Invalid(f"more than {CALLS_MAX:,} calls; import fewer folders at a time")
        if before is None or _order(_unpack(before)) <= _order(call):
            self._found[key] = _pack(call)

    def close(self, last: Call | None, latest_us: int) -> None:
        """A transcript ends: with a call, or with something else; the latest of its calls was at an instant."""
        if latest_us >= self._newest[0]:
            self._newest = (latest_us, b"" if last is None or last.ended else last.key)

    def final(self, now_us: int) -> Iterator[Call | None]:
        """The calls, None for each that may not have its final figures yet: it was written to just now, or breaks off at the newest end."""
        for key, packed in self._found.items():
            call = _unpack(packed)
            fresh = now_us - SETTLED_US < call.at_us <= now_us + days.EVENT_AHEAD_US_MAX
            yield None if fresh or key == self._newest[1] else call


def event(call: Call, user: str) -> CloudEvent:
    """A call as an event, with the fields that Claude Code's telemetry gives. Input, cache reads and cache writes are stated apart.

    The session is not kept: a copy of the line, in a session that was resumed or forked, names another.
    """
    put_in, written, read_, put_out = call.tokens
    said = {
        "model": call.model,
        "requests": 1,
        **fields(Tokens(input=put_in, cache_read=read_, cache_write=written, output=put_out), apart=True),
        RESPONSE_ID: call.message,
        PROVIDER_REQUEST_ID: call.request,
    }
    return CloudEvent(
        specversion="1.0",
        id=call.id,
        source=SOURCE,
        type=EVENT_TYPE,
        subject=user,
        time=days.instant(call.at_us).isoformat(),
        data={name: value for name, value in said.items() if value != ""},
    )


def _order(call: Call) -> tuple[int, int]:
    return call.at_us, call.tokens[3] or 0
