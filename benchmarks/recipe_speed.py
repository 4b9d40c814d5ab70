"""What rule-based recipes cost: CPU-seconds and memory for all facts of SciQ.

    python benchmarks/recipe_speed.py PATH/TO/sciq/train.jsonl [--rounds 3] [--times 4]

Each recipe runs in a process of its own, from reading the rows to the last row it makes, imports excluded; shown is the
best CPU time of its rounds, how many rows it makes, and how much it holds at most beside the facts (`tracemalloc`, in a
further process, which it slows). The goal is 10 CPU-seconds for each recipe and at flat memory: with `--times 4` the
facts come four times over, with distinct questions, and what the recipes hold may not grow with them beyond an index of
questions and passages.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import ragtune as rt

RECIPES = {
    "qa_single": rt.Recipe("qa_single"),
    "qa_multi": rt.Recipe("qa_multi", wordings=5),
    "document_rows": rt.Recipe("document_rows", copies=2),
    "raft": rt.Recipe("raft"),
    "abstain": rt.Recipe("abstain"),
    "replay": rt.Recipe("replay", share=0.01),
}


def facts_of(path: Path, times: int) -> rt.FactSet:
    """The facts of SciQ, several times over where that is wanted."""
    with path.open(encoding="utf-8") as file:
        rows = list(map(json.loads, file))
    every = [
        {**row, "question": row["question"] if not again else f"{row['question']} (sheet {again})"}
        for again in range(times)
        for row in rows
    ]
    return rt.FactSet.from_rows(every, question="question", answer="correct_answer", context="support", repeats="merge")


def one(path: Path, name: str, times: int, *, traced: bool) -> None:
    """Run one recipe and print what it took."""
    facts = facts_of(path, times)
    # Its import is no part of what a recipe holds.
    rt.BM25(["a text"])
    if traced:
        tracemalloc.start()
    start = time.process_time()
    rows = sum(1 for _ in RECIPES[name].rows(facts))
    taken = time.process_time() - start
    held = tracemalloc.get_traced_memory()[1] / 2**20 if traced else 0.0
    print(json.dumps({"facts": len(facts), "rows": rows, "seconds": taken, "held": held}))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.path, options.one, options.times, traced=options.traced)
        return
    print(f"{'recipe':<14} {'facts':>7} {'rows':>8} {'CPU s':>7} {'held MB':>8}")
    for name in RECIPES:
        command = [sys.executable, __file__, str(options.path), "--one", name, "--times", str(options.times)]
        found = [json.loads(subprocess.check_output(command)) for _ in range(options.rounds)]
        best = min(found, key=lambda each: each["seconds"])
        held = json.loads(subprocess.check_output([*command, "--traced"]))["held"]
        print(f"{name:<14} {best['facts']:>7,} {best['rows']:>8,} {best['seconds']:>7.2f} {held:>8.1f}")


if __name__ == "__main__":
    main()
