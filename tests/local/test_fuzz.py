"""Short rounds of the campaigns in benchmarks/fuzz_server.py and benchmarks/fuzz_schema.py."""

from __future__ import annotations

import logging
import os
import urllib.parse
from pathlib import Path

import openai
import pytest

from benchmarks.fuzz_schema import campaign
from benchmarks.fuzz_server import fuzz
from ragtune.local import LocalBackend
from tests.local.kit import trainer


@pytest.mark.slow
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


def test_every_operation_answers_by_the_schema(shared: Path, tmp_path: Path) -> None:
    """A short round of the campaign in benchmarks/fuzz_schema.py: hundreds of requests, all 23 operations."""
    st = os.environ.get("RAGTUNE_SCHEMATHESIS", "")
    if not Path(st).is_file():
        pytest.skip("needs schemathesis: its program `st` in RAGTUNE_SCHEMATHESIS")
    schema = shared / "wire" / "openapi-finetune.server.json"
    with LocalBackend(tmp_path, trainer=trainer(), threads=1) as backend:
        url, key = backend.base_url, backend.api_key
        judged, wrong = campaign(url, key, schema=schema, examples=2, seed=3, st=st, phases="examples,fuzzing")
    assert not wrong, wrong
    assert judged > 40
