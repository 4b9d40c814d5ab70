"""The pytest plugin: fixtures for tests of programs that fine-tune. Loads nothing until a test asks for one of them.

pytest finds it by itself; `-p no:ragtune` leaves it out.
"""

from __future__ import annotations

import inspect
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


def _fixture(prepare: Callable[[ScriptedBackend], None]) -> Any:
    def failing(ragtune_backend: ScriptedBackend) -> ScriptedBackend:
        prepare(ragtune_backend)
        return ragtune_backend

    failing.__doc__ = inspect.getdoc(prepare)
    return pytest.fixture(failing, name=f"ragtune_{prepare.__name__}")


# One fixture per failure; each gives `ragtune_backend`, prepared.
globals().update({f"ragtune_{name}": _fixture(getattr(failures, name)) for name in failures.__all__})
