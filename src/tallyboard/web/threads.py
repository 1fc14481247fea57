"""Handlers that wait for the ledger run in threads, beside the event loop.

The framework does that itself (`sync_to_thread=True`), but wraps a handler twice where another method has the same path, and the
outer wrapper then answers with what was never awaited (Litestar 2.25). Handlers that share a path are wrapped here instead.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from litestar.concurrency import sync_to_thread

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def in_thread(handler: Callable[Arguments, Result]) -> Callable[Arguments, Awaitable[Result]]:
    """The handler as the framework takes it."""

    @wraps(handler)
    async def wrapper(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        return await sync_to_thread(handler, *arguments, **named)

    return wrapper
