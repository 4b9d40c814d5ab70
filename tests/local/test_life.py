"""The backend under stress: restarts, killed processes, two owners of one folder, open streams."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune.errors import BackendError
from ragtune.local import LocalBackend
from ragtune.local.lifespan.folder_lock import FolderLock
from ragtune.local.runner.event_tail import Follower
from ragtune.local.runner.worker import Worker
from ragtune.local.store import Store
from ragtune.testing import ScriptedBackend
from ragtune.train.events import append
from tests.local.kit import create, messages, trainer, until, upload, wait_for

SERVER = """
import sys
from ragtune.local import serve
serve(sys.argv[1], trainer=sys.argv[2:], on_start=lambda backend: print(backend.base_url, backend.api_key, flush=True))
"""


@contextmanager
def server(folder: Path, *command: str) -> Iterator[tuple[subprocess.Popen[str], openai.OpenAI]]:
    """A backend in a process of its own, as `ragtune serve` runs it."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(folder), *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout as out:
        base_url, key = out.readline().split()
        try:
            with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
                yield process, client
        finally:
            process.kill()


def step_told(client: openai.OpenAI, job_id: str, step: int) -> bool:
    return any(message.startswith(f"Step {step}/") for message in messages(client, job_id))


def workers(folder: Path) -> list[int]:
    """Processes that train below a folder, zombies included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(word.startswith(os.fsencode(folder)) and word.endswith(b"spec.json") for word in words):
                found.append(int(entry.name))
    return found


def steps(client: openai.OpenAI, job_id: str) -> list[int]:
    """The steps of all metrics events, oldest first."""
    events = [event for event in client.fine_tuning.jobs.list_events(job_id, limit=100) if event.type == "metrics"]
    return [int(event.data["step"]) for event in events][::-1]  # type: ignore[index]


@pytest.mark.slow
def test_leaving_the_block_stops_the_job_and_the_next_start_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so at both ends; account, key, files and jobs are the same; each step is told once."""
    caplog.set_level(logging.WARNING, logger="ragtune")
    with LocalBackend(tmp_path, trainer=trainer("--delay", "0.1")) as backend, backend.client() as client:
        identity = (backend.account, backend.api_key)
        job = create(client)
        until(lambda: step_told(client, job.id, 3))
        begin = time.monotonic()
    assert time.monotonic() - begin < 20
    assert workers(tmp_path) == []
    assert f"job {job.id} stopped at a checkpoint; the next start on this folder goes on with it" in caplog.text
    with LocalBackend(tmp_path, trainer=trainer()) as backend, backend.client() as client:
        assert (backend.account, backend.api_key) == identity
        assert f"job {job.id} was interrupted; it goes on from its last checkpoint" in caplog.text
        assert wait_for(client, job.id).status == "succeeded"
        assert steps(client, job.id) == list(range(1, 10))
        assert client.files.retrieve(job.training_file).filename == "train.jsonl"


@pytest.mark.slow
def test_what_leaves_the_block_while_a_job_trains_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C while waiting: the message says that the job runs on, the note that this server does not."""
    made: list[str] = []

    def leave(look: Callable[[openai.OpenAI, str], Any], error: BaseException, *command: str) -> None:
        with LocalBackend(tmp_path, trainer=trainer(*command)) as backend, backend.client() as client:
            if not made:
                made.append(create(client).id)
            until(lambda: look(client, made[0]))
            raise error

    with pytest.raises(KeyboardInterrupt) as stop:
        leave(lambda client, job: step_told(client, job, 3), KeyboardInterrupt(), "--delay", "0.1")
    (note,) = stop.value.__notes__
    assert f"{made[0]} with it, at a checkpoint: open LocalBackend({str(tmp_path)!r}) again" in note
    assert note.endswith("and the job goes on")
    with pytest.raises(LookupError) as error:
        leave(lambda client, job: wait_for(client, job).status == "succeeded", LookupError("after its end"))
    assert not hasattr(error.value, "__notes__")


def test_many_jobs_that_wait_are_counted_and_not_listed(tmp_path: Path) -> None:
    made: list[str] = []

    def leave() -> None:
        with LocalBackend(tmp_path, trainer=trainer("--delay", "0.1")) as backend, backend.client() as client:
            file = upload(client)
            made.extend(create(client, training_file=file).id for _ in range(6))
            raise LookupError("before their end")

    with pytest.raises(LookupError) as error:
        leave()
    (note,) = error.value.__notes__
    assert f"{', '.join(made[:3])} and 3 more jobs with it" in note
    assert made[3] not in note


@pytest.mark.slow
def test_ctrl_c_stops_the_server_in_order(tmp_path: Path) -> None:
    """SIGINT while a job trains: the server ends with status 0, no process is left, the next one finishes the job."""
    with server(tmp_path, *trainer("--delay", "0.1")) as (process, client):
        job = create(client)
        until(lambda: step_told(client, job.id, 2))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert workers(tmp_path) == []
    with server(tmp_path, *trainer()) as (_, client):
        assert wait_for(client, job.id).status == "succeeded"
        assert steps(client, job.id) == list(range(1, 10))


@pytest.mark.slow
def test_a_killed_server_takes_its_worker_along_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """kill -9 closes the lifeline: the worker writes a checkpoint and ends by itself."""
    with server(tmp_path, *trainer("--delay", "0.1")) as (process, client):
        job = create(client)
        until(lambda: step_told(client, job.id, 2))
        process.kill()
        process.wait()
    with server(tmp_path, *trainer()) as (_, client):
        assert wait_for(client, job.id).status == "succeeded"
        assert steps(client, job.id) == list(range(1, 10))
    assert workers(tmp_path) == []


@pytest.mark.slow
def test_a_killed_worker_is_started_again(tmp_path: Path) -> None:
    """A worker that kills itself at step 5 goes on from step 4; the event list says what happened."""
    with LocalBackend(tmp_path, trainer=trainer("--die-at", "5")) as backend, backend.client() as client:
        job = wait_for(client, create(client).id)
        assert job.status == "succeeded"
        assert steps(client, job.id) == list(range(1, 10))
        told = messages(client, job.id)
        assert "The training process ended unexpectedly with signal 9; it is started again" in told
        assert "Going on from the checkpoint at step 4" in told


def test_a_worker_sees_where_things_are_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster that `ray` means, the folder of measured speeds, torch's memory; of the server's keys nothing."""
    given = {
        "RAY_ADDRESS": "10.0.0.1:6379",
        "RAGTUNE_CACHE": "/somewhere",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "OPENAI_API_KEY": "sk-1",
        "HF_TOKEN": "hf-1",
        "AWS_SECRET_ACCESS_KEY": "1",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    told = f"import os; print(*map(os.environ.get, {list(given)}))"
    with Worker([sys.executable, "-c", told], tmp_path / "spec.json") as worker:
        assert worker.wait(30) == 0
        assert worker.last_words() == "10.0.0.1:6379 /somewhere expandable_segments:True None None None"


def test_a_job_whose_folder_is_removed_while_it_trains_says_what_is_gone(tmp_path: Path) -> None:
    with LocalBackend(tmp_path, trainer=trainer("--delay", "0.2")) as backend, backend.client() as client:
        job = create(client)
        until(lambda: step_told(client, job.id, 1))
        folder = tmp_path / "jobs" / job.id
        (worker,) = workers(folder)
        os.killpg(worker, signal.SIGKILL)
        shutil.rmtree(folder)
        ended = wait_for(client, job.id)
    assert (ended.status, ended.error.code) == ("failed", "storage_error")
    assert ended.error.message.startswith(f"The job's folder {folder} was removed while it trained")
    assert "create the job again" in ended.error.message


def test_events_of_a_folder_that_began_anew_are_read_from_their_beginning(tmp_path: Path) -> None:
    """The new file is shorter than what was read of the old one, and its first event is a step that nobody knows."""
    with LocalBackend(tmp_path, trainer=trainer()) as backend, backend.client() as client:
        job = wait_for(client, create(client).id)
    store = Store(tmp_path)
    row = store.jobs.find(job.id)
    assert row is not None
    follower = Follower(store, row)
    told = store.job_folder(job.id) / "events.jsonl"
    told.unlink(missing_ok=True)
    append(told, {"type": "metrics", "step": 100, "total_steps": 200, "train_loss": 1.0, "epoch": 1.0})
    assert 0 < told.stat().st_size < row.read_offset
    follower.drain()
    assert store.jobs.last_step(job.id) == 100
    store.close()


def test_a_job_whose_folder_is_removed_goes_on_where_copies_of_its_checkpoints_are_kept(tmp_path: Path) -> None:
    """Events that the new worker tells are read from its file's beginning; each step stands once."""
    options = {"trainer": trainer("--delay", "0.05"), "checkpoints": tmp_path / "copies"}
    with LocalBackend(tmp_path / "server", **options) as backend, backend.client() as client:  # type: ignore[arg-type]
        job = create(client)
        until(lambda: step_told(client, job.id, 5))
        folder = tmp_path / "server" / "jobs" / job.id
        (worker,) = workers(folder)
        os.killpg(worker, signal.SIGKILL)
        shutil.rmtree(folder)
        assert wait_for(client, job.id).status == "succeeded"
        assert sorted(steps(client, job.id)) == list(range(1, 10))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "words", "way_out"),
    [
        ("import sys; sys.exit('no such device')", "exit code 1: no such device", "Repair that"),
        (
            "import not_there",
            "exit code 1: ModuleNotFoundError: No module named 'not_there'",
            "Install what its Python",
        ),
        ("raise MemoryError", "exit code 1: MemoryError", "Lower batch_size"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9", "Lower batch_size"),
    ],
)
def test_a_worker_that_never_gets_on_fails_the_job_with_its_last_words(
    tmp_path: Path, program: str, words: str, way_out: str
) -> None:
    """A command that cannot train is tried a few times, then the job fails; it is never called succeeded."""
    with LocalBackend(tmp_path, trainer=[sys.executable, "-c", program]) as backend, backend.client() as client:
        job = wait_for(client, create(client).id)
        assert (job.status, job.error.code, job.fine_tuned_model) == ("failed", "worker_crashed", None)
        assert f"5 times in a row without progress, last with {words}. {way_out}" in job.error.message


def test_a_command_that_is_not_there_fails_the_job_and_the_server_lives(tmp_path: Path) -> None:
    with LocalBackend(tmp_path, trainer=["/no/such/program"]) as backend, backend.client() as client:
        job = wait_for(client, create(client).id)
        assert (job.status, job.error.code) == ("failed", "server_error")
        said = (
            "The training program /no/such/program cannot be started (No such file or directory); correct the launcher"
        )
        assert job.error.message.startswith(said)
        assert client.models.list().data


def test_a_worker_that_cannot_write_its_last_word_names_the_disk(tmp_path: Path) -> None:
    """Exit code 74 stands for a disk that did not even take the `end` event; the job is not tried again."""
    full = [sys.executable, "-c", "import sys; sys.exit(74)"]
    with LocalBackend(tmp_path, trainer=full) as backend, backend.client() as client:
        job = wait_for(client, create(client).id)
    assert (job.status, job.error.code) == ("failed", "storage_error")
    assert "free some space" in job.error.message


@pytest.mark.slow
def test_exit_code_zero_without_a_last_word_is_no_success(tmp_path: Path) -> None:
    """Only the `end` line counts."""
    with LocalBackend(tmp_path, trainer=[sys.executable, "-c", "pass"]) as backend, backend.client() as client:
        assert wait_for(client, create(client).id).status == "failed"


@pytest.mark.slow
def test_a_success_that_the_server_did_not_live_to_see_is_found(tmp_path: Path) -> None:
    """The worker ended well while the server was dead: the next start takes the result without training again."""
    with LocalBackend(tmp_path, trainer=trainer()) as backend, backend.client() as client:
        job = wait_for(client, create(client).id)
    with sqlite3.connect(tmp_path / "state.sqlite3") as database:
        database.execute("UPDATE job SET status = 'running', result_file = NULL, finished_at = NULL")
    database.close()
    with LocalBackend(tmp_path, trainer=["/no/such/program"]) as backend, backend.client() as client:
        again = wait_for(client, job.id)
        assert (again.status, again.fine_tuned_model) == ("succeeded", job.fine_tuned_model)
        assert steps(client, job.id) == list(range(1, 10))


def test_a_folder_is_free_after_its_server_has_stopped(tmp_path: Path) -> None:
    for _ in range(2):
        with LocalBackend(tmp_path, trainer=trainer()) as backend:
            assert not backend.is_connection


ENDING = """
import contextlib, sys, threading, openai
from ragtune.local import LocalBackend
backend = LocalBackend(sys.argv[1], threads=1).start()
client = backend.client(max_retries=0)
def ask():
    asked = {"model": "tiny-random", "prompt": "Once", "max_tokens": 1900, "logit_bias": {"0": -100, "2": -100}}
    with contextlib.suppress(openai.APIError):
        for piece in client.completions.create(**asked, stream=True):
            print("a piece", flush=True)
threading.Thread(target=ask, daemon=True).start()
sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_program_may_end_while_its_backend_answers(tmp_path: Path) -> None:
    """Without a block and without stop(): exit code 0 and nothing on stderr, where torch would have aborted."""
    program = [sys.executable, "-c", ENDING, str(tmp_path)]
    with subprocess.Popen(program, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "a piece\n"
        _, told = process.communicate("end\n", timeout=60)
    assert (process.returncode, told) == (0, "")


LEAVING = """
import sys
from ragtune.local import LocalBackend
from tests.local.kit import create, trainer
with LocalBackend(sys.argv[1], trainer=[sys.executable, "-c", sys.argv[2]]) as backend:
    print(create(backend.client()).id, flush=True)
    while not list(backend.folder.glob("jobs/*/worker.log")):
        pass
    print("trains", flush=True)
    __import__("time").sleep(60)
"""
STUBBORN = "import time; time.sleep(60)"


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True])
def test_ctrl_c_before_the_first_step_waits_for_nothing(tmp_path: Path, twice: bool) -> None:
    """A worker that still loads has nothing to keep: it is ended at once, and the note says so. One traceback."""
    program = [sys.executable, "-c", LEAVING, str(tmp_path), STUBBORN]
    with subprocess.Popen(program, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        job = process.stdout.readline().strip()
        assert process.stdout.readline() == "trains\n"
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        if twice:
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert time.monotonic() - begin < 20
    assert told.count("Traceback") == 1, told
    assert "stopping: what trains writes a checkpoint first; a second Ctrl-C does not wait for it" in told
    assert f"{job} with it, before a first checkpoint: open LocalBackend({str(tmp_path)!r}) again" in told
    assert "and the job begins anew" in told
    assert workers(tmp_path) == []


def test_the_folder_is_free_when_its_server_was_killed_though_a_child_lives_on(tmp_path: Path) -> None:
    """A program that forks, as many loaders of data do, leaves children that know nothing of the folder."""
    code = (
        "import os, sys, time\n"
        "from ragtune.local.lifespan.folder_lock import FolderLock\n"
        "lock = FolderLock(__import__('pathlib').Path(sys.argv[1]))\n"
        "if os.fork() == 0:\n"
        "    print(os.getpid(), flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout as out:
        child = int(out.readline())
        try:
            with pytest.raises(BackendError, match="another backend already runs on this folder"):
                FolderLock(tmp_path)
            parent.kill()
            parent.wait()
            os.kill(child, 0)
            FolderLock(tmp_path).release()
        finally:
            os.kill(child, signal.SIGKILL)


def test_stop_is_quick_while_a_stream_is_open(tmp_path: Path) -> None:
    """A client in the middle of a long stream is told, and does not keep the server."""
    backend = LocalBackend(tmp_path, trainer=trainer(), threads=1).start()
    client = backend.client(max_retries=0)
    ask: Any = {"model": "tiny-random", "messages": [{"role": "user", "content": "Hi"}], "temperature": 2.0}
    # Without its end tokens, so that the answer cannot be over by chance before the server stops.
    stream = client.chat.completions.create(**ask, max_tokens=1900, logit_bias={"0": -100, "2": -100}, stream=True)
    next(iter(stream))
    begin = time.monotonic()
    backend.stop()
    assert time.monotonic() - begin < 10
    with pytest.raises((openai.APIError, openai.APIConnectionError)):
        list(stream)
    client.close()


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    """The folder is free again after the failed start."""
    with LocalBackend(tmp_path / "one", trainer=trainer()) as backend:
        port = int(backend.base_url.rsplit(":", 1)[1].split("/")[0])
        with pytest.raises(BackendError, match=f"cannot listen on 127.0.0.1:{port}"):
            LocalBackend(tmp_path / "two", port=port).start()
    with LocalBackend(tmp_path / "two", trainer=trainer()):
        pass


def test_a_start_that_fails_after_listening_lets_go_of_its_port(tmp_path: Path) -> None:
    """What stands in the way is taken away, and the same program starts again at the same port."""
    in_the_way = tmp_path / "webhook_secret.txt"
    in_the_way.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(BackendError, match="cannot be used as a backend's folder"):
        LocalBackend(tmp_path, port=port, webhook="http://127.0.0.1:9/hook").start()
    in_the_way.rmdir()
    with LocalBackend(tmp_path, port=port) as backend:
        assert backend.base_url.endswith(f":{port}/v1")


def test_a_backend_that_is_not_started_says_so(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path)
    for name in ("base_url", "api_key", "account"):
        with pytest.raises(BackendError, match="is not started"):
            getattr(backend, name)
    backend.stop()


def test_a_damaged_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(BackendError, match="cannot be used as a database"):
        LocalBackend(tmp_path).start()
    (tmp_path / "state.sqlite3").unlink()
    (tmp_path / "account.json").write_text(json.dumps({"id": "x"}))
    with pytest.raises(BackendError, match="needs id and created_at"):
        LocalBackend(tmp_path).start()


@pytest.mark.slow
def test_a_moved_folder_still_holds_its_models(tmp_path: Path) -> None:
    """Paths in the database are relative to the folder."""
    with LocalBackend(tmp_path / "old", trainer=trainer()) as backend, backend.client() as client:
        name = wait_for(client, create(client).id).fine_tuned_model
    (tmp_path / "old").rename(tmp_path / "new")
    with LocalBackend(tmp_path / "new", trainer=trainer()) as backend, backend.client() as client:
        assert client.models.delete(name).deleted
    assert list((tmp_path / "new" / "jobs").glob("*/adapter")) == []


def test_nobody_is_answered_any_more_once_the_backend_is_closed(tmp_path: Path) -> None:
    with LocalBackend(tmp_path, trainer=trainer()) as backend:
        client = backend.client(max_retries=0)
        assert client.models.list().data
    with client, pytest.raises(openai.APIConnectionError):
        client.models.list()


def test_answers_come_though_they_cannot_be_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The database may grow no further, as on a full disk."""
    models = [f"{number}-{'x' * 400}" for number in range(30)]
    with ScriptedBackend(models=models) as backend, backend.client(max_retries=0) as client:
        assert backend._running is not None
        database = backend._running.services.store._database
        pages = database.rows("PRAGMA page_count")[0][0]
        database.rows(f"PRAGMA max_page_count = {pages}")
        for model in models:
            answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
            assert answer.choices[0].message.content == "I do not know."
    assert "could not be counted" in caplog.text


def test_a_server_that_stumbles_says_so_in_openais_shape_and_names_its_log(
    backend: ScriptedBackend, client: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    """Its books were damaged behind its back: 500 with an id, the log has the reason, and the next one is answered."""
    with sqlite3.connect(backend.folder / "state.sqlite3") as books:
        books.execute("ALTER TABLE upload RENAME TO lost")
    with pytest.raises(openai.InternalServerError) as caught:
        client.uploads.create(filename="a.jsonl", purpose="fine-tune", bytes=10, mime_type="application/jsonl")
    assert (caught.value.type, caught.value.code) == ("server_error", "server_error")
    assert until(lambda: f"request {caught.value.request_id} POST '/v1/uploads' stumbled" in caplog.text)
    assert "no such table: upload" in caplog.text
    assert client.models.list().data
