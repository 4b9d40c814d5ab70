"""A scripted backend and the official client on it."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from ragtune.testing import ScriptedBackend


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    """A backend whose jobs are over before anybody looks."""
    with ScriptedBackend() as running:
        yield running


@pytest.fixture
def client(backend: ScriptedBackend) -> Iterator[openai.OpenAI]:
    """The official client on it; it never tries again, so that every answer is seen."""
    with backend.client(max_retries=0) as made:
        yield made
