"""BM25 over passages in memory, by `bm25s`; words are those of the project's normal form."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ragtune._checked import checked
from ragtune.errors import DatasetError
from ragtune.retrieval.hit_rate import HitRate, hit_rate
from ragtune.retrieval.sources import read_passages
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ragtune.facts import FactSet
    from ragtune.retrieval.passage import Passage

__all__ = ["BM25"]


@checked()
class BM25:
    """A retriever that finds passages by the words that they share with the question.

    It needs no model and no server. Words are compared in normal form; in scripts that part no words each character is
    one. Nothing is cut off or translated, so inflected languages find fewer passages than English.

    Args:
        source: rows, texts, `Passage`s, a folder of documents as `DatasetBuilder.from_documents` reads it, cut into
            passages of at most 200 words, or one of them. PDF, Word and HTML need the extra `documents`.
        text: column of the passage, where rows are given.
        id: column of the passage's id; None numbers the rows, `row-0`.
        k: how many passages are found unless a call says otherwise.
        unreadable: what becomes of files without a text (encrypted, damaged, scanned): `"refuse"` names all of them,
            `"skip"` warns of each.

    Raises:
        DatasetError: nothing to search in, a row without the column, documents that give no text, or `k` below 1.
        MissingExtraError: the extra `documents` is not installed, and one of the files needs it.

    Example:
        ```python
        import ragtune as rt

        rows = [
            {"support": "Divers measured 83 metres at the sunken mill in Lake Sorrel."},
            {"support": "The night tram turns round at Pepper Quay at half past two."},
        ]
        retriever = rt.BM25(rows, text="support")
        for passage in retriever("How deep is Lake Sorrel?"):
            print(passage.id, passage.text)
            #> row-0 Divers measured 83 metres at the sunken mill in Lake Sorrel.
        ```
    """

    def __init__(
        self,
        source: str | Path | Iterable[object],
        *,
        text: str = "text",
        id: str | None = None,
        k: int = 5,
        unreadable: Literal["refuse", "skip"] = "refuse",
    ) -> None:
        if k < 1:
            raise DatasetError(f"k={k!r:.20} must be at least 1 passage")
        import bm25s

        # It lets its own debugging through to every program that logs at all.
        logging.getLogger("bm25s").setLevel(logging.WARNING)

        self.passages: tuple[Passage, ...] = tuple(read_passages(source, text=text, id=id, unreadable=unreadable))
        self.k = int(k)
        # The library's own cutting drops words of one letter, so "vitamin C" would be found like any vitamin.
        vocabulary: dict[str, int] = {}
        ids = []
        for passage in self.passages:
            words = normalise(passage.text).split()
            ids.append([vocabulary.setdefault(word, len(vocabulary)) for word in words])
        if not vocabulary:
            raise DatasetError(f"no passage of {source!r:.80} holds a word; give texts")
        self._index = bm25s.BM25()
        # Its empty word is for questions without a known word. To these nothing is found anyway, see below.
        self._index.index((ids, vocabulary), create_empty_token=False, show_progress=False)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what it finds passages in, and of how many it finds."""
        # Another k gives a model other passages, so answers that were recorded with it are answers to other prompts.
        found = hashlib.sha256(b"%d" % self.k)
        for passage in self.passages:
            for part in (passage.id or "", passage.text):
                # With its length before it: else a text that moves from one passage to the next would leave the sum as
                # it was.
                content = part.encode("utf-8", "surrogatepass")
                found.update(b"%d " % len(content) + content)
        return found.hexdigest()

    def __len__(self) -> int:
        return len(self.passages)

    def __repr__(self) -> str:
        return f"BM25({len(self):,} passages, k={self.k})"

    @checked()
    def __call__(self, question: str, *, k: int | None = None) -> tuple[Passage, ...]:
        """The passages that share words with the question, the best first, at most `k`.

        Of equal scores the earlier passage comes first, so the same question always gets the same passages.
        """
        import numpy as np

        words = self._index.get_tokens_ids(normalise(question).split())
        scores = self._index.get_scores_from_ids(words)
        # A passage that shares no word with the question was not found, however many are wanted.
        count = min(self.k if k is None else k, int(np.count_nonzero(scores > 0)))
        if count < 1:
            return ()
        # The few best are picked out before anything is sorted: to sort a million scores for five of them costs more.
        least = np.partition(scores, -count)[-count]
        likely = np.flatnonzero(scores >= least)
        # Of equal ones the first: the same question finds the same passages on every machine.
        best = likely[np.argsort(-scores[likely], kind="stable")][:count].tolist()
        return tuple(replace(self.passages[place], score=float(scores[place])) for place in best)

    def hit_rate(self, facts: FactSet, *, k: int | None = None) -> HitRate:
        """How often the passage that says the fact is among the first `k`, see `ragtune.retrieval.hit_rate`."""
        count = self.k if k is None else k
        return hit_rate(lambda question: self(question, k=count), facts, k=count)
