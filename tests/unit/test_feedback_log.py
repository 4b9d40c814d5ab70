"""Answers are kept as they are given, and their readers get them whatever becomes of that."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ragtune as rt
from ragtune.testing import ScriptedBackend

DEEP = "How deep is Lake Sorrel?"
TALK = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": DEEP}]


@pytest.fixture
def store(tmp_path: Path) -> rt.FeedbackStore:
    return rt.FeedbackStore(tmp_path / "feedback.sqlite3", timeout_s=0.1)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend(answer="12 metres") as running:
        yield running


def kept(store: rt.FeedbackStore) -> list[tuple[object, ...]]:
    return [(row.question, row.answer, row.model, row.system, row.asked_by) for row in store.unjudged()]


WHOLE = (DEEP, "12 metres", "tiny-random", "Be brief.", "cem")


def test_every_way_to_ask_keeps_the_answer(server: ScriptedBackend, store: rt.FeedbackStore) -> None:
    with server.client() as client:
        model = rt.TunedModel(client, "tiny-random", system="Be brief.", journal=None)
        answers = [
            model.ask(DEEP, log=store, user="cem"),
            model.chat(TALK, log=store, user="cem"),
            model.ask_many([DEEP], log=store, user="cem")[0],
            model.respond(DEEP, log=store, user="cem"),
        ]
        stream = model.stream(DEEP, log=store, user="cem")
        "".join(stream)
        assert kept(store) == [WHOLE] * 5
        # A verdict finds the answer that is kept.
        for answer in [*answers, stream.answer]:
            assert isinstance(answer, rt.Answer)
            store.add(answer, -1)
        assert (len(store), len(store.unjudged())) == (5, 0)


def test_talks_that_end_alike_are_kept_apart(server: ScriptedBackend, store: rt.FeedbackStore) -> None:
    """A talk that the server alone knows is kept by nobody, and said so; its reader gets the answer."""
    with server.client() as client:
        model = rt.TunedModel(client, "tiny-random", journal=None)
        for begin in ("Hi", "Good day"):
            model.chat([{"role": "user", "content": begin}, *TALK[1:]], log=store)
            model.respond([{"role": "user", "content": begin}, *TALK[1:]], log=store)
        assert [row.history[0]["content"] for row in store.unjudged()] == ["Hi", "Hi", "Good day", "Good day"]
        first = model.respond("Hi")
        with pytest.warns(UserWarning, match="the server alone knows the talk before it"):
            answer = model.respond(DEEP, previous_response_id=first.id, log=store)
        assert (answer.text, len(store.unjudged())) == ("12 metres", 4)


def test_the_async_twin_keeps_them_as_well(server: ScriptedBackend, store: rt.FeedbackStore) -> None:
    async def main() -> None:
        async with server.async_client() as client:
            model = rt.AsyncTunedModel(client, "tiny-random", system="Be brief.", journal=None)
            await model.ask(DEEP, log=store, user="cem")
            await model.ask_many([DEEP, DEEP], log=store, user="cem")
            async with model.stream(DEEP, log=store, user="cem") as stream:
                async for _ in stream:
                    pass

    asyncio.run(main())
    assert kept(store) == [WHOLE] * 4


def test_what_is_no_whole_answer_is_not_kept(server: ScriptedBackend, store: rt.FeedbackStore) -> None:
    """A plan, a stream that was left early, and a refusal without a text."""
    with server.client() as client:
        model = rt.TunedModel(client, "tiny-random", system=None, journal=None)
        assert isinstance(model.ask(DEEP, log=store, dry_run=True), rt.Plan)
        with model.stream(DEEP, log=store) as stream:
            next(iter(stream))
    store.keep(rt.Answer.from_wire({"choices": [{"message": {"refusal": "No."}}]}))
    assert kept(store) == []


def test_an_answer_is_never_lost_because_it_cannot_be_kept(server: ScriptedBackend, store: rt.FeedbackStore) -> None:
    store.log("x", question="y")
    held = sqlite3.connect(store.path)
    held.execute("BEGIN IMMEDIATE")
    with server.client() as client, pytest.warns(UserWarning, match="was given and not kept.*another program holds it"):
        answer = rt.TunedModel(client, "tiny-random", journal=None).ask(DEEP, log=store)
    assert answer.text == "12 metres"
    held.close()


def test_an_answer_is_never_lost_because_the_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    store = rt.FeedbackStore(tmp_path / "taken" / "feedback.sqlite3")
    answer = store.logged(lambda question: "12 metres")
    with pytest.warns(UserWarning, match="was given and not kept in feedback.sqlite3: .*cannot be written"):
        assert answer(DEEP) == "12 metres"
    with pytest.raises(rt.FeedbackError, match=r"feedback\.sqlite3: cannot be written \(File exists\)"):
        store.add("12 metres", 1, question=DEEP)


def test_a_log_that_is_no_store_is_refused_before_anything_is_asked(server: ScriptedBackend) -> None:
    wrong: Any = "feedback.sqlite3"
    with server.client() as client, pytest.raises(TypeError, match=r"log is 'feedback\.sqlite3'; it takes a Feedback"):
        rt.TunedModel(client, "tiny-random", journal=None).ask(DEEP, log=wrong)


def test_a_function_of_ones_own_keeps_its_answers(store: rt.FeedbackStore) -> None:
    """Plain or async, with passages or without; its caller gets what it returned."""

    @store.logged
    def plain(question: str) -> str:
        return f"no idea: {question}"

    @store.logged(question="text", model="my-rag", system="Be brief.", asked_by="user")
    async def rag(context: dict[str, str], *, text: str, user: str = "cem") -> tuple[str, list[str]]:
        return "12 metres", ["Divers measured 83 metres."]

    assert plain(DEEP) == f"no idea: {DEEP}"
    assert asyncio.run(rag({}, text=DEEP)) == ("12 metres", ["Divers measured 83 metres."])
    assert plain.__name__ == "plain"
    rows = store.unjudged()
    assert [(row.model, row.system, row.asked_by, row.passages) for row in rows] == [
        (None, None, None, ()),
        ("my-rag", "Be brief.", "cem", ("Divers measured 83 metres.",)),
    ]


def test_a_method_can_be_logged_and_what_it_raises_is_not(store: rt.FeedbackStore) -> None:
    class Bot:
        @store.logged(model="bot")
        def answer(self, question: str) -> str:
            if not question:
                raise ValueError(question)
            return "12 metres"

    assert Bot().answer(DEEP) == "12 metres"
    with pytest.raises(ValueError):
        Bot().answer("")
    assert [row.question for row in store.unjudged()] == [DEEP]


def test_a_function_without_the_named_parameter_is_refused_at_once(store: rt.FeedbackStore) -> None:
    with pytest.raises(rt.FeedbackError, match=r"question: .*has no parameter 'prompt'; it has text"):
        store.logged(question="prompt")(lambda text: text)
    with pytest.raises(rt.FeedbackError, match=r"asked_by: .*has no parameter 'who'"):
        store.logged(asked_by="who")(lambda text: text)


def test_an_answer_that_is_none_is_a_warning(store: rt.FeedbackStore) -> None:
    nothing: Any = store.logged(lambda question: None)
    with pytest.warns(UserWarning, match="neither an Answer, a text"):
        assert nothing(DEEP) is None
