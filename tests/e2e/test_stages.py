"""The four stage programs: each a process of its own, sharing only the files they save."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragtune.local import LocalBackend

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUESTION = "When was the clock tower of Quillhaven finished?"

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.e2e]


def run(program: str, *args: str | Path, cwd: Path) -> str:
    """Run one example and return what it printed."""
    command = [sys.executable, EXAMPLES / program, *args]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{program} {args}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", params=["embedded", "base-url"])
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """A folder to work in, and the arguments that choose the server."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        yield folder, []
        return
    with LocalBackend(folder / "elsewhere") as backend:
        (folder / "api_key.txt").write_text(backend.api_key + "\n", encoding="utf-8")
        yield folder, ["--base-url", backend.base_url]


def test_the_four_stages_hand_on_through_their_files(desk: tuple[Path, list[str]]) -> None:
    """Prepare, fine-tune, use, manage; every dry run leaves no trace."""
    folder, server = desk
    assert "dry run" in run("01_prepare.py", "--dry-run", cwd=folder)
    assert not (folder / "out/dataset").exists()
    assert "saved to" in run("01_prepare.py", cwd=folder)

    plan = run("02_finetune.py", "--model", "tiny-random", "--epochs", "1", "--dry-run", *server, cwd=folder)
    assert "fine_tuning.jobs.create" in plan
    assert not (folder / "out/job.json").exists()
    made = run("02_finetune.py", "--model", "tiny-random", "--epochs", "1", *server, cwd=folder)
    assert "created ftjob-" in made
    again = run("02_finetune.py", "--model", "tiny-random", "--epochs", "1", *server, cwd=folder)
    assert "found ftjob-" in again

    assert "chat.completions.create" in run("03_use.py", QUESTION, "--dry-run", *server, cwd=folder)
    assert "streamed" in run("03_use.py", QUESTION, *server, cwd=folder)

    assert "nothing deleted" in run("04_manage.py", *server, cwd=folder)
    assert "models.delete" in run("04_manage.py", "--dry-run", *server, cwd=folder)
    assert "tuned models now: []" not in run("04_manage.py", "--dry-run", *server, cwd=folder)
    assert "tuned models now: []" in run("04_manage.py", "--delete", *server, cwd=folder)


def test_stage_one_keeps_the_supported_rows_of_sciq(shared: Path, tmp_path: Path) -> None:
    """10,481 of 11,679 training rows have a support text and an answer."""
    out = run("01_prepare.py", shared / "data/sciq/train.jsonl", cwd=tmp_path)
    assert "10,481" in out
    lines = (tmp_path / "out/dataset/train.jsonl").read_bytes().count(b"\n")
    assert lines == 10481
