"""LiteLLM's proxy holds its users to their limits: `callbacks: ["tallyboard.client.litellm.limit"]` in its configuration.

Each call takes a hold before, settles it by the usage LiteLLM reports, or gives it back where the call failed. Neither prompts nor
answers are read. Set by environment variables (docs/clients.md); read when the proxy starts.
"""

import os
import re
from collections.abc import Mapping, MutableMapping
from hashlib import blake2b
from typing import Any

from litellm.constants import LITELLM_PROXY_ADMIN_NAME
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import ProxyException

from tallyboard.client.answers import ClientError, LimitReached, Rejected, Unreachable
from tallyboard.client.awaiting import AsyncClient
from tallyboard.client.exchange import FAIL_CLOSED, FAIL_OPEN, log

SOURCE = "litellm"
UNATTRIBUTED = "unattributed"
HELD = frozenset(
    {
        *("completion", "acompletion", "text_completion", "atext_completion", "embedding", "aembedding", "responses", "aresponses"),
        *("anthropic_messages", "aanthropic_messages"),
        *("generate_content", "agenerate_content", "generate_content_stream", "agenerate_content_stream"),
    }
)
"""Calls that hold and settle. Everything else that LiteLLM asks about, a tool or a file, is only checked."""
RETRY_AFTER_S = 5
_KEY = "tallyboard_hold"
_BUCKETS = ("metadata", "litellm_metadata")
_NAME_CHARACTERS_MAX = 256
_WHEN_UNREACHABLE = {"open": FAIL_OPEN, "closed": FAIL_CLOSED}


class Held(str):
    """A hold that this proxy took, as `id user`. What comes as JSON can never be one: nobody settles or releases a made-up hold."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """The hold's id."""
        return self.partition(" ")[0]

    @property
    def user(self) -> str:
        """Whose it is."""
        return self.partition(" ")[2]


class _PROXY_Tallyboard(CustomLogger):  # type: ignore[misc]  # noqa: N801  LiteLLM runs callbacks of such names also for a `no-log` request.
    """The callback. LiteLLM's generic logger may send the same calls to Tallyboard: they have the same ids there, so each counts once."""

    def __init__(self, client: AsyncClient, hold_credits: str) -> None:
        super().__init__()
        self.client = client
        self._hold_credits = hold_credits

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str) -> dict[str, Any]:  # noqa: ARG002  LiteLLM's.
        """Take a hold, or answer the caller why not."""
        user = person(user_api_key_dict.user_id, user_api_key_dict.end_user_id)
        try:
            if call_type not in HELD:
                await self.client.check(user)
                return data
            hold = await self.client.hold(user, credits=self._hold_credits).take()
        except LimitReached as reached:
            raise _refusal(reached.message, "insufficient_quota", 429, reached.headers) from None
        except Unreachable:
            raise _refusal("The credit limit cannot be checked now.", "server_error", 503, {"Retry-After": str(RETRY_AFTER_S)}) from None
        except Rejected as rejected:
            log.error("no limit can be checked: %s", rejected)
            raise _refusal("The credit limit cannot be checked; the proxy's log says why.", "server_error", 500, {}) from None
        _remember(data, Held(f"{hold.id} {user}"))
        return data

    async def async_log_success_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:  # noqa: ARG002  LiteLLM's.
        """Settle. LiteLLM calls this for a stream when it has ended."""
        hold = _recall(kwargs.get("litellm_params") or {})
        payload = kwargs.get("standard_logging_object")
        if hold is None or payload is None:
            return
        try:
            await self.client.settle(hold.id, data=_usage(payload), source=SOURCE, id=identity(payload), user=hold.user)
        except ClientError as error:
            log.error("usage is not recorded: %s", error)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,  # noqa: ARG002
        user_api_key_dict: Any,  # noqa: ARG002
        traceback_str: str | None = None,  # noqa: ARG002
    ) -> None:
        """Give the credits back: the whole call has failed, after all retries and fallbacks."""
        if hold := _recall(request_data):
            await self.client.release(hold.id)


def person(user_id: str | None, end_user: str | None) -> str:
    """Who a call counts for: the key's owner, else whom the request names; the proxy's own administrator is nobody."""
    owner = user_id if user_id != LITELLM_PROXY_ADMIN_NAME else None
    return owner or end_user or UNATTRIBUTED


def identity(payload: Mapping[str, Any]) -> str:
    """A call's id, as Tallyboard makes it of a generic logger's record.

    When the call began is part of it: its caller may choose `litellm_call_id`, and so choose to count once for all.
    """
    made = f"{payload['litellm_call_id'] or payload['id']}@{payload['startTime']:.6f}"
    plain = len(made) <= _NAME_CHARACTERS_MAX and made.isascii() and made.isprintable()
    return made if plain else blake2b(made.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def from_environment(environment: Mapping[str, str]) -> _PROXY_Tallyboard:
    """The callback as the environment says; ValueError names what is missing."""
    names = ("TALLYBOARD_URL", "TALLYBOARD_KEY", "TALLYBOARD_WHEN_UNREACHABLE", "TALLYBOARD_HOLD_CREDITS")
    if missing := [name for name in names if not environment.get(name)]:
        raise ValueError(f"set {', '.join(missing)} for Tallyboard's limit")
    url, key, when, hold_credits = (environment[name] for name in names)
    if when not in _WHEN_UNREACHABLE:
        raise ValueError(f"TALLYBOARD_WHEN_UNREACHABLE must be open or closed, not {when!r}")
    if not re.fullmatch(r"\d+(\.\d+)?", hold_credits, re.ASCII) or not hold_credits.strip("0."):
        raise ValueError(f"TALLYBOARD_HOLD_CREDITS must be a number of credits above 0, such as 0.01, not {hold_credits!r}")
    return _PROXY_Tallyboard(AsyncClient(url, key, when_unreachable=_WHEN_UNREACHABLE[when]), hold_credits)


def _refusal(message: str, type: str, status: int, headers: Mapping[str, str]) -> Exception:
    """LiteLLM's own exception: of any other it drops the headers on `/v1/messages`, and Anthropic's SDK would try again."""
    refusal: Exception = ProxyException(message=message, type=type, param=None, code=status, headers=dict(headers))
    return refusal


def _usage(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What was used, and nothing of what was said. Tokens read from and written to a cache are part of the input tokens, too."""
    details = (payload["metadata"].get("usage_object") or {}).get("prompt_tokens_details") or {}
    read, written = details.get("cached_tokens") or 0, details.get("cache_creation_tokens") or 0
    counted = {
        "input_tokens": payload["prompt_tokens"],
        "uncached_input_tokens": max(payload["prompt_tokens"] - read - written, 0),
        "output_tokens": payload["completion_tokens"],
        "cache_read_tokens": read,
        "cache_write_tokens": written,
    }
    model = str(payload["model"])[:_NAME_CHARACTERS_MAX]
    said = payload.get("id")
    call = {"response_id": said[:_NAME_CHARACTERS_MAX]} if isinstance(said, str) and said else {}
    return {"model": model, "requests": 1, **call, **{name: tokens for name, tokens in counted.items() if tokens}}


def _remember(data: MutableMapping[str, Any], hold: Held) -> None:
    """Put the hold where LiteLLM carries it along: beside the request's metadata, which goes by two names."""
    if not any(isinstance(data.get(name), dict) for name in _BUCKETS):
        data[_BUCKETS[0]] = {}
    for name in _BUCKETS:
        if isinstance(data.get(name), dict):
            data[name][_KEY] = hold


def _recall(data: Mapping[str, Any]) -> Held | None:
    found = ((data.get(name) or {}).get(_KEY) for name in _BUCKETS if isinstance(data.get(name), dict))
    return next((hold for hold in found if isinstance(hold, Held)), None)


limit = from_environment(os.environ)
