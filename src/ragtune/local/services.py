"""What the handlers need, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune.local.guard import Places

if TYPE_CHECKING:
    from starlette.requests import Request

    from ragtune.local.account import Account
    from ragtune.local.answering import Answering
    from ragtune.local.names import BaseModels
    from ragtune.local.page.door import Door
    from ragtune.local.queue import Queue
    from ragtune.local.store import Store

__all__ = ["Services", "services"]


@dataclass(frozen=True, kw_only=True)
class Services:
    """The parts of a running backend that handlers work with.

    Attributes:
        account: whose server this is.
        store: files, jobs, models.
        queue: told when a job was made or changed.
        bases: the base models that are served.
        answering: asks models.
        uploading: places for files and parts that are being received.
        reading: places for JSON bodies that are being read.
        door: the browsers that have shown the key.
    """

    account: Account
    store: Store
    queue: Queue
    bases: BaseModels
    answering: Answering
    uploading: Places = field(default_factory=lambda: Places(16, "uploads"))
    reading: Places = field(default_factory=lambda: Places(64, "JSON bodies"))
    door: Door


def services(request: Request) -> Services:
    """The services of the application that a request came to."""
    state: Any = request.app.state
    found: Services = state.services
    return found
