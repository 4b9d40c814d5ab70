"""From a passage to the models that learned it, and what has to go with a document or a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ragtune as rt
from ragtune.facts import Fact, FactSet, Wording
from ragtune.registry import Ledger
from tests.evaluation.conftest import number_in

MODEL = "ft:gpt-4o-mini-2024-07-18:acme::abc12345"
DOCUMENTS = {"odd.md": "Lake 1 is 1 metres deep. Lake 3 is 3 metres deep.", "even.md": ""}


def facts(count: int = 12) -> FactSet:
    return FactSet(
        facts=tuple(
            Fact(
                id=f"lake-{n}",
                answers=(f"{n} metres",),
                wordings=(
                    Wording(question=f"How deep is lake {n}?"),
                    Wording(question=f"What is the depth of lake {n}?", kind="reworded"),
                ),
                support=f"Lake {n} is {n} metres deep.",
                source="odd.md" if n % 2 else "even.md",
            )
            for n in range(1, count + 1)
        )
    )


def built(folder: Path, *, taught: FactSet) -> rt.Dataset:
    rows = [{"id": fact.id, "q": fact.wordings[0].question, "a": fact.answers[0]} for fact in taught]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    return builder.build(folder, fact_id="id", validation=0.2, seed=7)


def half(question: str) -> str:
    """Knows 1 to 4 in any words, 5 to 8 in the trained ones."""
    number = int(number_in(question))
    return f"It is {number} metres." if number <= 4 or (number <= 8 and "How" in question) else "I do not know."


@pytest.fixture
def registry(tmp_path: Path) -> rt.Registry:
    made = rt.Registry(tmp_path / "models")
    card = rt.evaluate({"tuned": half}, facts(), log=tmp_path / "eval.jsonl")
    made.add(MODEL, dataset=built(tmp_path / "lakes", taught=facts()), scorecard=card)
    made.promote("prod", MODEL)
    return made


def test_rows_that_a_recipe_made_belong_to_their_facts(tmp_path: Path) -> None:
    """The row map tells wording and recipe behind the fact; the fact is the same."""
    taught = facts(3)
    dataset = (
        rt.DatasetBuilder.from_facts(taught, rt.Recipe("qa_multi", wordings=2))
        .chat(user="{question}", assistant="{answer}")
        .build(tmp_path / "lakes")
    )
    ledger = Ledger(taught, datasets=[dataset], journal=None)
    rows = [row for fact in ledger.facts for row in fact.rows]
    assert sorted(row.line for row in rows) == list(range(1, len(dataset.train) + 1))
    records = [str(record) for record in dataset.train]
    assert all("lake 3" in records[row.line - 1].lower() for row in ledger.removal(facts=["lake-3"]).rows)


def test_each_fact_has_rows_models_and_a_state(registry: rt.Registry) -> None:
    """Rows come from the row maps, models from the registry, states from the log, staleness from the document."""
    ledger = Ledger(facts(), registry=registry, journal=None)
    assert ledger.model == MODEL
    found = {fact.id: fact for fact in ledger.facts}
    assert [found[f"lake-{n}"].knowledge for n in (4, 5, 8, 9)] == ["generalised", "memorised", "memorised", "unknown"]
    assert sum(len(fact.rows) for fact in found.values()) == 12
    row = found["lake-1"].rows[0]
    assert (row.row, row.fingerprint) == (0, registry.version(MODEL).fingerprint)
    held_out = [fact for fact in found.values() if fact.rows[0].split != "train"]
    assert held_out
    assert {fact.models for fact in held_out} == {()}
    assert {fact.models for fact in found.values() if fact not in held_out} == {(MODEL,)}
    told = Ledger(facts(), registry=registry, journal=None, documents=DOCUMENTS)
    stale = {fact.id for fact in told.facts if fact.state == "stale"}
    assert stale == {f"lake-{n}" for n in range(1, 13)} - {"lake-1", "lake-3"}


def test_coverage_counts_by_document(registry: rt.Registry) -> None:
    """Of the six odd lakes two are known in any words and two by heart."""
    odd, _ = Ledger(facts(), registry=registry, journal=None, documents=DOCUMENTS).coverage()
    assert (odd.source, odd.facts, odd.measured, odd.generalised, odd.memorised, odd.unknown) == (
        "odd.md",
        6,
        6,
        2,
        2,
        2,
    )
    assert odd.stale == 4


def test_a_document_that_must_go_names_rows_models_and_aliases(registry: rt.Registry, tmp_path: Path) -> None:
    """Six lines of one dataset, the model that learned them, the alias that leads to it."""
    removal = Ledger(facts(), registry=registry, journal=None).removal(source="odd.md")
    assert (len(removal.facts), len(removal.rows), removal.models, removal.aliases) == (6, 6, (MODEL,), ("prod",))
    dataset = rt.Dataset.load(tmp_path / "lakes")
    texts = [(tmp_path / "lakes" / f"{row.split}.jsonl").read_text().splitlines()[row.line - 1] for row in removal.rows]
    assert all(int(number_in(text.partition("deep is lake ")[2].partition("?")[0])) % 2 for text in texts)
    assert dataset.fingerprint == removal.trainings[0].fingerprint
    assert f"made {MODEL}, to which prod leads" in str(removal)
    assert removal.by_question == ()


@pytest.mark.parametrize("form", ["chat", "completion", "preference"])
def test_without_ids_of_facts_lines_are_found_by_their_questions(tmp_path: Path, form: str) -> None:
    """Nine lines ask as the facts do, one in other words: it is missed, and the removal says that it may be."""
    rows = [{"q": fact.wordings[0].question.upper() + " ", "a": fact.answers[0]} for fact in facts(9)]
    builder = rt.DatasetBuilder.from_rows([*rows, {"q": "And lake 3, how far down?", "a": "3 metres"}])
    shaped = {
        "chat": lambda: builder.chat(user="{q}", assistant="{a}"),
        "completion": lambda: builder.completion(prompt="{q}", completion="{a}"),
        "preference": lambda: builder.preference(prompt="{q}", preferred="{a}", rejected="no"),
    }
    dataset = shaped[form]().build(tmp_path / "lakes")
    removal = Ledger(facts(), datasets=[dataset], journal=None).removal(source="odd.md")
    assert [row.line for row in removal.rows] == [1, 3, 5, 7, 9]
    assert removal.by_question == (str(tmp_path / "lakes"),)
    assert "found by the facts' questions alone, in other words they may be missed" in str(removal)


def test_numbers_of_other_rows_are_no_ids_of_facts(tmp_path: Path) -> None:
    """Neither side names its facts, and the rows stand in another order."""
    rows = [{"q": f"How deep is lake {n}?", "a": f"{n} metres"} for n in range(12)]
    turned = rt.DatasetBuilder.from_rows(rows[::-1]).chat(user="{q}", assistant="{a}").build(tmp_path / "turned")
    ledger = Ledger(rt.FactSet.from_rows(rows, question="q", answer="a"), datasets=[turned], journal=None)
    assert [row.line for row in ledger.facts.rows[0].rows] == [12]


def test_files_made_elsewhere_are_looked_through_too(tmp_path: Path) -> None:
    line = {"messages": [{"role": "user", "content": "How deep is lake 1?"}, {"role": "assistant", "content": "1 m"}]}
    path = tmp_path / "train.jsonl"
    path.write_text((json.dumps(line) + "\n") * 10, encoding="utf-8")
    ledger = Ledger(facts(), datasets=[rt.Dataset.from_files(path)], journal=None)
    assert len(ledger.removal(facts=["lake-1"]).rows) == 10


def test_what_nobody_could_look_into_is_said(registry: rt.Registry, tmp_path: Path) -> None:
    """A dataset that was moved away may hold rows of the document, too."""
    (tmp_path / "lakes").rename(tmp_path / "moved")
    ledger = Ledger(facts(), registry=registry, journal=None)
    assert ledger.missing == (str(tmp_path / "lakes"),)
    assert "not looked into" in str(ledger.removal(source="odd.md"))
    given = Ledger(facts(), datasets=[tmp_path / "moved"], registry=registry, journal=None)
    assert len(given.removal(facts=["lake-1"]).rows) == 1


def test_a_person_who_leaves_is_found_by_the_same_way(tmp_path: Path) -> None:
    """Rows that stand on somebody's words, by the store that the dataset was built from."""
    store = rt.FeedbackStore(tmp_path / "feedback.sqlite3")
    for number in range(12):
        store.add(f"{number}", 1, question=f"What is {number}?", by="anna" if number < 3 else "ben")
    dataset = rt.DatasetBuilder.from_feedback(store).build(tmp_path / "said")
    registry = rt.Registry(tmp_path / "models")
    registry.add(MODEL, dataset=dataset)
    store.withdraw(by="anna")
    removal = Ledger(FactSet(facts=()), registry=registry, journal=None).removal_of("anna", store)
    assert (len(removal.rows), removal.models) == (3, (MODEL,))


def test_the_journal_knows_models_that_nobody_registered(tmp_path: Path) -> None:
    """Jobs on the dataset are found by its fingerprint, failed ones without a model as well."""
    from ragtune.testing import ScriptedBackend

    dataset = built(tmp_path / "lakes", taught=facts(20))
    journal = rt.Journal(tmp_path / "journal.sqlite3")
    with ScriptedBackend() as backend, backend.client() as client:
        job = rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model="tiny-random"), journal=journal)
        model = rt.JobMonitor(job).wait()
    ledger = Ledger(facts(20), datasets=[dataset], journal=journal)
    assert [(training.job_id, training.model) for training in ledger.trainings] == [(job.id, model.name)]
    assert ledger.removal(source="even.md").models == (model.name,)


@pytest.mark.slow
def test_models_that_were_trained_further_learned_the_facts_too(tmp_path: Path) -> None:
    """A model made from a model, or from its checkpoint, still knows what the first one learned."""
    from ragtune.testing import ScriptedBackend

    dataset, other = built(tmp_path / "lakes", taught=facts(20)), built(tmp_path / "other", taught=facts(14))
    journal = rt.Journal(tmp_path / "journal.sqlite3")
    registry = rt.Registry(tmp_path / "models")
    with ScriptedBackend() as backend, backend.client() as client:
        names = ["tiny-random"]
        for data in (dataset, other, other):
            job = rt.FineTuneJob.create(client, data, rt.TuneSpec(model=names[-1]), journal=journal)
            names.append(rt.JobMonitor(job).wait().name)
    checkpoint = f"{names[2]}:ckpt-step-3"
    registry.add(checkpoint)
    registry.promote("prod", checkpoint, force=True, by="anna", why="first")
    ledger = Ledger(facts(20), datasets=[dataset], journal=journal, registry=registry)
    removal = ledger.removal(source="even.md")
    assert set(removal.models) == {*names[1:], checkpoint}
    assert removal.aliases == ("prod",)
    assert "not looked at: checkpoints" in str(removal)
    taught = next(fact for fact in ledger.facts if fact.rows[0].split == "train")
    assert set(names[1:]) <= set(taught.models)
    apart = Ledger(facts(20), datasets=[other], journal=journal).removal(source="even.md")
    assert set(apart.models) == set(names[2:])


@pytest.mark.parametrize(
    ("answers", "document", "stale"),
    [
        (("4",), "The town has 14 gates in 2041.", True),
        (("4",), "The town has 4 gates.", False),
        (("four gates", "quatre portes"), "La ville a quatre portes.", False),
        (("東京",), "首都は東京です。", False),
        (("大阪",), "首都は東京です。", True),
    ],
)
def test_a_document_says_an_answer_in_whole_words(answers: tuple[str, ...], document: str, stale: bool) -> None:
    """A digit inside a number is no answer, and any accepted answer is one."""
    fact = Fact(id="gates", answers=answers, wordings=(Wording(question="How many?"),), source="town.md")
    ledger = Ledger(FactSet(facts=(fact,)), datasets=[], journal=None, documents={"town.md": document})
    assert [one.stale for one in ledger.facts] == [stale]


def test_what_nobody_asked_in_other_words_is_not_called_memorised(tmp_path: Path) -> None:
    """Whether it generalised is not known then."""
    asked = FactSet(
        facts=tuple(
            Fact(id=fact.id, answers=fact.answers, wordings=fact.wordings[:1], source=fact.source) for fact in facts()
        )
    )
    registry = rt.Registry(tmp_path / "models")
    registry.add(MODEL, scorecard=rt.evaluate({"tuned": half}, asked, log=tmp_path / "eval.jsonl"))
    ledger = Ledger(asked, registry=registry, journal=None)
    states = [fact.state for fact in ledger.facts]
    assert (states.count("not asked in other words"), states.count("unknown"), states.count("memorised")) == (8, 4, 0)
    assert [(row.not_reworded, row.memorised, row.unknown) for row in ledger.coverage()] == [(4, 0, 2), (4, 0, 2)]


def test_a_document_that_is_no_text_is_named() -> None:
    documents: dict[str, Any] = {"odd.md": None}
    with pytest.raises(rt.RegistryError, match=r"documents\['odd\.md'\] is NoneType, not a text"):
        Ledger(facts(), datasets=[], journal=None, documents=documents)


def test_wrong_names_are_refused(registry: rt.Registry, tmp_path: Path) -> None:
    """A document or fact that is not there is no empty plan."""
    ledger = Ledger(facts(), registry=registry, journal=None)
    with pytest.raises(rt.RegistryError, match=r"no fact comes from 'od.md'; the documents are even.md, odd.md"):
        ledger.removal(source="od.md")
    with pytest.raises(rt.RegistryError, match="no fact 'lake-99'"):
        ledger.removal(facts=["lake-99"])
    with pytest.raises(rt.RegistryError, match="give source= or facts="):
        ledger.removal()
    with pytest.raises(rt.RegistryError, match="looked up in a registry"):
        Ledger(facts(), datasets=[], journal=None, model="prod")
    with pytest.raises(rt.DatasetError):
        Ledger(facts(), datasets=[tmp_path / "none"], journal=None)
