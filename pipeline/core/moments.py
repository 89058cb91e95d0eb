"""Moments in time: always UTC, always written as RFC 3339 with a Z."""

from datetime import UTC, datetime

from pipeline.core.errors import ImprimaturError


def now() -> str:
    """This moment, to the microsecond."""
    return format_moment(datetime.now(UTC))


def format_moment(moment: datetime) -> str:
    """RFC 3339 in UTC, always with six decimals, so that the text sorts as the time does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_moment(text: str, field: str = "moment") -> str:
    """Normalise an ISO 8601 date or date-time; a missing time zone means UTC, a bare date its midnight.

    Raises ImprimaturError when the text is neither.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ImprimaturError(
            f"{field}: {text!r} is not a date or date-time", "write it like 2026-11-24 or 2026-11-24T02:00:00Z"
        ) from None
    return format_moment(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
