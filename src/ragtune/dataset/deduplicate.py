"""Rows that say the same again are dropped; a step of the builder."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.dataset.render.rows import Selection

EXACT = "duplicate"
NORMALISED = "duplicate once normalised"


@dataclass(frozen=True, kw_only=True)
class Deduplicate:
    """Keeps the first of all rows whose columns have the same normal forms."""

    columns: tuple[str, ...]

    def start(self) -> Duplicates:
        """The step for one reading of the rows."""
        return Duplicates(columns=self.columns)

    def described(self) -> dict[str, object]:
        """What the manifest says about the step."""
        return {"deduplicate": list(self.columns)}


@dataclass(kw_only=True)
class Duplicates:
    """Remembers which facts were seen: sixteen bytes for each exact and each normalised one, no texts."""

    columns: tuple[str, ...]
    _exact: set[bytes] = field(default_factory=set)
    _normalised: set[bytes] = field(default_factory=set)

    def apply(self, rows: Selection) -> dict[str, int]:
        """Drop the rows that were there before, exactly or in normal form.

        Raises:
            DatasetError: a column is not there.
        """
        reasons = [self._reason(values) for values in zip(*map(rows.column, self.columns), strict=True)]
        rows.drop([reason is not None for reason in reasons])
        return {EXACT: reasons.count(EXACT), NORMALISED: reasons.count(NORMALISED)}

    def _reason(self, values: Sequence[object]) -> str | None:
        """Why a row is dropped; None for the first one that says this."""
        texts = ["" if value is None else str(value) for value in values]
        exact = _digest(texts)
        # Nearly all repetitions are exact, and to normalise costs more than all the rest.
        if exact in self._exact:
            return EXACT
        self._exact.add(exact)
        normalised = _digest(list(map(normalise, texts)))
        if normalised in self._normalised:
            return NORMALISED
        self._normalised.add(normalised)
        return None


def _digest(texts: Sequence[str]) -> bytes:
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    # The lengths keep ("ab", "c") and ("a", "bc") apart.
    return blake2b(repr(list(map(len, parts))).encode() + b"".join(parts), digest_size=16).digest()
