"""A backend's folder outlives the version that made it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ragtune.errors import BackendError
from ragtune.local import LocalBackend
from tests.local.kit import rows, trainer, wait_for

# Made before the backend was sorted into rooms: one job that succeeded, one that was paused after two steps, one that
# the server's end cut off after two steps, and an upload with its first 100 bytes.
MADE_BEFORE = Path(__file__).parent / "folders" / "made_before.zip"
ACCOUNT = "org-taz2LDGcAb8IftawrKH5w3Qe"
DONE, PAUSED, CUT_OFF = (
    "ftjob-LxhSFgD8EEyiWynylKVFNklY",
    "ftjob-65L2PBURucfknqFGc8h3qsoC",
    "ftjob-oZo7S38IV6jls50tFjgdnLoq",
)
UPLOAD, PART = "upload_F7K2w6e6sr0O307afoaMH5Am", "part_A8nDtYCB4osgbVQtch3QoIvr"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.unpack_archive(MADE_BEFORE, tmp_path / "backend")
    # An upload is open for an hour, and this one was begun when the folder was made.
    with closing(sqlite3.connect(tmp_path / "backend" / "state.sqlite3")) as database, database:
        database.execute("UPDATE upload SET expires_at = 4102444800")
    return tmp_path / "backend"


def test_a_folder_of_an_earlier_version_is_the_same_account_with_all_that_it_knew(folder: Path) -> None:
    """Key, files, models, checkpoints, events, usage and a half-sent upload are where they were."""
    with LocalBackend(folder, trainer=trainer(), threads=1) as backend, backend.client() as client:
        assert (backend.api_key, backend.account) == ((folder / "api_key.txt").read_text().strip(), ACCOUNT)
        done = client.fine_tuning.jobs.retrieve(DONE)
        assert (done.status, done.metadata, done.trained_tokens) == ("succeeded", {"made": "before"}, 84)
        assert [job.id for job in client.fine_tuning.jobs.list(metadata={"made": "before"})] == [DONE]
        assert done.fine_tuned_model in [model.id for model in client.models.list()]
        steps = [checkpoint.step_number for checkpoint in client.fine_tuning.jobs.checkpoints.list(DONE)]
        assert steps == [9, 6, 3]
        losses = [event for event in client.fine_tuning.jobs.list_events(DONE) if event.type == "metrics"]
        assert len(losses) == 9
        assert client.files.content(done.result_files[0]).read()
        rest = client.uploads.parts.create(UPLOAD, data=rows()[100:])
        file = client.uploads.complete(UPLOAD, part_ids=[PART, rest.id]).file
        assert file is not None
        assert client.files.content(file.id).read() == rows()


@pytest.mark.slow
def test_jobs_of_an_earlier_version_go_on_from_their_checkpoints(folder: Path) -> None:
    """The one that was cut off by itself, the paused one when it is resumed; neither makes a step twice."""
    with LocalBackend(folder, trainer=trainer(), threads=1) as backend, backend.client() as client:
        assert wait_for(client, CUT_OFF).status == "succeeded"
        client.fine_tuning.jobs.resume(PAUSED)
        assert wait_for(client, PAUSED).status == "succeeded"
        for job in (CUT_OFF, PAUSED):
            events = list(client.fine_tuning.jobs.list_events(job))
            steps = [int(event.data["step"]) for event in events if event.type == "metrics"]  # type: ignore[index]
            assert steps == [6, 5, 4, 3, 2, 1]
            assert any("Going on from the checkpoint at step 2" in event.message for event in events)


def test_a_folder_of_a_newer_version_is_refused_and_left_as_it_is(folder: Path) -> None:
    """The newer version goes on with it afterwards; nothing keeps the folder."""
    with closing(sqlite3.connect(folder / "state.sqlite3")) as database, database:
        database.execute("PRAGMA user_version = 999")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    for _ in range(2):
        with pytest.raises(BackendError, match=r"newer version of ragtune \(schema 999, .*; update ragtune"):
            LocalBackend(folder).start()
    assert {path: path.read_bytes() for path in before} == before
    assert not (folder / "server.json").exists()
