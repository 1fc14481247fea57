"""The web application: one table of routes, and what stands around it."""

from litestar import Litestar, MediaType, Request, Response
from litestar.config.compression import CompressionConfig
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from litestar.static_files import create_static_files_router
from litestar.types import ASGIApp

from tallyboard.app import App
from tallyboard.web import body, metrics, problems, security
from tallyboard.web.api import document, openmeter, operations, policy, usage, users
from tallyboard.web.lane import with_lane
from tallyboard.web.live import Streams
from tallyboard.web.pages import (
    account_routes,
    audit_routes,
    intake_routes,
    keys_routes,
    members_routes,
    my_routes,
    openid_routes,
    policy_routes,
    render,
    routes,
    set_up_routes,
    sign_in_routes,
    users_routes,
)
from tallyboard.web.scim import with_scim

ROUTES = [
    routes.get_root,
    *sign_in_routes.ROUTES,
    *openid_routes.ROUTES,
    *account_routes.ROUTES,
    *members_routes.ROUTES,
    *users_routes.ROUTES,
    *my_routes.ROUTES,
    *set_up_routes.ROUTES,
    routes.get_usage_page,
    routes.get_usage_csv,
    policy_routes.get_policy_page,
    policy_routes.post_policy_page,
    policy_routes.post_override,
    policy_routes.post_overrides,
    policy_routes.post_removal,
    policy_routes.post_release,
    keys_routes.get_keys_page,
    keys_routes.post_key,
    keys_routes.post_rotation,
    keys_routes.post_revocation,
    *intake_routes.ROUTES,
    audit_routes.get_audit_page,
    audit_routes.get_audit_csv,
    audit_routes.get_audit_ndjson,
    audit_routes.post_audit_check,
    usage.get_usage,
    usage.get_stream,
    users.get_users,
    users.put_user,
    users.delete_of_user,
    *openmeter.ROUTES,
    policy.get_policy,
    policy.put_policy,
    policy.get_overrides,
    policy.get_override,
    policy.put_override,
    policy.delete_override,
    policy.post_preview,
    policy.get_history,
    operations.get_health,
    operations.get_readiness,
    operations.get_metrics,
    document.get_docs,
    document.get_document,
]
REQUEST_BYTES_MAX = 1_048_576
_PAGE_PREFIXES = (
    "/usage",
    "/policy",
    "/sign-",
    "/account",
    "/members",
    "/users",
    "/invitation",
    "/set-up",
    "/my",
    "/keys",
    "/intake",
    "/audit",
)


def create(app: App) -> ASGIApp:
    """The application for a server to run. POST /api/v1/events is answered before the framework (lane.py)."""
    assets = create_static_files_router(path="/assets", directories=[render.ASSETS], after_request=_keep_forever, include_in_schema=False)
    framework = Litestar(
        route_handlers=[*ROUTES, assets],
        state=State({"app": app, "streams": Streams(app)}),
        exception_handlers={Exception: _answer_problem},
        compression_config=CompressionConfig(backend="gzip", gzip_compress_level=6, exclude=["/api/v1/stream"]),
        openapi_config=None,
        guards=[security.check_host],
        request_max_body_size=REQUEST_BYTES_MAX,
        debug=False,
    )
    return with_lane(app, security.with_headers(with_scim(app, body.with_whole_bodies(framework, REQUEST_BYTES_MAX)), app.settings))


def _answer_problem(request: Request[None, None, State], error: Exception) -> Response[bytes]:
    if isinstance(error, HTTPException):
        nowhere = "Nothing is found at this address." if error.status_code == 404 else ""
        detail = nowhere or _mistakes(error) or error.detail or "The request cannot be answered."
        problem = problems.with_status(error.status_code, detail, error.headers)  # Such as Allow, where the method is another.
    else:
        problem = problems.of(error)
    metrics.log_trouble(error, problem.status)
    path = request.scope["path"]
    headers = {"Cache-Control": "no-store", **problem.headers}
    if path == "/" or path.startswith(_PAGE_PREFIXES):
        return Response(routes.error_page(request, problem), status_code=problem.status, media_type=MediaType.HTML, headers=headers)
    return Response(problem.body(), status_code=problem.status, media_type=problems.MEDIA_TYPE, headers=headers)


def _mistakes(error: HTTPException) -> str:
    """What the framework found wrong with the body or the parameters, by name; its own summary names none."""
    found = error.extra if isinstance(error, ValidationException) and isinstance(error.extra, list) else []
    return "; ".join(_mistake(each.get("key") or "data", str(each.get("message"))) for each in found if isinstance(each, dict))


def _mistake(name: str, message: str) -> str:
    if message == "'data'":  # What a handler misses that takes a body and was sent none.
        return "the body is missing"
    return f"{'the body' if name == 'data' else name}: {message}"


async def _keep_forever(response: Response[bytes]) -> Response[bytes]:
    """Asset names change with their content."""
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response
