"""Which metrics count tokens, and what their points come to: one event for each group of classes that was read together.

Metrics are read only of a source that says so (`tallyboard.count=metrics`): of every other, spans or logs tell the same.
Of a histogram the sum counts, never its buckets.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.intake.event import Reason, Refused
from tallyboard.intake.otlp import records
from tallyboard.intake.otlp.records import Attributes, Source, Value, first, tokens
from tallyboard.intake.otlp.usage import Signal, agent_of, counts, digest, instant, made
from tallyboard.intake.tokens import Tokens, fields

DELTA, CUMULATIVE = 1, 2


class Family(Struct, frozen=True):
    """Metrics that state the classes of the same tokens: `classes` by the value of the attribute `by`.

    `apart` says that input does not contain the cache. Of two families of a source the one with the higher `rank` counts.
    """

    name: str
    by: str
    classes: Mapping[str, str]
    apart: bool = False
    rank: int = 0


_PREFIX = "gen_ai.client.inference.usage."
_COUNTERS = Family("gen_ai.client.inference.usage", "", {}, rank=1)
_BY_COUNTER = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read.input_tokens": "cache_read",
    "cache_write.input_tokens": "cache_write",
    "cache_creation.input_tokens": "cache_write",
    "reasoning.output_tokens": "reasoning",
}
FAMILIES: dict[str, Family] = {
    "claude_code.token.usage": Family(
        "claude_code.token.usage",
        "type",
        {"input": "input", "output": "output", "cacheRead": "cache_read", "cacheCreation": "cache_write"},
        apart=True,
        rank=2,
    ),
    "codex.turn.token_usage": Family(
        "codex.turn.token_usage",
        "token_type",
        {
            "input": "input",
            "cached_input": "cache_read",
            "cache_write_input": "cache_write",
            "output": "output",
            "reasoning_output": "reasoning",
        },
        rank=2,
    ),
    "gemini_cli.token.usage": Family(
        "gemini_cli.token.usage",
        "type",
        {"input": "input", "output": "output", "cache": "cache_read", "thought": "thoughts", "tool": "tools"},
        rank=2,
    ),
    "gen_ai.client.token.usage": Family("gen_ai.client.token.usage", "gen_ai.token.type", {"input": "input", "output": "output"}),
    **{_PREFIX + name: _COUNTERS for name in _BY_COUNTER},
}
"""By the name of a metric."""

CLASS_ATTRIBUTES = frozenset(family.by for family in FAMILIES.values())


class Point(Struct, frozen=True, gc=False):
    """A value of a metric of FAMILIES. `identity` stands for all attributes of it and its resource but the class."""

    source: Source
    metric: str
    identity: bytes
    attributes: Attributes
    start_ns: int
    at_ns: int
    value: Value
    temporality: int


class Count(NamedTuple):
    """The value of one class. `series` tells the counter from all others, its start included."""

    kind: str
    series: bytes
    start_us: int
    at_ns: int
    value: int
    cumulative: bool


class Group(Struct, frozen=True):
    """Counts that were read together: of one resource, with the same attributes but for the class.

    Clients that take the time anew for every metric read one group at several instants; its event happened at the last.
    """

    source: Source
    attributes: Attributes
    family: Family
    counts: Sequence[Count]


def counts_metrics(source: Source) -> bool:
    """Whether metrics are what counts of a source."""
    return counts(source, agent_of(source), Signal.METRICS)


def groups(points: Iterable[Point | Refused]) -> Iterator[Group | Refused]:
    """Points by what was read together; points that repeat another family are left out."""
    good: list[tuple[Point, Count]] = []
    for point in points:
        try:
            if isinstance(point, Refused):
                raise point
            count = _count(point)
            if count is not None:
                good.append((point, count))
        except Refused as refused:
            yield refused
    ranks: dict[int, int] = {}
    for point, _ in good:
        ranks[id(point.source)] = max(ranks.get(id(point.source), 0), FAMILIES[point.metric].rank)
    together: dict[tuple[str, bytes, int], tuple[Point, list[Count]]] = {}
    before: Counter[tuple[str, bytes, str]] = Counter()
    for point, count in sorted(good, key=lambda each: each[1].at_ns):
        family = FAMILIES[point.metric]
        if family.rank == ranks[id(point.source)]:
            place = family.name, point.identity, before[family.name, point.identity, count.kind]
            before[family.name, point.identity, count.kind] += 1
            together.setdefault(place, (point, []))[1].append(count)
    for point, found in together.values():
        yield Group(point.source, point.attributes, FAMILIES[point.metric], found)


def event(group: Group, added: Sequence[int]) -> CloudEvent:
    """The event of a group, of which each count `added` so much."""
    of = {count.kind: number for count, number in zip(group.counts, added, strict=True)}
    read, written = of.get("input"), of.get("output")
    stated = Tokens(
        input=None if read is None and "tools" not in of else (read or 0) + of.get("tools", 0),
        cache_read=of.get("cache_read"),
        cache_write=of.get("cache_write"),
        output=None if written is None and "thoughts" not in of else (written or 0) + of.get("thoughts", 0),
        reasoning=of.get("reasoning", of.get("thoughts")),
    )
    model = first(group.attributes, ("model", *records.MODEL))
    named = digest(*(f"{count.series.hex()} {count.at_ns}" for count in sorted(group.counts)))
    time = instant(max(count.at_ns for count in group.counts))
    return made(group.source, group.attributes, id=named, time=time, model=model, data=fields(stated, apart=group.family.apart))


def _count(point: Point) -> Count | None:
    """What a point counts; None where it is a class that others contain, such as a total."""
    family = FAMILIES[point.metric]
    kind = family.classes.get(str(point.attributes.get(family.by, ""))) if family.by else _BY_COUNTER[point.metric.removeprefix(_PREFIX)]
    if kind is None or point.temporality not in {DELTA, CUMULATIVE}:
        return None
    series = bytes.fromhex(digest(point.metric, kind, point.identity.hex(), point.start_ns))
    if not point.at_ns:
        raise Refused(Reason.MISSING_FIELD, f"a point of {point.metric} needs a timeUnixNano")
    value = tokens(point.value, point.metric)
    return Count(kind, series, point.start_ns // 1_000, point.at_ns, value, point.temporality == CUMULATIVE)
