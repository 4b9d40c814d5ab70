"""The wire suite through four clients: the official ones for Python (sync, async) and Node, and plain curl."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragtune.local import LocalBackend
from tests.local.clients import suite
from tests.local.clients.curl import Curl
from tests.local.kit import trainer

CHECKS = 63
FOLDER = Path(__file__).with_name("clients")


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    """A backend that answers with its own engine; jobs live long enough to be cancelled."""
    with LocalBackend(tmp_path / "backend", trainer=trainer("--delay", "0.05"), threads=1) as running:
        yield running


def judge(outcomes: dict[str, str | None]) -> None:
    """All checks were made, and all are ok."""
    assert {name: problem for name, problem in outcomes.items() if problem is not None} == {}
    assert len(outcomes) == CHECKS


@pytest.mark.slow
def test_the_sync_client(backend: LocalBackend) -> None:
    with backend.client(max_retries=0) as client, backend.client(api_key="wrong", max_retries=0) as wrong:
        judge(asyncio.run(suite.run(client, wrong)))


@pytest.mark.slow
def test_the_async_client(backend: LocalBackend) -> None:
    async def run() -> dict[str, str | None]:
        wrong = backend.async_client(api_key="wrong", max_retries=0)
        async with backend.async_client(max_retries=0) as client, wrong:
            return await suite.run(client, wrong)

    judge(asyncio.run(run()))


@pytest.mark.slow
def test_curl(backend: LocalBackend) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    judge(asyncio.run(suite.run(Curl(backend.base_url, backend.api_key), Curl(backend.base_url, "wrong"))))


def test_the_node_client(backend: LocalBackend) -> None:
    """The same names in the same order; the folder of its packages is in RAGTUNE_NODE_MODULES, as .ci/run sets it."""
    packages = os.environ.get("RAGTUNE_NODE_MODULES", "")
    if shutil.which("node") is None or not (Path(packages) / "openai").is_dir():
        pytest.skip("needs node, and the npm package openai in the folder RAGTUNE_NODE_MODULES")
    done = subprocess.run(
        ["node", str(FOLDER / "suite.cjs"), backend.base_url, backend.api_key],
        env={**os.environ, "NODE_PATH": packages},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("not ok")] == [], done.stderr
    assert (done.returncode, done.stderr) == (0, "")
    assert sum(line.startswith("ok ") for line in lines) == CHECKS
