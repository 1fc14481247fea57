"""What operators watch: counters for Prometheus, and the log of our own mistakes."""

import sys
from contextlib import suppress

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from tallyboard.intake.event import Refusal
from tallyboard.ledger.contract import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_registry = CollectorRegistry()
_events = Counter("tallyboard_events", "Events by what became of them", ["outcome"], registry=_registry)
_refusals = Counter("tallyboard_refused_events", "Refused events by reason", ["reason"], registry=_registry)
_waiting = Gauge("tallyboard_waiting_events", "Events queued or being written", registry=_registry)
_log = structlog.get_logger()


def taken(outcome: Outcome) -> None:
    """Count what became of a request."""
    for name in outcome.__struct_fields__:
        if number := getattr(outcome, name):
            _events.labels(name).inc(number)


def refused(refusals: tuple[Refusal, ...]) -> None:
    """Count refusals by reason."""
    for refusal in refusals:
        _refusals.labels(refusal.reason).inc()


def text(waiting_events: int) -> bytes:
    """Everything, in Prometheus' text format."""
    _waiting.set(waiting_events)
    return generate_latest(_registry)


def set_up_log() -> None:
    """One JSON object a line on stderr. Traces without the values of variables: those may be secrets."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def log_trouble(error: Exception, status: int) -> None:
    """What is not the caller's fault: our own mistakes with the whole trace, a ledger away with its reason."""
    with suppress(OSError):  # A full disk must not keep us from answering that the disk is full.
        if status == 500:
            _log.error("mistake", exc_info=error)
        elif status >= 500:
            _log.warning("refused", reason=str(error))
