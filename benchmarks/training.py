"""What a job costs beyond its training: CPU time of the backend and its worker against a plain transformers `Trainer`.

Three ways train the same adapter on the same rows with the same settings, in turns, each in its own process:

- `plain`: transformers' `Trainer` and peft, with the model's own loss; no events, no checkpoints, no server;
- `bare`: the worker's loss (logits only where an answer stands) in the same bare `Trainer`;
- `job`: a job of a backend, with events, ten checkpoints, an adapter per epoch and the server that watches.

Counted is the CPU time of all processes, imports and loading included. job / plain is what a user pays; job / bare is
what events, checkpoints and the supervising process cost by themselves. The aim is at most 1.05.

The last columns say how near each came to what the processor can do: the floating-point operations that the training
needs, divided by its CPU-seconds times the measured speed of one thread (`ragtune doctor` prints it). All three hold
the base in the number format that is right for the machine.

With `--method kto` the rows are judged answers, and `plain` is TRL's `KTOTrainer` on the same file, in the same number
format, without activation checkpointing as here (TRL's default computes forward twice); `bare` is the worker's trainer
with nothing around it. The aim is at most 1.10.

    OMP_NUM_THREADS=1 python benchmarks/training.py --base smollm2-135m-instruct --epochs 5 --rounds 3
    OMP_NUM_THREADS=1 python benchmarks/training.py --method kto --base tiny-random --epochs 25 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES, BATCH, SEED = 54, 4, 7
METHODS = ("supervised", "kto")


def rows(method: str) -> bytes:
    """The first demo facts as chat records, or as verdicts: every other one has the answer of the next."""
    from ragtune import demo_file

    facts = [json.loads(line) for line in demo_file().read_text(encoding="utf-8").splitlines()[:EXAMPLES]]
    turns = [
        [{"role": "user", "content": fact["question"]}, {"role": "assistant", "content": fact["correct_answer"]}]
        for fact in facts
    ]
    if method == "supervised":
        return "".join(json.dumps({"messages": pair}) + "\n" for pair in turns).encode()
    judged = [
        {"prompt": pair[:1], "completion": turns[(number + number % 2) % len(turns)][1:], "label": number % 2 == 0}
        for number, pair in enumerate(turns)
    ]
    return "".join(json.dumps(one) + "\n" for one in judged).encode()


def unattended(base: str, epochs: int, *, method: str, masked: bool) -> dict[str, float]:
    """Train with nothing around the `Trainer`: with the worker's loss (`masked`) or the model's own."""
    from ragtune.modelling.base_model import share_the_processor

    share_the_processor()
    import torch
    from peft import LoraConfig, get_peft_model

    from ragtune.modelling.base_model import load_model, load_tokenizer
    from ragtune.modelling.bases import resolve_base
    from ragtune.modelling.encoding.encoder import Encoder
    from ragtune.modelling.hardware.machine import this_machine
    from ragtune.modelling.hardware.placement import place

    torch.set_num_threads(1)
    folder = resolve_base(base)
    tokenizer = load_tokenizer(folder)
    encoder = Encoder(tokenizer, max_length=2048)
    adapter = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear", lora_dropout=0.0)
    model = load_model(folder, dtype=place(this_machine()).dtype)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = {
            "output_dir": scratch,
            "num_train_epochs": epochs,
            "per_device_train_batch_size": BATCH,
            "learning_rate": 1e-3 if method == "supervised" else 5e-5,
            "lr_scheduler_type": "cosine",
            "weight_decay": 0.0,
            "seed": SEED,
            "save_strategy": "no",
            "logging_strategy": "no",
            "remove_unused_columns": False,
            "disable_tqdm": True,
            "report_to": [],
            "use_cpu": True,
            "dataloader_pin_memory": False,
        }
        if method == "kto":
            trainer = (_unpaired if masked else _plain_kto)(model, adapter, arguments, tokenizer, encoder, scratch)
        else:
            examples = [encoder.chat(json.loads(line)["messages"]) for line in rows(method).splitlines()]
            tuned = get_peft_model(model, adapter)
            trainer = _masked(tuned, arguments, examples) if masked else _plain(tuned, arguments, examples, tokenizer)
        began = time.process_time()
        trainer.train()
        return {"total": 0.0, "training": time.process_time() - began}


def _masked(model: Any, arguments: dict[str, Any], examples: Any) -> Any:
    from ragtune.train.methods.trainer import MaskedTrainer

    return MaskedTrainer(model=model, arguments=arguments, examples=examples, pad_token_id=0)


def _plain(model: Any, arguments: dict[str, Any], examples: Any, tokenizer: Any) -> Any:
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    data: Any = [
        {"input_ids": e.input_ids, "labels": e.labels, "attention_mask": [1] * len(e.labels)} for e in examples
    ]
    return Trainer(
        model=model,
        args=TrainingArguments(**arguments),
        train_dataset=data,
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
    )


def _plain_kto(model: Any, adapter: Any, arguments: dict[str, Any], tokenizer: Any, encoder: Any, scratch: str) -> Any:
    """TRL by itself: it reads the same file and tokenises it."""
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    args = KTOConfig(**arguments, beta=0.1, max_length=None, bf16=False, activation_checkpointing=False)
    data = Dataset.from_list([json.loads(line) for line in rows("kto").splitlines()])
    return KTOTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer, peft_config=adapter)


def _unpaired(model: Any, adapter: Any, arguments: dict[str, Any], tokenizer: Any, encoder: Any, scratch: str) -> Any:
    from pathlib import Path

    from ragtune.train.examples.files import load_judged
    from ragtune.train.methods.unpaired import UnpairedTrainer
    from ragtune.train.spec import TrainSpec

    file = Path(scratch, "train.jsonl")
    file.write_bytes(rows("kto"))
    spec = TrainSpec(
        job_id="bare", output_dir=file.parent, base_path=file.parent, training_file=file, method="kto",
        n_epochs=1, batch_size=BATCH, learning_rate=5e-5, seed=SEED,
    )  # fmt: skip
    return UnpairedTrainer(
        model=model, adapter=adapter, arguments=arguments, beta=0.1, spec=spec,
        answers=load_judged(file, encoder).examples, tokenizer=tokenizer, pad_token_id=0,
    )  # fmt: skip


def job(base: str, epochs: int, *, method: str) -> dict[str, float]:
    """Train the same as a job of a backend."""
    from ragtune.local import LocalBackend

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalBackend(folder, threads=1) as backend,
        backend.client() as client,
    ):
        file = client.files.create(file=("train.jsonl", rows(method)), purpose="fine-tune")
        settings: Any = {"n_epochs": epochs, "batch_size": BATCH}
        asked: Any = {"type": method, method: {"hyperparameters": settings}}
        tuning = client.fine_tuning.jobs
        made = tuning.create(model=base, training_file=file.id, method=asked, seed=SEED)
        while (made := tuning.retrieve(made.id)).status not in ("succeeded", "failed"):
            time.sleep(1.0)
        if made.status != "succeeded":
            raise RuntimeError(f"{made.id}: {made.error}")
        told: Any = tuning.list_events(made.id, limit=1).data[0].data
    return {"total": 0.0, "server": time.process_time(), "needed": told["operations"] / 1e9 / told["gflops"]}


def measure(kind: str, method: str, base: str, epochs: int) -> dict[str, float]:
    """Run one kind in a process of its own; `total` is the CPU time of that process and all that it started."""
    before = _children()
    command = [sys.executable, __file__, "--base", base, "--epochs", str(epochs), "--method", method, "--only", kind]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=dict(os.environ))
    return {**json.loads(done.stdout.splitlines()[-1]), "total": _children() - before}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


KINDS: dict[str, Callable[..., dict[str, float]]] = {
    "plain": partial(unattended, masked=False),
    "bare": partial(unattended, masked=True),
    "job": job,
}


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", choices=METHODS, default="supervised")
    parser.add_argument("--only", choices=KINDS)
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(KINDS[asked.only](asked.base, asked.epochs, method=asked.method)))
        return
    found: list[dict[str, dict[str, float]]] = []
    for number in range(asked.rounds):
        order = [*KINDS][number % 3 :] + [*KINDS][: number % 3]
        found.append({kind: measure(kind, asked.method, asked.base, asked.epochs) for kind in order})
        print(
            f"round {number + 1}:",
            {k: {n: round(v, 1) for n, v in r.items()} for k, r in found[-1].items()},
            flush=True,
        )
    what = f"{asked.method}, base {asked.base}, {EXAMPLES} examples, {asked.epochs} epochs"
    print(f"\n{what}, one thread; CPU-seconds, load {_load()}")
    print("| round | plain | bare | job | of it the server | job / plain | job / bare | plain's share | job's share |")
    print("|---|---|---|---|---|---|---|---|---|")
    lines = [_line(number) for number in found]
    for place, line in enumerate(lines, start=1):
        print(f"| {place} | " + _cells(line))
    print("| median | " + _cells([statistics.median(column) for column in zip(*lines, strict=True)]))


def _line(round_: dict[str, dict[str, float]]) -> list[float]:
    plain, bare, whole = (round_[kind]["total"] for kind in KINDS)
    needed = round_["job"]["needed"]
    return [plain, bare, whole, round_["job"]["server"], whole / plain, whole / bare, needed / plain, needed / whole]


def _cells(line: list[float]) -> str:
    return " | ".join([*(f"{value:.1f}" for value in line[:4]), *(f"{value:.3f}" for value in line[4:])]) + " |"


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
