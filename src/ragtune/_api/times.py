"""Points in time as servers write them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(value: object) -> datetime | None:
    """Read a server's time: seconds since 1970, milliseconds as some gateways send them, or an ISO text."""
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            return None
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        # 1e11 seconds are the year 5138; 1e11 milliseconds are 1973.
        return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, tz=UTC)
    return None
