"""The rows of the table of calls that OpenMeter's clients know, too."""

from collections.abc import Mapping, Sequence

from tallyboard.people.keys import Scope
from tallyboard.usage.events import LIST_MAX
from tallyboard.usage.meters import Window
from tallyboard.web.api.shapes import INSTANT, JSON, USER, Call, Schema, in_path, known, list_of, object_of, or_null, query, text

_GROUP = "OpenMeter"
_SLUG = in_path("slug", "The meter's slug.")
_FEATURE: Schema = {"name": "feature", "in": "path", "required": True, "schema": text(enum=["credits"]), "description": "The only one."}
_WINDOW = text(enum=[window.value for window in Window])
_NUMBER: Schema = {"type": "number"}
_FROM = query("from", INSTANT, "From this instant on; a whole quarter hour for sums.")
_TO = query("to", INSTANT, "Until before this one.")
_CLIENT = query("clientId", text(), "Is passed over.")

SCHEMAS: Mapping[str, Schema] = {
    "Meter": object_of(
        {
            "id": text(),
            "slug": text(),
            "name": text(),
            "aggregation": {"const": "SUM"},
            "eventType": text(),
            "valueProperty": text(),
            "groupBy": {"type": "object"},
            "createdAt": INSTANT,
            "updatedAt": INSTANT,
        },
        required=("id", "slug", "name", "aggregation", "eventType", "groupBy", "createdAt", "updatedAt"),
    ),
    "Sums": object_of(
        {
            "from": INSTANT,
            "to": INSTANT,
            "windowSize": _WINDOW,
            "data": list_of(
                object_of(
                    {
                        "value": _NUMBER,
                        "windowStart": INSTANT,
                        "windowEnd": INSTANT,
                        "subject": or_null(text()),
                        "groupBy": {"type": "object"},
                    }
                )
            ),
        },
        required=("from", "to", "data"),
    ),
    "MeterQuery": object_of(
        {
            "from": INSTANT,
            "to": INSTANT,
            "windowSize": _WINDOW,
            "windowTimeZone": text(),
            "subject": list_of(text()),
            "filterCustomerId": list_of(text()),
            "groupBy": list_of(text(enum=["subject", "model"])),
            "filterGroupBy": {"type": "object"},
            "clientId": text(),
        },
        required=(),
    ),
    "KeptEvent": object_of(
        {"event": known("Event"), "ingestedAt": INSTANT, "storedAt": INSTANT, "validationError": text()},
        required=("event", "ingestedAt", "storedAt"),
    ),
    "Entitlement": object_of(
        {
            "hasAccess": {"type": "boolean"},
            "usage": _NUMBER,
            "balance": _NUMBER,
            "overage": _NUMBER,
            "totalAvailableGrantAmount": _NUMBER,
        },
        required=("hasAccess", "usage"),
        description="In credits, of the account day. Without a limit there is no balance.",
    ),
}


def _entitlement(path: str, about: str, answer: Schema, *parameters: Schema) -> Call:
    return Call(
        method="get",
        path=path,
        summary="What a customer may still use, as OpenMeter tells it",
        about=about,
        group=_GROUP,
        scopes=(Scope.READ, Scope.CHECK),
        parameters=(USER, *parameters),
        answers={200: {JSON: answer}},
        refusals=(404,),
    )


CALLS: Sequence[Call] = (
    Call(
        method="get",
        path="/api/v1/events",
        summary="Events as they came, newest first",
        about="Looked for among the newest 500,000.",
        group=_GROUP,
        scopes=(Scope.READ,),
        parameters=(
            query("subject", text(), "Of this user alone."),
            _FROM,
            _TO,
            query("limit", {"type": "integer", "minimum": 1, "maximum": LIST_MAX}, "How many at most; 100 where nothing is said."),
            _CLIENT,
        ),
        answers={200: {JSON: list_of(known("KeptEvent"))}},
    ),
    Call(
        method="get",
        path="/api/v1/meters",
        summary="What there is to count",
        about="`credits`, `units`, and the meters of the rate card in force.",
        group=_GROUP,
        scopes=(Scope.READ,),
        answers={200: {JSON: list_of(known("Meter"))}},
    ),
    Call(
        method="get",
        path="/api/v1/meters/{slug}/query",
        summary="Sums of a meter",
        about="By windows of time, subjects and models; `filterGroupBy[model]=…` chooses models. `Accept: text/csv` gives a table.",
        group=_GROUP,
        scopes=(Scope.READ,),
        parameters=(
            _SLUG,
            _FROM,
            _TO,
            query("windowSize", _WINDOW, "One sum for all of the time where nothing is said."),
            query("windowTimeZone", text(), "UTC where nothing is said."),
            query("subject", list_of(text()), "These users alone, each by itself; may be there several times."),
            query("filterCustomerId", list_of(text()), "The same."),
            query("groupBy", list_of(text(enum=["subject", "model"])), "May be there several times."),
            _CLIENT,
        ),
        answers={200: {JSON: known("Sums"), "text/csv": text()}},
        refusals=(404,),
    ),
    Call(
        method="post",
        path="/api/v1/meters/{slug}/query",
        summary="Sums of a meter, asked in a body",
        about="The same, for questions that are too long for an address.",
        group=_GROUP,
        scopes=(Scope.READ,),
        parameters=(_SLUG,),
        body={JSON: known("MeterQuery")},
        answers={200: {JSON: known("Sums"), "text/csv": text()}},
        refusals=(404,),
    ),
    _entitlement(
        "/api/v1/customers/{key}/access",
        "Whether a user may go on, and what is left.",
        object_of({"entitlements": object_of({"credits": known("Entitlement")})}),
    ),
    _entitlement("/api/v1/customers/{key}/entitlements/{feature}/value", "The same of one feature.", known("Entitlement"), _FEATURE),
    _entitlement("/api/v1/subjects/{key}/entitlements/{feature}/value", "The older address of it.", known("Entitlement"), _FEATURE),
)
