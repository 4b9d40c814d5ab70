"""Points and spans of time as servers write them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_POLL_S = 600.0


def moment(value: object) -> datetime | None:
    """Read a server's time: seconds since 1970, milliseconds as some gateways send them, or an ISO text."""
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value)
            return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            return None
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        # 1e11 seconds are the year 5138; 1e11 milliseconds are 1973.
        try:
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, tz=UTC)
        except (OverflowError, ValueError, OSError):
            return None
    return None


def day(value: object) -> date | None:
    """Read a date without a time, `2027-01-14`; None where there is none."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def http_date(text: str | None) -> datetime | None:
    """Read a date as HTTP headers carry it; None where there is none."""
    try:
        read = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def poll_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which a server wants to be asked again (`openai-poll-after-ms`), None if it is silent.

    At most ten minutes: a slip of the server's must not look like a hang.
    """
    try:
        seconds = float(headers["openai-poll-after-ms"]) / 1000
    except (KeyError, ValueError):
        return None
    # Zero would be a loop without a pause.
    return min(seconds, LONGEST_POLL_S) if seconds > 0 else None
