"""From what the owner named to what asks engines: those that are to be started are started first."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ragtune.errors import BackendError
from ragtune.local.remote_engine.address import EngineAddress, EngineCommand

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ragtune.local.models.registry import BaseModels
    from ragtune.local.remote_engine.process import EngineProcess
    from ragtune.local.remote_engine.service import RemoteEngine

__all__ = ["check_bases", "start_engines"]

_SHIPPED_BASE = "smollm2-135m-instruct"


def check_bases(engines: Sequence[EngineAddress | EngineCommand], bases: BaseModels) -> None:
    """See that every engine that is to be started has a base to serve.

    Raises:
        BackendError: one names none that there is.
    """
    for one in engines:
        if isinstance(one, EngineCommand) and bases.real_name(_base_of(one, bases)) is None:
            message = f"engine: {str(one)!r} is no address, and there is no base {one.base!r} that it could serve"
            raise BackendError(f"{message}; give {one.kind}=URL, or one of {', '.join(bases.names())}")


def start_engines(engines: Sequence[EngineAddress | EngineCommand], *, bases: BaseModels, folder: Path) -> RemoteEngine:
    """What asks these engines; those that are to be started are started.

    Raises:
        BackendError: one cannot be started, asks for another key, or is no such engine.
    """
    # It brings openai with it.
    from ragtune.local.remote_engine.process import EngineProcess
    from ragtune.local.remote_engine.service import RemoteEngine

    addresses: list[EngineAddress] = []
    # What was started is stopped where a later engine cannot be, or the first look finds a fault of the owner's.
    with ExitStack() as undo:
        processes: list[EngineProcess] = []
        for number, one in enumerate(engines):
            if isinstance(one, EngineCommand):
                log = folder / f"engine-{number}.log"
                processes.append(EngineProcess(one, base=bases.folder(_base_of(one, bases)), log=log))
                undo.callback(processes[-1].stop)
                addresses.append(processes[-1].address)
            else:
                addresses.append(one)
        made = RemoteEngine(addresses, processes=processes)
        undo.pop_all()
    return made


def _base_of(command: EngineCommand, bases: BaseModels) -> str:
    """The base that an engine is started for: the owner's own, if there is one alone, else the one that ships."""
    if command.base is not None:
        return bases.aliases.get(command.base, command.base)
    return next(iter(bases.extra)) if len(bases.extra) == 1 else _SHIPPED_BASE
