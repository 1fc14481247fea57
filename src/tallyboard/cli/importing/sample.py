"""A table of which no mapping is known yet: its columns and first row, and what they probably are."""

import re

from msgspec import Struct

from tallyboard.errors import Invalid
from tallyboard.intake import mapping
from tallyboard.intake.event import Refused
from tallyboard.intake.mapping import RowMapping, TimeUnit
from tallyboard.intake.rows import Cell, quantity

_WORDS = {
    "time": "time timestamp event_time created_at created createdat occurred_at happened_at started_at start_time ended_at date_time datetime when ts at date",
    "user": "user user_id userid user_key user_email email email_address username user_name subject person member customer customer_id account_email who",
    "id": "id event_id request_id requestid uuid call_id message_id generation_id",
    "model": "model model_name model_id",
}
"""Names of columns, the likeliest first."""
_QUANTITIES = {
    "input_tokens": "input_tokens prompt_tokens tokens_in tokens_prompt tokens_input",
    "output_tokens": "output_tokens completion_tokens tokens_out tokens_completion tokens_output",
    "cache_read_tokens": "cache_read_tokens cached_tokens cache_read_input_tokens cached_input_tokens",
    "cache_write_tokens": "cache_write_tokens cache_creation_tokens cache_creation_input_tokens",
    "requests": "requests request_count num_requests num_model_requests calls",
    "conversations": "conversations",
}
_DIMENSIONS = ("team", "project", "provider", "department", "workspace", "application", "app", "environment", "reason")


class Sample(Struct, frozen=True):
    """The columns of a table and its first row, which has no cells where there is none."""

    shown: str
    columns: tuple[str, ...]
    first: tuple[Cell, ...]
    delimiter: str | None = None
    encoding: str = "utf-8"

    def cell(self, column: str) -> Cell:
        """What the first row has in a column."""
        place = self.columns.index(column)
        return self.first[place] if place < len(self.first) else None


def guess(sample: Sample) -> RowMapping:
    """What the columns are, as far as their names and the first row tell."""
    plain = {re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_"): column for column in reversed(sample.columns) if column}
    columns = {name: plain[word] for name in _WORDS if (word := next((each for each in _WORDS[name].split() if each in plain), None))}
    quantities: dict[str, str | int] = {}
    for field, words in _QUANTITIES.items():
        word = next((each for each in words.split() if each in plain and is_number(sample.cell(plain[each]))), None)
        if word:
            quantities[field] = plain[word]
    fixed = {"source": source_of(sample.shown)} if "id" in columns else {}
    return RowMapping(
        columns=columns,
        fixed=fixed,
        quantities=quantities,
        dimensions={word: plain[word] for word in _DIMENSIONS if word in plain},
        time_unit=unit_of(sample.cell(columns["time"])) if "time" in columns else None,
        delimiter=sample.delimiter,
        encoding=sample.encoding,
    )


def needs_mapping(sample: Sample) -> Invalid:
    """What is said where nobody can be asked: a mapping to edit."""
    guessed = guess(sample)
    known = {*guessed.columns.values(), *guessed.quantities.values(), *guessed.dimensions.values()}
    others = tuple(column for column in sample.columns if column and column not in known)[: mapping.FIELDS_MAX]
    text = mapping.write(guessed, others)
    return Invalid(
        f"{sample.shown} needs a mapping that says which column is what. Keep this as mapping.toml, "
        f"edit it, and import again with --map mapping.toml:\n\n{text}"
    )


def source_of(shown: str) -> str:
    """A source named like the file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", re.sub(r"\.\w+(\.gz)?$", "", shown.rsplit("/", 1)[-1])).strip("-")[:100] or "import"


def unit_of(found: Cell) -> TimeUnit | None:
    """The unit in which a number would be a time of this century."""
    digits = re.fullmatch(r"(\d+)(\.\d*)?", str(found).strip(), re.ASCII) if isinstance(found, (str, int)) else None
    if not digits:
        return None
    return {10: "seconds", 13: "milliseconds"}.get(len(digits[1]))  # type: ignore[return-value]


def is_number(found: Cell) -> bool:
    """Whether a cell could be a quantity; an empty one could."""
    try:
        quantity(found, "")
    except Refused:
        return False
    return True
