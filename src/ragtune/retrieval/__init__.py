"""Passages for a question: BM25 or any callable, the prompt they make, and how often the right one is there."""

from __future__ import annotations

from ragtune.retrieval.bm25 import BM25
from ragtune.retrieval.failing import contradicting, nothing_found
from ragtune.retrieval.hit_rate import HitRate, hit_rate
from ragtune.retrieval.open_book import PROMPT, OpenBook, OpenQuestion
from ragtune.retrieval.passage import Passage, Retriever, passages_of

__all__ = [
    "BM25",
    "PROMPT",
    "HitRate",
    "OpenBook",
    "OpenQuestion",
    "Passage",
    "Retriever",
    "contradicting",
    "hit_rate",
    "nothing_found",
    "passages_of",
]
