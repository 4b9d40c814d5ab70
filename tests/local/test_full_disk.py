"""A disk that runs full under a training: the job says so, the server lives, nothing is called a success."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune.errors import BackendError
from ragtune.local import LocalBackend
from tests.local.kit import create, upload, wait_for
from tests.local.test_training import facts

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leave: int) -> Path:
    """Write a file that leaves so many bytes."""
    free = os.statvfs(folder)
    filler = folder / "filler"
    with filler.open("wb") as file:
        file.write(b"\0" * (free.f_bavail * free.f_frsize - leave))
    return filler


def train(client: openai.OpenAI, file: str) -> Any:
    return wait_for(client, create(client, training_file=file, n_epochs=10, batch_size=2, seed=1).id, timeout_s=240)


def test_a_server_that_finds_no_room_at_its_start_says_which_folder(disk: Path) -> None:
    filler = fill(disk, leave=0)
    with pytest.raises(BackendError, match=f"{disk / 'backend'}: cannot be .*; make room"):
        LocalBackend(disk / "backend").start()
    filler.unlink()
    with LocalBackend(disk / "backend") as backend, backend.client() as client:
        assert client.models.list().data


@pytest.mark.parametrize("leave", [350_000, 60_000])
def test_a_full_disk_fails_the_job_and_the_server_goes_on(disk: Path, leave: int) -> None:
    """Room for the books but not for a checkpoint, or hardly for the books; with room again the same server trains."""
    with LocalBackend(disk / "backend", threads=1) as backend, backend.client() as client:
        file = upload(client, facts())
        filler = fill(disk, leave=leave)
        job = train(client, file)
        assert (job.status, job.fine_tuned_model) == ("failed", None)
        assert job.error.code == "storage_error"
        assert "free some disk space" in job.error.message
        assert not list(disk.rglob("*.tmp"))
        filler.unlink()
        again = train(client, file)
        assert again.status == "succeeded", again.error


def test_a_file_that_may_not_grow_fails_the_job_by_name(tmp_path: Path) -> None:
    """A quota: no file of the worker's may be larger than 64 kB, which every checkpoint is."""
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); "
    limited += "runpy.run_module('ragtune.train', run_name='__main__')"
    trainer = [sys.executable, "-c", limited]
    with LocalBackend(tmp_path, threads=1, trainer=trainer) as backend, backend.client() as client:
        job = train(client, upload(client, facts()))
        assert (job.status, job.error.code) == ("failed", "storage_error")
        assert client.models.list().data
