"""A relative path means the directory that the program was in when it was given."""

from __future__ import annotations

from pathlib import Path

import pytest

import ragtune as rt
from ragtune.modelling.cache import default_cache_dir


def test_what_is_kept_stays_where_it_was_when_the_program_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    monkeypatch.chdir(here)
    store, registry, journal = rt.FeedbackStore("f.sqlite3"), rt.Registry("r.sqlite3"), rt.Journal("j.sqlite3")
    store.add("83 metres", 1, question="How deep is Lake Sorrel?")
    registry.add("ft:x:a::1")
    monkeypatch.chdir(there)
    store.add("12 metres", -1, question="How deep is Lake Sorrel?")
    registry.add("ft:x:a::2")
    assert (len(store.rows()), len(registry.models()), len(journal.runs())) == (2, 2, 0)
    assert list(there.iterdir()) == []


def test_what_is_read_later_is_read_from_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A builder's files, a built dataset, one that was opened, a card, and what the environment names."""
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "docs").mkdir(parents=True)
    there.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("RAGTUNE_JOURNAL", "named-by-the-environment.sqlite3")
    monkeypatch.setenv("RAGTUNE_CACHE", "cache-that-the-environment-names")
    rows = "".join(f'{{"q": "What is {n} + {n}?", "a": "{n + n}"}}\n' for n in range(20))
    for name in ("a.jsonl", "b.jsonl"):
        (here / name).write_text(rows.replace("+", "plus" if name == "a.jsonl" else "and"))
    (here / "docs" / "one.txt").write_text("Ferries leave at noon.")
    one, both = (
        rt.DatasetBuilder.from_jsonl(name).chat(user="{q}", assistant="{a}") for name in ("a.jsonl", "[ab].jsonl")
    )
    documents = [
        rt.DatasetBuilder.from_documents(place).chat(user="Say {source}.", assistant="{text}")
        for place in ("docs", "docs/one.txt")
    ]
    built = one.build("out", validation=0.2)
    opened = [built, rt.Dataset.load("out"), rt.Dataset.from_files("out/train.jsonl", "out/validation.jsonl")]
    card = rt.evaluate({"one": lambda question: "4"}, rt.FactSet.from_dataset(built), log="eval.jsonl", progress=False)
    journal, cache = rt.Journal().path, default_cache_dir()
    monkeypatch.chdir(there)
    assert [len(builder.preview(50).records) for builder in (one, both)] == [20, 40]
    assert [len(builder.preview().records) for builder in documents] == [1, 1]
    assert [(len(list(dataset.train)), dataset.folder) for dataset in opened] == [(16, here / "out")] * 3
    assert card.to_html("card.html").exists()
    assert (rt.Journal().path, default_cache_dir()) == (journal, cache)
    assert journal == here / "named-by-the-environment.sqlite3"
    assert [path.name for path in there.iterdir()] == ["card.html"]
