"""Backends for the tests of this room: real HTTP on loopback, a scripted trainer where training is not the point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from ragtune.local import LocalBackend
from ragtune.modelling.bases import BASES
from ragtune.testing import ScriptedBackend
from tests.local.kit import trainer


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[ScriptedBackend]:
    """A backend whose jobs are over before anybody looks, in a folder of its own."""
    with ScriptedBackend(tmp_path / "backend", models=sorted(BASES)) as running:
        yield running


@pytest.fixture
def client(backend: ScriptedBackend) -> Iterator[openai.OpenAI]:
    """The official client on that backend; it never tries again, so that every answer is seen."""
    with backend.client(max_retries=0) as made:
        yield made


@pytest.fixture(scope="session")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """A client on one backend that all tests of answers share, since loading the model takes a second."""
    folder = tmp_path_factory.mktemp("answering")
    with LocalBackend(folder, trainer=trainer(), threads=1) as running, running.client(max_retries=0) as made:
        yield made
