"""The pytest plugin: as pytest finds it in other people's projects."""

from __future__ import annotations

import inspect
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune.testing import ScriptedBackend, failures

ROOT = Path(__file__).parents[2]
CREATE = "fine_tuning.jobs.create"


def run(folder: Path, *options: str) -> str:
    """Run pytest on a folder as its user would, with warnings as errors."""
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-q", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_example_project_passes_its_own_tests() -> None:
    """Seven tests, seconds of one core: the documentation says so."""
    begin = time.monotonic()
    assert "7 passed" in run(ROOT / "examples/testing_project")
    assert time.monotonic() - begin < 120


@pytest.mark.slow
def test_a_project_that_does_not_ask_loads_nothing_heavy(tmp_path: Path) -> None:
    heavy = "openai datasets pandas pyarrow torch transformers numpy pydantic starlette uvicorn".split()
    code = f"import sys\n\ndef test_it():\n    assert [m for m in {heavy!r} if m in sys.modules] == []\n"
    (tmp_path / "test_light.py").write_text(code)
    assert "1 passed" in run(tmp_path)


@pytest.mark.slow
def test_the_plugin_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "test_none.py").write_text(
        "def test_it(pytestconfig):\n    import sys\n    assert 'ragtune' not in sys.modules\n"
    )
    assert "1 passed" in run(tmp_path, "-p", "no:ragtune")


@pytest.mark.slow
def test_every_failure_is_a_fixture_with_its_words(pytester_listing: str) -> None:
    for name in failures.__all__:
        words = inspect.getdoc(getattr(failures, name)) or ""
        assert f"ragtune_{name} -- " in pytester_listing
        assert words.splitlines()[0] in pytester_listing
    page = (ROOT / "docs/rooms/testing.md").read_text(encoding="utf-8")
    assert [name for name in failures.__all__ if f"`{name}`" not in page] == []
    public = [name for name, value in vars(failures).items() if inspect.isfunction(value) and name[0] != "_"]
    assert sorted(public) == sorted(failures.__all__) == failures.__all__


@pytest.fixture(scope="module")
def pytester_listing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `pytest --fixtures` shows in a project without tests."""
    folder = tmp_path_factory.mktemp("empty")
    command = [sys.executable, "-m", "pytest", "--fixtures", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_the_fixtures_give_a_server_of_the_tests_own(
    ragtune_backend: ScriptedBackend, ragtune_client: openai.OpenAI, tmp_path: Path
) -> None:
    assert ragtune_client.files.list().data == []
    assert str(ragtune_client.base_url).rstrip("/") == ragtune_backend.base_url


async def ask(client: openai.AsyncOpenAI) -> int:
    async with client:
        return len((await client.models.list()).data)


def test_the_asynchronous_fixture_works_in_any_loop(ragtune_async_client: openai.AsyncOpenAI) -> None:
    import asyncio

    assert asyncio.run(ask(ragtune_async_client)) > 1


Life = tuple[list[str], Any]


def live(client: openai.OpenAI) -> Life:
    """Upload, create, look until the end (at most nine times): the statuses, and the last body."""
    from tests.local.kit import create

    job = create(client)
    seen: list[str] = []
    for _ in range(9):
        job = client.fine_tuning.jobs.retrieve(job.id)
        seen.append(job.status)
        if job.status in ("succeeded", "failed", "cancelled", "paused"):
            break
    return seen, job


@pytest.mark.slow
def test_the_failures_do_what_they_say() -> None:
    """The ends of jobs; what is refused stands in the next test."""
    expected = {
        "job_failed": (["failed"], "invalid_training_file"),
        "job_failed_bare": (["failed"], "server_error"),
        "job_cancelled": (["cancelled"], None),
        "job_paused": (["paused"], None),
        "job_with_unknown_status": (["preparing", "preparing", "succeeded"], None),
        "create_fails_once": (["succeeded"], None),
        "create_loses_its_reply": (["succeeded"], None),
        "create_succeeds_and_says_500": (["succeeded"], None),
        "file_error": (["succeeded"], None),
    }
    with ScriptedBackend() as backend, backend.client() as client:
        for name, (statuses, code) in expected.items():
            backend.reset()
            before = len(client.fine_tuning.jobs.list().data)
            getattr(failures, name)(backend)
            seen, job = live(client)
            assert (name, seen, job.error and job.error.code) == (name, statuses, code)
            # The official client sends a request again that failed, and so buys twice what was made and not told.
            bought = 2 if name in ("create_loses_its_reply", "create_succeeds_and_says_500") else 1
            assert (name, len(client.fine_tuning.jobs.list().data) - before) == (name, bought)
            if name in ("job_failed", "job_failed_bare", "job_cancelled", "job_paused"):
                steps = [e for e in client.fine_tuning.jobs.list_events(job.id) if e.message.startswith("Step")]
                assert (name, len(steps)) == (name, 0 if name == "job_failed" else 2)
            if name == "job_failed_bare":
                assert (job.hyperparameters, job.method, job.seed) == (None, None, None)
            if name == "file_error":
                assert client.files.retrieve(job.training_file).status == "error"


@pytest.mark.parametrize(
    ("name", "call", "status", "code"),
    [
        ("tuning_closed", CREATE, 403, "training_not_available"),
        ("daily_limit", CREATE, 429, "daily_rate_limit_exceeded"),
        ("quota_used_up", "completions.create", 429, "insufficient_quota"),
        ("missing_scopes", "models.list", 401, None),
        ("answers_that_are_html", "models.list", 502, None),
        ("answers_that_are_text", "models.list", 400, None),
        ("rate_limit", "models.list", 429, "rate_limit_exceeded"),
        ("rate_limit_without_a_hint", "models.list", 429, "rate_limit_exceeded"),
        ("model_appears_late", "models.retrieve", 404, "model_not_found"),
    ],
)
def test_the_refusals_are_told_as_in_the_field(
    backend: ScriptedBackend, client: openai.OpenAI, name: str, call: str, status: int, code: str | None
) -> None:
    calls: dict[str, Any] = {
        CREATE: lambda: client.fine_tuning.jobs.create(model="tiny-random", training_file="file-1"),
        "completions.create": lambda: client.completions.create(model="tiny-random", prompt="Hi"),
        "models.list": client.models.list,
        "models.retrieve": lambda: client.models.retrieve("tiny-random"),
    }
    getattr(failures, name)(backend)
    with pytest.raises(openai.APIStatusError) as refusal:
        calls[call]()
    assert (refusal.value.status_code, refusal.value.code) == (status, code)
    hint = refusal.value.response.headers.get("retry-after")
    assert hint == ("1" if name == "rate_limit" else None)


def test_events_come_late_or_out_of_order(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    _, job = live(client)
    ordered = [event.id for event in client.fine_tuning.jobs.list_events(job.id, limit=100).data]
    failures.events_out_of_order(backend)
    mixed = [event.id for event in client.fine_tuning.jobs.list_events(job.id, limit=100).data]
    assert set(mixed) == set(ordered)
    assert len(mixed) > len(ordered)
    backend.reset()
    failures.slow_events(backend)
    begin = time.monotonic()
    client.fine_tuning.jobs.list_events(job.id)
    assert time.monotonic() - begin >= 0.2
