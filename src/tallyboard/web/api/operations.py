"""Is it alive, is it ready, how is it doing: for load balancers and Prometheus."""

from litestar import MediaType, Request, Response, get
from litestar.datastructures import State

from tallyboard.app import App
from tallyboard.web import metrics


@get("/healthz", media_type=MediaType.TEXT)
async def get_health() -> str:
    """Answers as long as the process does."""
    return "ok"


@get("/readyz", media_type=MediaType.TEXT, sync_to_thread=True)
def get_readiness(request: Request[None, None, State]) -> str:
    """Answers when the ledger can be read, else 503: `urn:tallyboard:problem:migrating` or `unavailable`."""
    app: App = request.app.state.app
    app.check_ready()
    return "ready"


@get("/metrics", sync_to_thread=True)
def get_metrics(request: Request[None, None, State]) -> Response[bytes]:
    """Counters and gauges of this process."""
    app: App = request.app.state.app
    return Response(metrics.text(app.figures()), headers={"Content-Type": metrics.CONTENT_TYPE})
