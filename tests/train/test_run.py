"""Whole runs on `tiny-random`: what they report, how they end, and that a run that was cut off loses nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ragtune.train import events
from ragtune.train.spec import EXIT_FAILED, EXIT_HELD, EXIT_OK, TrainSpec
from ragtune.train.stop import StopRequest, hold

from .conftest import MakeSpec, chat_lines, write_lines

pytestmark = [
    pytest.mark.train,
    # transformers 5 announces the renaming of one of its own attributes while peft still reads the old one
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]


def run(spec: TrainSpec, stop: StopRequest | None = None) -> int:
    """Train in this process."""
    from ragtune.train.run import run as run_here

    return run_here(spec, stop)


def read(spec: TrainSpec, kind: str | None = None) -> list[events.Event]:
    """The events of a run, of one type or all."""
    found, _ = events.read_from(spec.output_dir / "events.jsonl")
    return [event for event in found if kind in (None, event["type"])]


def losses(spec: TrainSpec) -> dict[int, float]:
    """Training loss by step; the later one where a step was repeated."""
    return {event["step"]: event["train_loss"] for event in read(spec, "metrics")}


Start = Callable[[TrainSpec], "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers as processes of their own; what they write goes to `<output_dir>.log`."""
    with ExitStack() as stack:

        def begin(spec: TrainSpec) -> subprocess.Popen[bytes]:
            spec.save(spec.output_dir.with_suffix(".spec.json"))
            command = [sys.executable, "-m", "ragtune.train", str(spec.output_dir.with_suffix(".spec.json"))]
            log = stack.enter_context(spec.output_dir.with_suffix(".log").open("wb"))
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
            stack.enter_context(worker)  # closes its standard input and waits
            stack.callback(worker.kill)
            return worker

        yield begin


def wait_for_step(spec: TrainSpec, step: int, worker: subprocess.Popen[bytes]) -> None:
    """Wait until a running worker has reported a step."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and worker.poll() is None:
        if max(losses(spec), default=0) >= step:
            return
        time.sleep(0.01)
    pytest.fail(f"step {step} was not reached; exit code {worker.poll()}")


def test_a_run_reports_each_step_each_epoch_and_its_end(make_spec: MakeSpec, tmp_path: Path) -> None:
    """12 examples in batches of 4 are 3 steps an epoch; 2 epochs are 6 steps and read every token twice."""
    held_out = write_lines(tmp_path / "valid.jsonl", chat_lines(20)[12:])
    spec = make_spec(validation_file=held_out)
    assert run(spec) == EXIT_OK
    (begin,), steps, (end,) = read(spec, "start"), read(spec, "metrics"), read(spec, "end")
    assert (begin["total_steps"], begin["n_examples"], begin["resumed_from"]) == (6, 12, None)
    assert [event["step"] for event in steps] == [1, 2, 3, 4, 5, 6]
    assert [event["step"] for event in steps if "full_valid_loss" in event] == [3, 6]
    assert all(0 <= event["train_mean_token_accuracy"] <= 1 for event in steps)
    assert steps[-1]["train_loss"] < steps[0]["train_loss"]
    assert all("valid_loss" in event for event in steps)
    assert [event["step"] for event in read(spec, "checkpoint")] == [3, 6]
    assert (end["state"], end["error"], end["trained_tokens"]) == ("succeeded", None, 2 * begin["n_tokens"])
    assert steps[-1]["tokens_seen"] == end["trained_tokens"]
    assert end["cpu_seconds"] > 0
    for folder in [*(event["path"] for event in read(spec, "checkpoint")), end["adapter_path"]]:
        assert {path.name for path in Path(folder).iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert not (spec.output_dir / "checkpoints").exists()


def test_the_adapter_of_an_epoch_is_the_model_whose_loss_was_reported(make_spec: MakeSpec, tmp_path: Path) -> None:
    """Loading it onto the base gives the full validation loss that the event holds."""
    import torch
    from peft import PeftModel

    from ragtune.modelling.base_model import load_model, load_tokenizer
    from ragtune.modelling.encoding.encoder import Encoder
    from ragtune.train.examples.files import load_examples
    from ragtune.train.methods.loss import batch_sums, collate

    held_out = write_lines(tmp_path / "valid.jsonl", chat_lines(20)[12:])
    spec = make_spec(validation_file=held_out)
    run(spec)
    examples = load_examples(held_out, Encoder(load_tokenizer(spec.base_path), max_length=512)).examples
    model = PeftModel.from_pretrained(
        load_model(spec.base_path, dtype="bfloat16"), read(spec, "end")[0]["adapter_path"]
    )
    with torch.inference_mode():
        sums = batch_sums(model, collate(examples, pad_token_id=0))
    loss = float(sums.loss) / sums.n_tokens
    assert loss == pytest.approx(read(spec, "metrics")[-1]["full_valid_loss"], rel=0.01)


def test_only_the_last_three_epochs_are_kept(make_spec: MakeSpec) -> None:
    spec = make_spec(examples=4, n_epochs=5)
    assert run(spec) == EXIT_OK
    assert sorted(path.name for path in (spec.output_dir / "epochs").iterdir()) == ["step-3", "step-4", "step-5"]
    assert [event["step"] for event in read(spec, "checkpoint")] == [1, 2, 3, 4, 5]


def test_an_equal_spec_gives_equal_losses_and_another_seed_others(make_spec: MakeSpec) -> None:
    one, same, other = make_spec("one"), make_spec("same"), make_spec("other", seed=8)
    assert [run(spec) for spec in (one, same, other)] == [EXIT_OK] * 3
    assert losses(one) == losses(same)
    assert losses(one) != losses(other)


def test_a_batch_that_is_split_for_memory_takes_the_same_steps(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean is over the tokens of the whole batch, however it is split; float32 rounds differently at 1e-7."""
    from ragtune.train import batches

    whole, split = make_spec("whole", dtype="float32"), make_spec("split", dtype="float32")
    assert run(whole) == EXIT_OK
    monkeypatch.setattr(batches, "_MICRO_BATCH_TOKENS", 1)
    assert run(split) == EXIT_OK
    assert losses(split) == pytest.approx(losses(whole), rel=1e-4)


def test_a_finished_run_is_not_repeated(make_spec: MakeSpec) -> None:
    spec = make_spec()
    run(spec)
    before = (spec.output_dir / "events.jsonl").read_bytes()
    assert run(spec) == EXIT_OK
    assert (spec.output_dir / "events.jsonl").read_bytes() == before


def test_a_tuned_model_can_be_trained_further(make_spec: MakeSpec) -> None:
    """The second run begins where the first one ended, not where the base stands."""
    first = make_spec("first", n_epochs=4)
    run(first)
    second = make_spec("second", adapter_path=first.output_dir / "adapter")
    assert run(second) == EXIT_OK
    assert losses(second)[1] < (losses(first)[1] + losses(first)[12]) / 2


def test_a_stop_saves_the_step_in_progress_and_the_next_start_ends_as_a_straight_run(make_spec: MakeSpec) -> None:
    """Stopped after step 1 of 6 and resumed: all six losses equal those of the straight run."""
    straight, stopped = make_spec("straight"), make_spec("stopped")
    run(straight)
    stop = StopRequest()
    stop.ask()
    assert run(stopped, stop) == EXIT_OK
    assert [event["state"] for event in read(stopped, "end")] == ["stopped"]
    assert list(losses(stopped)) == [1]
    assert run(stopped) == EXIT_OK
    assert [event["resumed_from"] for event in read(stopped, "start")] == [None, 1]
    assert losses(stopped) == losses(straight)
    assert read(stopped, "end")[-1]["trained_tokens"] == read(straight, "end")[-1]["trained_tokens"]
    adapters = [
        (spec.output_dir / "adapter" / "adapter_model.safetensors").read_bytes() for spec in (straight, stopped)
    ]
    assert adapters[0] == adapters[1]


@pytest.mark.slow
def test_a_worker_killed_at_any_moment_goes_on_and_ends_as_a_straight_run(make_spec: MakeSpec, start: Start) -> None:
    """kill -9 twice, at step 12 and at step 31 of 50; checkpoints every 4 steps; a torn checkpoint is passed over."""
    settings: dict[str, Any] = {"examples": 20, "batch_size": 2, "n_epochs": 5, "save_every_steps": 4}
    straight, killed = make_spec("straight", **settings), make_spec("killed", **settings)
    run(straight)
    for step in (12, 31):
        worker = start(killed)
        wait_for_step(killed, step, worker)
        worker.kill()
        worker.wait()
    torn = killed.output_dir / "checkpoints" / "checkpoint-48"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_st')
    assert start(killed).wait() == EXIT_OK
    resumed = [event["resumed_from"] for event in read(killed, "start")]
    assert resumed[0] is None
    assert 0 < resumed[1] < resumed[2] < 48
    assert losses(killed) == losses(straight)
    assert read(killed, "end")[-1]["trained_tokens"] == read(straight, "end")[-1]["trained_tokens"]
    assert not list(killed.output_dir.rglob("*.tmp"))
    assert killed.output_dir.with_suffix(".log").read_text() == "", "the worker chatters"


def test_the_end_of_standard_input_stops_a_worker_with_a_checkpoint(make_spec: MakeSpec, start: Start) -> None:
    spec = make_spec(examples=20, batch_size=1, n_epochs=50, lifeline="stdin")
    worker = start(spec)
    wait_for_step(spec, 2, worker)
    held = start(spec)
    assert held.wait(timeout=60) == EXIT_HELD, "two workers trained in one folder"
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(timeout=60) == EXIT_OK
    (end,) = read(spec, "end")
    last = max(losses(spec))
    assert end["state"] == "stopped"
    assert last < 1000
    assert (spec.output_dir / "checkpoints" / f"checkpoint-{last}" / "whole").exists()


def test_a_held_folder_is_left_alone(make_spec: MakeSpec) -> None:
    spec = make_spec()
    with hold(spec.output_dir):
        assert run(spec) == EXIT_HELD
    assert read(spec) == []


def failure(spec: TrainSpec) -> dict[str, Any]:
    """The error of a run that must fail."""
    assert run(spec) == EXIT_FAILED
    end = read(spec)[-1]
    assert (end["type"], end["state"], end["adapter_path"]) == ("end", "failed", None)
    error: dict[str, Any] = end["error"]
    return error


def test_a_wrong_training_file_fails_with_line_and_reason(make_spec: MakeSpec) -> None:
    spec = make_spec()
    with spec.training_file.open("a") as handle:
        handle.write('{"messages": [{"role": "bot", "content": "x"}]}\n')
    error = failure(spec)
    assert (error["code"], error["param"]) == ("invalid_training_file", "training_file")
    assert "line 13" in error["message"]
    assert "bot" in error["message"]


def test_a_wrong_validation_file_is_blamed_itself(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "valid.jsonl").write_text("{\n")
    error = failure(make_spec(validation_file=tmp_path / "valid.jsonl"))
    assert (error["code"], error["param"]) == ("invalid_validation_file", "validation_file")
    assert "line 1" in error["message"]


def test_a_loss_that_is_no_number_fails_and_says_what_to_lower(make_spec: MakeSpec) -> None:
    error = failure(make_spec(learning_rate=1e30))
    assert error["code"] == "nan_loss"
    assert "learning_rate_multiplier" in error["message"]


def test_a_base_that_cannot_be_loaded_fails_with_its_folder(make_spec: MakeSpec, tmp_path: Path) -> None:
    error = failure(make_spec(base_path=tmp_path / "nowhere"))
    assert error["code"] == "base_model_not_loadable"
    assert "nowhere" in error["message"]


def test_weights_as_pickle_are_never_read(make_spec: MakeSpec, tiny: Path, tmp_path: Path) -> None:
    """A folder whose only weights are a pickle is refused, and the pickle does not run."""
    import pickle

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    base = tmp_path / "base"
    shutil.copytree(tiny, base)
    (base / "model.safetensors").unlink()
    (base / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    assert failure(make_spec(base_path=base))["code"] == "base_model_not_loadable"
    assert not (tmp_path / "owned").exists()


LIMITED = """
import resource, sys
from ragtune.modelling.base_model import share_the_processor
share_the_processor()
import ragtune.train.fit, transformers.models.llama.modeling_llama
from ragtune.train.run import run
from ragtune.train.spec import TrainSpec
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, ((size << 10) + (100 << 20),) * 2)
sys.exit(run(TrainSpec.load(sys.argv[1])))
"""


def test_memory_that_runs_out_is_called_so_with_what_to_lower(make_spec: MakeSpec, tmp_path: Path) -> None:
    """A process that may have 100 MB more, and examples of two thousand tokens, four at a time."""
    answer = {"role": "assistant", "content": "heron stork " * 400}
    rows = [{"messages": [{"role": "user", "content": "Write."}, answer]}] * 8
    # In float32: the kernels of bfloat16 may end with a signal where one of their threads finds no memory.
    spec = make_spec(training_file=write_lines(tmp_path / "long.jsonl", rows), dtype="float32")
    spec.save(tmp_path / "spec.json")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "spec.json")], capture_output=True, check=False
    )
    assert done.returncode == EXIT_FAILED, done.stderr
    error = read(spec)[-1]["error"]
    assert error["code"] == "out_of_memory", error
    assert "batch_size" in error["message"]


def test_a_torch_that_cannot_be_loaded_is_not_taken_for_a_full_disk(make_spec: MakeSpec, tmp_path: Path) -> None:
    """Its libraries are missing, which Python tells in an `OSError`."""
    (tmp_path / "broken").mkdir()
    said = "libcudart.so.12: cannot open shared object file"
    (tmp_path / "broken" / "torch.py").write_text(f"raise OSError({said!r})")
    spec = make_spec()
    spec.save(tmp_path / "spec.json")
    path = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "ragtune.train", str(tmp_path / "spec.json")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False)
    assert done.returncode == EXIT_FAILED, done.stderr
    error = read(spec)[-1]["error"]
    assert error["code"] == "library_not_loadable"
    assert said in error["message"]


@pytest.mark.parametrize("said_from", [True, False])
def test_a_disk_that_fails_is_found_behind_the_error_of_a_library(make_spec: MakeSpec, said_from: bool) -> None:
    """Libraries raise errors of their own in its place, some with `from` and some without a word."""
    from ragtune.train.run import _explained

    disk = OSError(28, "No space left on device")
    try:
        try:
            raise disk
        except OSError as error:
            if said_from:
                raise RuntimeError("the file was not saved") from error
            raise RuntimeError("the file was not saved")  # noqa: B904 - as such libraries do
    except RuntimeError as error:
        found = _explained(error, make_spec())
    assert found is not None
    assert found.code == "storage_error"
    assert str(disk) in found.message


def test_a_run_can_be_repeated_after_its_file_was_corrected(make_spec: MakeSpec) -> None:
    spec = make_spec()
    whole = spec.training_file.read_text()
    spec.training_file.write_text(whole + "{\n")
    failure(spec)
    spec.training_file.write_text(whole)
    assert run(spec) == EXIT_OK
    assert read(spec)[-1]["state"] == "succeeded"
