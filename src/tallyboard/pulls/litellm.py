"""The calls in the spend logs of a LiteLLM proxy: `GET /spend/logs/v2`, an hour at a time. Each is an event, as its generic logger's are.

Source: litellm 1.106, `proxy/spend_tracking/spend_management_endpoints.py` and `spend_tracking_utils.py`. A row's id is the answer's, by which
a call that the logger told is known (ledger/told.py); but an answer from LiteLLM's cache has another id in each, so those are left out.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from tallyboard.intake import litellm
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.intake.event import Refused
from tallyboard.pulls.asking import Asker, Place
from tallyboard.pulls.windows import HOUR_US, Names, Stretch

VARIABLE = "LITELLM_MASTER_KEY"
URL_VARIABLE = "LITELLM_BASE_URL"
SOURCE = "litellm-report"
ROWS_A_PAGE = 1_000


class _Row(Struct):
    startTime: datetime  # noqa: N815  LiteLLM's names.
    endTime: datetime  # noqa: N815
    request_id: str
    call_type: str | None = None
    status: str | None = None
    spend: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    model: str | None = None
    model_group: str | None = None
    custom_llm_provider: str | None = None
    user: str | None = None
    end_user: str | None = None
    team_id: str | None = None
    cache_hit: str | None = None
    metadata: Any = None


class _Page(Struct):
    data: list[_Row]


_page = Decoder(_Page)


def place(key: str, base_url: str) -> Place:
    """A LiteLLM proxy."""
    return Place("LiteLLM", base_url, VARIABLE, {"Authorization": f"Bearer {key}"})


def calls(asker: Asker, stretch: Stretch, names: Names) -> Iterator[list[CloudEvent | Refused]]:
    """The calls that began in a stretch, a list for each page; an empty one where an hour had none."""
    for start_us in stretch.hours:
        number = 0
        more = True
        while more:
            number += 1
            page = asker.get(
                "/spend/logs/v2",
                [
                    ("start_date", _text(start_us)),
                    ("end_date", _text(start_us + HOUR_US)),
                    ("sort_by", "startTime"),
                    ("sort_order", "asc"),
                    ("page", number),
                    ("page_size", ROWS_A_PAGE),
                ],
                _page,
            )
            yield [call for row in page.data if not _is_cached(row) and (call := _call(row, names)) is not None]
            more = len(page.data) >= ROWS_A_PAGE


def _call(row: _Row, names: Names) -> CloudEvent | Refused | None:
    """The row as the generic logger would have told it, under another source. No two rows have one `request_id`."""
    metadata = row.metadata if isinstance(row.metadata, dict) else {}
    record: Mapping[str, object] = {
        "litellm_call_id": row.request_id,
        "id": row.request_id,
        "status": row.status or "success",
        "call_type": row.call_type,
        "custom_llm_provider": row.custom_llm_provider,
        "startTime": _seconds(row.startTime),
        "endTime": _seconds(row.endTime),
        "model": row.model,
        "model_group": row.model_group,
        "response_cost": row.spend,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "end_user": row.end_user,
        "metadata": {
            "user_api_key_user_id": row.user,
            "user_api_key_team_alias": metadata.get("user_api_key_team_alias"),
            "user_api_key_team_id": row.team_id,
            "usage_object": metadata.get("usage_object"),
        },
    }
    call = litellm.called(record)
    if isinstance(call, CloudEvent):
        call.source = SOURCE
        call.subject = names.key(call.subject)
    return call


def _is_cached(row: _Row) -> bool:
    return (row.cache_hit or "").lower() == "true"


def _seconds(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _text(us: int) -> str:
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
