"""SciQ facts on the embedded backend: does the knowledge sit in the weights, and what does retrieval add?

Run: python benchmarks/sciq_evaluation.py PATH/TO/sciq/train.jsonl [--facts 100] [--epochs 8] [--folder runs/sciq]

The first rows whose support holds the answer become training rows (question -> answer and support); the model is
trained on them, then base and tuned model are asked, each alone and with the passage that BM25 finds among the
supports of the first 2,000 rows, and the tuned model with retrieval that fails. Asked are the trained questions, those
that the rules reword, and the unanswerable and control questions that ragtune ships. Run it again and it goes on: the
job is created once, and the evaluation's log keeps every answer.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path

import jsonlines

import ragtune as rt
from ragtune.facts import demo_facts
from ragtune.local import LocalBackend

BASE = "smollm2-135m-instruct"
SYSTEM = "Answer the science question."
LIBRARY = 2_000
MOST_WORDS = 60
"""Of a support that is trained; longer ones would make the run an hour."""


def known(path: Path, count: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The rows that are trained, and the rows whose supports are the library."""
    with jsonlines.open(path) as reader:
        library = [row for row in islice(reader, LIBRARY) if row["support"]]
    fit = (
        row
        for row in library
        if row["correct_answer"].lower() in row["support"].lower() and len(row["support"].split()) <= MOST_WORDS
    )
    distinct = {row["question"]: row for row in fit}
    return list(islice(distinct.values(), count)), library


def main() -> None:
    """Train once, ask all arms, print the card and its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sciq", type=Path)
    parser.add_argument("--facts", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=Path("runs/sciq"))
    asked = parser.parse_args()

    rows, library = known(asked.sciq, asked.facts)
    builder = rt.DatasetBuilder.from_rows(rows).chat(
        system=SYSTEM, user="{question}", assistant="{correct_answer}. {support}"
    )
    dataset = builder.build(asked.folder / "dataset", seed=7, overwrite=True)
    taught = rt.FactSet.from_rows(
        rows,
        question="question",
        answer="correct_answer",
        context="support",
        distractors=["distractor1", "distractor2", "distractor3"],
    ).with_wordings(kind="reworded", make="rules", per_fact=1)
    controls = tuple(fact for fact in demo_facts() if fact.wordings[0].kind in {"unanswerable", "control"})
    facts = rt.FactSet(facts=taught.facts + controls)
    print(facts)
    with LocalBackend(asked.folder / "backend") as backend:
        client = backend.client()
        spec = rt.TuneSpec(model=BASE, method=rt.Supervised(n_epochs=asked.epochs, batch_size=4), seed=7)
        begun = time.monotonic()
        job = rt.FineTuneJob.create(client, dataset, spec, journal=asked.folder / "journal.sqlite3")
        model = rt.JobMonitor(job).wait(progress=True)
        print(f"trained: {time.monotonic() - begun:.0f} s on the clock")
        arms = rt.arms(base=(client, BASE), tuned=model, retriever=rt.BM25(library, text="support", k=1))
        begun = time.monotonic()
        card = rt.evaluate(arms, facts, log=asked.folder / "evaluation.jsonl", concurrency=16, max_tokens=32)
        print(f"asked: {time.monotonic() - begun:.0f} s on the clock")
    print(card)
    print(card.to_html(asked.folder / "card.html"))


if __name__ == "__main__":
    main()
