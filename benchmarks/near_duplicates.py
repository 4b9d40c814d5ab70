"""Recall and cost of near-duplicates by MinHash, against all pairs counted exactly.

    python benchmarks/near_duplicates.py rows.jsonl support

Truth is the exact Jaccard index of all pairs of distinct normalised texts (a prefix filter leaves out only pairs that
cannot reach the threshold). CPU seconds of one run each, in this process, imports left out.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from ragtune.dataset.leakage.near_duplicates import RUN_WORDS, near_duplicates, near_keys
from ragtune.dataset.leakage.shingles import shingle
from ragtune.dataset.leakage.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Sequence

THRESHOLDS = (0.9, 0.8, 0.7, 0.5)


def exact_pairs(texts: Sequence[str], threshold: float) -> set[tuple[int, int]]:
    """All pairs of distinct texts whose Jaccard index reaches the threshold."""
    numbers = shingle(texts, RUN_WORDS)
    bounds = numbers.offsets.tolist()
    runs = [set(numbers.hashes[start:end].tolist()) for start, end in pairwise(bounds)]
    often = Counter(run for own in runs for run in own)
    seen: set[int] = set()
    by_run: defaultdict[int, list[int]] = defaultdict(list)
    pairs: set[tuple[int, int]] = set()
    for place, (own, whole) in enumerate(zip(runs, numbers.texts.tolist(), strict=True)):
        if not own or whole in seen:
            continue
        seen.add(whole)
        rare_first = sorted(own, key=lambda run: (often[run], run))
        prefix = rare_first[: len(own) - math.ceil(threshold * len(own)) + 1]
        for other in {other for run in prefix for other in by_run[run]}:
            if len(own & runs[other]) / len(own | runs[other]) >= threshold:
                pairs.add((other, place))
        for run in prefix:
            by_run[run].append(place)
    return pairs


def main() -> None:
    """Print the table."""
    path, column = sys.argv[1:]
    rows = map(orjson.loads, Path(path).read_bytes().splitlines())
    texts = [row[column] for row in rows if row[column]]
    print(f"{len(texts):,} texts, runs of {RUN_WORDS} words")
    near_duplicates(["imports", "are", "left out of the times"])
    print("| Jaccard at least | pairs | found | recall | CPU s | exact CPU s |")
    print("|---|---|---|---|---|---|")
    for threshold in THRESHOLDS:
        begin = time.process_time()
        truth = exact_pairs(texts, threshold)
        between = time.process_time()
        pairs = near_duplicates(texts, threshold=threshold)
        end = time.process_time()
        found = {(pair.first, pair.second) for pair in pairs}
        recall = len(found & truth) / len(truth)
        exact, ours = between - begin, end - between
        print(f"| {threshold} | {len(truth):,} | {len(found & truth):,} | {recall:.3f} | {ours:.2f} | {exact:.2f} |")
    begin = time.process_time()
    size = len(texts)
    said = Texts(
        texts=texts, fields=["support"] * size, asked=[False] * size, learned=[False] * len(texts), per_row=[1] * size
    )
    keys = list(near_keys(said))
    spent = time.process_time() - begin
    print(f"keys for grouping: {sum(map(len, keys)):,} in {spent:.2f} CPU s")


if __name__ == "__main__":
    main()
