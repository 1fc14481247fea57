"""The usage answer as JSON and CSV: the same figures in both, exact."""

import csv
import io
from collections.abc import Iterator

import orjson

from tallyboard import days
from tallyboard.credits import credits_text
from tallyboard.usage.report import Report

CSV_TYPE = "text/csv; charset=utf-8"
_PIECE_CHARACTERS = 65_536
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def json(report: Report) -> bytes:
    """The answer of `GET /api/v1/usage`."""
    return orjson.dumps(
        {
            "account": {"name": report.account, "timezone": report.timezone},
            "from": report.days[0].day.isoformat(),
            "to": report.days[-1].day.isoformat(),
            "complete_through": days.instant_text(report.complete_through_us),
            "total": _amount(report.units),
            "days": [
                {
                    "day": line.day.isoformat(),
                    "starts_at": _text(line.starts_at_us),
                    "ends_at": _text(line.ends_at_us),
                    **_amount(line.units),
                    "complete": line.complete,
                }
                for line in report.days
            ],
            "users": [
                {"user": user.user, "email": user.email, "label": user.label, **_amount(user.units), "days": _whole(user.days)}
                for user in report.users
            ],
            "others": {"users": report.others.users, **_amount(report.others.units), "days": _whole(report.others.days)},
            "truncated": report.truncated,
        },
    )


def csv_text(report: Report) -> Iterator[str]:
    """One line a user and day with usage, Others last, in pieces: `day,user,email,credits,units`."""
    piece = io.StringIO()
    writer = csv.writer(piece)
    writer.writerow(("day", "user", "email", "credits", "units"))
    days_text = [line.day.isoformat() for line in report.days]
    others = f"({report.others.users} others)"
    listed = [(user.user, user.email or "", user.days) for user in report.users]
    for key, email, amounts in [*listed, (others, "", report.others.days)]:
        cells = (safe_cell(key), safe_cell(email))
        writer.writerows((day, *cells, credits_text(units), units) for day, units in zip(days_text, amounts, strict=True) if units)
        if piece.tell() > _PIECE_CHARACTERS:
            yield piece.getvalue()
            piece.seek(0)
            piece.truncate()
    yield piece.getvalue()


def safe_cell(cell: str) -> str:
    """No spreadsheet may take what somebody typed for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _text(us: int) -> str:
    return days.instant_text(us).replace(".000Z", "Z")


def _amount(units: int) -> dict[str, object]:
    return {"credits": credits_text(units), "units": _integer(units)}


def _whole(amounts: tuple[int, ...]) -> list[object]:
    return [_integer(units) for units in amounts]


def _integer(units: int) -> object:
    """JSON integers of any size: what does not fit 64 bits is written digit by digit."""
    return units if -(2**63) <= units < 2**64 else orjson.Fragment(str(units))
