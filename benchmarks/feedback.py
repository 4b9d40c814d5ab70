"""What a hundred thousand verdicts cost: into a store, from a file, and compiled to a dataset.

    python benchmarks/feedback.py [--verdicts 100000]

Of ten verdicts six are thumbs up, two thumbs down, and two corrections; a tenth of the questions is asked twice, with
answers that differ. Times are CPU seconds of this process. The goal at 100,000: in and compiled within 15 CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import ragtune as rt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def verdicts(count: int) -> Iterator[dict[str, object]]:
    """So many rows as `add_many` takes them."""
    for number in range(count):
        asked = number - 1 if number % 10 == 9 else number
        row: dict[str, object] = {
            "question": f"What does section {asked} of the handbook say about the lighthouse of Quillhaven?",
            "answer": f"It says that lamp {number} is lit at dusk and put out at dawn, whatever the weather is like.",
            "model": "ft:tiny-random:me::1",
            "by": f"person {number % 500}",
        }
        kind = number % 10
        if kind in (3, 7):
            row["correction"] = f"It says that lamp {number} is lit an hour before dusk."
        else:
            row["verdict"] = -1 if kind in (1, 9) else 1
        yield row


def timed(what: str, work: Callable[[], object]) -> float:
    """Do it, and tell its CPU seconds."""
    start = time.process_time()
    result = work()
    spent = time.process_time() - start
    print(f"{what:42} {spent:6.2f} CPU s   {result}")
    return spent


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verdicts", type=int, default=100_000)
    count = parser.parse_args().verdicts
    with TemporaryDirectory() as folder:
        place = Path(folder)
        store = rt.FeedbackStore(place / "feedback.sqlite3")
        spent = timed("add_many", lambda: store.add_many(verdicts(count)))

        def built() -> str:
            return f"{len(rt.DatasetBuilder.from_feedback(store).build(place / 'data').train):,} records"

        spent += timed("from_feedback(store).build(...)", built)
        print(f"{'together':42} {spent:6.2f} CPU s   of at most 15 for 100,000")
        timed("from_feedback(method='preference')", lambda: rt.DatasetBuilder.from_feedback(store, method="preference"))
        timed("suggest", store.suggest)
        timed("counts", store.counts)
        timed("unjudged(limit=1)", lambda: len(store.unjudged(limit=1)))
        timed("withdraw one of 500", lambda: store.withdraw(by="person 7").verdicts)
        path = place / "said.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in verdicts(count))
        timed("import_file", lambda: rt.FeedbackStore(place / "other.sqlite3").import_file(path).verdicts)
        timed("export to CSV", lambda: store.export(place / "said.csv"))
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
