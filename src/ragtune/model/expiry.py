"""How long a model will go on answering."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ragtune import catalog
from ragtune._api.errors import UnreadableReplyError
from ragtune._api.times import day
from ragtune._warn import warn
from ragtune.errors import ExpiryWarning, ModelExpired
from ragtune.job.preparation.preflight import EMBEDDED, WARN_DAYS

if TYPE_CHECKING:
    from ragtune._api import Api

__all__ = ["Expiry"]

logger = logging.getLogger("ragtune")


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


async def expiry_of(api: Api, name: str) -> Expiry:
    """Return when a model ends: by the server where it gives a date, of the model or of its base, else by catalogue.

    What an embedded backend serves never ends, whatever the catalogue says of a model of that name.
    """
    return await _from_server(api, name) or from_catalog(name)


async def warn_of_end(api: Api, name: str) -> None:
    """Warn of a model that ends within `WARN_DAYS`, as far as the server or a catalogue that holds for it knows."""
    import openai

    try:
        told = await _from_server(api, name)
    except (openai.APIError, UnreadableReplyError) as error:
        # A look beside the question: a server that has no such call must not stop anybody from asking.
        logger.info("when %s ends cannot be asked: %s", name, type(error).__name__)
        told = None
    # The catalogue's dates are OpenAI's: they bind no other server.
    end = told or (from_catalog(name) if api.dialect.catalog_dates else None)
    if end is None or end.date is None:
        return
    left = (end.date - _today(api)).days
    if left <= WARN_DAYS:
        when = f"in {left} days" if left > 0 else "which is past"
        message = f"{name} stops answering on {end.date}, {when} ({end.source}); train on another base while you can"
        warn(message, ExpiryWarning)


async def _from_server(api: Api, name: str) -> Expiry | None:
    import openai

    # A tuned model ends with its base, so that the base's date is its own; a bare base is asked for once.
    for asked in dict.fromkeys([name, catalog.base_of(name)]):
        try:
            body = await api.model(asked)
        # Not the end of the look: the base may tell its date all the same.
        except (openai.NotFoundError, ModelExpired):
            continue
        date = day(body.get("shutdown_date"))
        if date is None and body.get("owned_by") == EMBEDDED:
            return Expiry(kind="never", source=api.port.base_url, as_of=_today(api))
        if date is not None:
            return Expiry(kind="date", date=date, source=api.port.base_url, as_of=_today(api))
    return None


def _today(api: Api) -> dt.date:
    return dt.datetime.fromtimestamp(api.port.now(), tz=dt.UTC).date()
