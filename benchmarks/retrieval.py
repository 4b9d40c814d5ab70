"""How fast BM25 is over many passages, beside `rank_bm25` with the same words.

    python benchmarks/retrieval.py PATH/TO/sciq/train.jsonl [--passages 100000] [--questions 200]

Passages are sentences of the file's supports, shuffled and joined to the length of a support, so that they are as many
as one likes and as long as they are in life; questions are those of the file. Times are CPU seconds of this process.
The goal at 100,000 passages: indexed within 30 CPU seconds, asked within 5 ms. `rank_bm25` is tried where it is there.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import random
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import jsonlines

import ragtune as rt
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def passages_of(supports: Sequence[str], count: int) -> list[str]:
    """As many different passages, of three to nine sentences each."""
    sentences = [sentence for support in supports for sentence in support.split(". ") if sentence]
    chance = random.Random(7)
    return [". ".join(chance.choices(sentences, k=chance.randint(3, 9))) for _ in range(count)]


def asked_ms(ask: Callable[[str], object], questions: Sequence[str]) -> list[float]:
    """CPU milliseconds of each question, in order."""
    times = []
    for question in questions:
        start = time.process_time()
        ask(question)
        times.append(1000 * (time.process_time() - start))
    return sorted(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=200)
    given = parser.parse_args()
    with jsonlines.open(given.file) as reader:
        rows = list(reader)
    passages = passages_of([row["support"] for row in rows if row["support"]], given.passages)
    questions = [row["question"] for row in rows[: given.questions]]
    words = statistics.mean(len(passage.split()) for passage in passages)
    print(f"{len(passages):,} passages of {words:.0f} words, {len(questions)} questions, k = 5")

    start = time.process_time()
    retriever = rt.BM25(passages)
    indexed_s = time.process_time() - start
    times = asked_ms(retriever, questions)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"rt.BM25    indexed in {indexed_s:.1f} CPU s, asked in {told(times)}, peak {peak:,.0f} MB")

    if importlib.util.find_spec("rank_bm25") is None:
        print("rank_bm25 is not installed", file=sys.stderr)
        return
    start = time.process_time()
    other = importlib.import_module("rank_bm25").BM25Okapi([normalise(passage).split() for passage in passages])
    other_s = time.process_time() - start
    few = questions[: max(1, len(questions) // 10)]
    others = asked_ms(lambda question: other.get_top_n(normalise(question).split(), passages, n=5), few)
    print(f"rank_bm25  indexed in {other_s:.1f} CPU s, asked in {told(others)}")
    ratio = statistics.median(others) / statistics.median(times)
    print(f"rt.BM25 is {other_s / indexed_s:.2f} times as fast to index and {ratio:.0f} times as fast to ask")


def told(times: Sequence[float]) -> str:
    """Median and the slowest of twenty."""
    return f"{statistics.median(times):.1f} ms (95 % within {times[int(0.95 * (len(times) - 1))]:.1f} ms)"


if __name__ == "__main__":
    main()
