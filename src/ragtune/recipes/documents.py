"""Passages as they are, each once, with a tag that says where they come from."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ragtune.recipes.options import require_whole
from ragtune.recipes.passages import sentences, without_boilerplate
from ragtune.recipes.row import RecipeRow, passage_key
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.facts import Fact
    from ragtune.recipes.row import Material

__all__ = ["DocumentRows"]

_MOST_COPIES = 20


@dataclass(frozen=True, kw_only=True)
class DocumentRows:
    """`document_rows`: the passages of facts as texts to continue, behind a tag with their source.

    What pages say of themselves and lines that many passages have are taken out, then equal passages count once, and
    only then copies are made. `question` is the tag, `answer` the text: `.chat(user="{question}", ...)` or
    `.completion(prompt="{question}", completion="{answer}")`.

    Attributes:
        copies: how often each passage comes; in a further copy its sentences stand in another order.
        tag: holds `{source}`: the fact's source, else its id.
        seed: decides the order of sentences.
    """

    copies: int = 1
    tag: str = "[Doc: {source}]"
    seed: int = 0

    name: ClassVar[str] = "document_rows"
    version: ClassVar[int] = 1
    about: ClassVar[str] = "the passages themselves: they help beside questions, and hardly at all alone"
    scale: ClassVar[tuple[str, int] | None] = ("copies", _MOST_COPIES)

    def __post_init__(self) -> None:
        require_whole("copies", self.copies, low=1, high=_MOST_COPIES)

    def rows(self, material: Material) -> Iterator[RecipeRow]:
        """The rows of one passage after the other."""
        told = [fact for fact in material.facts if fact.support]
        seen: set[int] = set()
        for fact, text in zip(told, without_boilerplate([fact.support or "" for fact in told]), strict=True):
            form = normalise(text)
            # The hash instead of the text: of a gigabyte of passages the set would hold a second one.
            if not form or hash(form) in seen:
                continue
            seen.add(hash(form))
            for number in range(1, self.copies + 1):
                if (copy := self._copy(fact, text, number)) is not None:
                    yield RecipeRow(
                        question=self.tag.replace("{source}", fact.source or fact.id),
                        answer=copy,
                        fact_id=fact.id,
                        wording=f"document-{number}",
                        recipe=f"{self.name}/{self.version}",
                        passage=passage_key(fact),
                    )

    def _copy(self, fact: Fact, text: str, number: int) -> str | None:
        """The text itself, or a further copy of it; None where it has one sentence only."""
        if number == 1:
            return text
        pieces = sentences(text)
        if len(pieces) < 2:
            return None
        # Number and fact in the seed: a fact that is added or taken away changes no copy of another.
        random.Random(f"document {self.seed} {number} {fact.id}").shuffle(pieces)
        return " ".join(pieces)
