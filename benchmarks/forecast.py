"""How long trainings were foretold to take, how much memory they were foretold to need, and what came of it.

Each training is a worker process of its own, as a backend starts it; its forecast is the one in its first event. Time
is on the clock from the first event to the last, memory the most that the process had resident. Asked for are forecasts
within a factor of 1.5 on a machine at rest, and memory that is never above what was foretold.

    python benchmarks/forecast.py
    python benchmarks/forecast.py --dtype float32
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ragtune as rt
from ragtune.modelling.bases import resolve_base
from ragtune.modelling.hardware.machine import this_machine
from ragtune.modelling.hardware.placement import place
from ragtune.train.events import read_from
from ragtune.train.spec import TrainSpec


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training to try.

    Attributes:
        name: what it is, in words.
        base: its base model.
        repeat: how many facts make one answer.
        n_epochs: passes over the file.
        batch_size: examples per step.
        method: `supervised`, `dpo` or `kto`.
    """

    name: str
    base: str
    repeat: int
    n_epochs: int
    batch_size: int
    method: Any = "supervised"


TRAININGS = (
    Training(name="short answers", base="smollm2-135m-instruct", repeat=1, n_epochs=3, batch_size=4),
    Training(name="long answers", base="smollm2-135m-instruct", repeat=12, n_epochs=1, batch_size=4),
    Training(name="preference pairs", base="smollm2-135m-instruct", repeat=2, n_epochs=1, batch_size=4, method="dpo"),
    Training(name="verdicts", base="smollm2-135m-instruct", repeat=2, n_epochs=1, batch_size=4, method="kto"),
    Training(name="tiny model", base="tiny-random", repeat=1, n_epochs=25, batch_size=4),
)


def lines(training: Training) -> list[dict[str, Any]]:
    """The demo's facts as records, several facts to an answer."""
    facts = [json.loads(line) for line in rt.demo_file().read_text(encoding="utf-8").splitlines()]
    facts = [fact for fact in facts if fact["support"] and fact["correct_answer"]]
    made: list[dict[str, Any]] = []
    for number, fact in enumerate(facts):
        several = [facts[(number + more) % len(facts)] for more in range(training.repeat)]
        question: list[dict[str, str]] = [{"role": "user", "content": fact["question"]}]
        answer = {
            "role": "assistant",
            "content": " ".join(f"{one['correct_answer']}. {one['support']}" for one in several),
        }
        if training.method == "supervised":
            made.append({"messages": [*question, answer]})
            continue
        if training.method == "kto":
            made.append({"prompt": question, "completion": [answer], "label": number % 2 == 0})
            continue
        other = {"role": "assistant", "content": " ".join(one["distractor1"] + "." for one in several)}
        made.append({"input": {"messages": question}, "preferred_output": [answer], "non_preferred_output": [other]})
    return made


def measure(training: Training, folder: Path, dtype: Any) -> list[str]:
    """Run one training and give its row of the table."""
    file = folder / "train.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines(training)), encoding="utf-8")
    spec = TrainSpec(
        job_id=training.name,
        output_dir=folder / "out",
        base_path=resolve_base(training.base),
        training_file=file,
        method=training.method,
        n_epochs=training.n_epochs,
        batch_size=training.batch_size,
        learning_rate=1e-4,
        seed=7,
        threads=1,
        dtype=dtype,
    )
    spec.output_dir.mkdir()
    spec.save(folder / "asked.json")
    subprocess.run(
        [sys.executable, "-m", "ragtune.train", str(folder / "asked.json")], check=True, stderr=subprocess.DEVNULL
    )
    events, _ = read_from(spec.output_dir / "events.jsonl")
    start, end = next(event for event in events if event["type"] == "start"), events[-1]
    if end.get("state") != "succeeded":
        raise RuntimeError(f"{training.name}: {end}")
    real, foretold = end["wall_seconds"], start["seconds"]
    used = end["operations"] / (end["cpu_seconds"] * end["gflops"] * 1e9) if end["gflops"] else float("nan")
    # The worker is this process's only child, so the most that a child had resident was the worker's.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return [
        training.name,
        f"{start['n_tokens'] * training.n_epochs:,}",
        start["dtype"],
        f"{foretold:.0f}",
        f"{real:.0f}",
        f"{foretold / real:.2f}",
        f"{start['memory_bytes'] / 1e9:.2f}",
        f"{peak:.2f}",
        f"{used:.2f}",
    ]


def apart(number: int, dtype: Any) -> list[str]:
    """Measure one training in a process whose only child it is, so that the child's memory can be told."""
    command = [sys.executable, __file__, "--only", str(number), *(["--dtype", dtype] if dtype else [])]
    return list(
        json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
    )


def main() -> None:
    """Measure all trainings, one after the other, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--only", type=int)
    asked = parser.parse_args()
    if asked.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(TRAININGS[asked.only], Path(folder), asked.dtype)
        print(json.dumps(row))
        return
    print(f"{this_machine().name}: {place(this_machine(), threads=1)}; load {os.getloadavg()[0]:.1f}\n")
    print(
        "| training | tokens | format | foretold s | real s | ratio | foretold GB | peak GB | of the measured speed |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for number in range(len(TRAININGS)):
        print("| " + " | ".join(apart(number, asked.dtype)) + " |", flush=True)


if __name__ == "__main__":
    main()
