"""Whether texts differ from each other: a model that writes the same again and again teaches it again and again."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune._checked import checked
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Diversity", "diversity"]

# A few short texts share their openings by chance: nothing could be said of them.
_LEAST_TEXTS = 20
# Published sets of generated texts stand at 4.4 (good) and 19 (collapsed), 2603.22213; short questions compress less.
_MOST_COMPRESSION = 6.0
_MOST_OPENING = 0.3


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """How far texts differ.

    Attributes:
        texts: how many there are.
        compression: their bytes divided by their compressed bytes; higher is more of the same.
        opening: the commonest first three words.
        opening_share: share of the texts that begin with them.
        warning: what is wrong, or None; fewer than 20 texts are not judged.

    Example:
        ```python
        from ragtune.recipes.generation import diversity

        found = diversity([f"What is the name of lake {n}?" for n in range(40)])
        print(found.opening, found.opening_share)
        #> what is the 1.0
        ```
    """

    texts: int
    compression: float
    opening: str
    opening_share: float

    @property
    def warning(self) -> str | None:
        """What is wrong, or None."""
        if self.texts < _LEAST_TEXTS:
            return None
        if self.compression > _MOST_COMPRESSION:
            return (
                f"the texts compress {self.compression:.1f} times, so they say much the same; ask for fewer per fact, "
                f"or raise the temperature with request="
            )
        if self.opening_share > _MOST_OPENING:
            return (
                f"{self.opening_share:.0%} of the texts begin with {self.opening!r}; ask for fewer per fact, or raise "
                f"the temperature with request="
            )
        return None


@checked()
def diversity(texts: Sequence[str]) -> Diversity:
    """Measure how far texts differ."""
    # Halves of surrogate pairs, which a JSON answer can hold, would end the measuring with an error.
    joined = "\n".join(texts).encode("utf-8", "surrogatepass")
    openings = Counter(" ".join(normalise(text).split()[:3]) for text in texts)
    opening, times = openings.most_common(1)[0] if openings else ("", 0)
    return Diversity(
        texts=len(texts),
        compression=len(joined) / len(zlib.compress(joined, 9)) if texts else 1.0,
        opening=opening,
        opening_share=times / len(texts) if texts else 0.0,
    )
