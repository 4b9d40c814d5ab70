"""Answers on their way to a reader: kept beside, and never lost because they could not be kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from ragtune._warn import warn
from ragtune.errors import EmptyAnswer, FeedbackError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ragtune.feedback.checking import Said

__all__ = ["Keep", "keep_answer", "keeping"]

Keep = Callable[..., int]
F = TypeVar("F", bound=Callable[..., Any])


def keep_answer(
    keep: Keep,
    path: Path,
    answer: Said | str,
    *,
    question: str | None = None,
    model: str | None = None,
    system: str | None = None,
    passages: Iterable[object] = (),
    asked_by: str | None = None,
) -> None:
    """Keep an answer that its reader gets in any case: what stands in the way is a warning.

    An answer without text (a tool call, a refusal) has nothing to judge and is passed over.

    Args:
        keep: `FeedbackStore.log`.
        path: the store's file, for the warning.
        answer: an `Answer` or a text.
        question: what was asked.
        model: which model answered.
        system: its system prompt.
        passages: what it was given to read.
        asked_by: who asked.
    """
    try:
        keep(answer, question=question, model=model, system=system, passages=passages, asked_by=asked_by)
    # Without a text there is nothing that anybody could judge.
    except EmptyAnswer:
        return
    except FeedbackError as error:
        warn(f"an answer was given and not kept in {path.name}: {error}; store.log(answer) keeps it later")


def keeping(
    function: F,
    keep: Keep,
    path: Path,
    *,
    question: str | None,
    model: str | None,
    system: str | None,
    asked_by: str | None,
) -> F:
    """The function, whose answers are kept; see `FeedbackStore.logged`.

    Raises:
        FeedbackError: it has no parameter of a name that was given.
    """
    # Read when the function is made, so that a wrong name is told then and not with the first answer.
    signature = inspect.signature(function)
    asked = _asked(function, tuple(signature.parameters), question=question, asked_by=asked_by)

    def note(given: tuple[object, ...], named: dict[str, object], result: object) -> None:
        bound = signature.bind(*given, **named)
        bound.apply_defaults()
        answer, passages = _parted(result)
        person = None if asked_by is None else bound.arguments[asked_by]
        keep_answer(
            keep,
            path,
            answer,
            question=bound.arguments[asked],
            model=model,
            system=system,
            passages=passages,
            asked_by=person,
        )

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*given: object, **named: object) -> object:
            import asyncio

            result = await function(*given, **named)
            # The file may be held by another writer, and the event loop must not wait for that.
            await asyncio.to_thread(note, given, named, result)
            return result

        return awaited  # type: ignore[return-value]

    @wraps(function)
    def called(*given: object, **named: object) -> object:
        result = function(*given, **named)
        note(given, named, result)
        return result

    return called  # type: ignore[return-value]


def _asked(function: Callable[..., Any], names: Sequence[str], *, question: str | None, asked_by: str | None) -> str:
    """The parameter that holds the question: the one that is named, else the first.

    Raises:
        FeedbackError: there is no parameter of a name that was given, or none at all.
    """
    asked = question or next((name for name in names if name not in ("self", "cls")), None)
    for what, name in (("question", asked), ("asked_by", asked_by)):
        if name not in names and (what == "question" or name is not None):
            raise FeedbackError(
                f"{what}: {function.__qualname__} has no parameter {name!r}; it has {', '.join(names) or 'none'}"
            )
    assert asked is not None, "a question that is no parameter was refused"
    return asked


def _parted(result: object) -> tuple[Any, Iterable[object]]:
    """The answer and the passages that came with it."""
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Sequence):
        return result[0], () if isinstance(result[1], str) else result[1]
    return result, ()
