"""Further wordings: from a function, by rules that abstain, and by a model that is checked."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonlines
import openai
import pytest

import ragtune as rt
from ragtune.facts import Fact, Wording, demo_facts
from ragtune.facts.rules import proposals
from ragtune.testing import ScriptedBackend
from tests.conftest import SHARED

HERE = Path(__file__).parent
LAKE = Fact(id="lake", answers=("83 metres", "83 m"), wordings=(Wording(question="How deep is Lake Sorrel?"),))
TRAM = Fact(id="tram", answers=("Pepper Quay",), wordings=(Wording(question="Where does the night tram end?"),))
FACTS = rt.FactSet(facts=(LAKE, TRAM))


def made(question: str, answer: str, support: str | None = None) -> dict[str, str]:
    """What the rules make of a question, each rule with its wording."""
    fact = Fact(id="x", answers=(answer,), wordings=(Wording(question=question),), support=support)
    return {proposal.rule: proposal.question for proposal in proposals(fact)}


# --- functions -------------------------------------------------------------------------------------------------------


def test_a_function_gives_one_question_several_or_none() -> None:
    def make(fact: Fact) -> object:
        return ["What depth has Lake Sorrel?", "How far down is it?"] if fact.id == "lake" else None

    facts = FACTS.with_wordings(kind="reworded", make=make)
    assert [len(fact.wordings) for fact in facts] == [3, 1]
    one = FACTS.with_wordings(kind="reworded", make=lambda fact: f"Tell me, {fact.wordings[0].question}")
    assert one.counts == {"verbatim": 2, "reworded": 2}


def test_a_reversed_question_comes_with_its_answer() -> None:
    back = Wording(question="Which line ends at Pepper Quay?", kind="reversed", answers=("the night tram",))
    facts = FACTS.with_wordings(kind="reversed", make=lambda fact: back if fact.id == "tram" else ())
    assert facts["tram"].wordings[1] == back
    with pytest.raises(rt.DatasetError, match="needs answers of its own"):
        FACTS.with_wordings(kind="reversed", make=lambda fact: f"Which is it, {fact.id}?")


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        ("odd", "rules", "'odd' is no kind of wording"),
        ("control", "rules", "the rules make reworded and reversed questions, not 'control' ones"),
        ("reworded", "magic", "make='magic' is no function, no client, and not 'rules'"),
        ("reworded", 7, "make=7 is no function"),
        ("reworded", lambda fact: 7, "make gave 7 for fact 'lake'; give reworded questions"),
        ("reworded", lambda fact: [Wording(question="Why?")], "make gave Wording.* give reworded questions"),
        ("reworded", lambda fact: fact.wordings[0].question, "the reworded question .* is the verbatim question"),
    ],
)
def test_what_makes_no_wordings_is_refused(kind: Any, make: Any, message: str) -> None:
    with pytest.raises(rt.DatasetError, match=message):
        FACTS.with_wordings(kind=kind, make=make)


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer", "rule", "text"),
    [
        ("Which metal is mined under Harrow Fell?", "bismuth", "name-the", "Name the metal that is mined under Harrow"),
        ("Who painted the ceiling?", "Ada", "passive", "By whom was the ceiling painted?"),
        ("Who wrote the rules of the game?", "Ada", "passive", "By whom were the rules of the game written?"),
        ("Who painted the ceiling?", "Ada", "reverse", "What was painted by Ada?"),
        ("Who painted the ceiling?", "Ada", "statement-cloze", "Complete the sentence: ___ painted the ceiling."),
        ("What is the cat called?", "Tom", "by-what-name", "By what name is the cat known?"),
        ("A closed loop is called what?", "circuit", "by-what-name", "By what name is a closed loop known?"),
        ("On which day are debts settled here?", "Friday", "name-the", "Name the day on which debts are settled here."),
        ("How deep is Lake Sorrel?", "83 metres", "measure", "What is the depth of Lake Sorrel?"),
        ("How deep is Lake Sorrel?", "83 metres", "reverse", "What is 83 metres deep?"),
        ("How many legs does a spider have?", "eight", "number-of", "State the number of legs that a spider has."),
        ("How many rooms are there in the house?", "9", "number-of", "State the number of rooms in the house."),
        ("What is the depth of the lake?", "83 metres", "name-the", "State the depth of the lake."),
        ("Why is the bridge closed?", "toads", "reason", "For what reason is the bridge closed?"),
        ("Where does the tram end?", "Pepper Quay", "place", "In what place does the tram end?"),
        ("Türkiye'nin başkenti neresidir?", "Ankara", "name-the", "Türkiye'nin başkentini söyleyin."),
        ("Türkiye'nin başkenti neresidir?", "Ankara", "reverse", "Ankara neyin başkentidir?"),
        ("Sorrel Gölü'nün derinliği kaç metredir?", "83", "name-the", "Sorrel Gölü'nün derinliğini söyleyin."),
        ("Romeo ve Juliet'i kim yazdı?", "Shakespeare", "passive", "Romeo ve Juliet kim tarafından yazıldı?"),
        ("Romeo ve Juliet'i kim yazdı?", "Shakespeare", "who-did", "Romeo ve Juliet'i yazan kimdir?"),
        ("Romeo ve Juliet'i kim yazdı?", "Shakespeare", "reverse", "Shakespeare neyi yazdı?"),
        ("Gece tramvayı nerede durur?", "Pepper Quay", "asked-otherwise", "Gece tramvayı hangi yerde durur?"),
        ("Ne zaman doğdu?", "1452", "asked-otherwise", "Hangi tarihte doğdu?"),
    ],
)
def test_a_rule_rewords_the_form_that_it_knows(question: str, answer: str, rule: str, text: str) -> None:
    assert made(question, answer)[rule].startswith(text)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What was the ferry Marguerite built to carry?", "church bells"),
        ("What is the wall made of?", "stone"),
        ("What is it called?", "Tom"),
        ("Which disease did Doctor Amsel study?", "hay fever"),
        ("What type of energy can plants use?", "light"),
        ("What color is blood?", "red"),
        ("Who discovered that the Earth goes round the Sun?", "Copernicus"),
        ("Where do birds come from?", "eggs"),
        ("Where do mushrooms get their energy?", "decomposing organisms"),
        ("How old is the Earth thought to be?", "4.5 billion years"),
        ("Children play a game: what is its name?", "tag"),
        ("Name the metal that is mined here.", "tin"),
        ("Welches Tier steht im Wappen?", "Reiher"),
        ("Quel oiseau figure sur le blason ?", "le héron"),
        ("首都はどこですか？", "東京"),
        ("Kütüphane ne zaman açılır?", "6.40"),
        ("Altının simgesi nedir?", "Au"),
        ("Ampulü kim icat etti?", "Edison"),
    ],
)
def test_a_rule_that_is_not_sure_abstains(question: str, answer: str) -> None:
    assert made(question, answer) == {}


def test_the_passage_becomes_a_gap_text_where_it_answers_the_question() -> None:
    """One sentence with the answer once and most of the question's words, which leans on no other."""
    question, answer = "What do cells with many mitochondria make?", "energy"
    sentence = "Cells with many mitochondria make energy (see Figure 3 ) ."
    gap = "Fill in the blank: Cells with many mitochondria make ___."
    assert made(question, answer, sentence)["support-cloze"] == gap
    for other in (
        "They make energy.",
        "These cells with many mitochondria make energy.",
        "Energy makes energy in cells.",
    ):
        assert made(question, answer, other) == {}
    turkish = made("Hücreler neden mitokondri ister?", "enerji", "Hücreler enerji için mitokondri ister.")
    assert turkish["support-cloze"] == "Boşluğu doldurun: Hücreler ___ için mitokondri ister."


def test_the_same_rules_serve_a_whole_set_and_ask_nothing_twice() -> None:
    facts = demo_facts().select("verbatim").with_wordings(kind="reworded", make="rules", per_fact=1)
    facts = facts.with_wordings(kind="reworded", make="rules", per_fact=1)
    facts = facts.with_wordings(kind="reversed", make="rules")
    assert facts["lake-depth"].wordings[1:] == (
        Wording(question="What is the depth of Lake Sorrel?", kind="reworded"),
        Wording(question="Complete the sentence: Lake Sorrel is ___ deep.", kind="reworded"),
        Wording(question="What is 83 metres deep?", kind="reversed", answers=("Lake Sorrel",)),
    )
    assert facts.counts["verbatim"] == 60


def test_controls_and_what_nothing_answers_are_left_as_they_are(ask: Any) -> None:
    """A reworded control would count as a fact that was taught."""
    others = demo_facts().select(["control", "unanswerable"])
    teller = Teller("What is it?")
    assert others.with_wordings(kind="reworded", make="rules") == others
    assert others.with_wordings(kind="reworded", make=ask(teller), model=MODEL) == others
    assert teller.prompts == []


def judged(file: str, found: Sequence[tuple[str, Mapping[str, Any]]]) -> float:
    """The share that a person found grammatical and faithful; a wording that nobody has read fails."""
    with jsonlines.open(HERE / file) as reader:
        read = {json.dumps(row["key"]): row["grammatical"] and row["faithful"] for row in reader}
    unread = [text for text, key in found if json.dumps(key) not in read]
    assert not unread, f"read these, label them in {file}: {unread}"
    return sum(read[json.dumps(key)] for _, key in found) / len(found)


def test_what_the_rules_make_of_the_demos_facts_was_read_and_is_right() -> None:
    found = [
        (proposal.question, {"fact": fact.id, "question": proposal.question})
        for fact in demo_facts().select("verbatim")
        for proposal in proposals(fact)
    ]
    assert len(found) >= 80
    assert judged("rewordings_read.jsonl", found) >= 0.98


@pytest.mark.skipif(not (SHARED / "data/sciq").exists(), reason="needs ../shared/data/sciq")
def test_what_the_rules_make_of_sciq_was_read_and_is_right() -> None:
    """The first 200 validation rows, read by a person; labels go by row and sha256, since the texts are not free."""
    with jsonlines.open(SHARED / "data/sciq/validation.jsonl") as reader:
        rows = [row for row, _ in zip(reader, range(200), strict=False)]
    facts = rt.FactSet.from_rows(rows, question="question", answer="correct_answer", context="support", repeats="merge")
    found = [
        (proposal.question, {"row": fact.id, "sha256": hashlib.sha256(proposal.question.encode()).hexdigest()})
        for fact in facts
        for proposal in proposals(fact)
    ]
    assert len({key["row"] for _, key in found}) >= 75
    assert judged("rewordings_read_sciq.jsonl", found) >= 0.95


# --- a model ---------------------------------------------------------------------------------------------------------


class Teller:
    """A scripted model: rewords, and answers the check as it is told."""

    def __init__(self, *lines: str, checked: str = "83 metres") -> None:
        self.lines, self.checked, self.prompts = lines, checked, list[str]()

    def __call__(self, model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        prompt = messages[-1]["content"]
        self.prompts.append(prompt)
        return self.checked if prompt.startswith("A fact") else "\n".join(self.lines)


@pytest.fixture
def ask() -> Iterator[Any]:
    """Gives a real client of a server on loopback on which the teller answers."""
    backends: list[ScriptedBackend] = []

    def client(teller: Teller) -> openai.OpenAI:
        backends.append(ScriptedBackend(answer=teller).__enter__())
        return backends[-1].client()

    yield client
    for backend in backends:
        backend.__exit__(None, None, None)


ONE = rt.FactSet(facts=(LAKE,))
MODEL = "gpt-4o-mini-2024-07-18"


def test_a_models_wordings_are_kept_when_the_check_answers_them_alike(ask: Any) -> None:
    """Numbered lines are taken; repetitions and questions that tell the answer are left out without a request."""
    teller = Teller(
        "1. What depth does Lake Sorrel have?",
        "- how deep is lake sorrel",
        "Is Lake Sorrel 83 metres deep?",
        checked="83 m.",
    )
    facts = ONE.with_wordings(kind="reworded", make=ask(teller), model=MODEL)
    assert [wording.question for wording in facts["lake"].wordings[1:]] == ["What depth does Lake Sorrel have?"]
    assert len(teller.prompts) == 2


def test_a_wording_that_the_fact_answers_otherwise_is_left_out(ask: Any) -> None:
    teller = Teller("How wide is Lake Sorrel?", checked="NO")
    assert ONE.with_wordings(kind="reworded", make=ask(teller), model=MODEL) == ONE


def test_a_reversed_question_is_checked_against_its_own_answer(ask: Any) -> None:
    teller = Teller("Which lake is 83 metres deep?", "Lake Sorrel", checked="Lake Sorrel")
    facts = ONE.with_wordings(kind="reversed", make=ask(teller), model=MODEL)
    assert facts["lake"].wordings[1].answers == ("Lake Sorrel",)
    assert ONE.with_wordings(kind="reversed", make=ask(Teller("Which?", checked="x")), model=MODEL) == ONE


def test_a_cache_that_cannot_be_written_any_more_is_named(ask: Any, tmp_path: Path) -> None:
    folder = tmp_path / "cache"

    def gone(model: str, messages: Any) -> str:
        shutil.rmtree(folder, ignore_errors=True)
        return "What depth does Lake Sorrel have?"

    with pytest.raises(rt.DatasetError, match=r"cache='.*a\.jsonl' cannot be written any more: No such file.*go on"):
        ONE.with_wordings(kind="reworded", make=ask(gone), model=MODEL, cache=folder / "a.jsonl")


def test_what_was_asked_once_is_not_asked_again(ask: Any, tmp_path: Path) -> None:
    """An interrupted call goes on where it stopped, half a line at the end or not."""
    teller, cache = Teller("What depth does Lake Sorrel have?"), tmp_path / "wordings.jsonl"
    first = ONE.with_wordings(kind="reworded", make=ask(teller), model=MODEL, cache=cache)
    with cache.open("ab") as file:
        file.write(b'{"key": "half a li')
    both = FACTS.with_wordings(kind="reworded", make=ask(teller), model=MODEL, cache=cache)
    assert both["lake"] == first["lake"]
    # The lake and its check are known; the tram's wording is the lake's, and its check fails.
    assert len(teller.prompts) == 4
    again = FACTS.with_wordings(kind="reworded", make=ask(teller), model=MODEL, cache=cache)
    assert (again, len(teller.prompts)) == (both, 4)
    assert FACTS.with_wordings(kind="reworded", make=ask(teller), model="gpt-4o-2024-08-06", cache=cache) == both
    assert len(teller.prompts) == 8


def test_facts_are_worked_on_side_by_side_and_keep_their_order(ask: Any) -> None:
    """Of two facts with one wording the first one has it, however fast the answers come."""
    facts = rt.FactSet(
        facts=tuple(
            Fact(id=f"lake-{n}", answers=("83 metres",), wordings=(Wording(question=f"How deep is lake {n}?"),))
            for n in range(12)
        )
    )
    teller = Teller("What depth is it?")
    made = facts.with_wordings(kind="reworded", make=ask(teller), model=MODEL, concurrency=6)
    assert [len(fact.wordings) for fact in made] == [2] + [1] * 11


def test_further_arguments_of_a_request_make_it_another_one(ask: Any, tmp_path: Path) -> None:
    teller, cache = Teller("What depth does Lake Sorrel have?"), tmp_path / "wordings.jsonl"
    for request in (None, {"temperature": 0}, {"temperature": 0}):
        ONE.with_wordings(kind="reworded", make=ask(teller), model=MODEL, cache=cache, request=request)
    assert len(teller.prompts) == 4
    with pytest.raises(openai.BadRequestError, match="temperature"):
        ONE.with_wordings(kind="reworded", make=ask(teller), model=MODEL, request={"temperature": 9})


def test_a_budget_stops_before_the_request_that_might_exceed_it(ask: Any, tmp_path: Path) -> None:
    """The dearest answer of gpt-4o-mini, 300 tokens at 1.2 USD per million, is 0.00036 USD."""
    teller = Teller("What depth does Lake Sorrel have?")
    with pytest.raises(rt.BudgetExceeded, match=r"wordings cost 0\.0000 USD so far.*max_cost_usd=0\.0001; give cache="):
        ONE.with_wordings(kind="reworded", make=ask(teller), model=MODEL, max_cost_usd=0.0001)
    assert teller.prompts == []
    cache = tmp_path / "wordings.jsonl"
    with pytest.raises(rt.BudgetExceeded, match=r"wordings\.jsonl keeps what was paid for"):
        ONE.with_wordings(kind="reworded", make=ask(teller), model=MODEL, max_cost_usd=0.000475, cache=cache)
    assert len(teller.prompts) == 1
    ONE.with_wordings(kind="reworded", make=ask(teller), model=MODEL, max_cost_usd=0.01, cache=cache)
    assert len(teller.prompts) == 2


def test_a_budget_without_a_price_and_a_client_without_a_model_are_refused(ask: Any) -> None:
    client = ask(Teller())
    with pytest.raises(rt.DatasetError, match="no price of 'nobody' is known, so no budget can be kept"):
        ONE.with_wordings(kind="reworded", make=client, model="nobody", max_cost_usd=1.0)
    with pytest.raises(rt.DatasetError, match="name its model with model="):
        ONE.with_wordings(kind="reworded", make=client)
    with pytest.raises(rt.DatasetError, match="a model makes reworded and reversed questions, not 'control' ones"):
        ONE.with_wordings(kind="control", make=client, model=MODEL)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5])
def test_a_budget_that_nothing_can_be_held_against_is_refused(ask: Any, value: float) -> None:
    teller = Teller("What depth does Lake Sorrel have?")
    with pytest.raises(rt.SpecError, match=r"max_cost_usd: .* is no budget; it must be a number of US dollars"):
        ONE.with_wordings(kind="reworded", make=ask(teller), model=MODEL, max_cost_usd=value)
    assert teller.prompts == []


def test_an_asynchronous_client_is_told_from_a_synchronous_one() -> None:
    client = openai.AsyncOpenAI(base_url="http://127.0.0.1:1/v1", api_key="none", max_retries=0)
    with pytest.raises(rt.DatasetError, match="the client is an asynchronous one; give a synchronous one"):
        ONE.with_wordings(kind="reworded", make=client, model=MODEL)


def test_an_error_of_the_users_own_function_names_the_fact() -> None:
    def broken(fact: Fact) -> str:
        raise LookupError("no such word")

    with pytest.raises(LookupError, match="no such word") as told:
        FACTS.with_wordings(kind="reworded", make=broken)
    assert told.value.__notes__ == ["in the function given to with_wordings() at fact 'lake'"]
