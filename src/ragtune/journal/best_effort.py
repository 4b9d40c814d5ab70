"""Writing down what the world has done already.

Before a purchase a journal that fails must stop it; after one it must not: the job is bought, and an error about the
journal would hide it. So what has happened is noted as well as can be, and a warning tells what is missing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ragtune.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ragtune._api.ports import Port

__all__ = ["note"]

logger = logging.getLogger("ragtune")


async def note(port: Port, what: str, write: Callable[[], object]) -> None:
    """Write down that `what` happened; a journal that fails is told of in the log.

    Args:
        port: does the blocking work.
        what: for the log, as a clause.
        write: writes it.
    """
    try:
        await port.work(write)
    except JournalError as error:
        logger.warning("%s, but that could not be written down: %s", what, error)
