"""`--launcher ray`: the same training program in the workers of a Ray cluster, one process for each.

Run: python -m ragtune.train.on_ray [--workers N] [--gpu] [--cpus N] [--address ADDRESS] [--retries N]
     -m ragtune.train spec.json

Ray Train places the processes, tells each its number and connects them; the rest is the program's own: events,
checkpoints and the way to go on after a lost node. Files named in the spec must lie under the same paths on every node.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._extras import require
from ragtune.errors import MissingExtraError, SpecError
from ragtune.train import events
from ragtune.train.on_ray.options import ray_options
from ragtune.train.spec import EXIT_FAILED, EXIT_HELD, EXIT_LOST, EXIT_OK, TrainSpec
from ragtune.train.stop import StopRequest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]

logger = logging.getLogger("ragtune")

STOP_FILE = "stop"
"""Lies in the output folder while the workers shall end: they may run on other machines, where no signal reaches."""
LOOK_S = 0.2


class _WorkerEndedError(Exception):
    """A worker that could not say its last word: Ray starts all of them again."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one spec on Ray; the exit codes are those of `ragtune.train.spec`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        options = ray_options(words)
        spec = TrainSpec.load(options.spec)
        require("ray", "ray", reason="training on a Ray cluster")
    except (SpecError, MissingExtraError) as error:
        logger.error("%s", error)
        return EXIT_FAILED
    stop = StopRequest()
    stop.on_signals()
    if spec.lifeline == "stdin":
        stop.on_end_of_stdin()
    mark = spec.output_dir / STOP_FILE
    # One that a killed start left would end this one at once.
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)
    threading.Thread(target=_hand_on, args=(stop, mark), name="stop", daemon=True).start()
    try:
        _train(spec, options)
    finally:
        mark.unlink(missing_ok=True)
    # Ray knows whether workers raised an error; how the run ended stands in its own last word.
    past, _ = events.read_from(spec.output_dir / "events.jsonl")
    last = past[-1] if past else {}
    return EXIT_OK if last.get("type") == "end" and last.get("state") != "failed" else EXIT_FAILED


def _hand_on(stop: StopRequest, mark: Path) -> None:
    """Turn a request to this process into the mark that the workers look for."""
    stop.wait()
    mark.touch()


def _train(spec: TrainSpec, options: argparse.Namespace) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a run reports itself to Ray's makers
    # A Ray that is started here would let its workers give way to everything else (15); no other launcher does.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    ray.init(address=options.address, include_dashboard=False)
    # Ray keeps what it knows of a run beside ours, where every node can write.
    notes = spec.output_dir / "ray"
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"spec": str(Path(options.spec).absolute())},
        scaling_config=ScalingConfig(
            num_workers=options.workers, use_gpu=options.gpu, resources_per_worker={"CPU": options.cpus}
        ),
        run_config=RunConfig(
            name=spec.job_id, storage_path=str(notes), failure_config=FailureConfig(max_failures=options.retries)
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        logger.error("%s", error)
    finally:
        ray.shutdown()
        shutil.rmtree(notes, ignore_errors=True)


def _worker(config: dict[str, str]) -> None:
    """What each process does: the program of `python -m ragtune.train`, with the mark in place of signals."""
    from ragtune.train.__main__ import prepare
    from ragtune.train.run import run

    prepare()
    spec = TrainSpec.load(config["spec"])
    stop = StopRequest()
    stop.on_file(spec.output_dir / STOP_FILE, every_s=LOOK_S)
    code = run(spec, stop)
    if code not in (EXIT_OK, EXIT_FAILED):
        reasons = {EXIT_HELD: "another run holds its folder", EXIT_LOST: "another worker of the run was lost"}
        raise _WorkerEndedError(f"{spec.job_id}: {reasons.get(code, 'its disk takes nothing more')}")


if __name__ == "__main__":
    sys.exit(main())
