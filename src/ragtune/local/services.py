"""What the handlers need, in one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune.feedback import FeedbackStore
from ragtune.local.auth.refusals import Refusals
from ragtune.local.http.slots import Slots

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from ragtune.local.auth.account import Account
    from ragtune.local.auth.sessions import Sessions
    from ragtune.local.inference import Inference
    from ragtune.local.models.registry import BaseModels
    from ragtune.local.runner.job_runner import JobRunner
    from ragtune.local.store import Store

__all__ = ["Services", "feedback_in", "services"]

# A page that waits longer for another program's import looks as if it hung.
_WAIT_S = 5.0
# Whoever waits for a slot is not read meanwhile and costs a connection: a crowd of small files is through in less than
# the first of these, while clients that hold all slots and send slowly are not waited for by everybody.
_UPLOAD_WAIT_S = 10.0
_BODY_WAIT_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Services:
    """The parts of a running backend that handlers work with.

    Attributes:
        account: whose server this is.
        server: what kind of server it is and of which version, for its answers' header.
        folder: where its state lies.
        store: files, jobs, models.
        runner: told when a job was made or changed.
        bases: the base models that are served.
        inference: asks models.
        uploading: slots for files and parts that are being received.
        reading: slots for large JSON bodies that are being read.
        sessions: the browsers that have shown the key.
        refusals: wrong keys, told to the owner.
        many_stops: whether chat takes more than OpenAI's four stop texts.
    """

    account: Account
    server: str
    folder: Path
    store: Store
    runner: JobRunner
    bases: BaseModels
    inference: Inference
    uploading: Slots = field(default_factory=lambda: Slots(16, "uploads", wait_s=_UPLOAD_WAIT_S))
    # 64 bodies of 8 MiB, the most that one may have, are half a gigabyte.
    reading: Slots = field(default_factory=lambda: Slots(64, "large JSON bodies", wait_s=_BODY_WAIT_S))
    sessions: Sessions
    refusals: Refusals = field(default_factory=Refusals)
    many_stops: bool = False

    @property
    def feedback(self) -> FeedbackStore:
        """What people said about answers."""
        return feedback_in(self.folder)


def feedback_in(folder: Path) -> FeedbackStore:
    """The store in a backend's folder."""
    return FeedbackStore(folder / "feedback.sqlite3", timeout_s=_WAIT_S)


def services(request: Request) -> Services:
    """The services of the application that a request came to."""
    state: Any = request.app.state
    found: Services = state.services
    return found
