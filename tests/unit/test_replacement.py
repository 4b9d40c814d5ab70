"""A folder is changed only by whom it belongs to, and one dataset takes the place of another whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ragtune as rt
from ragtune.dataset.writing import replacement
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator


def builder(count: int = 12, word: str = "new") -> rt.DatasetBuilder:
    rows = [{"q": f"{word} {n}?", "a": f"{word} {n}"} for n in range(count)]
    return rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


SMALL = """
import sys, ragtune as rt
rt.DatasetBuilder.from_rows([{"q": "x"}]).chat(user="{q}", assistant="{q}").build(sys.argv[1])
"""
# Builds over a copy of a dataset in a child that dies before its n-th file operation in the folder, for every n.
KILLED_EVERYWHERE = """
import json, os, shutil, signal, sys
from pathlib import Path
import filelock, ragtune as rt
from ragtune.dataset.writing import replacement

work, first, second = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.chmod"}

def build(folder, options, word):
    rows = [{"q": f"{word} {n}?", "a": f"{word} {n}"} for n in range(20)]
    rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build(folder, overwrite=True, **options)

def state(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name in replacement.OWN_FILES}

build(work / "old", first, "old")
(work / "old/notes.txt").write_text("mine")
build(work / "new", second, "new")
old, new = state(work / "old"), state(work / "new")
target = work / "out"

def die_at(number):
    left = [number]
    def hook(event, args):
        if event in WATCHED and args and str(target) in os.fsdecode(args[0] if not isinstance(args[0], int) else b""):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

outcomes, number = [], 0
while True:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(work / "old", target)
    child = os.fork()
    if not child:
        die_at(number)
        build(target, second, "new")
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    raw = state(target)
    # Without a word from us: every file is one or the other, and a folder with a manifest is whole.
    for name, data in raw.items():
        assert data in (old.get(name), new.get(name)), (number, name)
    assert "manifest.json" not in raw or raw in (old, new), (number, sorted(raw))
    if number % 2:
        rt.Dataset.load(target)
    else:
        with_another = rt.DatasetBuilder.from_rows([]).chat(user="{q}", assistant="{a}")
        try:
            with_another.build(target, overwrite=True)
        except rt.DatasetError:
            pass
    assert state(target) in (old, new), (number, sorted(state(target)))
    assert (target / "notes.txt").read_text() == "mine"
    if ended == 0:
        break
    assert ended == -signal.SIGKILL, ended
    outcomes.append("new" if state(target) == new else "old")
    number += 1
assert state(target) == new
assert sorted(path.name for path in target.iterdir()) == sorted([*new, "notes.txt"])
print(json.dumps(outcomes))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [({"validation": 0.2, "test": 0.2}, {}), ({}, {"validation": 0.2, "test": 0.2}), ({}, {})],
    ids=["fewer files", "more files", "the same files"],
)
def test_killed_at_any_file_operation_the_old_or_the_new_dataset_is_whole(
    tmp_path: Path, first: dict[str, float], second: dict[str, float]
) -> None:
    """First always the old one, from the deciding rename on always the new one."""
    command = [sys.executable, "-c", KILLED_EVERYWHERE, str(tmp_path), json.dumps(first), json.dumps(second)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) > 20
    assert outcomes == sorted(outcomes, reverse=True)
    assert {*outcomes} == {"old", "new"}


def test_what_a_user_changed_or_brought_is_not_replaced(tmp_path: Path) -> None:
    """A file with another sha256, one that no manifest lists, a manifest of another program, a name outside."""
    out = tmp_path / "out"
    builder(word="old").build(out, validation=0.2)
    (out / "train.jsonl").write_bytes((out / "train.jsonl").read_bytes() + b"\n")
    (out / "notes.txt").write_text("mine")
    before = content(out)
    with pytest.raises(DatasetError, match=r"train\.jsonl was changed since it was built, so it is not replaced"):
        builder().build(out, overwrite=True)
    assert content(out) == before

    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "report.json").write_text("{}")
    (raw / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(DatasetError, match=r"manifest\.json belongs to no dataset that stands there"):
        builder().build(raw, overwrite=True)
    with pytest.raises(DatasetError, match=r"is not empty.*choose another folder$"):
        builder().build(raw)
    assert sorted(content(raw)) == ["manifest.json", "report.json"]

    forged = tmp_path / "forged"
    builder(word="old").build(forged)
    manifest = json.loads((forged / "manifest.json").read_bytes())
    (tmp_path / "outside.txt").write_text("mine")
    manifest["files"]["test"] = {**manifest["files"]["train"], "name": "../outside.txt"}
    (forged / "manifest.json").write_text(json.dumps(manifest))
    builder().build(forged, overwrite=True)
    assert (tmp_path / "outside.txt").read_text() == "mine"


def test_a_file_of_the_old_dataset_that_was_changed_stays_where_the_new_one_does_not_need_its_name(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    builder(word="old").build(out, validation=0.2)
    (out / "validation.jsonl").write_text("mine")
    builder().build(out, overwrite=True)
    assert (out / "validation.jsonl").read_text() == "mine"
    assert not (out / "validation.rows.txt").exists()
    assert len(rt.Dataset.load(out).train) == 12


def test_a_file_that_somebody_puts_there_during_the_build_stays(tmp_path: Path) -> None:
    """With and without overwrite; what stood there before stands there still."""
    for overwrite in (False, True):
        out = tmp_path / str(overwrite)
        if overwrite:
            builder(word="old").build(out)

        def rows(out: Path = out) -> Iterator[dict[str, str]]:
            yield {"q": "a?", "a": "b"}
            (out / "train.jsonl").write_text("mine")

        late = rt.DatasetBuilder.from_rows(rows()).chat(user="{q}", assistant="{a}")
        with pytest.raises(DatasetError, match=r"train\.jsonl .*not replaced"):
            late.build(out, overwrite=overwrite)
        assert (out / "train.jsonl").read_text() == "mine"
        assert (out / "manifest.json").exists() == overwrite
        assert not [name for name in os.listdir(out) if name.startswith(".ragtune")]


@pytest.mark.parametrize("link", [False, True])
def test_the_source_of_a_build_is_no_target(tmp_path: Path, link: bool) -> None:
    """Not even where it is a file of the dataset that stands there, under whatever name it was given."""
    out = tmp_path / "out"
    rows = [{"q": f"q{n}?", "a": f"a{n}"} for n in range(12)]
    rt.DatasetBuilder.from_rows(rows).completion(prompt="{q}", completion="{a}").build(out)
    source = out / "train.jsonl"
    if link:
        source = tmp_path / "link.jsonl"
        source.symlink_to(out / "train.jsonl")
    again = rt.DatasetBuilder.from_jsonl(source).completion(prompt="{prompt}", completion="{completion}")
    before = content(out)
    with pytest.raises(DatasetError, match="is the source of this build and would be replaced"):
        again.build(out, overwrite=True)
    assert content(out) == before


@pytest.mark.slow
def test_a_second_build_in_the_same_folder_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    """In a thread, in a process, and in the middle of itself; afterwards the folder is free."""
    out = tmp_path / "out"
    refused: list[str] = []

    def try_it() -> None:
        with pytest.raises(DatasetError, match=r"another build is at work in .*out"):
            builder(word="other").build(out, overwrite=True)
        refused.append("thread")

    def rows() -> Iterator[dict[str, str]]:
        yield {"q": "a?", "a": "b"}
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
        with pytest.raises(DatasetError, match="another build is at work"):
            builder(word="inner").build(out)
        done = subprocess.run([sys.executable, "-c", SMALL, str(out)], capture_output=True, text=True, check=False)
        refused.append("process" if "another build is at work" in done.stderr else done.stderr)

    rt.DatasetBuilder.from_rows(rows()).chat(user="{q}", assistant="{a}").build(out)
    assert refused == ["thread", "process"]
    assert len(rt.Dataset.load(out).train) == 1
    assert len(builder().build(out, overwrite=True).train) == 12


def test_a_move_that_fails_gives_the_old_dataset_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating system refuses the n-th rename, for every n."""
    real = Path.rename
    outcomes = []
    for number in range(1, 15):
        out = tmp_path / str(number)
        old = builder(word="old").build(out, validation=0.2)
        left = [number]

        def refusing(self: Path, target: Path, left: list[int] = left) -> Path:
            left[0] -= 1
            if left[0] == 0:
                raise PermissionError(13, "Permission denied", str(self))
            return real(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", refusing)
            try:
                kept, told = builder().build(out, overwrite=True), ""
            except DatasetError as error:
                kept, told = old, str(error)
        assert rt.Dataset.load(out) == kept
        assert sorted(os.listdir(out)) == sorted(replacement.listed(out))
        outcomes.append("Permission denied" in told)
    # The decision, six files of the old dataset and four of the new one; the last rename only clears up.
    assert outcomes == [True] * 11 + [False] * 3


def test_a_replacement_that_was_cut_off_does_not_run_over_what_came_since(tmp_path: Path) -> None:
    """Finishing it names the file in the way; once that is gone, it is finished."""
    out, other = tmp_path / "out", tmp_path / "other"
    new = builder().build(other)
    out.mkdir()
    finished = out / ".ragtune-finished"
    (finished / "old").mkdir(parents=True)
    names = [path.name for path in other.iterdir()]
    for name in names:
        (other / name).rename(finished / name)
    (finished / "plan.json").write_text(json.dumps({"new": names, "old": {}}))
    (out / "train.jsonl").write_text("mine")
    with pytest.raises(DatasetError, match=r"cut off, and train\.jsonl is in the way"):
        rt.Dataset.load(out)
    assert (out / "train.jsonl").read_text() == "mine"
    (out / "train.jsonl").unlink()
    assert rt.Dataset.load(out).fingerprint == new.fingerprint


def test_an_error_of_the_rows_is_not_blamed_on_the_folder(tmp_path: Path) -> None:
    """A function, a filter and a source of the user's raise what they raise."""

    def rows() -> Iterator[dict[str, str]]:
        yield {"q": "a?", "a": "b"}
        raise ConnectionError("the database hung up")

    with pytest.raises(ConnectionError, match="hung up"):
        rt.DatasetBuilder.from_rows(rows()).chat(user="{q}", assistant="{a}").build(tmp_path / "out", validation=0.5)
    reads = rt.DatasetBuilder.from_rows([{"f": "cat.png"}]).records(lambda row: open(row["f"], "rb"))  # noqa: SIM115
    with pytest.raises(FileNotFoundError):
        reads.build(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
