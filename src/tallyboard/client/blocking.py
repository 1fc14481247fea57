"""The client for programs that wait: one `Client` for all threads of a process."""

from collections.abc import Mapping
from decimal import Decimal
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

import httpx

from tallyboard.client import exchange
from tallyboard.client.answers import Allowance, Counts, NotSettled, Settled
from tallyboard.client.exchange import Answer, Exchange, Pause, Request, Response, Steps, Terms, Wanted, WhenUnreachable


class Client:
    """Asks Tallyboard at `url` with an API key of scope `check`.

    Every call sends at most four requests, waits at most `timeout_s` for each, and gives up after `patience_s` in all. Every call
    may raise Rejected.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        when_unreachable: WhenUnreachable,
        timeout_s: float = exchange.TIMEOUT_S,
        patience_s: float = exchange.PATIENCE_S,
    ) -> None:
        terms = Terms(url, key, when_unreachable, timeout_s, patience_s)
        self._exchange = Exchange(terms)
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/api/v1", headers=terms.headers)

    @property
    def counts(self) -> Counts:
        """What has happened since the client was made."""
        return self._exchange.counts

    @property
    def kept(self) -> int:
        """How many usages wait for `settle_kept`."""
        return self._exchange.kept

    def check(self, user: str | None = None) -> Allowance | None:
        """The user's allowance where they may go on; None where that is unknown and the client fails open.

        Raises LimitReached, or Unreachable where it fails closed. A key that is bound to a user needs none named.
        """
        return self._run(self._exchange.check(user))

    def hold(
        self,
        user: str | None = None,
        *,
        credits: str | Decimal | None = None,
        units: int | None = None,
        data: Mapping[str, Any] | None = None,
        type: str = exchange.EVENT_TYPE,
        ttl_s: int = exchange.HOLD_TTL_S,
        id: str | None = None,
    ) -> "Hold":
        """Credits to set aside for the length of a with block. How much: an upper bound as credits, units, or data to be charged."""
        return Hold(self, exchange.wanted(user, credits=credits, units=units, data=data, type=type, ttl_s=ttl_s, id=id))

    def settle(
        self,
        hold_id: str,
        *,
        data: Mapping[str, Any],
        type: str = exchange.EVENT_TYPE,
        source: str = exchange.EVENT_SOURCE,
        id: str | None = None,
        user: str | None = None,
    ) -> Settled:
        """Record what was used under a hold; NotSettled where Tallyboard cannot be reached. The same source and id count once."""
        return self._run(self._exchange.settle(exchange.usage(hold_id, user, data, type, source, id)))

    def settle_kept(self) -> int:
        """Send kept usage again; how much is kept still."""
        return self._run(self._exchange.settle_kept())

    def release(self, hold_id: str) -> None:
        """Give a hold's credits back; where that fails, the hold expires."""
        self._run(self._exchange.release(hold_id))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _take(self, wanted: Wanted) -> Allowance | None:
        return self._run(self._exchange.hold(wanted))

    def _run(self, steps: Steps[Answer]) -> Answer:
        came: Response | None = None
        try:
            while True:
                step = steps.send(came)
                if isinstance(step, Pause):
                    sleep(step.seconds)
                    came = None
                else:
                    came = self._send(step)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        finally:
            steps.close()

    def _send(self, request: Request) -> Response | None:
        ends_at = monotonic() + request.timeout_s
        headers = {"Content-Type": request.media_type}
        try:
            with self._http.stream(
                request.method, request.path, content=request.body, headers=headers, timeout=request.timeout_s
            ) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > exchange.ANSWER_BYTES_MAX or monotonic() > ends_at:
                        return None
                return Response(response.status_code, response.headers, bytes(body))
        except httpx.RequestError:
            return None


class Hold:
    """Credits set aside. Leaving the block without `settle` gives them back."""

    def __init__(self, client: Client, wanted: Wanted) -> None:
        self.id = wanted.id
        self.user = wanted.user
        self.allowance: Allowance | None = None
        """The user's allowance with this hold in it; None where it was let through without an answer."""
        self._client = client
        self._wanted = wanted
        self._used = False

    def take(self) -> Self:
        """Set the credits aside. Raises LimitReached, or Unreachable where the client fails closed."""
        self.allowance = self._client._take(self._wanted)  # noqa: SLF001  A client's own.
        return self

    def settle(self, *, data: Mapping[str, Any], type: str = exchange.EVENT_TYPE, id: str | None = None) -> Settled:
        """Record what was used and free the hold. NotSettled where that has to be done again; see `Client.settle_kept`."""
        self._used = True
        try:
            return self._client.settle(self.id, data=data, type=type, id=id, user=self.user)
        except NotSettled:
            raise
        except Exception:
            self._used = False
            raise

    def release(self) -> None:
        """Give the credits back now, unless usage was recorded under them. What nobody granted expires, if it exists at all."""
        if self.allowance is not None and not self._used:
            self._client.release(self.id)

    def __enter__(self) -> Self:
        return self.take()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
