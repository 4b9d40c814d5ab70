"""Chat completions that are kept: listed, read, noted, deleted, with what was asked."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionDeleted

from ragtune.testing import ScriptedBackend

TURNS: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
]


def ask(client: openai.OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(**{"model": "tiny-random", "messages": TURNS, "store": True, **options})


def test_a_kept_completion_is_what_was_answered(client: openai.OpenAI) -> None:
    """With its metadata, and the messages that were asked."""
    answer, kept = ask(client, metadata={"a": "b"}), client.chat.completions
    found = kept.retrieve(answer.id)
    ChatCompletion.model_validate(found.to_dict())
    assert found.to_dict() == {**answer.to_dict(), "metadata": {"a": "b"}}
    told = [(message.id, message.content, message.content_parts) for message in kept.messages.list(answer.id)]
    assert [content for _, content, _ in told] == ["Be brief.", None]
    assert [part.to_dict() for part in told[1][2] or []] == [{"type": "text", "text": "Hi"}]
    (last,) = kept.messages.list(answer.id, order="desc", limit=1).data
    assert last.id == told[1][0]
    assert [message.id for message in kept.messages.list(answer.id, after=told[0][0])] == [last.id]
    with pytest.raises(openai.BadRequestError):
        kept.messages.list(answer.id, after="nothing")


def test_a_completion_is_kept_only_when_it_is_asked_for(client: openai.OpenAI) -> None:
    for store in (False, None):
        with pytest.raises(openai.NotFoundError, match="'store': true"):
            client.chat.completions.retrieve(ask(client, store=store).id)
    assert client.chat.completions.list().data == []


def test_a_streamed_completion_is_kept_whole(client: openai.OpenAI) -> None:
    chunks = list(ask(client, stream=True))
    found = client.chat.completions.retrieve(chunks[0].id)
    assert found.choices[0].message.content == "I do not know."
    assert found.choices[0].finish_reason == "stop"


def test_completions_are_listed_by_time_model_and_metadata(client: openai.OpenAI, backend: ScriptedBackend) -> None:
    kept = client.chat.completions
    made = [ask(client, metadata={"n": str(n), "odd": str(n % 2)}).id for n in range(5)]
    assert [one.id for one in kept.list(limit=2)] == made
    assert [one.id for one in kept.list(order="desc", limit=3)] == made[::-1]
    assert [one.id for one in kept.list(metadata={"odd": "1"})] == [made[1], made[3]]
    assert [one.id for one in kept.list(after=made[2])] == made[3:]
    assert kept.list(model="other").data == []
    kept.delete(made[0])
    assert [one.id for one in kept.list(after=made[0])] == made[1:]


def test_a_kept_completion_gets_other_metadata_and_is_deleted(client: openai.OpenAI) -> None:
    kept, name = client.chat.completions, ask(client, metadata={"a": "b"}).id
    assert kept.update(name, metadata={"c": "d"}).metadata == {"c": "d"}
    assert [one.id for one in kept.list(metadata={"c": "d"})] == [name]
    assert kept.update(name, metadata=None).metadata == {}
    ChatCompletionDeleted.model_validate(kept.delete(name).to_dict())
    for gone in (kept.retrieve, kept.delete, kept.messages.list, lambda name: kept.update(name, metadata={})):
        with pytest.raises(openai.NotFoundError):
            gone(name)
    with pytest.raises(openai.BadRequestError) as long:
        kept.update(name, metadata={"k": "v" * 600})
    assert long.value.param == "metadata.k"


def test_the_async_client_keeps_and_lists(backend: ScriptedBackend) -> None:
    async def run() -> None:
        async with backend.async_client() as client:
            answer = await client.chat.completions.create(model="tiny-random", messages=TURNS, store=True)
            assert [one.id async for one in client.chat.completions.list()] == [answer.id]
            await client.chat.completions.delete(answer.id)
            assert (await client.chat.completions.list()).data == []

    asyncio.run(run())


def test_kept_completions_outlive_the_server(tmp_path: Any) -> None:
    with ScriptedBackend(tmp_path / "b", models=["tiny-random"]) as backend, backend.client() as client:
        name = ask(client).id
    with ScriptedBackend(tmp_path / "b", models=["tiny-random"]) as backend, backend.client() as client:
        assert client.chat.completions.retrieve(name).id == name
