"""Answers that know their question, and that a feedback store keeps so that people can judge them later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.feedback import FeedbackStore
    from ragtune.model.answer import Answer

__all__ = ["kept"]


async def kept(
    api: Api, log: FeedbackStore | None, answer: Answer, parameters: Json, *, sent: Sequence[Mapping[str, object]]
) -> Answer:
    """The answer with what was asked, once the store has it; the request's `user` is who asked."""
    told = replace(answer, sent=tuple(sent))
    # Half an answer is nothing that people should judge.
    if log is not None and not told.broken_off:
        user = parameters.get("user")
        # In a thread where there is an event loop: a store is a file, and writing one waits for the disk.
        await api.port.work(_keep, log, told, user if isinstance(user, str) else None)
    return told


def _keep(log: FeedbackStore, answer: Answer, asked_by: str | None) -> None:
    log.keep(answer, asked_by=asked_by)
