"""Copies of checkpoints at an address: what is whole there is found again, and a run whose folder is gone goes on."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from ragtune.errors import BackendError
from ragtune.local import LocalBackend
from ragtune.train.checkpoints.copies import Copies, CopiesError, checked_address
from ragtune.train.checkpoints.folders import last_whole_checkpoint, mark_whole
from ragtune.train.placement import SPEC_FILE
from ragtune.train.spec import EXIT_OK, TrainSpec
from ragtune.train.stop import StopRequest

from .conftest import MakeSpec, chat_lines, write_lines
from .test_run import Start, failure, losses, read, run, start, wait_for_step

__all__ = ["start"]  # the fixture

trains = pytest.mark.train
# transformers 5 announces the renaming of one of its own attributes while peft still reads the old one
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


class Flaky(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store without folders that fails as often as its class says, in an error of its own."""

    protocol = "flaky"
    cachable = False
    failures = 0

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing: object stores have no folders."""

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        Path(rpath).parent.mkdir(parents=True, exist_ok=True)
        super().put_file(lpath, rpath, **options)

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        if Flaky.failures:
            Flaky.failures -= 1
            raise RuntimeError("the store is being started")
        return super().ls(path, detail=detail, **options)


fsspec.register_implementation("flaky", Flaky, clobber=True)


def whole_checkpoint(output_dir: Path, step: int, **files: str) -> None:
    """A checkpoint with files of these contents, marked whole."""
    folder = output_dir / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    mark_whole(folder)


def found(output_dir: Path) -> int | None:
    newest = last_whole_checkpoint(output_dir / "checkpoints")
    return None if newest is None else newest[0]


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"file://{tmp_path}/away"


def test_the_newest_copy_comes_back_with_what_belongs_to_the_run(tmp_path: Path, address: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    whole_checkpoint(here, 4, weights="four")
    (here / "epochs" / "step-4").mkdir(parents=True)
    (here / "epochs" / "step-4" / "adapter").write_text("adapter")
    (here / "events.jsonl").write_text('{"type": "start"}\n')
    (here / "worker.log").write_text("stays")
    copies = Copies(address, "ftjob-1")
    copies.keep(here, 4)
    whole_checkpoint(here, 8, weights="eight")
    copies.keep(here, 8)
    there.mkdir()
    assert Copies(address, "ftjob-1").restore(there) == 8
    assert found(there) == 8
    assert (there / "checkpoints/checkpoint-8/weights").read_text() == "eight"
    assert (there / "epochs/step-4/adapter").read_text() == "adapter"
    assert (there / "events.jsonl").read_text() == '{"type": "start"}\n'
    assert sorted(path.name for path in there.iterdir()) == ["checkpoints", "epochs", "events.jsonl"]
    assert Copies(address, "ftjob-1").restore(there) is None, "it has that checkpoint"
    shutil.rmtree(there / "checkpoints" / "checkpoint-8")
    whole_checkpoint(there, 6, weights="six")
    assert Copies(address, "ftjob-1").restore(there) == 8, "its own is older"
    whole_checkpoint(there, 10, weights="ten")
    assert Copies(address, "ftjob-1").restore(there) is None, "its own is newer"
    assert Copies(address, "ftjob-2").restore(tmp_path / "other") is None


def test_the_last_two_are_kept_and_equal_files_lie_there_once(tmp_path: Path, address: str) -> None:
    copies = Copies(address, "ftjob-1")
    for step in (2, 4, 6):
        whole_checkpoint(tmp_path / "run", step, weights=f"of {step}", same="in all")
        copies.keep(tmp_path / "run", step)
    root = tmp_path / "away" / "ftjob-1"
    assert sorted(path.name for path in root.glob("*.json")) == ["checkpoint-4.json", "checkpoint-6.json"]
    assert sorted(path.read_text() for path in (root / "blobs").iterdir()) == ["", "in all", "of 4", "of 6"]
    copies.drop()
    assert not root.exists()
    copies.drop()


@pytest.mark.parametrize(
    "damage", ["changed", "gone", "torn manifest", "a list", "leads out", "a folder", "names nothing", "another step"]
)
def test_a_damaged_copy_is_passed_over_for_the_one_before(
    tmp_path: Path, address: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (2, 4):
        whole_checkpoint(tmp_path / "run", step, weights=f"of {step}")
        Copies(address, "ftjob-1").keep(tmp_path / "run", step)
    root = tmp_path / "away" / "ftjob-1"
    (blob,) = [path for path in (root / "blobs").iterdir() if path.read_text() == "of 4"]
    manifest = root / "checkpoint-4.json"
    if damage == "changed":
        blob.write_text("of 5")
    elif damage == "gone":
        blob.unlink()
    elif damage == "a folder":
        blob.unlink()
        blob.mkdir()
    elif damage == "names nothing":
        manifest.write_text('{"step": 4, "run": "", "files": {}}')
    elif damage == "another step":
        manifest.write_text((root / "checkpoint-2.json").read_text())
    elif damage == "leads out":
        manifest.write_text(manifest.read_text().replace("checkpoints/checkpoint-4/weights", "../../stolen"))
    else:
        manifest.write_text('{"step": 4, "fil' if damage == "torn manifest" else "[1]")
    assert Copies(address, "ftjob-1").restore(tmp_path / "new") == 2
    assert found(tmp_path / "new") == 2
    assert "checkpoint 4 at" in caplog.text
    assert not (tmp_path.parent / "stolen").exists()
    left = {path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*")}
    assert left == {f"checkpoints{end}" for end in ("", *(f"/checkpoint-2{n}" for n in ("", "/weights", "/whole")))}


def test_copies_of_a_run_with_other_data_are_neither_taken_up_nor_removed(
    make_spec: MakeSpec, tmp_path: Path, address: str
) -> None:
    """A name is given twice easily: the second run would end as the first one, and never see its own data."""
    spec = make_spec("run")
    (tmp_path / "other.jsonl").write_bytes(spec.training_file.read_bytes() + spec.training_file.read_bytes())
    others = [
        spec.model_copy(update=change)
        for change in ({"seed": spec.seed + 1}, {"learning_rate": 5e-4}, {"training_file": tmp_path / "other.jsonl"})
    ]
    elsewhere = spec.model_copy(update={"output_dir": tmp_path / "there", "threads": 7, "dtype": "float32"})
    whole_checkpoint(tmp_path / "run-1", 4, weights="of 4")
    Copies(address, "weekly", run=spec.fingerprint()).keep(tmp_path / "run-1", 4)
    for other in others:
        copies = Copies(address, "weekly", run=other.fingerprint())
        with pytest.raises(CopiesError, match="are those of a run with other data or settings"):
            copies.restore(tmp_path / "new")
        with pytest.raises(CopiesError, match="are those of a run with other data or settings"):
            copies.keep(tmp_path / "run-1", 4)
        with pytest.raises(CopiesError, match="are those of a run with other data or settings"):
            copies.drop()
    assert Copies(address, "weekly", run=elsewhere.fingerprint()).restore(tmp_path / "new") == 4


def test_a_cut_blob_is_copied_again_and_later_steps_that_were_passed_over_go(tmp_path: Path, address: str) -> None:
    copies, root = Copies(address, "ftjob-1"), tmp_path / "away" / "ftjob-1"
    for step in (2, 4, 90):
        whole_checkpoint(tmp_path / "run", step, weights=f"of {step}")
    copies.keep(tmp_path / "run", 4)
    copies.keep(tmp_path / "run", 90)
    for blob in (root / "blobs").iterdir():
        blob.write_text(blob.read_text()[:2])
    copies.keep(tmp_path / "run", 2)
    copies.keep(tmp_path / "run", 4)
    assert sorted(path.name for path in root.glob("*.json")) == ["checkpoint-2.json", "checkpoint-4.json"]
    assert copies.restore(tmp_path / "new") == 4
    assert (tmp_path / "new/checkpoints/checkpoint-4/weights").read_text() == "of 4"


def test_the_folder_of_the_run_is_no_address(tmp_path: Path) -> None:
    """A run that succeeds removes its copies, and would remove its own model with them."""
    with pytest.raises(CopiesError, match="is the run's own folder"):
        Copies(str(tmp_path), "run").restore(tmp_path / "run")
    with pytest.raises(BackendError, match="lies among the jobs themselves"):
        LocalBackend(tmp_path / "backend", checkpoints=tmp_path / "backend" / "jobs")


def test_a_store_that_is_away_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    whole_checkpoint(tmp_path / "run", 2, weights="x")
    copies = Copies(f"flaky://{tmp_path}/away", "ftjob-1")
    Flaky.failures = 1
    copies.keep(tmp_path / "run", 2)
    Flaky.failures = 1
    assert copies.restore(tmp_path / "new") == 2
    assert Flaky.failures == 0


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nope://bucket/runs", "Protocol not known: nope.*give a folder, or an address of fsspec such as s3://"),
        ("github://x", r"checkpoints 'github://x': .*give a folder"),
        ("dir://x", r"checkpoints 'dir://x': .*give a folder"),
        ("memory://runs", "in memory is gone with the process.*give a folder, or an address such as s3://"),
        ("simplecache::memory://runs", "in memory is gone with the process"),
    ],
)
def test_an_address_that_no_store_takes_is_refused(address: str, words: str) -> None:
    with pytest.raises(CopiesError, match=words):
        checked_address(address)
    with pytest.raises(CopiesError, match=words):
        Copies(address, "ftjob-1")


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize("below", ["", "/runs"])
def test_a_file_is_no_place_for_checkpoints(tmp_path: Path, scheme: str, below: str) -> None:
    """Nor is what would lie below one."""
    (tmp_path / "a").write_text("here already")
    with pytest.raises(BackendError, match=rf"{tmp_path}/a is a file; give a folder"):
        LocalBackend(tmp_path / "backend", checkpoints=f"{scheme}{tmp_path}/a{below}")


@pytest.mark.parametrize("address", ["away", "./away", "file://away", "file:away", "local://away"])
def test_an_address_on_this_machine_leads_to_one_place_whatever_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked_address(address) == str(tmp_path / "away")


def test_a_store_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no password that stands in the address."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(CopiesError, match=r"s3fs.*run: python -m pip install 's3fs'$") as refusal:
        checked_address("s3://user:secret@bucket/runs")
    assert "secret" not in str(refusal.value)


def test_processes_that_bring_back_one_checkpoint_at_once_do_not_disturb_each_other(
    tmp_path: Path, address: str
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    whole_checkpoint(here, 4, weights="x" * 10**6)
    (here / "best" / "step-4").mkdir(parents=True)
    (here / "best" / "step-4" / "adapter").write_text("adapter")
    (here / "events.jsonl").write_text('{"type": "start"}\n')
    Copies(address, "ftjob-1").keep(here, 4)
    there.mkdir()
    with ThreadPoolExecutor(8) as pool:
        steps = list(pool.map(lambda _: Copies(address, "ftjob-1").restore(there), range(8)))
    assert {step for step in steps if step is not None} == {4}
    files = sorted(path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file())
    told = ["best/step-4/adapter", "checkpoints/checkpoint-4/weights", "checkpoints/checkpoint-4/whole", "events.jsonl"]
    assert files == told


@trains
@pytest.mark.slow
def test_a_killed_run_whose_folder_is_gone_goes_on_from_its_copy(
    make_spec: MakeSpec, start: Start, tmp_path: Path, address: str
) -> None:
    """It ends with the losses of one that nothing happened to, also those that it had told before."""
    settings: dict[str, Any] = {"n_epochs": 8, "save_every_steps": 2, "dtype": "float32"}
    straight = make_spec("straight", **settings)
    assert run(straight) == EXIT_OK
    killed = make_spec("killed", **settings, checkpoints=address)
    worker = start(killed)
    wait_for_step(killed, 9, worker)
    worker.kill()
    worker.wait()
    assert 8 <= max(losses(killed)) < 24, "it was killed in the middle"
    shutil.rmtree(killed.output_dir)
    again = killed.model_copy(update={"dtype": None})
    assert run(again) == EXIT_OK
    assert losses(again) == losses(straight)
    resumed = [event["resumed_from"] for event in read(again, "start")]
    assert resumed[0] is None
    assert resumed[1] >= 6
    said = [event["message"] for event in read(again, "message") if "brought back" in event["message"]]
    assert said == [f"The checkpoint of step {resumed[1]} was brought back from {address}/killed"]
    assert {event["dtype"] for event in read(again, "metrics")} == {"float32"}
    ends = [spec.output_dir / "adapter" / "adapter_model.safetensors" for spec in (straight, again)]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    assert not (tmp_path / "away" / "killed").exists(), "nothing is left to go on from"


@trains
def test_a_copy_that_fails_is_told_and_the_next_one_is_made(make_spec: MakeSpec, tmp_path: Path, address: str) -> None:
    """A file lies where the folder should be: at the start that is a failure, later a warning."""
    spec = make_spec(n_epochs=2, save_every_steps=1, checkpoints=address)
    stop = StopRequest()
    stop.ask()
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "run").write_text("in the way")
    error = failure(spec)
    assert error["code"] == "checkpoints_not_reachable"
    assert error["message"].startswith(f"checkpoints '{address}/run': {tmp_path}/away/run is a file; give a folder, ")
    assert error["message"].endswith("; correct the address or the rights to it, or train without one")
    shutil.rmtree(spec.output_dir)
    (tmp_path / "away" / "run").unlink()
    assert run(spec, stop) == EXIT_OK
    (tmp_path / "away" / "run").rename(tmp_path / "away" / "kept")
    (tmp_path / "away" / "run").write_text("in the way")
    stop = StopRequest()
    stop.ask()
    assert run(spec, stop) == EXIT_OK
    (warning,) = [event["message"] for event in read(spec, "message") if event["level"] == "warn"]
    assert warning.startswith(
        f"The checkpoint of step 2 was not copied: checkpoints at {address}/run cannot be reached"
    )
    assert warning.endswith("; the training goes on")
    (tmp_path / "away" / "run").unlink()
    assert run(spec, stop) == EXIT_OK
    manifest = json.loads((tmp_path / "away" / "run" / "checkpoint-3.json").read_text())
    assert "checkpoints/checkpoint-3/whole" in manifest["files"]
    assert run(spec) == EXIT_OK
    assert not (tmp_path / "away" / "run").exists()


@trains
def test_a_run_that_stops_early_remembers_its_best_adapter_over_a_lost_folder(
    make_spec: MakeSpec, tmp_path: Path, address: str
) -> None:
    held_out = write_lines(tmp_path / "valid.jsonl", chat_lines(4))
    spec = make_spec(
        n_epochs=4, validation_file=held_out, evaluate_every=1, early_stop=3, save_every_steps=3, checkpoints=address
    )
    assert run(spec, _after(spec, 6)) == EXIT_OK
    kept = [event for event in read(spec, "metrics") if event["step"] <= 6]
    shutil.rmtree(spec.output_dir)
    assert run(spec) == EXIT_OK
    assert [event for event in read(spec, "metrics") if event["step"] <= 6] == kept
    assert TrainSpec.load(spec.output_dir / SPEC_FILE).dtype is not None


class _After(StopRequest):
    """Asks for a stop once a step was told."""

    def __init__(self, spec: TrainSpec, step: int) -> None:
        super().__init__()
        self._spec, self._step = spec, step

    @property
    def asked(self) -> bool:
        return max(losses(self._spec), default=0) >= self._step


def _after(spec: TrainSpec, step: int) -> StopRequest:
    return _After(spec, step)
