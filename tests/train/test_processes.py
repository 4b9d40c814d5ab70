"""Several processes train one run: two on this machine, talking over gloo, started by a real launcher."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from ragtune.local.runner.launcher import launcher_words
from ragtune.train.spec import EXIT_OK, TrainSpec

from .conftest import MakeSpec, chat_lines, write_lines
from .test_preference import preference
from .test_run import losses, read, run

pytestmark = [
    pytest.mark.train,
    pytest.mark.slow,
    pytest.mark.timeout(900),  # a Ray takes its time to start where others are at work
    # transformers 5 announces the renaming of one of its own attributes while peft still reads the old one
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
RAY = launcher_words("ray --workers 2 --cpus 0.5")


def begin(spec: TrainSpec, launcher: list[str]) -> subprocess.Popen[bytes]:
    """Start a run as a backend does: a launcher in place of the interpreter."""
    path = spec.output_dir.with_suffix(".spec.json")
    spec.save(path)
    with spec.output_dir.with_suffix(".log").open("wb") as log:
        BEGUN.append(
            subprocess.Popen(
                [*launcher, "-m", "ragtune.train", str(path)], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        )
    return BEGUN[-1]


BEGUN: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """A test that fails in the middle leaves no Ray behind, which would slow down all that come after it."""
    yield
    while BEGUN:
        worker = BEGUN.pop()
        if worker.poll() is None:
            for process in psutil.Process(worker.pid).children(recursive=True):
                with suppress(psutil.Error):
                    process.kill()
            worker.kill()
        worker.wait()
        if worker.stdin is not None:
            worker.stdin.close()


def finish(worker: subprocess.Popen[bytes], spec: TrainSpec) -> None:
    try:
        assert worker.wait(480) == EXIT_OK, spec.output_dir.with_suffix(".log").read_text()[-3000:]
    finally:
        worker.kill()
        worker.wait()
        if worker.stdin is not None:
            worker.stdin.close()


def accelerate(tmp_path: Path) -> list[str]:
    """`accelerate launch` with a configuration for two processes; without GPUs they talk over gloo."""
    config = tmp_path / "accelerate.yaml"
    config.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_machines: 1\nnum_processes: 2\n"
    )
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]


@pytest.mark.parametrize("name", ["torchrun", "accelerate", "ray"])
def test_two_processes_take_the_steps_of_one(make_spec: MakeSpec, tmp_path: Path, name: str) -> None:
    """Each takes four examples of a batch of eight; float32 sums differ by their order alone."""
    if name == "ray":
        pytest.importorskip("ray", reason="needs the extra ray")
    launcher = {"torchrun": TORCHRUN, "accelerate": accelerate(tmp_path), "ray": RAY}[name]
    held_out = write_lines(tmp_path / "valid.jsonl", chat_lines(24)[16:])
    settings = {"examples": 16, "batch_size": 8, "n_epochs": 3, "dtype": "float32", "validation_file": held_out}
    one, two = make_spec("one", **settings), make_spec("two", **settings)
    assert run(one) == EXIT_OK
    finish(begin(two, launcher), two)
    assert [read(spec, "start")[0]["n_processes"] for spec in (one, two)] == [1, 2]
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    for name in ("train_mean_token_accuracy", "full_valid_loss", "valid_loss", "tokens_seen"):
        figures = [[event[name] for event in read(spec, "metrics") if name in event] for spec in (one, two)]
        assert figures[1] == pytest.approx(figures[0], rel=1e-3), name
    assert [event["step"] for event in read(two) if event["type"] == "metrics"] == [1, 2, 3, 4, 5, 6]
    assert [event["type"] for event in read(two) if event["type"] != "metrics"].count("checkpoint") == 3
    assert read(two)[-1]["state"] == "succeeded"
    assert read(two)[-1]["trained_tokens"] == read(one)[-1]["trained_tokens"]


def test_two_processes_compare_pairs_as_one_does(make_spec: MakeSpec, tmp_path: Path) -> None:
    settings = {"batch_size": 4, "n_epochs": 2, "dtype": "float32"}
    one, two = (preference(make_spec, tmp_path, name, **settings) for name in ("one", "two"))
    assert run(one) == EXIT_OK
    finish(begin(two, TORCHRUN), two)
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    margins = [[event["train_reward_margin"] for event in read(spec, "metrics")] for spec in (one, two)]
    assert margins[1] == pytest.approx(margins[0], rel=1e-2, abs=1e-3)


def test_the_end_of_standard_input_stops_all_processes_after_the_same_step(make_spec: MakeSpec) -> None:
    """The server that started the launcher is gone: a checkpoint of both is written, and the next start goes on."""
    settings = {"examples": 16, "batch_size": 4, "n_epochs": 5, "dtype": "float32", "lifeline": "stdin"}
    straight, stopped = make_spec("straight", **settings), make_spec("stopped", **settings)
    worker = begin(stopped, TORCHRUN)
    deadline = time.monotonic() + 120
    while not losses(stopped):
        assert worker.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert worker.stdin is not None
    worker.stdin.close()
    finish(worker, stopped)
    (end,) = read(stopped, "end")
    assert end["state"] == "stopped"
    assert max(losses(stopped)) < 20
    finish(begin(stopped, TORCHRUN), stopped)
    finish(begin(straight, TORCHRUN), straight)
    assert losses(stopped) == losses(straight)


def test_the_end_of_standard_input_reaches_the_workers_of_ray(make_spec: MakeSpec) -> None:
    """Through a file beside the run: they may be on other machines."""
    pytest.importorskip("ray", reason="needs the extra ray")
    spec = make_spec(examples=16, n_epochs=50, dtype="float32", lifeline="stdin")
    worker = begin(spec, RAY)
    deadline = time.monotonic() + 600
    while not losses(spec):
        assert worker.poll() is None, spec.output_dir.with_suffix(".log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert worker.stdin is not None
    worker.stdin.close()
    finish(worker, spec)
    assert [event["state"] for event in read(spec, "end")] == ["stopped"]
    assert not list(spec.output_dir.glob("stop")) + list(spec.output_dir.glob("ray"))


@pytest.mark.parametrize("name", ["torchrun", "torchrun, its folder gone", "ray"])
def test_a_process_that_is_killed_costs_no_step(make_spec: MakeSpec, tmp_path: Path, name: str) -> None:
    """Ray starts its workers again by itself, torchrun's are started by the server; and nobody says that it failed."""
    copies = f"file://{tmp_path}/copies" if "gone" in name else None
    name = name.partition(",")[0]
    if name == "ray":
        pytest.importorskip("ray", reason="needs the extra ray")
    launcher = {"torchrun": TORCHRUN, "ray": RAY}[name]
    settings = {"examples": 16, "batch_size": 4, "n_epochs": 20, "dtype": "float32"}
    straight, cut = make_spec("straight", **settings), make_spec("cut", **settings, checkpoints=copies)
    worker = begin(cut, launcher)
    deadline = time.monotonic() + 600
    kept = "copies/cut/checkpoint-*.json" if copies else "cut/checkpoints/*/whole"
    while not list(tmp_path.glob(kept)):
        assert worker.poll() is None, cut.output_dir.with_suffix(".log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(trainers(worker)[-1], signal.SIGKILL)
    if name == "torchrun":
        assert worker.wait(480) != EXIT_OK
        assert read(cut, "end") == []
        assert worker.stdin is not None
        worker.stdin.close()
        if copies is not None:
            shutil.rmtree(cut.output_dir)
        worker = begin(cut, launcher)
    finish(worker, cut)
    assert [event["state"] for event in read(cut, "end")] == ["succeeded"]
    assert [event["resumed_from"] is None for event in read(cut, "start")] == [True, False]
    if name == "torchrun":
        finish(begin(straight, launcher), straight)
        assert losses(cut) == losses(straight)
    else:  # one Ray more would take half a minute
        assert run(straight) == EXIT_OK
        assert losses(cut) == pytest.approx(losses(straight), rel=1e-3)


def trainers(launcher: subprocess.Popen[bytes]) -> list[int]:
    """The processes that a launcher started to train."""
    found = psutil.Process(launcher.pid).children(recursive=True)
    words = {process.pid: " ".join(process.cmdline()) for process in found}
    return [pid for pid, said in words.items() if "-m ragtune.train" in said or "RayTrainWorker" in said]


def test_a_batch_that_cannot_be_shared_out_is_refused(make_spec: MakeSpec) -> None:
    spec = make_spec(batch_size=3)
    worker = begin(spec, TORCHRUN)
    assert worker.wait(120) != EXIT_OK
    assert worker.stdin is not None
    worker.stdin.close()
    error = read(spec, "end")[-1]["error"]
    assert (error["code"], error["param"]) == ("invalid_batch_size", "batch_size")
    assert "a multiple of 2" in error["message"]
