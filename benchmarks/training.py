"""What a job costs beyond its training: CPU time of the backend and its worker against a plain transformers `Trainer`.

Both train the same adapter on the same rows with the same settings, in turns, each in its own process. Counted is the
CPU time of all processes, imports and loading included. The plain run encodes the rows as the worker does, and has
neither events nor checkpoints nor a server beside it; its loss is the model's own.

    OMP_NUM_THREADS=1 python benchmarks/training.py --base smollm2-135m-instruct --epochs 4 --rounds 2
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
from typing import Any

EXAMPLES, BATCH, SEED = 54, 4, 7


def rows() -> bytes:
    """The first demo facts as chat records."""
    from ragtune import demo_file

    facts = [json.loads(line) for line in demo_file().read_text(encoding="utf-8").splitlines()[:EXAMPLES]]
    turns = [
        [{"role": "user", "content": fact["question"]}, {"role": "assistant", "content": fact["correct_answer"]}]
        for fact in facts
    ]
    return "".join(json.dumps({"messages": pair}) + "\n" for pair in turns).encode()


def plain(base: str, epochs: int) -> dict[str, float]:
    """Train with nothing but transformers and peft."""
    from ragtune.train.base import share_the_processor

    share_the_processor()
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    from ragtune.local.bases import resolve_base
    from ragtune.train.base import load_model, load_tokenizer
    from ragtune.train.encoder import Encoder

    torch.set_num_threads(1)
    folder = resolve_base(base)
    tokenizer = load_tokenizer(folder)
    encoder = Encoder(tokenizer, max_length=2048)
    examples = [encoder.chat(json.loads(line)["messages"]) for line in rows().splitlines()]
    data: Any = [
        {"input_ids": e.input_ids, "labels": e.labels, "attention_mask": [1] * len(e.labels)} for e in examples
    ]
    adapter = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear", lora_dropout=0.0)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=1e-3,
            lr_scheduler_type="cosine",
            weight_decay=0.0,
            seed=SEED,
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            report_to=[],
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        trainer = Trainer(
            model=get_peft_model(load_model(folder, dtype="bfloat16"), adapter),
            args=arguments,
            train_dataset=data,
            data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
        )
        began = time.process_time()
        trainer.train()
        return {"total": 0.0, "training": time.process_time() - began}


def served(base: str, epochs: int) -> dict[str, float]:
    """Train the same as a job of a backend."""
    from ragtune.local import LocalBackend

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalBackend(folder, threads=1) as backend,
        backend.client() as client,
    ):
        file = client.files.create(file=("train.jsonl", rows()), purpose="fine-tune")
        settings: Any = {"n_epochs": epochs, "batch_size": BATCH}
        method: Any = {"type": "supervised", "supervised": {"hyperparameters": settings}}
        tuning = client.fine_tuning.jobs
        job = tuning.create(model=base, training_file=file.id, method=method, seed=SEED)
        while (job := tuning.retrieve(job.id)).status not in ("succeeded", "failed"):
            time.sleep(1.0)
        if job.status != "succeeded":
            raise RuntimeError(f"{job.id}: {job.error}")
    return {"total": 0.0, "server": time.process_time()}


def measure(kind: str, base: str, epochs: int) -> dict[str, float]:
    """Run one kind in a process of its own; `total` is the CPU time of that process and all that it started."""
    before = _children()
    command = [sys.executable, __file__, "--base", base, "--epochs", str(epochs), "--only", kind]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=dict(os.environ))
    return {**json.loads(done.stdout.splitlines()[-1]), "total": _children() - before}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", choices=("plain", "served"))
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps({"plain": plain, "served": served}[asked.only](asked.base, asked.epochs)))
        return
    found: dict[str, list[dict[str, float]]] = {"plain": [], "served": []}
    for number in range(asked.rounds):
        for kind in ("plain", "served") if number % 2 == 0 else ("served", "plain"):
            found[kind].append(measure(kind, asked.base, asked.epochs))
            print(kind, {name: round(value, 1) for name, value in found[kind][-1].items()}, flush=True)
    totals = {kind: statistics.median(run["total"] for run in runs) for kind, runs in found.items()}
    server = statistics.median(run["server"] for run in found["served"])
    print(f"\nbase {asked.base}, {EXAMPLES} examples, {asked.epochs} epochs; median of {asked.rounds}, CPU-seconds")
    print("| plain Trainer | job: worker | job: server | job: both | ratio |\n|---|---|---|---|---|")
    worker, ratio = totals["served"] - server, totals["served"] / totals["plain"]
    print(f"| {totals['plain']:.1f} | {worker:.1f} | {server:.1f} | {totals['served']:.1f} | {ratio:.3f} |")


if __name__ == "__main__":
    main()
