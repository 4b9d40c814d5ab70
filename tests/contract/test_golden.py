"""What a model says while it still answers, and whether its successor is as good."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

import ragtune as rt
from ragtune.evaluation import Price
from ragtune.migration import Golden, Questions, compare_async, record_async
from ragtune.testing import AnswerRule, ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import openai

SUM = r"What is (?P<n>\d+) \+"


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> rt.Dataset:
    """Sixty sums, twelve of them held out."""
    rows = [{"q": f"What is {n} + {n}?", "a": f"It is {n + n}."} for n in range(60)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(system="Add up.", user="{q}", assistant="{a}")
    return builder.build(tmp_path_factory.mktemp("golden") / "sums", validation=0.2, seed=7)


def adds(model: str, messages: Any) -> str:
    """The old model adds right, the worse one says one less from 30 on, the vague one adds words of its own."""
    n = int(messages[-1]["content"].split()[2])
    if model == "worse" and n >= 30:
        return f"It is {n + n - 1}."
    return f"It is {n + n}." if model != "vague" else f"Well: it is {n + n}, I think."


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[ScriptedBackend]:
    with ScriptedBackend(tmp_path / "server", answer=adds, models=["old", "same", "worse", "vague"]) as server:
        yield server


@pytest.fixture
def client(backend: ScriptedBackend) -> Iterator[openai.OpenAI]:
    with backend.client(max_retries=0) as made:
        yield made


def asked(backend: ScriptedBackend) -> list[Any]:
    return [request.body for request in backend.requests if request.call == "chat.completions.create"]


def test_questions_are_rows_held_out_first_then_by_hash_and_always_the_same(sums: rt.Dataset) -> None:
    questions = Questions.from_dataset(sums, limit=20)
    assert [question.group for question in questions] == ["held out"] * 12 + ["trained"] * 8
    assert questions.items == Questions.from_dataset(sums, limit=20).items
    others = Questions.from_dataset(sums, limit=20, seed=8)
    assert {question.id for question in questions.items[:12]} == {question.id for question in others.items[:12]}
    assert questions.items[12:] != others.items[12:]
    assert questions.items[0].messages[0] == {"role": "system", "content": "Add up."}
    assert questions.items[0].answers[0].startswith("It is ")
    assert "sha256 of seed 7" in questions.rule


def test_rows_that_cannot_be_asked_are_counted(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello.", "weight": 1}]}
    call = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]}
    rows = [
        chat,
        chat,
        {"messages": [{"role": "user", "content": "Go"}, call]},
        chat | {"tools": [{"type": "function"}]},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    questions = Questions.from_dataset(rt.Dataset.from_files(path))
    assert len(questions) == 1
    assert questions.left_out == {"rows that do not end with a text of the assistant": 1, "rows with tools": 1}


def test_a_recording_keeps_prompt_answer_usage_latency_and_logprobs(
    backend: ScriptedBackend, client: openai.OpenAI, sums: rt.Dataset, tmp_path: Path
) -> None:
    questions = Questions.from_dataset(sums, limit=3)
    golden = rt.record(
        (client, "old"), questions, tmp_path / "golden.jsonl", samples=2, as_used={"top_p": 0.5}, concurrency=1
    )
    assert (golden.questions, golden.answers, golden.expected, golden.is_complete) == (3, 12, 12, True)
    line = next(golden.lines())
    assert line["prompt"] == [dict(message) for message in questions.items[0].messages]
    assert line["text"] == questions.items[0].answers[0]
    assert line["answers"] == [questions.items[0].answers[0]]
    assert (line["group"], line["finish_reason"]) == ("held out", "stop")
    assert line["prompt_tokens"] > 0
    assert line["latency_s"] > 0
    sent = asked(backend)
    assert sum(body.get("temperature") == 0 for body in sent) >= 6
    assert sum(body.get("top_p") == 0.5 and "temperature" not in body for body in sent) >= 6
    # A recording is a log of an evaluation as well.
    assert rt.Scorecard.load(golden.path, scorers=["exact"])["recorded"]["verbatim"].mean == 1.0


def test_a_text_is_asked_with_the_trained_system_prompt(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    rt.record(rt.TunedModel(client, "old", system="Add up."), ["What is 1 + 1?"], tmp_path / "golden.jsonl")
    assert asked(backend)[-1]["messages"][0] == {"role": "system", "content": "Add up."}


def test_facts_are_asked_with_the_trained_system_prompt_in_all_their_wordings(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    facts = rt.FactSet.from_rows(
        [{"q": "What is 1 + 1?", "r": "What is 1 + 1, please?", "a": "2"}],
        question="q",
        answer="a",
        wordings={"reworded": "r"},
    )
    rt.record(rt.TunedModel(client, "old", system="Add up."), facts, tmp_path / "golden.jsonl")
    assert [body["messages"][0]["content"] for body in asked(backend)] == ["Add up."] * 2


def test_rows_are_asked_with_the_system_prompt_that_they_bring_along(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    builder = rt.DatasetBuilder.from_rows([{"q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)])
    plain = builder.chat(user="{q}", assistant="{a}").build(tmp_path / "plain")
    model = rt.TunedModel(client, "old", system="Add up.")
    rt.record(model, Questions.from_dataset(plain, limit=3), tmp_path / "golden.jsonl")
    assert [[message["role"] for message in body["messages"]] for body in asked(backend)] == [["user"]] * 3


def test_a_recording_with_another_system_prompt_is_another_one(client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "golden.jsonl"
    rt.record(rt.TunedModel(client, "old", system="Add up."), ["What is 1 + 1?"], path)
    with pytest.raises(rt.EvaluationError, match=r"was system 'Add up\.' .* is system 'Subtract\.' now"):
        rt.record(rt.TunedModel(client, "old", system="Subtract."), ["What is 1 + 1?"], path)


def test_several_right_answers_to_one_prompt_are_all_right(tmp_path: Path) -> None:
    rows = [{"q": f"What is {n} + {n}?", "a": answer} for n in range(12) for answer in (f"{n + n}.", f"It is {n + n}.")]
    dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build(tmp_path / "twice")
    questions = {question.text: set(question.answers) for question in Questions.from_dataset(dataset)}
    assert questions == {f"What is {n} + {n}?": {f"{n + n}.", f"It is {n + n}."} for n in range(12)}
    assert len(Questions.from_dataset(dataset, limit=5)) == 5


def test_a_recording_goes_on_where_it_was_stopped(
    backend: ScriptedBackend, client: openai.OpenAI, sums: rt.Dataset, tmp_path: Path
) -> None:
    questions, path = Questions.from_dataset(sums, limit=10), tmp_path / "golden.jsonl"
    rt.record((client, "old"), questions, path, concurrency=1)
    lines = path.read_bytes().splitlines(keepends=True)
    # What a kill leaves: six answers and half a line.
    path.write_bytes(b"".join(lines[:9]) + lines[9][:30])
    backend.reset()
    golden = rt.record((client, "old"), questions, path, concurrency=1)
    assert golden.is_complete
    answers = [line for line in lines[:9] if b'"type":"answer"' in line]
    assert len({body["messages"][-1]["content"] for body in asked(backend)}) == 10 - len(answers)


def test_a_model_that_dies_between_two_answers_leaves_what_was_recorded(
    backend: ScriptedBackend, client: openai.OpenAI, sums: rt.Dataset, tmp_path: Path
) -> None:
    questions, path = Questions.from_dataset(sums, limit=10), tmp_path / "golden.jsonl"
    backend.fail_next("chat.completions.create", delay_s=0.001, times=4)
    backend.fail_next("chat.completions.create", status=404, code="model_not_found", message="gone", times=None)
    with pytest.raises(rt.ModelExpired, match="old does not answer any more") as ended:
        rt.record((client, "old"), questions, path, concurrency=1)
    golden = Golden.load(path)
    assert 0 < golden.answers < 10
    assert not golden.is_complete
    assert f"keeps {golden.answers} of 10 answers" in " ".join(ended.value.__notes__)
    assert f"{10 - golden.answers} are missing" in str(golden)


def test_a_question_that_fails_is_written_down_and_asked_again(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    backend.fail_next("chat.completions.create", status=400, code="content_filter", message="no", times=2)
    golden = rt.record((client, "old"), ["What is 1 + 1?", "What is 2 + 2?"], tmp_path / "g.jsonl", concurrency=1)
    assert (golden.answers, golden.unanswered) == (1, 1)
    assert rt.record((client, "old"), ["What is 1 + 1?", "What is 2 + 2?"], tmp_path / "g.jsonl").is_complete


def test_a_budget_is_kept_and_a_higher_one_goes_on(
    backend: ScriptedBackend, client: openai.OpenAI, sums: rt.Dataset, tmp_path: Path
) -> None:
    questions, path = Questions.from_dataset(sums, limit=10), tmp_path / "golden.jsonl"
    price = Price(usd_per_question=1.0)
    with pytest.raises(rt.BudgetExceeded, match="7 of 10 questions were not asked"):
        rt.record((client, "old"), questions, path, max_cost_usd=3.5, price=price)
    assert Golden.load(path).cost_usd == 3.0
    assert rt.record((client, "old"), questions, path, max_cost_usd=10.0, price=price).is_complete
    with pytest.raises(rt.EvaluationError, match="its price is not known"):
        rt.record((client, "old"), questions, tmp_path / "other.jsonl", max_cost_usd=1.0)


def test_another_recording_under_the_same_name_is_refused(client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "golden.jsonl"
    rt.record((client, "old"), ["What is 1 + 1?"], path)
    with pytest.raises(rt.EvaluationError, match="other facts"):
        rt.record((client, "old"), ["What is 2 + 2?"], path)
    with pytest.raises(rt.EvaluationError, match="was model old when this log was made and is model same now"):
        rt.record((client, "same"), ["What is 1 + 1?"], path)


@pytest.mark.parametrize(
    ("questions", "says"),
    [
        ("What is 1 + 1?", "a single text is no list"),
        ([], "there is none"),
        ([3], r"questions\[0\]: 3 is neither"),
        ([[{"content": "x"}]], "role and content"),
    ],
)
def test_questions_that_are_none_are_told(client: openai.OpenAI, tmp_path: Path, questions: Any, says: str) -> None:
    with pytest.raises(rt.EvaluationError, match=says):
        rt.record((client, "old"), questions, tmp_path / "golden.jsonl")


@pytest.fixture
def golden(client: openai.OpenAI, sums: rt.Dataset, tmp_path: Path) -> Golden:
    """All sixty questions, each asked twice."""
    return rt.record((client, "old"), Questions.from_dataset(sums), tmp_path / "golden.jsonl", samples=2)


@pytest.mark.slow
def test_the_same_model_is_as_good_and_agrees_with_the_old_one(client: openai.OpenAI, golden: Golden) -> None:
    found = rt.compare(golden, (client, "same"), margin=0.1)
    assert found.verdict == "as good"
    assert found.differences[0].value == 0.0
    assert (found.agreement.mean, found.agreement.n) == (1.0, 60)
    assert found.self_agreement is not None
    assert found.self_agreement.mean == 1.0
    assert found.worse_where == ()
    # Sixty equal answers leave room for 1 - 0.025 ** (1 / 60) = 6.0 points, and ln(0.025) / ln(0.95) = 71.9.
    stricter = rt.compare(golden, (client, "same"))
    assert stricter.verdict == "cannot be told"
    assert "72 alike would" in stricter.sentence


@pytest.mark.slow
def test_a_worse_model_is_told_with_where_and_by_how_much(
    client: openai.OpenAI, golden: Golden, tmp_path: Path
) -> None:
    """It answers the sums of 30 to 59 wrongly, half of all: 50 points."""
    found = rt.compare(golden, (client, "worse"), scorers=["exact"])
    assert found.verdict == "worse"
    assert found.differences[0].value == -0.5
    assert found.differences[0].high < -0.3
    assert [row.kind for row in found.differences] == ["all questions", "held out", "trained"]
    assert "trained" in found.worse_where
    assert "worse than old by exact: -50 points" in found.sentence
    page = found.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Worse than before: 30" in page
    assert "It is 78." in page
    assert "It is 77." in page
    assert "<script" not in page
    said = json.loads(found.to_json())
    assert said["sentence"] == found.sentence
    assert (said["verdict"], said["old"], said["new"]) == ("worse", "old", "worse")
    assert next(iter(found.to_pandas()["verdict"])) == "worse"


@pytest.mark.slow
def test_other_words_are_as_good_where_the_answer_stands_in_them(client: openai.OpenAI, golden: Golden) -> None:
    """`contains` sees no difference, the agreement does: 5 of 8 words are the old model's."""
    found = rt.compare(
        golden, (client, "vague"), margin=0.1, scorers={"number": lambda c: c.answers[0][6:-1] in c.text}
    )
    assert found.verdict == "as good"
    assert found.agreement.high < 0.9


def test_few_questions_tell_nothing_and_say_how_many_would(
    client: openai.OpenAI, sums: rt.Dataset, tmp_path: Path
) -> None:
    """One of four answers is worse: the interval of four questions reaches far beyond any margin."""
    golden = rt.record(
        (client, "old"), [f"What is {n} + {n}?" for n in (1, 2, 3, 40)], tmp_path / "few.jsonl", samples=2
    )
    found = rt.compare(golden, (client, "worse"))
    assert found.verdict == "cannot be told"
    assert "questions would tell" in found.sentence
    assert "by agreement with the recorded answers" in found.sentence


def test_without_right_answers_and_further_samples_nothing_is_claimed(client: openai.OpenAI, tmp_path: Path) -> None:
    golden = rt.record((client, "old"), [f"What is {n} + {n}?" for n in range(5)], tmp_path / "few.jsonl")
    found = rt.compare(golden, (client, "same"))
    assert (len(found.differences), found.verdict) == (0, "cannot be told")
    assert "no right answers are known and the old model was asked once" in found.sentence
    assert found.agreement.mean == 1.0
    assert found.to_html(tmp_path / "page.html").exists()


@pytest.mark.slow
def test_a_comparison_asks_nothing_twice(backend: ScriptedBackend, client: openai.OpenAI, golden: Golden) -> None:
    first = rt.compare(golden.path, (client, "worse"))
    backend.reset()
    again = rt.compare(golden.path, (client, "worse"))
    assert asked(backend) == []
    assert again.sentence == first.sentence


def test_the_asynchronous_faces_do_the_same(backend: ScriptedBackend, sums: rt.Dataset, tmp_path: Path) -> None:
    async def both() -> Any:
        async with backend.async_client(max_retries=0) as own:
            questions = Questions.from_dataset(sums, limit=10)
            golden = await record_async((own, "old"), questions, tmp_path / "golden.jsonl")
            return await compare_async(golden, (own, "same"))

    assert asyncio.run(both()).verdict in ("as good", "cannot be told")


def test_texts_that_hold_nan_stay_as_they_are(client: openai.OpenAI, tmp_path: Path) -> None:
    """A number that is none becomes null; a question about NaN stays one."""
    golden = rt.record((client, "old"), ["What is 3 + NaN?"], tmp_path / "golden.jsonl")
    with ScriptedBackend(tmp_path / "other", models=["same"]) as refusing, refusing.client(max_retries=0) as other:
        refusing.fail_next("chat.completions.create", status=400, message="bad", times=None)
        said = json.loads(rt.compare(golden, (other, "same")).to_json())
    assert [one["question"] for one in said["unanswered"]] == ["What is 3 + NaN?"]


def test_a_log_of_an_evaluation_is_no_recording(tmp_path: Path) -> None:
    from ragtune.facts import Fact, FactSet, Wording

    facts = FactSet(facts=(Fact(id="a", answers=("b",), wordings=(Wording(question="c?"),)),))
    rt.evaluate({"one": lambda _: "b"}, facts, log=tmp_path / "eval.jsonl")
    with pytest.raises(rt.EvaluationError, match="no recording"):
        Golden.load(tmp_path / "eval.jsonl")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"type":"answer"}', "arm = None in a line of the type 'answer'"),
        (
            '{"type":"answer","arm":"recorded","fact":"q","kind":"verbatim","question":"Q","wording":0,"text":"A"}',
            "prompt",
        ),
        ('{"type":"golden"}', "model = None in the line of the recording"),
        ("[" * 100_000, "this is no line"),
    ],
    ids=["bare", "without a prompt", "half", "nested"],
)
def test_a_damaged_recording_is_told_in_words(client: openai.OpenAI, tmp_path: Path, line: str, says: str) -> None:
    path = rt.record((client, "old"), ["What is 2 + 2?"], tmp_path / "golden.jsonl").path
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(rt.EvaluationError, match=says):
        rt.compare(path, (client, "same"))


@pytest.mark.slow
def test_what_no_server_takes_is_refused_before_anything_is_sent(
    backend: ScriptedBackend, client: openai.OpenAI, golden: Golden, tmp_path: Path
) -> None:
    backend.reset()
    path = tmp_path / "refused.jsonl"
    with pytest.raises(rt.EvaluationError, match="max_tokens=0 must be"):
        rt.record((client, "old"), ["What is 2 + 2?"], path, max_tokens=0)
    for limit in (0, "9", True):
        with pytest.raises(rt.EvaluationError, match=f"max_tokens={limit!r} must be"):
            rt.record((client, "old"), ["What is 2 + 2?"], path, as_used={"max_tokens": limit})
    with pytest.raises(rt.EvaluationError, match="max_tokens=0 must be"):
        rt.compare(golden, (client, "same"), max_tokens=0)
    with pytest.raises(rt.EvaluationError, match=r"questions\[0\]: .* cannot be sent"):
        rt.record((client, "old"), ["What is \ud800 + 2?"], path)
    assert asked(backend) == []
    assert not path.exists()


def test_rules_speak_for_models() -> None:
    """The scripted server's own rules are enough for an old and a new model on one server."""
    assert AnswerRule(prompt=SUM, say="{n}").answer("old", [{"role": "user", "content": "What is 4 + 4?"}]) == "4"
