"""What `ragtune serve` and `ragtune mock` print, and what they tell of their jobs and of strangers meanwhile."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from ragtune.errors import BackendError
from ragtune.local import LocalBackend
from tests.local.kit import create, trainer, wait_for

RAGTUNE = [sys.executable, "-c", "from ragtune.cli import main; main()"]


class Served:
    """A server in a process of its own: the first line that it printed, its client, and in the end what it told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.first = process.stdout.readline()
        self.told = ""

    def client(self, base_url: str, key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)

    def end(self, number: int = signal.SIGINT) -> list[str]:
        self.process.send_signal(number)
        _, self.told = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.told
        return self.told.splitlines()


@contextmanager
def running(*arguments: object) -> Iterator[Served]:
    command = [*RAGTUNE, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Served(process)
        finally:
            process.kill()


def address(line: str) -> str:
    found = re.search(r"serving \S+ at (http://127\.0\.0\.1:\d+/v1); the API key is", line)
    assert found is not None, line
    return found[1]


@pytest.mark.slow
def test_mock_tells_a_jobs_life_a_line_each_and_every_tenth_of_its_steps() -> None:
    with running("mock", "--pace", "0.001") as server:
        base_url = address(server.first)
        assert server.first.startswith(f"{base_url.removesuffix('/v1')} is the page; ")
        with server.client(base_url, "mock-key") as client:
            job = create(client, n_epochs=20, batch_size=4)
            wait_for(client, job.id)
        lines = server.end(signal.SIGTERM)
    told = [line.split(f"INFO job {job.id}: ")[1] for line in lines if f"INFO job {job.id}: " in line]
    steps = [line for line in told if line.startswith("Step ")]
    assert [line.split(":")[0] for line in steps] == [f"Step {number}/60" for number in range(6, 61, 6)]
    others = [line for line in told if not line.startswith(("Step ", "Checkpoint "))]
    assert [" ".join(line.split()[:3]) for line in others] == [
        "Created fine-tuning job:",
        "Validating training file:",
        "Files validated, moving",
        "Fine-tuning job started",
        "New fine-tuned model",
        "The job has",
    ]


@pytest.mark.slow
def test_quiet_tells_only_what_goes_wrong(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text(
        '[[jobs]]\nend = "failed"\ncode = "exceeded_quota"\nmessage = "No credit left"\n', encoding="utf-8"
    )
    with running("mock", "--quiet", "--script", script, "--key", "sk-of-the-test") as server:
        with server.client(address(server.first), "sk-of-the-test") as client:
            assert wait_for(client, create(client).id).error.code == "exceeded_quota"
            job = create(client)
            assert wait_for(client, job.id).status == "succeeded"
        lines = server.end()
    assert len(lines) == 1
    assert "failed: No credit left" in lines[0]


@pytest.mark.slow
def test_lines_for_programs_are_objects(tmp_path: Path) -> None:
    with running("serve", tmp_path / "runs", "--port", "0", "--log-format", "json") as server:
        first = json.loads(server.first)
        assert first["event"] == "serving"
        assert first["base_url"] == first["page"] + "/v1"
        key = Path(first["api_key_file"]).read_text(encoding="utf-8").strip()
        assert "api_key" not in first
        assert key not in server.first
        for _ in range(3):
            with server.client(first["base_url"], "wrong") as stranger, pytest.raises(openai.AuthenticationError):
                stranger.models.list()
        form = {"key": "wrong", "next": "/"}
        page = httpx2.post(f"{first['page']}/login", data=form, headers={"origin": first["page"]})
        assert page.status_code == 401
        lines = [json.loads(line) for line in server.end()]
    refused = [line for line in lines if line.get("event") == "refused"]
    assert [(line["level"], line["address"], line["door"]) for line in refused] == [("warning", "127.0.0.1", "API")]
    assert {"time", "level", "message"} <= lines[0].keys()


@pytest.mark.slow
def test_mock_leaves_nothing_behind_and_keeps_what_it_is_told_to(tmp_path: Path) -> None:
    with running("mock", "--log-format", "json") as server:
        first = json.loads(server.first)
        assert first["api_key"] == "mock-key"
        server.end(signal.SIGTERM)
    assert not Path(first["folder"]).exists()
    for status in ("new", "again"):
        with running("mock", "--folder", tmp_path / "kept") as server:
            with server.client(address(server.first), "mock-key") as client:
                assert len(client.fine_tuning.jobs.list().data) == (status == "again")
                create(client)
            server.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("mock", "--pace", "soon"), 2, "'soon' is not immediate, poll, or a number"),
        (("mock", "--script", "none.toml"), 1, "none.toml cannot be read"),
        (("serve", "FOLDER", "--port", "0", "--warm", "nobody"), 1, "'nobody' cannot be loaded"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    command = [*RAGTUNE, *(str(tmp_path / "runs") if word == "FOLDER" else word for word in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert words in re.sub(r"[\s│]+", " ", done.stderr)


@pytest.mark.slow
def test_serve_loads_what_is_to_be_warm(tmp_path: Path) -> None:
    with running("serve", tmp_path / "runs", "--port", "0", "--warm", "tiny-random", "--threads", "1") as server:
        assert server.process.stderr is not None
        line = server.process.stderr.readline()
        server.end()
    assert re.search(r"INFO tiny-random is loaded \(\d+\.\d s\)", line)


def test_a_warm_model_is_there_when_the_backend_has_started(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is no question: nobody's usage counts it. One alone may be given as a text."""
    caplog.set_level("INFO", "ragtune")
    given: Any = "tiny-random"
    with LocalBackend(tmp_path / "runs", threads=1, trainer=trainer(), warm=given) as backend:
        assert "tiny-random is loaded" in caplog.text
        assert backend._running is not None
        assert backend._running.services.store.usage.days(30) == []
        backend.warm("tiny-random")
    with pytest.raises(BackendError, match="'nobody' cannot be loaded: The model `nobody` does not exist"):
        LocalBackend(tmp_path / "runs", threads=1, warm=["tiny-random", "nobody"]).start()
    LocalBackend(tmp_path / "runs").start().stop()
