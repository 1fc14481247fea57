"""Refused events leave a trace: for operators as counters, for administrators on the Intake page."""

from collections import Counter

from tallyboard.app import App, Caller
from tallyboard.intake.event import Refusal
from tallyboard.web import metrics


def note(app: App, who: Caller, refused: tuple[Refusal, ...]) -> None:
    """Note the refused events of a request, by reason, with an example each."""
    metrics.refused(refused)
    for reason, events in Counter(each.reason for each in refused).items():
        example = next(each.detail for each in refused if each.reason is reason)
        app.refused(who.key.account_id, who.actor, reason, events, example)
