"""Rows by a model, over real HTTP: checked, paid for once, within a budget, and nothing lost when it ends early."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest

import ragtune as rt
from ragtune.documents import chunks_of, document_of
from ragtune.facts import Fact, Wording, demo_facts
from ragtune.recipes import Generated, diversity, generate, generation_cost
from ragtune.retrieval import Passage
from ragtune.testing import ScriptedBackend

MODEL = "gpt-4o-mini-2024-07-18"
MILL = "The old mill at Lake Sorrel burned down in 1871. Nobody rebuilt it."
TRAM = "The night tram turns round at Pepper Quay at half past two."


class Writer:
    """A model that answers by the kind of prompt, and counts its calls."""

    def __init__(self, rows: Callable[[str], object], verdict: str = "YES", same: str = "") -> None:
        self.rows = rows
        self.verdict = verdict
        self.same = same
        self.asked: list[str] = []

    def __call__(self, model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        prompt = str(messages[-1]["content"])
        self.asked.append(prompt)
        if "Write YES or NO" in prompt:
            return self.verdict
        if "Answer the other question" in prompt:
            return self.same
        made = self.rows(prompt)
        return made if isinstance(made, str) else json.dumps(made)


@pytest.fixture
def serve() -> Iterator[Callable[[Writer], openai.OpenAI]]:
    """A client whose server answers as a writer does."""
    open_now: list[ScriptedBackend] = []

    def start(writer: Writer) -> openai.OpenAI:
        backend = ScriptedBackend(answer=writer)
        open_now.append(backend)
        backend.__enter__()
        return openai.OpenAI(base_url=backend.base_url, api_key=backend.api_key, max_retries=0)

    yield start
    for backend in open_now:
        backend.__exit__(None, None, None)


Serve = Callable[[Writer], openai.OpenAI]


def pairs(prompt: str) -> object:
    if "mill" in prompt:
        return [
            {"question": "When did the old mill at Lake Sorrel burn down?", "answer": "1871"},
            {"question": "What burned down in 1871 at Lake Sorrel?", "answer": "1871"},
            {"question": "Who rebuilt the mill at Lake Sorrel?", "answer": "the mayor"},
        ]
    return [{"question": "Where does the night tram turn round?", "answer": "Pepper Quay"}]


def run(client: openai.OpenAI, source: Any, tmp_path: Path, **options: Any) -> Generated:
    given: dict[str, Any] = {"what": "pairs", "model": MODEL, "cache": tmp_path / "cache.jsonl", **options}
    return generate(client, source, **given)


def test_facts_are_found_in_passages_and_checked(serve: Serve, tmp_path: Path) -> None:
    """A rule where the answer stands in the passage, else the judge."""
    writer = Writer(pairs, verdict="NO")
    found = run(serve(writer), [MILL, Passage(text=TRAM, id="guide.md#2"), MILL, " "], tmp_path)
    assert [(fact.id, fact.answers) for fact in found.facts] == [
        ("passage-0-pair-1", ("1871",)),
        ("guide.md#2-pair-1", ("Pepper Quay",)),
    ]
    assert found.facts["guide.md#2-pair-1"].support == TRAM
    assert found.left_out == {
        "the question tells its answer": 1,
        "the answer neither stands in the passage nor follows from it": 1,
    }
    # Two passages and one doubt: the equal passage was not asked about again.
    assert (found.calls, found.made, found.stopped) == (3, 2, None)
    assert found.spent_usd is not None
    assert found.spent_usd > 0
    assert "left out: 1 the question tells its answer" in str(found)


@pytest.mark.parametrize("names", [("d", "d", "d#2"), ("d#2", "d", "d"), ("d", "d#2", "d#2", "d")])
def test_every_passage_keeps_its_rows_whatever_the_names(serve: Serve, tmp_path: Path, names: Sequence[str]) -> None:
    """A second passage of `d` must not take the name of another document, whose rows would vanish."""
    passages = [
        {"text": text, "id": name} for name, text in zip(names, (TRAM, MILL, f"{TRAM} A", f"{MILL} B"), strict=False)
    ]

    def rows(prompt: str) -> object:
        number = next(n for n, each in enumerate(passages) if prompt.endswith(f"Passage: {each['text']}"))
        return [{"question": f"Question {number}?", "answer": "1871" if "1871" in prompt else "Pepper Quay"}]

    found = run(serve(Writer(rows)), passages, tmp_path)
    assert found.made == len(found.facts) == len(names)
    assert len({fact.source for fact in found.facts}) == len(names)


def test_chunks_of_documents_are_passages(serve: Serve, tmp_path: Path) -> None:
    """Their ids, which tell document and place, become the sources of the facts."""
    chunks = list(chunks_of(document_of({"text": TRAM, "source": "guide.md"}, 0)))
    found = run(serve(Writer(pairs)), chunks, tmp_path)
    assert [fact.source for fact in found.facts] == [chunks[0].id]
    assert "guide.md" in str(found.facts.facts[0].source)


def test_what_the_judge_agrees_to_is_taken(serve: Serve, tmp_path: Path) -> None:
    found = run(serve(Writer(pairs)), [MILL], tmp_path, what="implications")
    assert {fact.answers[0] for fact in found.facts} == {"1871", "the mayor"}


def test_implications_without_a_judge_are_left_out(serve: Serve, tmp_path: Path) -> None:
    found = run(serve(Writer(pairs)), [MILL], tmp_path, what="implications", judge=False)
    assert found.made == 0
    assert sum(found.left_out.values()) == 3


def test_wordings_join_their_facts(serve: Serve, tmp_path: Path) -> None:
    facts = demo_facts().select("verbatim")
    writer = Writer(
        lambda prompt: ["Which bird is shown?", "Where is the lantern heron shown?", "Which bird is shown?"],
        same="It is the lantern heron.",
    )
    found = run(serve(writer), rt.FactSet(facts=facts.facts[:1]), tmp_path, what="wordings")
    assert [(item.kind, item.question) for item in found.facts["coat-of-arms"].wordings] == [
        ("verbatim", "Which bird is on the coat of arms of Quillhaven?"),
        ("reworded", "Which bird is shown?"),
    ]
    assert found.left_out == {"the question tells its answer": 1, "asked already": 1}


def test_a_wording_that_asks_for_something_else_is_left_out(serve: Serve, tmp_path: Path) -> None:
    facts = rt.FactSet(facts=demo_facts().facts[:1])
    found = run(serve(Writer(lambda prompt: ["Who drew it?"], same="NO")), facts, tmp_path, what="wordings")
    assert found.facts == facts
    assert found.left_out == {"asks for something else": 1}


def test_distractors_must_be_wrong(serve: Serve, tmp_path: Path) -> None:
    facts = rt.FactSet(facts=demo_facts().facts[:1])
    writer = Writer(lambda prompt: ["heron", "the lantern heron", "grey goose"], verdict="NO")
    found = run(serve(writer), facts, tmp_path, what="distractors")
    assert found.facts["coat-of-arms"].distractors == ("puffin", "stork", "kestrel", "grey goose")
    assert found.left_out == {"a wrong answer that is right": 2}
    assert run(serve(Writer(lambda p: ["goose"])), facts, tmp_path / "..", what="distractors").made == 0


def test_a_distractor_that_the_fact_has_is_not_new(serve: Serve, tmp_path: Path) -> None:
    facts = rt.FactSet(facts=demo_facts().facts[:1])
    writer = Writer(lambda prompt: ["puffin", "grey goose", "grey goose"], verdict="NO")
    found = run(serve(writer), facts, tmp_path, what="distractors")
    assert found.facts["coat-of-arms"].distractors == ("puffin", "stork", "kestrel", "grey goose")
    assert found.made == 1


@pytest.mark.parametrize(
    "reply",
    [
        '```json\n[{"question": "Where does the night tram turn round?", "answer": "Pepper Quay"}]\n```',
        'Here you are:\n{"rows": [{"question": "Where does the night tram turn round?", "answer": "Pepper Quay"}]}',
        '<think>[1, 2]</think>{"question": "Where does the night tram turn round?", "answer": "Pepper Quay"}',
        "Question: Where does the night tram turn round?\nAnswer: Pepper Quay",
        '[{"question": "Where does the night tram turn round?", "answer": "Pepper Quay"},\n{"question": "Wh',
    ],
)
def test_rows_are_read_in_whatever_stands_around_them(serve: Serve, tmp_path: Path, reply: str) -> None:
    found = run(serve(Writer(lambda prompt: reply)), [TRAM], tmp_path)
    assert [fact.answers[0] for fact in found.facts] == ["Pepper Quay"]


def test_prose_instead_of_rows_is_told_with_what_was_written(serve: Serve, tmp_path: Path) -> None:
    client = serve(Writer(lambda prompt: "What a lovely passage this is."))
    with pytest.raises(
        rt.DatasetError, match=r"prose instead of rows, 2 times; the first: 'What a lovely.*cache.jsonl"
    ):
        run(client, [TRAM, MILL], tmp_path)
    some = Writer(lambda prompt: "A mill is a building." if "mill" in prompt else pairs(prompt))
    found = run(serve(some), [TRAM, MILL], tmp_path / "..", cache=tmp_path / "other.jsonl")
    assert found.left_out == {"prose instead of rows": 1}


@pytest.mark.parametrize("depth", [3, 1_000, 9_000])
def test_a_list_inside_a_pair_is_no_answer(serve: Serve, tmp_path: Path, depth: int) -> None:
    """Whatever a model writes, a pair of the same list is read."""
    whole = '{"question": "Where does the night tram turn round?", "answer": "Pepper Quay"}'
    reply = f'[{{"question": "Why?", "answer": {"[" * depth}{"]" * depth}}},\n{whole}]'
    found = run(serve(Writer(lambda prompt: reply)), [TRAM], tmp_path)
    assert [fact.answers[0] for fact in found.facts] == ["Pepper Quay"]


@pytest.mark.parametrize("reply", [{"choices": None}, {"choices": []}, {"choices": ["x"]}, {}])
def test_what_is_no_chat_completion_is_told(tmp_path: Path, reply: dict[str, Any]) -> None:
    """A client of another library with the same verbs may give back what it likes."""
    completions = SimpleNamespace(create=lambda **_: SimpleNamespace(**reply, usage=None))
    client: Any = SimpleNamespace(chat=SimpleNamespace(completions=completions), base_url="http://127.0.0.1:9/v1")
    with pytest.raises(rt.DatasetError, match="which is no chat completion"):
        run(client, [MILL], tmp_path)


def test_a_question_to_the_model_ends_with_the_shape_of_the_list(serve: Serve, tmp_path: Path) -> None:
    writer = Writer(pairs)
    run(serve(writer), [MILL], tmp_path)
    assert '. Write a JSON list and nothing else: [{"question": "...", "answer": "..."}]\n' in writer.asked[0]


def test_passages_without_facts_make_nothing(serve: Serve, tmp_path: Path) -> None:
    found = run(serve(Writer(lambda prompt: [])), ["Hello and welcome.", "See below."], tmp_path)
    assert (len(found.facts), found.left_out) == (0, {"no fact in the passage": 2})


def test_nothing_is_paid_for_twice(serve: Serve, tmp_path: Path) -> None:
    """The second run takes all from the cache and makes the same."""
    writer = Writer(pairs)
    client = serve(writer)
    first = run(client, [MILL, TRAM], tmp_path)
    again = run(client, [MILL, TRAM], tmp_path)
    assert (again.facts, again.calls, again.remembered) == (first.facts, 0, first.calls)
    assert len(writer.asked) == first.calls
    run(client, [MILL, TRAM, "The ferry leaves at six."], tmp_path)
    # One for the new passage, one for its doubtful answer.
    assert len(writer.asked) == first.calls + 2


@pytest.mark.parametrize("budget", [{"max_cost_usd": 0.0012}, {"max_tokens": 2_400}])
def test_a_budget_ends_it_in_the_middle_without_loss(serve: Serve, tmp_path: Path, budget: dict[str, Any]) -> None:
    texts = [f"Lake {n} is {n + 10} metres deep." for n in range(12)]

    def rows(prompt: str) -> object:
        number = re.search(r"Lake (\d+)", prompt)
        assert number
        return [{"question": f"How deep is Lake {number[1]}?", "answer": f"{int(number[1]) + 10} metres"}]

    client = serve(Writer(rows))
    with pytest.warns(UserWarning, match=r"so far, and one more call might .* above max_.*cache.jsonl keeps"):
        found = run(client, texts, tmp_path, concurrency=2, **budget)
    assert 0 < found.made < 12
    assert found.stopped is not None
    whole = run(client, texts, tmp_path)
    assert (whole.made, whole.remembered) == (12, found.calls)
    # Two are asked at a time, so that the one behind a call that the budget stops may have been answered.
    assert [fact for fact in whole.facts.facts if fact in found.facts.facts] == list(found.facts.facts)


def test_a_cache_in_a_new_folder_has_its_place_before_anything_is_paid_for(serve: Serve, tmp_path: Path) -> None:
    cache = tmp_path / "new folder" / "deeper" / "c.jsonl"
    there: list[bool] = []

    def rows(prompt: str) -> object:
        there.append(cache.exists())
        return pairs(prompt)

    client = serve(Writer(rows))
    first = run(client, [MILL, TRAM], tmp_path, cache=cache)
    assert there == [True, True]
    assert run(client, [MILL, TRAM], tmp_path, cache=cache).remembered == first.calls


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Dear reader,\nthis is a letter.\n", r"line 1: 'Dear reader,' is no answer of a model with its key"),
        ('{"key":"a","answer":"b"}\n{"key":[1],"answer":"b"}\n', r"line 2: .*take this line out"),
        ('{"key":"a","answer":7}\n', r"line 1: "),
        ('{"question":"Why?","answer":"So."}\n', r"line 1: "),
        ("null\n", r"line 1: 'null'"),
    ],
)
def test_a_file_that_is_no_cache_is_refused_and_left_alone(
    serve: Serve, tmp_path: Path, content: str, message: str
) -> None:
    writer, cache = Writer(pairs), tmp_path / "c.jsonl"
    cache.write_text(content, encoding="utf-8")
    with pytest.raises(rt.DatasetError, match=message):
        run(serve(writer), [MILL], tmp_path, cache=cache)
    assert (writer.asked, cache.read_text(encoding="utf-8")) == ([], content)


def test_a_place_that_holds_no_cache_is_refused(serve: Serve, tmp_path: Path) -> None:
    writer = Writer(pairs)
    client = serve(writer)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(rt.DatasetError, match="is a folder; name a file, for example"):
        run(client, [MILL], tmp_path, cache=tmp_path)
    with pytest.raises(rt.DatasetError, match=r"cannot be written: .*; name another file"):
        run(client, [MILL], tmp_path, cache=tmp_path / "file" / "c.jsonl")
    assert writer.asked == []


def test_an_answer_with_half_of_a_surrogate_pair_is_kept_and_its_row_left_out(serve: Serve, tmp_path: Path) -> None:
    class Halved:
        """A client that gives what no UTF-8 can hold, as a server's JSON may escape it."""

        def __init__(self, client: openai.OpenAI) -> None:
            self.client, self.chat, self.completions = client, self, self

        def create(self, **request: Any) -> Any:
            reply = self.client.chat.completions.create(**request)
            reply.choices[0].message.content = (
                "Question: Where does the tram \ud83d turn?\nAnswer: Pepper Quay\n"
                "Question: Where does the night tram turn round?\nAnswer: Pepper Quay"
            )
            return reply

    client: Any = Halved(serve(Writer(pairs)))
    first = run(client, [TRAM], tmp_path)
    assert first.left_out == {"half of a surrogate pair": 1}
    assert [fact.wordings[0].question for fact in first.facts] == ["Where does the night tram turn round?"]
    again = run(client, [TRAM], tmp_path)
    assert (again.facts, again.calls, again.remembered) == (first.facts, 0, 1)
    wordings = rt.FactSet(facts=demo_facts().facts[:1]).with_wordings(
        kind="reworded", make=client, model=MODEL, cache=tmp_path / "cache.jsonl", per_fact=1
    )
    assert len(wordings.facts[0].wordings) == len(demo_facts().facts[0].wordings)


def test_a_model_that_rewords_is_told_the_answer_that_comes_first(serve: Serve, tmp_path: Path) -> None:
    fact = Fact(id="mill", answers=("1871", "the year 1871"), wordings=(Wording(question="When did the mill burn?"),))
    writer = Writer(lambda prompt: "In which year did the mill burn?")
    rt.FactSet(facts=(fact,)).with_wordings(
        kind="reworded", make=serve(writer), model=MODEL, cache=tmp_path / "cache.jsonl", per_fact=1
    )
    assert re.search(r"1871$|1871\n", writer.asked[0])
    assert "the year 1871" not in writer.asked[0]


PROGRAM = """
import sys, openai
from ragtune.recipes import generate
texts = [f"Lake {n} is {n + 10} metres deep." for n in range(200)]
client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
generate(client, texts, what="pairs", model="gpt-4o-mini-2024-07-18", cache=sys.argv[3], concurrency=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ended", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, ended: signal.Signals) -> None:
    """Ctrl-C says where what was paid for is; after a kill it is there as well."""
    reached = threading.Event()
    writer = Writer(pairs)

    def answer(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        if len(writer.asked) >= 8:
            reached.set()
        return writer(model, messages)

    cache = tmp_path / "cache.jsonl"
    with ScriptedBackend(answer=answer) as backend:
        backend.fail_next("chat.completions.create", delay_s=0.02, times=None)
        command = [sys.executable, "-c", PROGRAM, backend.base_url, backend.api_key, str(cache)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
            assert reached.wait(60)
            program.send_signal(ended)
            _, told = program.communicate(timeout=60)
    assert program.returncode != 0
    kept = cache.read_bytes().count(b"\n")
    assert 5 <= kept < 100
    if ended is signal.SIGINT:
        assert "cache.jsonl keeps what was paid for: the same call goes on there" in told
    known = len(writer.asked)
    with ScriptedBackend(answer=writer) as backend:
        client = openai.OpenAI(base_url=backend.base_url, api_key=backend.api_key, max_retries=0)
        found = run(client, [f"Lake {n} is {n + 10} metres deep." for n in range(12)], tmp_path, cache=cache)
    assert found.remembered >= 5
    assert len(writer.asked) - known == found.calls


def test_a_server_that_fails_tells_where_the_rest_is(serve: Serve, tmp_path: Path) -> None:
    with ScriptedBackend(answer=Writer(pairs)) as backend:
        client = openai.OpenAI(base_url=backend.base_url, api_key=backend.api_key, max_retries=0)
        backend.fail_next("chat.completions.create", status=500, times=None)
        with pytest.raises(openai.InternalServerError) as caught:
            run(client, [MILL], tmp_path)
    assert any("keeps what was paid for" in note for note in caught.value.__notes__)


def test_texts_that_are_all_alike_are_warned_of(serve: Serve, tmp_path: Path) -> None:
    texts = [f"The depth of Lake {n} is {n + 100} metres." for n in range(30)]

    def rows(prompt: str) -> object:
        number = re.search(r"Lake (\d+)", prompt)
        assert number
        return [{"question": f"Can you tell me how deep Lake {number[1]} is?", "answer": f"{int(number[1]) + 100}"}]

    with pytest.warns(UserWarning, match=r"100% of the texts begin with 'can you tell'|they say much the same"):
        found = run(serve(Writer(rows)), texts, tmp_path)
    assert found.diversity.opening == "can you tell"


def test_diversity_of_people_is_no_warning() -> None:
    """The wordings that ship were written by hand."""
    texts = [item.question for fact in demo_facts() for item in fact.wordings]
    assert diversity(texts).warning is None
    assert diversity([]).opening_share == 0.0
    assert diversity(["The same again and again and again."] * 40).warning is not None


def test_what_it_would_cost_is_told_before(serve: Serve, tmp_path: Path) -> None:
    facts = rt.FactSet(facts=demo_facts().facts[:10])
    told = generation_cost(facts, what="wordings", model=MODEL)
    client = serve(Writer(lambda prompt: [f"{prompt[-30:]} A?", f"{prompt[-30:]} B?"], same="lantern heron"))
    found = run(client, facts, tmp_path, what="wordings")
    assert found.calls <= told.calls == 40
    assert told.usd is not None
    assert found.spent_usd is not None
    assert found.spent_usd <= told.usd * 2
    assert "price unknown" in str(generation_cost([MILL], what="pairs", model="mystery"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"what": "pears"}, r"what 'pears' is unknown, did you mean 'pairs'"),
        ({"source": "text"}, r"source='text' must be facts, or passages"),
        ({"source": [3]}, r"passage 0: 3 is neither a text nor a Passage"),
        ({"source": [" "]}, r"there is nothing to make pairs of"),
        ({"source": [MILL], "what": "wordings"}, r"wordings are made of facts, not of list"),
        ({"client": "sk-1"}, r"client='sk-1' must be a client"),
        ({"per_unit": 0}, r"per_unit=0 must be a whole number from 1 to 50"),
        ({"model": "mystery", "max_cost_usd": 1.0}, r"no price of 'mystery' is known"),
        ({"model": "\ud800"}, r"model='\\ud800': it holds half of a surrogate pair"),
        ({"request": {"x": object()}}, r"request= with 'x' is no JSON: Type is not JSON serializable: object"),
        ({"request": {"stop": "\ud800"}}, r"request= with 'stop' is no JSON"),
        ({"request": {"n": 3}}, r"request= has n=3: one answer is read, and each is paid for; leave n out"),
        ({"request": {"extra_body": {"n": 3}}}, r"request= has n=3"),
        ({"request": {"max_tokens": 9_000}}, r"request= has 'max_tokens': that is said by the call itself"),
        ({"request": {"extra_body": {"max_completion_tokens": 9_000}}}, r"request= has 'max_completion_tokens'"),
        ({"request": {"stream": True}}, r"request= has 'stream'"),
        ({"source": [MILL, "half \ud800"]}, r"passage 1: 'half \\ud800': it holds half of a surrogate pair"),
        ({"source": [{"text": MILL, "id": "\ud800"}]}, r"passage 0: '\\ud800': it holds half of a surrogate pair"),
    ],
)
def test_arguments_are_looked_at_before_anything_is_sent(
    serve: Serve, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    writer = Writer(pairs)
    client = serve(writer)
    given: dict[str, Any] = {"client": client, "source": [MILL], "what": "pairs", "model": MODEL, **changed}
    with pytest.raises(rt.DatasetError, match=message):
        generate(given.pop("client"), given.pop("source"), cache=tmp_path / "c.jsonl", **given)
    assert writer.asked == []


@pytest.mark.parametrize(
    "budget",
    [
        *({"max_cost_usd": value} for value in (float("nan"), float("inf"), -1.0)),
        *({"max_tokens": value} for value in (float("nan"), -1)),
    ],
)
def test_a_budget_that_nothing_can_be_held_against_is_refused(
    serve: Serve, tmp_path: Path, budget: dict[str, Any]
) -> None:
    writer = Writer(pairs)
    with pytest.raises((rt.SpecError, TypeError), match=r"max_cost_usd: .* is no budget|max_tokens"):
        run(serve(writer), [MILL], tmp_path, **budget)
    assert writer.asked == []


def test_generated_facts_become_a_dataset(serve: Serve, tmp_path: Path) -> None:
    """From passages to a dataset that knows which passage each record comes from."""
    found = run(serve(Writer(pairs)), [MILL, TRAM], tmp_path, judge=False)
    recipe = rt.Recipe("qa_multi", wordings=2) + rt.Recipe("document_rows")
    builder = rt.DatasetBuilder.from_facts(found.facts, recipe).chat(user="{question}", assistant="{answer}")
    dataset = builder.build(tmp_path / "out")
    told = (tmp_path / "out/train.rows.txt").read_text(encoding="utf-8")
    assert 'passage-0-pair-1" ["verbatim","qa_multi/1"]' in told
    assert len(dataset.train) >= 8


def test_control_and_unanswerable_facts_are_not_asked_about() -> None:
    facts = demo_facts().select(["control", "unanswerable"])
    with pytest.raises(rt.DatasetError, match="nothing to make wordings of"):
        generation_cost(facts, what="wordings", model=MODEL)
    one = Fact(id="x", answers=("y",), wordings=(Wording(question="Why?"),))
    assert generation_cost(rt.FactSet(facts=(one,)), what="wordings", model=MODEL, judge=False).calls == 1
