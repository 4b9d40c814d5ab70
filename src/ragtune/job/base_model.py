"""Whether a base model can still be trained: what the catalogue says, and where that is not binding, the server."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING

from ragtune import catalog
from ragtune.errors import ModelExpired, SpecError, TuningClosed

if TYPE_CHECKING:
    from ragtune._api import Api
    from ragtune.catalog import ModelInfo
    from ragtune.dialects import Dialect
    from ragtune.spec import TuneSpec

logger = logging.getLogger("ragtune")

WARN_BEFORE_SHUTDOWN = dt.timedelta(days=60)


async def check_base(api: Api, spec: TuneSpec, dialect: Dialect, *, force: bool) -> list[str]:
    """Hold the spec against what is known of its base; returns warnings.

    Raises:
        SpecError: the base does not take the method.
        ModelExpired: the base was shut down.
        TuningClosed: no new jobs are taken on the base.
    """
    info = catalog.load().find(spec.model)
    if info is None:
        return [f"{spec.model!r} is not in the catalogue: its price and its dates are unknown"]
    if force:
        return []
    if info.methods and spec.method.type not in info.methods:
        raise SpecError(
            f"model: {info.name} takes {' and '.join(info.methods)}, not {spec.method.type} (as of {info.as_of}, "
            f"{info.source}); choose another method or model, or pass force=True"
        )
    today = dt.datetime.fromtimestamp(api.port.now(), tz=dt.UTC).date()
    warnings = [] if info.shutdown is None or info.shutdown - today > WARN_BEFORE_SHUTDOWN else [_soon(info, today)]
    for warning in warnings:
        logger.warning(warning)
    if dialect.catalog_dates:
        _refuse_late(info, today)
    elif info.shutdown is not None and info.shutdown <= today:
        await _ask_server(api, spec.model, info)
    return warnings


def _soon(info: ModelInfo, today: dt.date) -> str:
    days = (info.shutdown - today).days if info.shutdown else 0
    when = f"in {days} days" if days > 0 else "which is past"
    return f"by its maker's plan {info.name} and every fine-tune of it end on {info.shutdown}, {when}"


def _refuse_late(info: ModelInfo, today: dt.date) -> None:
    if info.shutdown is not None and info.shutdown <= today:
        raise ModelExpired(_gone(info))
    if info.last_new_job is not None and info.last_new_job <= today:
        raise TuningClosed(
            f"no new jobs on {info.name} since {info.last_new_job} (as of {info.as_of}, {info.source}); choose another "
            "base or server, or pass force=True if yours still takes them"
        )


async def _ask_server(api: Api, model: str, info: ModelInfo) -> None:
    """The dates are OpenAI's: another server may go on serving a model of that name, and it knows."""
    import openai

    try:
        await api.model(model)
    except openai.NotFoundError as error:
        raise ModelExpired(_gone(info)) from error


def _gone(info: ModelInfo) -> str:
    return (
        f"{info.name} was shut down on {info.shutdown} (as of {info.as_of}, {info.source}), fine-tunes included; "
        "choose another base, or pass force=True if your server still has it"
    )
