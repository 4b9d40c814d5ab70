"""Every answer of the backend is valid by OpenAI's published schema, through the sync and the async client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from ragtune.local import LocalBackend
from tests.local.judge import Judge
from tests.local.kit import pairs, rows, trainer

EXPECTED = {
    "POST /v1/files 200",
    "GET /v1/files 200",
    "GET /v1/files/{file_id} 200",
    "GET /v1/files/{file_id}/content 200",
    "DELETE /v1/files/{file_id} 200",
    "GET /v1/files/{file_id} 404",
    "POST /v1/uploads 200",
    "POST /v1/uploads/{upload_id}/parts 200",
    "POST /v1/uploads/{upload_id}/complete 200",
    "POST /v1/uploads/{upload_id}/complete 400",
    "POST /v1/uploads/{upload_id}/cancel 200",
    "POST /v1/uploads/{upload_id}/cancel 404",
    "POST /v1/fine_tuning/jobs 200",
    "POST /v1/fine_tuning/jobs 400",
    "GET /v1/fine_tuning/jobs 200",
    "GET /v1/fine_tuning/jobs/{fine_tuning_job_id} 200",
    "GET /v1/fine_tuning/jobs/{fine_tuning_job_id}/events 200",
    "GET /v1/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints 200",
    "POST /v1/fine_tuning/jobs/{fine_tuning_job_id}/pause 200",
    "POST /v1/fine_tuning/jobs/{fine_tuning_job_id}/resume 200",
    "POST /v1/fine_tuning/jobs/{fine_tuning_job_id}/cancel 200",
    "POST /v1/fine_tuning/jobs/{fine_tuning_job_id}/cancel 400",
    "GET /v1/models 200",
    "GET /v1/models/{model} 200",
    "DELETE /v1/models/{model} 200",
    "DELETE /v1/models/{model} 403",
    "POST /v1/chat/completions 200",
    "POST /v1/chat/completions 400",
    "POST /v1/chat/completions 404",
    "POST /v1/completions 200",
    "POST /v1/completions 400",
}


@pytest.fixture
def judge(shared: Path) -> Judge:
    """A judge with OpenAI's schema, completed for errors and streams."""
    return Judge(shared / "wire" / "openapi-finetune.server.json")


async def life(client: openai.AsyncOpenAI) -> None:
    """One of everything: files, jobs in every state, models, answers, errors."""
    assert (await client.files.list()).data == []
    file = await client.files.create(file=("train.jsonl", rows()), purpose="fine-tune")
    await client.files.retrieve(file.id)
    await client.files.list()
    await uploads(client)
    job = await jobs(client, file.id)
    await models(client, job)
    await answers(client)
    await client.files.delete(file.id)
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(file.id)
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model="tiny-random", input="x")


async def uploads(client: openai.AsyncOpenAI) -> None:
    begin: Any = {"bytes": 6, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    upload, other = await client.uploads.create(**begin), await client.uploads.create(**begin)
    ids = [(await client.uploads.parts.create(upload.id, data=data)).id for data in (b"abc", b"def")]
    await client.uploads.cancel(other.id)
    with pytest.raises(openai.BadRequestError):
        await client.uploads.complete(upload.id, part_ids=ids[:1])
    await client.uploads.complete(upload.id, part_ids=ids)
    with pytest.raises(openai.NotFoundError):
        await client.uploads.cancel("upload_none")


async def jobs(client: openai.AsyncOpenAI, file_id: str) -> Any:
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}}}
    tuning = client.fine_tuning.jobs
    job = await tuning.create(model="tiny-random", training_file=file_id, method=method, metadata={"a": "b"})
    short = await client.files.create(file=("short.jsonl", rows(3)), purpose="fine-tune")
    too_short = await tuning.create(model="tiny-random", training_file=short.id)
    preferences = await client.files.create(file=("pairs.jsonl", pairs()), purpose="fine-tune")
    await tuning.create(model="tiny-random", training_file=preferences.id, method={"type": "dpo"})
    other = await tuning.create(model="tiny-random", training_file=file_id)
    await tuning.pause(other.id)
    assert (await tuning.retrieve(other.id)).status == "paused"
    await tuning.resume(other.id)
    await tuning.list_events(other.id)
    while (job := await tuning.retrieve(job.id)).status not in ("succeeded", "failed"):
        await asyncio.sleep(0.05)
    assert job.status == "succeeded"
    await client.files.content((job.result_files or [])[0])
    await tuning.list_events(job.id)
    await tuning.checkpoints.list(job.id)
    last = await tuning.create(model="tiny-random", training_file=file_id)
    await tuning.cancel(last.id)
    with pytest.raises(openai.BadRequestError):
        await tuning.cancel(last.id)
    with pytest.raises(openai.BadRequestError):
        await tuning.create(model="gpt-none", training_file=file_id)
    with pytest.raises(openai.BadRequestError, match="trains supervised, dpo and kto runs"):
        await tuning.create(model="tiny-random", training_file=file_id, method={"type": "reinforcement"})
    # Three examples are too few: the error object of a job is judged, too.
    while (await tuning.retrieve(too_short.id)).status != "failed":
        await asyncio.sleep(0.05)
    await tuning.list()
    return job


async def models(client: openai.AsyncOpenAI, job: Any) -> None:
    await client.models.list()
    await client.models.retrieve(job.fine_tuned_model)
    await client.models.delete(job.fine_tuned_model)
    with pytest.raises(openai.PermissionDeniedError):
        await client.models.delete("tiny-random")


async def answers(client: openai.AsyncOpenAI) -> None:
    ask: dict[str, Any] = {"model": "tiny-random", "max_tokens": 4, "n": 2}
    turns = {"messages": [{"role": "user", "content": "Hi"}]}
    for create, question in ((client.chat.completions.create, turns), (client.completions.create, {"prompt": "Hi"})):
        with_logprobs: dict[str, Any] = (
            {"logprobs": True, "top_logprobs": 2} if "messages" in question else {"logprobs": 2}
        )
        for further in ({}, with_logprobs):
            await create(**ask, **question, **further)
            stream = await create(**ask, **question, **further, stream=True, stream_options={"include_usage": True})
            async for _ in stream:
                pass
        with pytest.raises(openai.BadRequestError):
            await create(**ask, **question, logit_bias={"1": 101})
    echoed: dict[str, Any] = {"model": "tiny-random", "prompt": "Hi", "echo": True, "logprobs": 1, "max_tokens": 2}
    await client.completions.create(**echoed)
    async for _ in await client.completions.create(**echoed, stream=True):
        pass
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(**{**ask, **turns, "model": "gpt-none"})


@pytest.mark.slow
def test_every_answer_to_the_async_client_is_valid(judge: Judge, tmp_path: Path) -> None:
    """The whole life, each body held against the schema as it arrives."""

    async def look(response: httpx2.Response) -> None:
        body = await response.aread()
        request = response.request
        judge(request.method, request.url.path, response.status_code, response.headers["content-type"], body)

    async def run() -> None:
        http = httpx2.AsyncClient(event_hooks={"response": [look]})
        async with backend.async_client(http_client=http, max_retries=0) as client:
            await life(client)

    with LocalBackend(tmp_path, trainer=trainer(), threads=1) as backend:
        asyncio.run(run())
    assert judge.seen >= EXPECTED


def test_every_answer_to_the_sync_client_is_valid(judge: Judge, tmp_path: Path) -> None:
    """The short way through the same routes: the server cannot tell the clients apart."""

    def look(response: httpx2.Response) -> None:
        request = response.request
        body = response.read()
        judge(request.method, request.url.path, response.status_code, response.headers["content-type"], body)

    http = httpx2.Client(event_hooks={"response": [look]})
    backend = LocalBackend(tmp_path, trainer=trainer(), threads=1)
    with backend, backend.client(http_client=http, max_retries=0) as client:
        file = client.files.create(file=("train.jsonl", rows()), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model="tiny-random", training_file=file.id)
        client.fine_tuning.jobs.list_events(job.id)
        client.fine_tuning.jobs.cancel(job.id)
        turns: Any = [{"role": "user", "content": "Hi"}]
        list(client.chat.completions.create(model="tiny-random", messages=turns, max_tokens=3, stream=True))
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve("file-none")
    assert len(judge.seen) == 6
