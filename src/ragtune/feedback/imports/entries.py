"""What a line of a foreign file can say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["THUMBS", "Answered", "Entry", "PassedOver", "Scored", "Shape"]

# What user feedback is called in the guides of Langfuse and LangSmith, where the number is a thumb: 1, or 0 and -1.
THUMBS = ("user-feedback", "user_feedback", "user-score", "user_score", "thumbs")


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An answer, perhaps judged.

    Attributes:
        row: as `FeedbackStore.add_many` takes it.
        origin: what its program calls it, so that verdicts in other files find it; None where nothing refers to it.
    """

    row: Mapping[str, object]
    origin: str | None = None


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A verdict about an answer that stands in another line or file.

    Attributes:
        origins: beginnings of what that answer may be called, the likeliest one first.
        said: the verdict.
    """

    origins: Sequence[str]
    said: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """A line that holds nothing to keep.

    Attributes:
        reason: why, for people.
    """

    reason: str


Entry = Answered | Scored | PassedOver


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One kind of file.

    Attributes:
        name: what it is called.
        expects: what its rows hold, for the message that refuses others.
        fits: whether a row is of this shape.
        read: what a row says; takes the names of scores that are thumbs.
    """

    name: str
    expects: str
    fits: Callable[[Mapping[str, object]], bool]
    read: Callable[[Mapping[str, object], Sequence[str]], Iterator[Entry]]
