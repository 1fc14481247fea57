"""Runs in `.venv-litellm`: calls made-up models by the unmodified SDK, whose generic logger sends them as its environment says.

Usage: litellm_calls.py FORMAT USER. Each batch is sent twice, as LiteLLM does where an answer is lost.
"""

import asyncio
import sys
from contextlib import suppress

import litellm
from litellm.integrations.generic_api.generic_api_callback import GenericAPILogger

log_format, user = sys.argv[1:]
CALLS = 4
ASKED = [{"role": "user", "content": "a secret question"}]


async def main() -> None:
    logger = GenericAPILogger(log_format=log_format)
    litellm.callbacks = [logger]
    litellm.suppress_debug_info = True
    call = {"model": "gpt-4o-mini", "messages": ASKED, "user": user}
    await litellm.acompletion(**call, mock_response="a secret answer")
    async for _ in await litellm.acompletion(**call, mock_response="another secret answer", stream=True):
        pass
    with suppress(litellm.APIError, litellm.InternalServerError):
        await litellm.acompletion(**call, mock_response=Exception("a secret mistake"))
    await litellm.aembedding(model="text-embedding-3-small", input="a secret text", user=user, mock_response=[0.1])
    async with asyncio.timeout(30):
        while len(logger.log_queue) < CALLS:  # noqa: ASYNC110  LiteLLM tells nobody.
            await asyncio.sleep(0.05)
    records = list(logger.log_queue)
    await logger.async_send_batch()
    logger.log_queue = list(records)
    await logger.async_send_batch()
    sys.stdout.write(str(len(records)))


asyncio.run(main())
