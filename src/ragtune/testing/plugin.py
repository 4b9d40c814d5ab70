"""The pytest plugin: fixtures for tests of programs that fine-tune. Loads nothing until a test asks for one of them.

pytest finds it by itself; `-p no:ragtune` leaves it out.
"""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any

import pytest

from ragtune.testing import failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openai import AsyncOpenAI, OpenAI

    from ragtune.testing import ScriptedBackend


@pytest.fixture
def ragtune_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedBackend]:
    """A started `ragtune.testing.ScriptedBackend` of this test's own; ragtune's journal is in `tmp_path` meanwhile."""
    from ragtune.testing import ScriptedBackend

    monkeypatch.setenv("RAGTUNE_JOURNAL", str(tmp_path / "ragtune-journal.sqlite3"))
    with ScriptedBackend() as backend:
        yield backend


@pytest.fixture
def ragtune_client(ragtune_backend: ScriptedBackend) -> Iterator[OpenAI]:
    """An ordinary `openai.OpenAI` on `ragtune_backend`."""
    with ragtune_backend.client() as client:
        yield client


@pytest.fixture
def ragtune_async_client(ragtune_backend: ScriptedBackend) -> AsyncOpenAI:
    """An `openai.AsyncOpenAI` on `ragtune_backend`, for one event loop: use it in `async with`."""
    return ragtune_backend.async_client()


@pytest.fixture
def ragtune_environment(ragtune_backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch) -> ScriptedBackend:
    """`ragtune_backend`, for programs that make their own client: OPENAI_BASE_URL and OPENAI_API_KEY lead to it.

    Everything else that OpenAI's client takes from the environment is gone meanwhile. It holds for programs that the
    test starts, too.
    """
    # A copy of the names, since they are taken away in the loop.
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_BASE_URL", ragtune_backend.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", ragtune_backend.api_key)
    return ragtune_backend


def _fixture(prepare: Callable[[ScriptedBackend], None]) -> Any:
    def failing(ragtune_backend: ScriptedBackend) -> ScriptedBackend:
        prepare(ragtune_backend)
        return ragtune_backend

    # `pytest --fixtures` shows it.
    failing.__doc__ = inspect.getdoc(prepare)
    return pytest.fixture(failing, name=f"ragtune_{prepare.__name__}")


# Written out and not made in a loop, so that a search for the name of one finds it.
# One fixture per failure; each gives `ragtune_backend`, prepared.
ragtune_tuning_closed = _fixture(failures.tuning_closed)
ragtune_create_fails_once = _fixture(failures.create_fails_once)
ragtune_create_succeeds_and_says_500 = _fixture(failures.create_succeeds_and_says_500)
ragtune_create_loses_its_reply = _fixture(failures.create_loses_its_reply)
ragtune_file_error = _fixture(failures.file_error)
ragtune_job_failed = _fixture(failures.job_failed)
ragtune_job_failed_bare = _fixture(failures.job_failed_bare)
ragtune_job_cancelled = _fixture(failures.job_cancelled)
ragtune_job_paused = _fixture(failures.job_paused)
ragtune_job_with_unknown_status = _fixture(failures.job_with_unknown_status)
ragtune_events_out_of_order = _fixture(failures.events_out_of_order)
ragtune_slow_events = _fixture(failures.slow_events)
ragtune_model_appears_late = _fixture(failures.model_appears_late)
ragtune_rate_limit = _fixture(failures.rate_limit)
ragtune_rate_limit_without_a_hint = _fixture(failures.rate_limit_without_a_hint)
ragtune_quota_used_up = _fixture(failures.quota_used_up)
ragtune_daily_limit = _fixture(failures.daily_limit)
ragtune_missing_scopes = _fixture(failures.missing_scopes)
ragtune_answers_that_are_html = _fixture(failures.answers_that_are_html)
ragtune_answers_that_are_text = _fixture(failures.answers_that_are_text)
