"""What operators watch: counters for Prometheus, and the log of our own mistakes."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress

import structlog
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tallyboard.intake.event import Refusal
from tallyboard.ledger.contract import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_registry = CollectorRegistry()
_events = Counter("tallyboard_events", "Events by what became of them", ["outcome"], registry=_registry)
_refusals = Counter("tallyboard_refused_events", "Refused events by reason", ["reason"], registry=_registry)
_limit_answers = Counter("tallyboard_limit_answers", "Checks and holds by what was answered", ["call", "answer"], registry=_registry)
CHECKS_ALLOWED = _limit_answers.labels("check", "allowed")
"""Counts a check that was answered yes: there are so many that finding the counter by its names would be felt."""
_FIGURES = {
    "waiting_events": "Events queued or being written",
    "waiting_requests": "Requests queued or being written",
    "oldest_waiting_seconds": "How long the group now being written has waited",
    "groups_total": "Group commits",
    "grouped_events_total": "Events in group commits: divided by the groups, the size of a group",
    "transactions_tried_again_total": "Transactions that were interrupted and tried again",
    "keeper_events_total": "Events of large requests that the process for them has written",
    "keeper_failures_total": "Groups of large requests that it has not written, so that the server did",
    "holds_expired_total": "Holds that nobody settled or released in time",
    "database_connections": "Connections to the database server",
    "database_connections_idle": "Connections that nobody uses now",
    "database_requests_waiting": "Requests that wait for a connection",
}
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


def limit_answered(call: str, answer: str) -> None:
    """Count an answer about a limit."""
    _limit_answers.labels(call, answer).inc()


def text(figures: Mapping[str, float]) -> bytes:
    """Everything, in Prometheus' text format; `figures` are the ledger's."""
    ledger = CollectorRegistry()
    ledger.register(_Figures(figures))
    return generate_latest(_registry) + generate_latest(ledger)


class _Figures(Collector):
    """Figures that are counted elsewhere; the names of counters end in _total."""

    def __init__(self, figures: Mapping[str, float]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for name, value in self._figures.items():
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(f"tallyboard_{name}", _FIGURES[name], value=value)


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
