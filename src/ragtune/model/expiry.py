"""How long a model will go on answering."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ragtune import catalog

if TYPE_CHECKING:
    from ragtune._api.calls import Json

__all__ = ["Expiry"]


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """When a model stops answering.

    Attributes:
        kind: `date`, `never` (it runs on your own machine), or `unknown`, which is not "never".
        date: the day, for kind `date`.
        source: who says so.
        as_of: on which day that was read.

    Example:
        ```python
        from ragtune.model.expiry import from_catalog

        print(from_catalog("ft:gpt-4o-mini-2024-07-18:acme::abc12345").date)
        #> 2027-01-14
        print(from_catalog("ft:tiny-random:acme::abc12345").kind, from_catalog("gpt-99").kind)
        #> never unknown
        ```
    """

    kind: Literal["date", "unknown", "never"]
    date: dt.date | None = None
    source: str = ""
    as_of: dt.date | None = None


def from_catalog(name: str) -> Expiry:
    """Return what the catalogue knows of a model, or of the base beneath a tuned one."""
    info = catalog.load().find(name)
    if info is None:
        return Expiry(kind="unknown", source=f"{name!r} is not in the catalogue")
    if info.shutdown is not None:
        return Expiry(kind="date", date=info.shutdown, source=info.source, as_of=info.as_of)
    # What nobody bills runs on the user's own machine, where nobody can switch it off.
    kind: Literal["never", "unknown"] = "never" if info.training_usd_per_million == 0.0 else "unknown"
    return Expiry(kind=kind, source=info.source, as_of=info.as_of)


def from_server(body: Json, today: dt.date, base_url: str) -> Expiry | None:
    """Return what the server's model object says, or None when it gives no readable date."""
    try:
        date = dt.date.fromisoformat(body.get("shutdown_date") or "")
    except ValueError:
        return None
    return Expiry(kind="date", date=date, source=base_url, as_of=today)
