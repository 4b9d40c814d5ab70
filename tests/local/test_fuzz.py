"""A short round of the campaign in benchmarks/fuzz_server.py."""

from __future__ import annotations

import logging
import urllib.parse

import openai
import pytest

from benchmarks.fuzz_server import fuzz
from ragtune.local import LocalBackend


def test_raw_garbage_gets_no_5xx_and_leaves_nothing(
    backend: LocalBackend, client: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    """600 connections of broken requests: no 5xx, no hang, no traceback, no partial file; a sound request is served."""
    port = urllib.parse.urlsplit(backend.base_url).port or 0
    outcomes = fuzz(port, backend.api_key, rounds=600, seed=5, connections=4)
    assert sum(outcomes.values()) == 600
    assert [name for name in outcomes if name.startswith(("5", "hangs", "no HTTP"))] == [], outcomes
    assert len([name for name in outcomes if name.isdigit()]) > 4, outcomes
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert list((backend.folder / "partial").iterdir()) == []
    assert client.models.list().data
