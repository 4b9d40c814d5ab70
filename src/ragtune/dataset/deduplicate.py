"""Rows that say the same again are dropped; a step of the builder."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar, Literal

from ragtune import _arguments as arguments
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ragtune.dataset.render.filters import Before
    from ragtune.dataset.render.rows import Selection

Form = Literal["exact", "normalised"]
EXACT = "duplicate"
NORMALISED = "duplicate once normalised"


@dataclass(frozen=True, kw_only=True)
class DuplicatePair:
    """A row that `deduplicate` drops, and the one that stays in its place.

    Attributes:
        dropped: number of the dropped row in the source, from 0.
        kept: number of the row that stays.
        reason: `duplicate`, or `duplicate once normalised`.
        dropped_texts: what the dropped row says, by column.
        kept_texts: what the other one says.

    Example:
        ```python
        import ragtune as rt

        rows = [{"q": "Is it open?", "a": "yes"}, {"q": "is it OPEN", "a": "yes"}]
        pair = next(rt.DatasetBuilder.from_rows(rows).duplicates(question="q", answer="a"))
        print(pair.dropped, pair.kept, pair.dropped_texts["q"], "=", pair.kept_texts["q"])
        #> 1 0 is it OPEN = Is it open?
        ```
    """

    dropped: int
    kept: int
    reason: str
    dropped_texts: Mapping[str, str]
    kept_texts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Deduplicate:
    """Keeps the first of all rows whose columns say the same.

    Attributes:
        columns: compared in normal form.
        exact_columns: compared as they are.
    """

    columns: tuple[str, ...]
    exact_columns: tuple[str, ...] = ()

    in_order: ClassVar[bool] = True

    def start(self, before: Before) -> Duplicates:
        """The step for one reading of the rows."""
        return Duplicates(step=self)

    def described(self) -> dict[str, object]:
        """What the manifest says about the step."""
        return {"deduplicate": [*self.columns, *self.exact_columns], "exactly": list(self.exact_columns)}


def deduplicate_step(*, question: str, answer: str, context: str | None, answers: Form) -> Deduplicate:
    """The step for facts.

    Raises:
        DatasetError: `answers` is no form, or a column's name is no text.
    """
    arguments.one_of("answers", answers, ("exact", "normalised"))
    arguments.text("answer", answer)
    given = {"question": question, **({} if context is None else {"context": context})}
    asked = tuple(arguments.text(name, column) for name, column in given.items())
    if answers == "exact":
        return Deduplicate(columns=asked, exact_columns=(answer,))
    return Deduplicate(columns=(*asked, answer))


@dataclass(kw_only=True)
class Duplicates:
    """Remembers which facts were seen: sixteen bytes and a row number for each exact and each normalised one."""

    step: Deduplicate
    wants_more: ClassVar[bool] = True
    _exact: dict[bytes, int] = field(default_factory=dict)
    _normalised: dict[bytes, int] = field(default_factory=dict)

    def apply(self, rows: Selection) -> dict[str, int]:
        """Drop the rows that were there before, exactly or in normal form.

        Raises:
            DatasetError: a column is not there.
        """
        reasons = [found and found[0] for found in self.found(rows)]
        rows.drop([reason is not None for reason in reasons])
        return {EXACT: reasons.count(EXACT), NORMALISED: reasons.count(NORMALISED)}

    def found(self, rows: Selection) -> list[tuple[str, int] | None]:
        """For each row why it is dropped and which row was there before; None for the first that says this."""
        columns = [rows.column(name, who="deduplicate") for name in (*self.step.columns, *self.step.exact_columns)]
        return [self._found(rows.number(index), values) for index, values in enumerate(zip(*columns, strict=True))]

    def _found(self, row: int, values: Sequence[object]) -> tuple[str, int] | None:
        texts = list(map(_text, values))
        exact = digest(texts)
        # Nearly all repetitions are exact, and to normalise costs more than all the rest.
        if (first := self._exact.setdefault(exact, row)) != row:
            return EXACT, first
        normal = len(self.step.columns)
        # A text of which nothing is left is like no other.
        forms = [normalise(text) or f"\0{text}" for text in texts[:normal]]
        if (first := self._normalised.setdefault(digest(forms + texts[normal:]), row)) != row:
            return NORMALISED, first
        return None


def duplicate_pairs(batches: Iterable[Selection], step: Deduplicate) -> Iterator[DuplicatePair]:
    """Each row that the step would drop beside the one that stays; holds the texts of the rows that stay."""
    running = Duplicates(step=step)
    names = (*step.columns, *step.exact_columns)
    said: dict[int, dict[str, str]] = {}
    stands_for: dict[int, int] = {}
    for rows in batches:
        texts = zip(*(map(_text, rows.column(name, who="deduplicate")) for name in names), strict=True)
        for index, (values, found) in enumerate(zip(texts, running.found(rows), strict=True)):
            own = dict(zip(names, values, strict=True))
            if found is None:
                said[rows.number(index)] = own
                continue
            reason, kept = found
            # The exact repetition of a row that was dropped itself stands for what that row stood for.
            kept = stands_for.get(kept, kept)
            stands_for[rows.number(index)] = kept
            yield DuplicatePair(
                dropped=rows.number(index), kept=kept, reason=reason, dropped_texts=own, kept_texts=said[kept]
            )


def _text(value: object) -> str:
    return "" if value is None else str(value)


def digest(texts: Sequence[str]) -> bytes:
    """Sixteen bytes that stand for some texts in their order."""
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    # The lengths keep ("ab", "c") and ("a", "bc") apart.
    return blake2b(repr(list(map(len, parts))).encode() + b"".join(parts), digest_size=16).digest()
