"""A relative path means the directory that the program was in when it was given."""

from __future__ import annotations

from pathlib import Path

import pytest

import ragtune as rt


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
