"""Token classes, brought to one meaning: here input contains what was read from and written to a cache, output contains reasoning.

That is what OpenTelemetry, OpenAI and the shipped example of a rate card mean. Clients that state classes apart
(Anthropic's) have them added up.
"""

from msgspec import Struct

Fields = dict[str, object]


class Tokens(Struct, frozen=True):
    """The tokens of a model call by class, None where a class is not stated."""

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None

    @property
    def stated(self) -> bool:
        """Whether the call was metered at all: zero tokens are, none are not."""
        return self.input is not None or self.output is not None


def fields(stated: Tokens, *, apart: bool = False) -> Fields:
    """The fields of `data`. `apart` says that input does not contain the cache.

    Whoever says nothing of it, but states more cache than input, counts apart, too; likewise reasoning and output.
    """
    cached = (stated.cache_read or 0) + (stated.cache_write or 0)
    whole_input, whole_output = stated.input, stated.output
    if whole_input is not None and (apart or cached > whole_input):
        whole_input += cached
    if whole_output is not None and (stated.reasoning or 0) > whole_output:
        whole_output += stated.reasoning or 0
    found: Fields = {
        "input_tokens": whole_input,
        "uncached_input_tokens": None if whole_input is None else whole_input - cached,
        "cache_read_tokens": stated.cache_read if whole_input is not None else None,
        "cache_write_tokens": stated.cache_write if whole_input is not None else None,
        "output_tokens": whole_output,
        "reasoning_tokens": stated.reasoning if whole_output is not None else None,
    }
    return {name: number for name, number in found.items() if number is not None}
