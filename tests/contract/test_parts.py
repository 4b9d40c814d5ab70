"""Large files go up in parts, over real HTTP: every part tried again, nothing left behind, other servers served too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

import ragtune as rt
import ragtune.aio
from ragtune.files import parts
from ragtune.testing import ScriptedBackend, SeenRequest

LINE = b'{"messages":[{"role":"user","content":"What is 1 + 1?"},{"role":"assistant","content":"It is 2."}]}\n'


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


@pytest.fixture
def client(backend: ScriptedBackend) -> Iterator[openai.OpenAI]:
    with backend.client(max_retries=0) as made:
        yield made


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of five parts; what counts as large is made small, so that the tests are quick."""
    monkeypatch.setattr(parts, "PART_BYTES", 1_000)
    monkeypatch.setattr(parts, "IN_PARTS_FROM_BYTES", 4_000)
    path = tmp_path / "train.jsonl"
    path.write_bytes(LINE * (4_500 // len(LINE)))
    return path


def seen(backend: ScriptedBackend, call: str) -> list[SeenRequest]:
    return [request for request in backend.requests if request.call == call]


def test_a_large_file_arrives_in_parts_and_whole(client: openai.OpenAI, backend: ScriptedBackend, large: Path) -> None:
    uploaded = rt.upload(client, large)
    assert client.files.content(uploaded.id).read() == large.read_bytes()
    assert uploaded.bytes == large.stat().st_size
    assert [len(seen(backend, call)) for call in ("uploads.parts.create", "files.create")] == [5, 0]
    assert rt.upload(client, large).reused is True


def test_the_asynchronous_client_does_the_same(backend: ScriptedBackend, large: Path) -> None:
    async def send() -> str:
        async with backend.async_client(max_retries=0) as client:
            return (await rt.aio.upload(client, large)).id

    sent = asyncio.run(send())
    with backend.client() as client:
        assert client.files.content(sent).read() == large.read_bytes()


def test_a_small_file_goes_in_one_request(client: openai.OpenAI, backend: ScriptedBackend, tmp_path: Path) -> None:
    path = tmp_path / "small.jsonl"
    path.write_bytes(LINE * 12)
    rt.upload(client, path)
    assert [len(seen(backend, call)) for call in ("uploads.create", "files.create")] == [0, 1]


@pytest.mark.parametrize(
    "trouble", [{"status": 503}, {"drop": True}, {"drop": True, "after_commit": True}, {"status": 429}]
)
def test_only_the_part_that_was_lost_is_sent_again(
    client: openai.OpenAI, backend: ScriptedBackend, large: Path, trouble: dict[str, object]
) -> None:
    """Also when it had arrived and only the answer was lost: the file then has no part twice."""
    backend.fail_next("uploads.parts.create", **trouble)  # type: ignore[arg-type]
    uploaded = rt.upload(client, large)
    assert len(seen(backend, "uploads.parts.create")) == 6
    assert client.files.content(uploaded.id).read() == large.read_bytes()


def test_a_file_whose_last_answer_was_lost_is_found(
    client: openai.OpenAI, backend: ScriptedBackend, large: Path
) -> None:
    """The order to put the parts together was carried out, so the second one is refused."""
    backend.fail_next("uploads.complete", drop=True, after_commit=True)
    uploaded = rt.upload(client, large)
    assert client.files.content(uploaded.id).read() == large.read_bytes()
    assert len(client.files.list().data) == 1


def test_parts_that_nobody_will_put_together_are_given_up(
    client: openai.OpenAI, backend: ScriptedBackend, large: Path
) -> None:
    backend.fail_next("uploads.parts.create", status=400, message="no")
    with pytest.raises(openai.BadRequestError, match="no"):
        rt.upload(client, large)
    assert len(seen(backend, "uploads.cancel")) == 1
    assert client.files.list().data == []


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_without_these_routes_gets_the_file_in_one_request(
    client: openai.OpenAI, backend: ScriptedBackend, large: Path, status: int
) -> None:
    backend.fail_next("uploads.create", status=status, body={"detail": "Not Found"}, times=None)
    uploaded = rt.upload(client, large)
    assert client.files.content(uploaded.id).read() == large.read_bytes()
    assert len(seen(backend, "files.create")) == 1


def test_a_plan_names_the_parts_and_sends_none(client: openai.OpenAI, backend: ScriptedBackend, large: Path) -> None:
    plan = rt.FineTuneJob.plan(client, rt.Dataset.from_files(large), rt.TuneSpec(model="tiny-random"))
    names = [call.name for call in plan.calls]
    assert names.count("uploads.parts.create") == 5
    assert [call.body["data"]["offset"] for call in plan.calls if call.name == "uploads.parts.create"] == [
        0,
        1_000,
        2_000,
        3_000,
        4_000,
    ]
    assert all(request.method == "GET" for request in backend.requests)
