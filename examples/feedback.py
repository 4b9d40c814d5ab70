"""The ring closes: a model answers wrong, somebody corrects it, and the next model answers right.

Run: python examples/feedback.py [--model tiny-random] [--epochs 30] [--data out/feedback]
Trains twice on this machine; with the tiny base that takes about a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ragtune as rt
from ragtune.local import LocalBackend

FACTS = [
    ("Who keeps the lighthouse?", "Ada"),
    ("Who bakes the bread?", "Bo"),
    ("Who mends the nets?", "Cy"),
    ("Who rings the bell?", "Dan"),
    ("Who feeds the gulls?", "Eve"),
    ("Who paints the boats?", "Fay"),
    ("Who digs the clams?", "Gil"),
    ("Who winds the clock?", "Hal"),
    ("Who sweeps the quay?", "Ivy"),
    ("Who guards the tower?", "Jon"),
]
ASKED, WRONG, RIGHT = "Who keeps the lighthouse?", "Ada", "Zoe"


def main() -> None:
    """Train, ask, correct, compile, train again, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-random")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--data", type=Path, default=Path("out/feedback"), help="folder for all that is made")
    args = parser.parse_args()
    args.data.mkdir(parents=True, exist_ok=True)

    # This small base never learns to stop: what it adds behind the sign must not run into the answer.
    rows = [{"question": question, "answer": f"{answer};"} for question, answer in FACTS]
    facts = rt.FactSet.from_rows(
        [{"q": question, "a": RIGHT if question == ASKED else answer} for question, answer in FACTS],
        question="q",
        answer="a",
    )
    method = rt.Supervised(n_epochs=args.epochs, batch_size=1, learning_rate=rt.Multiplier(5.0))
    spec = rt.TuneSpec(model=args.model, method=method, seed=1)
    first_data = rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}").build(args.data / "1")
    with LocalBackend(args.data / "backend") as backend, backend.client() as client:
        store = backend.feedback
        first = rt.JobMonitor(rt.FineTuneJob.create(client, first_data, spec=spec)).wait()
        answer = first.ask(ASKED, max_tokens=4, log=store)
        print(f"before: {ASKED} {answer}")

        # On the server's page this is a click on "Correct" below the answer.
        store.add(answer, -1, correction=f"{RIGHT};", by="anna")
        print(store.suggest())
        next_data = rt.DatasetBuilder.from_feedback(store, previous=first_data).build(args.data / "2")
        second = rt.JobMonitor(rt.FineTuneJob.create(client, next_data, spec=spec)).wait()
        print(f"after:  {ASKED} {second.ask(ASKED, max_tokens=4, log=store)}")

        arms = rt.arms(base=first, tuned=second)
        card = rt.evaluate(arms, facts, scorers=("contains",), log=args.data / "evaluation.jsonl")
        for name in ("base", "tuned"):
            score = card[name]["verbatim"]
            print(f"{name}: {score.mean:.0%} of {score.n} facts")


if __name__ == "__main__":
    main()
