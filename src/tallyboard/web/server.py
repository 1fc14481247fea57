"""Runs the web application: one process, one event loop."""

import signal
import socket
import sys

import uvicorn
from litestar.types import ASGIApp

from tallyboard.app import App
from tallyboard.errors import Unavailable
from tallyboard.garbage import collect_rarely
from tallyboard.settings import Settings
from tallyboard.web import metrics
from tallyboard.web.app import create
from tallyboard.web.connections import Connection

GIL_SWITCH_SECONDS = 0.0005


def bind(host: str, port: int, tries: int = 1) -> socket.socket:
    """A listening socket on the port or, with several tries, on the next free one; Unavailable where there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, port + tries):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)
        else:
            listener.listen(1024)
            return listener
    raise Unavailable(f"cannot listen on {host} port {port}: {reason}; choose another with --port")


def address(listener: socket.socket) -> str:
    """The address a browser on this machine opens."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  Compared with, not bound to.
    return f"http://{shown}:{port}"


def run(app: App, listener: socket.socket) -> None:
    """Serve until told to stop; open streams are cut after a second."""
    sys.setswitchinterval(GIL_SWITCH_SECONDS)  # Large batches are decoded in threads; the event loop must not wait for them.
    metrics.set_up_log()
    signal.signal(signal.SIGTERM, _end)
    config = configured(create(app), app.settings)
    collect_rarely()
    uvicorn.Server(config).run(sockets=[listener])


def configured(application: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How the server runs an application. Where no proxy is trusted, nobody's word counts on who calls."""
    return uvicorn.Config(
        application,
        loop="uvloop",
        http=Connection,
        ws="none",
        log_level=settings.log_level,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
    )


def _end(number: int, _: object) -> None:
    """Uvicorn raises the signal that ended it once more; then everything above still closes in order."""
    sys.exit(128 + number)
