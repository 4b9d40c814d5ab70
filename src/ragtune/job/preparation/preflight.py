"""Whether a base model can still be trained: what the catalogue says, and what the server says, which knows better."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from ragtune import catalog
from ragtune._api.calls import Json
from ragtune._api.errors import UnreadableReplyError
from ragtune._api.fields import identity
from ragtune._api.identity import is_loopback
from ragtune._api.planning import PlanPort
from ragtune._api.times import day
from ragtune._warn import warn
from ragtune.errors import ExpiryWarning, ModelExpired, SpecError, TuningClosed, Unsupported

if TYPE_CHECKING:
    import datetime as dt

    from ragtune._api import Api
    from ragtune.catalog import ModelInfo
    from ragtune.dialects import Dialect
    from ragtune.spec import TuneSpec

__all__ = ["WARN_DAYS", "Seen", "check_base", "check_end", "look_at_base"]

logger = logging.getLogger("ragtune")

# How long before its end a model is warned about.
WARN_DAYS = 60
# How long to listen to a server that says nothing.
SILENCE_S = 20.0
# Who owns the base models of an embedded backend, by its own word.
EMBEDDED = "ragtune"

Seen = Json | Exception
"""What the server said of a base: its body, or the error in its place."""


def check_base(spec: TuneSpec, dialect: Dialect, *, today: dt.date, force: bool) -> list[str]:
    """Hold the spec against the catalogue, before anything is sent; returns warnings.

    Raises:
        SpecError: the base does not take the method.
        ModelExpired: the base was shut down.
        TuningClosed: no new jobs are taken on the base.
    """
    if not dialect.bills:
        # A server of one's own: its names may be anything's, and the catalogue speaks of other models.
        return []
    info = catalog.load().find(spec.model)
    if info is None:
        # A warning only: it may be newer than the catalogue, and the server will say.
        return [f"{spec.model!r} is not in the catalogue: its price and its dates are unknown"]
    if force:
        return []
    if info.methods and spec.method.type not in info.methods:
        raise SpecError(
            f"model: {info.name} takes {' and '.join(info.methods)}, not {spec.method.type} (as of {info.as_of}, "
            f"{info.source}); choose another method or model, or pass force=True"
        )
    if dialect.catalog_dates:
        _refuse_late(info, today)
    return []


async def look_at_base(api: Api, model: str) -> Seen | None:
    """Ask the server for a base; None for an unprobed plan, which sends nothing."""
    import openai

    if isinstance(api.port, PlanPort) and not api.port.probes:
        return None
    try:
        return await api.look("models.retrieve", model=model, timeout_s=SILENCE_S)
    except (openai.APIError, UnreadableReplyError, ModelExpired) as error:
        if not api.port.heard.answered:
            # Whom the client was made for is no proof of who is asked.
            api.port.heard.server = None
        return error


async def check_end(
    api: Api, model: str, dialect: Dialect, seen: Seen | None, *, today: dt.date, force: bool, warn_days: int
) -> list[str]:
    """Go by what the server says of the base's end, and by the catalogue where it does not say; returns warnings.

    An unprobed plan has seen nothing, so it goes by the catalogue.

    Raises:
        ModelExpired: the base was shut down.
        Unsupported: the server is an embedded backend, and has no such base.
    """
    info = catalog.load().find(model) if dialect.bills else None
    planned = None if info is None else info.shutdown
    past = _gone(info) if info and planned and planned <= today else None
    said: list[str] = []
    told = await _told(api, model, seen, said, past=past, force=force)
    end = told or planned
    if end is None:
        return said
    if told is not None and told <= today and not force:
        raise ModelExpired(
            f"{model} was shut down on {told}, says {api.port.base_url}; choose another base, or pass force=True to "
            "try all the same"
        )
    left = (end - today).days
    if left <= warn_days:
        who = "the server says that" if told else "by its maker's plan"
        when = f"in {left} days" if left > 0 else "which is past"
        warning = f"{who} {model} and every fine-tune of it end on {end}, {when}"
        said.append(warning)
        # OpenAI's dates bind no other server.
        if told or dialect.catalog_dates:
            warn(warning, ExpiryWarning)
        else:
            logger.warning(warning)
    return said


async def _told(
    api: Api, model: str, seen: Seen | None, said: list[str], *, past: str | None, force: bool
) -> dt.date | None:
    """The server's own date; `past` is what to say when the catalogue's is over and the server has no such model."""
    import openai

    if isinstance(seen, dict):
        return day(seen.get("shutdown_date"))
    if isinstance(seen, ModelExpired) and not force:
        raise seen
    if isinstance(seen, openai.NotFoundError):
        if past is not None and not force:
            raise ModelExpired(past) from seen
        # A tuned model is none of the bases that a server lists.
        if seen.code == "model_not_found" and not force and not model.startswith("ft:"):
            await _refuse_absent(api, model)
        # `create` goes on and hears from the server itself; a plan sends no request that could be refused.
        if isinstance(api.port, PlanPort):
            said.append(f"the server does not show {model}: {seen}")
    elif seen is not None:
        logger.info("when %s ends cannot be asked: %s", model, type(seen).__name__)
    return None


async def _refuse_absent(api: Api, model: str) -> None:
    """An embedded backend lists every base that it can train; elsewhere a list may keep silent about some."""
    if not is_loopback(api.port.base_url) and api.dialect.bills:
        return
    import openai

    try:
        async with aclosing(api.models()) as models:
            bases = [identity(body) async for body in models if body.get("owned_by") == EMBEDDED]
    except (openai.APIError, UnreadableReplyError):
        return
    if bases and model not in bases:
        way = f"another one is added with LocalBackend(folder, bases={{{model!r}: FOLDER}}) or `ragtune serve --base`"
        raise Unsupported("local", f"the base {model}", f"{api.port.base_url} has {', '.join(bases)}; {way}")


def _refuse_late(info: ModelInfo, today: dt.date) -> None:
    if info.shutdown is not None and info.shutdown <= today:
        raise ModelExpired(_gone(info))
    if info.last_new_job is not None and info.last_new_job <= today:
        raise TuningClosed(
            f"no new jobs on {info.name} since {info.last_new_job} (as of {info.as_of}, {info.source}); choose another "
            "base, another server with this wire, or ragtune.local.LocalBackend, which trains on this machine; or pass "
            "force=True if yours still takes them"
        )


def _gone(info: ModelInfo) -> str:
    return (
        f"{info.name} was shut down on {info.shutdown} (as of {info.as_of}, {info.source}), fine-tunes included; "
        "choose another base, or pass force=True if your server still has it"
    )
