"""A training program without a model: keeps the worker's contract (spec, events, lifeline, lock) and only counts.

Usage: scripted_worker.py [--delay SECONDS] [--die-at STEP] spec.json
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

from ragtune.train.events import append, seal
from ragtune.train.spec import EXIT_HELD, TrainSpec
from ragtune.train.stop import FolderHeldError, hold


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--delay", type=float, default=0.005)
    options.add_argument("--die-at", type=int, default=0)
    options.add_argument("spec")
    asked = options.parse_args()
    spec = TrainSpec.load(asked.spec)
    try:
        with hold(spec.output_dir):
            return run(spec, spec.output_dir, asked)
    except FolderHeldError:
        return EXIT_HELD


def run(spec: TrainSpec, folder: Path, asked: argparse.Namespace) -> int:
    stop = threading.Event()
    threading.Thread(target=watch_lifeline, args=(stop,), daemon=True).start()
    events = folder / "events.jsonl"
    seal(events)
    n_examples = sum(1 for _ in spec.training_file.open())
    per_epoch = -(-n_examples // spec.batch_size)
    total = per_epoch * spec.n_epochs
    saved = folder / "checkpoints"
    saved.mkdir(exist_ok=True)
    done = max((int(path.name) for path in saved.iterdir()), default=0)

    def end(state: str) -> None:
        figures = {"trained_tokens": 7 * n_examples, "cpu_seconds": 0.1, "wall_seconds": 0.1}
        append(events, {"type": "end", "state": state, "adapter_path": None, "error": None, **figures})

    append(events, {"type": "start", "total_steps": total, "n_examples": n_examples, "resumed_from": done or None})
    for step in range(done + 1, total + 1):
        if stop.is_set():
            (saved / str(step - 1)).mkdir(exist_ok=True)
            end("stopped")
            return 0
        time.sleep(asked.delay)
        if step == asked.die_at and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        numbers = {"train_loss": 3.0 / step, "train_mean_token_accuracy": 1 - 1 / step, "epoch": step / per_epoch}
        append(events, {"type": "metrics", "step": step, "total_steps": total, **numbers})
        if step % 2 == 0:
            (saved / str(step)).mkdir(exist_ok=True)
        if step % per_epoch == 0:
            adapter = folder / "epochs" / f"step-{step}"
            adapter.mkdir(parents=True, exist_ok=True)
            append(events, {"type": "checkpoint", "step": step, "epoch": step // per_epoch, "path": str(adapter)})
    (folder / "adapter").mkdir(exist_ok=True)
    end("succeeded")
    return 0


def watch_lifeline(stop: threading.Event) -> None:
    while os.read(0, 1):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
