"""What each recipe buys: the same facts, the same number of training tokens, another recipe each time.

    python benchmarks/recipes.py [--sciq PATH/TO/sciq/train.jsonl] [--facts 60] [--seeds 3] [--ranks 16] [--arms ...]
                                 [--tokens 40] [--base smollm2-135m-instruct] [--minutes 60] [--folder runs/recipes]

A cell is an arm, a rank of the adapter and a seed: a dataset is built, the base is trained on it by the embedded
backend, and asked. All arms see about as many training tokens as `qa_single` sees in `--tokens` passes: each makes as
many whole passes over its rows as come nearest, and the table says how many tokens that were. Asked are the taught
questions (verbatim), one rewording and the reversed question of each fact, which no arm ever trains, half of the
questions that nothing answers, and the controls; some arms are asked once more with `RAG`: the passage that BM25 finds
stands before the question.

Without `--sciq` the facts are those that ship, with wordings written by hand; with it they are the first rows of SciQ
whose passage holds the answer, with wordings by rules. Everything finished is kept in the folder: run it again and it
goes on, with more seeds, arms or ranks as well. `--minutes` begins no further cell after that time; `--table` prints
what is there. The shares are means over seeds, with 95 % intervals over facts, of which each counts once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import ragtune as rt
from ragtune.evaluation.statistics import intervals
from ragtune.facts import demo_facts
from ragtune.local import LocalBackend
from ragtune.recipes import hold_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openai

FIVE = rt.Recipe("qa_multi", wordings=5)
ARMS: dict[str, rt.Recipe] = {
    "qa_single": rt.Recipe("qa_single"),
    "2 wordings alone": rt.Recipe("qa_multi", wordings=2, statement=False, reversed=False, cloze=False),
    "5 wordings alone": rt.Recipe("qa_multi", wordings=5, statement=False, reversed=False, cloze=False),
    "10 wordings alone": rt.Recipe("qa_multi", wordings=10, statement=False, reversed=False, cloze=False),
    "2 wordings": rt.Recipe("qa_multi", wordings=2),
    "5 wordings": FIVE,
    "10 wordings": rt.Recipe("qa_multi", wordings=10),
    "5 + documents": FIVE + rt.Recipe("document_rows"),
    "raft": rt.Recipe("raft"),
    "5 + raft": FIVE + rt.Recipe("raft"),
    "5 + abstain": FIVE + rt.Recipe("abstain"),
    "5 + replay": FIVE + rt.Recipe("replay"),
}
RETRIEVED = ("qa_single", "5 wordings", "raft", "5 + raft")
"""Arms that are asked with passages as well: those that are trained with passages, and what they are held against."""
KINDS = ("verbatim", "reworded", "reversed", "unanswerable", "control")
SYSTEM = "Answer the question."
MOST_EPOCHS = 50


def demo(count: int) -> tuple[rt.FactSet, rt.FactSet]:
    """Facts that ship: what is taught, and what is asked."""
    taught = [fact for fact in demo_facts() if fact.taught][:count]
    to_teach, reworded = hold_out(rt.FactSet(facts=tuple(taught)), kind="reworded", seed=7)
    back = rt.FactSet(facts=tuple(taught)).select("reversed")
    unanswerable = demo_facts().select("unanswerable").facts
    without_back = [
        replace(fact, wordings=tuple(item for item in fact.wordings if item.kind != "reversed")) for fact in to_teach
    ]
    asked = [
        replace(fact, wordings=(*fact.wordings[:1], *reworded[fact.id].wordings, *back[fact.id].wordings))
        for fact in taught
    ]
    controls = demo_facts().select("control").facts
    return (
        rt.FactSet(facts=(*without_back, *unanswerable[::2])),
        rt.FactSet(facts=(*asked, *unanswerable[1::2], *controls)),
    )


def sciq(path: Path, count: int) -> tuple[rt.FactSet, rt.FactSet]:
    """Facts of SciQ that rules can reword and turn round: what is taught, and what is asked."""
    with path.open(encoding="utf-8") as file:
        rows = [row for row in map(json.loads, islice(file, 20 * count)) if row["correct_answer"] in row["support"]]
    names = ["distractor1", "distractor2", "distractor3"]
    facts = rt.FactSet.from_rows(
        rows,
        question="question",
        answer="correct_answer",
        context="support",
        distractors=names,
        repeats="merge",
    )
    made = facts.with_wordings(kind="reworded", make="rules", per_fact=1).with_wordings(
        kind="reversed", make="rules", per_fact=1
    )
    reworded = [fact for fact in made if any(item.kind == "reworded" for item in fact.wordings)][:count]
    taught = tuple(facts[fact.id] for fact in reworded)
    controls = demo_facts().select("control").facts
    return rt.FactSet(facts=taught), rt.FactSet(facts=(*reworded, *controls))


def held_out_of(asked: rt.FactSet) -> rt.FactSet:
    """What no arm may train."""
    return asked.select(["reworded", "reversed", "unanswerable", "control"])


def tokens_of(recipe: rt.Recipe, to_teach: rt.FactSet, held_out: rt.FactSet) -> int:
    """Tokens of one pass."""
    preview = recipe.preview(to_teach, model="tiny-random", n_epochs=1, held_out=held_out, system=SYSTEM)
    return preview.cost.tokens


class Experiment:
    """One set of facts, one base, one folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder: Path = options.folder / f"{'sciq' if options.sciq else 'demo'}-{options.facts}-{options.base}"
        self.to_teach, self.asked = sciq(options.sciq, options.facts) if options.sciq else demo(options.facts)
        self.held_out = held_out_of(self.asked)
        self.budget = options.tokens * tokens_of(ARMS["qa_single"], self.to_teach, self.held_out)

    def cells(self) -> Iterator[tuple[str, int, int]]:
        """Arm, rank and seed; the first seed of all arms comes before the second of any."""
        for seed in range(self.options.seeds):
            for rank in self.options.ranks:
                for arm in self.options.arms:
                    yield arm, rank, seed

    def place(self, arm: str, rank: int, seed: int) -> Path:
        """Where a cell keeps what it has."""
        return self.folder / f"rank-{rank}" / f"{arm.replace(' ', '-')}-{self.options.tokens}-seed-{seed}"

    def run(self) -> None:
        """Train and ask what is not there yet, as long as there is time."""
        end = time.monotonic() + 60 * self.options.minutes
        waiting = [cell for cell in self.cells() if not (self.place(*cell) / "result.json").exists()]
        print(f"{len(waiting)} cells to run, {self.budget:,} training tokens each", flush=True)
        for rank in dict.fromkeys(rank for _, rank, _ in waiting):
            launcher = [sys.executable, __file__, "--train-with-rank", str(rank)]
            with LocalBackend(self.folder / f"rank-{rank}" / "backend", launcher=launcher) as backend:
                for cell in (cell for cell in waiting if cell[1] == rank):
                    if time.monotonic() > end:
                        print(f"{self.options.minutes} minutes are over; run it again to go on", flush=True)
                        return
                    self.cell(backend.client(), *cell)

    def cell(self, client: openai.OpenAI, arm: str, rank: int, seed: int) -> None:
        """Build, train, ask, and write the result in one step."""
        place, recipe, begun = self.place(arm, rank, seed), ARMS[arm], time.monotonic()
        tokens = tokens_of(recipe, self.to_teach, self.held_out)
        epochs = min(max(round(self.budget / tokens), 1), MOST_EPOCHS)
        builder = rt.DatasetBuilder.from_facts(self.to_teach, recipe, held_out=self.held_out)
        chat = builder.chat(system=SYSTEM, user="{question}", assistant="{answer}")
        dataset = chat.build(place / "dataset", seed=seed, overwrite=True)
        method = rt.Supervised(n_epochs=epochs, batch_size=self.options.batch_size)
        spec = rt.TuneSpec(model=self.options.base, method=method, seed=seed + 1)
        job = rt.FineTuneJob.create(
            client, dataset, spec, key=place.name, journal=self.folder / f"rank-{rank}" / "journal.sqlite3"
        )
        model = rt.JobMonitor(job).wait(progress=False)
        texts = [fact.support for fact in self.to_teach if fact.support]
        every = rt.arms(base=(client, self.options.base), tuned=model, retriever=rt.BM25(texts, k=1))
        chosen = {name: every[name] for name in ("tuned", "tuned+RAG")[: 1 + (arm in RETRIEVED)]}
        log = place / "evaluation.jsonl"
        card = rt.evaluate(chosen, self.asked, log=log, concurrency=16, max_tokens=48, progress=False)
        scores = {
            name: {
                kind: dict(
                    zip(card.scores.fact_ids, card.scores.per_fact("contains", name, kind).tolist(), strict=True)
                )
                for kind in KINDS
            }
            for name in chosen
        }
        told = {
            "arm": arm,
            "rank": rank,
            "seed": seed,
            "epochs": epochs,
            "tokens": epochs * tokens,
            "rows": len(dataset.train),
        }
        waiting = place / "result.part"
        waiting.write_text(json.dumps({**told, "scores": scores}).replace("NaN", "null"), encoding="utf-8")
        os.replace(waiting, place / "result.json")
        print(f"{arm}, rank {rank}, seed {seed}: {time.monotonic() - begun:.0f} s", flush=True)

    def table(self) -> None:
        """Print what is finished, arm by arm."""
        found: dict[tuple[int, str], list[dict[str, object]]] = defaultdict(list)
        for arm, rank, seed in self.cells():
            path = self.place(arm, rank, seed) / "result.json"
            if path.exists():
                found[rank, arm].append(json.loads(path.read_text(encoding="utf-8")))
        head = "".join(f"{kind:>21}" for kind in KINDS)
        print(f"\n{'rank':>4} {'arm':<18}{'':<5}{'seeds':>5}{'tokens':>9}{'epochs':>7}{head}{'gap':>8}")
        for (rank, arm), cells in found.items():
            for name in cells[0]["scores"]:  # type: ignore[attr-defined]
                shares = [self.share(cells, name, kind) for kind in KINDS]
                said = "".join(
                    f"{'-':>21}" if one is None else f"{one[0]:>8.2f} ({one[1]:.2f}-{one[2]:.2f})" for one in shares
                )
                verbatim, reworded = shares[:2]
                gap = "" if verbatim is None or reworded is None else f"{verbatim[0] - reworded[0]:>8.2f}"
                first = cells[0]
                trained = f"{first['tokens']:>9,}{first['epochs']:>7}"
                print(f"{rank:>4} {arm:<18}{name[5:]:<5}{len(cells):>5}{trained}{said}{gap}")
        print("gap: verbatim less reworded; the goal is at most 0.10 for some recipe")

    def share(self, cells: list[dict[str, object]], name: str, kind: str) -> tuple[float, float, float] | None:
        """Mean over seeds and facts with its interval; None where nothing was asked."""
        by_fact: dict[str, list[float]] = defaultdict(list)
        for cell in cells:
            scores: dict[str, dict[str, dict[str, float | None]]] = cell["scores"]  # type: ignore[assignment]
            for fact, value in scores[name][kind].items():
                if value is not None:
                    by_fact[fact].append(value)
        if not by_fact:
            return None
        values = np.array([[float(np.mean(each))] for each in by_fact.values()])
        low, high = intervals(values, seed=7, span=(0.0, 1.0))
        return float(values.mean()), float(low[0]), float(high[0])


def train_with_rank(rank: int, command: list[str]) -> None:
    """Stand before the training program and set the rank in its spec, which no request can."""
    path = Path(command[-1])
    spec = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**spec, "lora_r": rank, "lora_alpha": 2 * rank}), encoding="utf-8")
    os.execv(sys.executable, [sys.executable, *command])


def main() -> None:
    """Run what is asked for, then print the table."""
    if sys.argv[1:2] == ["--train-with-rank"]:
        train_with_rank(int(sys.argv[2]), sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sciq", type=Path)
    parser.add_argument("--facts", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ranks", type=int, nargs="+", default=[16])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), metavar="ARM")
    parser.add_argument("--tokens", type=int, default=40, help="passes of qa_single whose tokens every arm gets")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--folder", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--table", action="store_true", help="only print what is there")
    options = parser.parse_args()
    experiment = Experiment(options)
    if not options.table:
        experiment.run()
    experiment.table()


if __name__ == "__main__":
    main()
