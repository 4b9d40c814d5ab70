"""What the advisor costs on a large corpus with three snapshots: CPU-seconds and memory.

    python benchmarks/advice.py [--documents 1000000] [--words 80]

The documents are made while they are read, a twentieth of them changed from snapshot to snapshot; making them alone is
measured first and taken off. Nothing is compared: no other program was found that does this.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import time
from typing import TYPE_CHECKING

import ragtune as rt
from ragtune.advice import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUPS = 50


def documents(count: int, words: int, day: int) -> Iterator[dict[str, str]]:
    """A document each, with a text that changes for one in twenty from day to day."""
    body = " ".join(f"word{number % 997}" for number in range(words))
    for number in range(count):
        edition = sum((number // GROUPS + past) % 20 == 0 for past in range(day))
        yield {"id": f"doc-{number}", "text": f"{number} {edition} {body}", "group": f"group-{number % GROUPS}"}


def main() -> None:
    """Print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--words", type=int, default=80)
    asked = parser.parse_args()

    started = time.process_time()
    characters = sum(len(row["text"]) for day in range(3) for row in documents(asked.documents, asked.words, day))
    making = time.process_time() - started
    snapshots = [
        Snapshot(date=dt.date(2026, 1 + day, 1), documents=documents(asked.documents, asked.words, day))
        for day in range(3)
    ]
    started = time.process_time()
    advice = rt.advise(snapshots, queries_per_month=1_000_000, group="group")
    spent = time.process_time() - started - making
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    first = advice.groups[0]
    print(f"{asked.documents:,} documents x 3 snapshots, {characters / 3e6:,.0f} million characters each")
    print(f"advice: {spent:.1f} CPU-seconds, peak {peak:.0f} MB (making the documents: {making:.1f} CPU-seconds)")
    print(f"{first.group}: {first.documents:,} documents, {first.changed_per_month:.3f} change in a month")


if __name__ == "__main__":
    main()
