"""The events file under readers, writers and kills."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ragtune.train import events

if TYPE_CHECKING:
    from pathlib import Path


def test_a_reader_gets_each_event_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events.append(path, {"type": "message", "message": "one"})
    first, offset = events.read_from(path)
    events.append(path, {"type": "message", "message": "two\nlines \u2028 and ünïcode"})
    second, end = events.read_from(path, offset)
    assert [event["message"] for event in first + second] == ["one", "two\nlines \u2028 and ünïcode"]
    assert events.read_from(path, end) == ([], end)
    assert all(event["time"] > 1.7e9 for event in first + second)


def test_a_file_that_is_not_there_reads_as_empty(tmp_path: Path) -> None:
    assert events.read_from(tmp_path / "events.jsonl", 0) == ([], 0)


def test_a_line_that_is_still_being_written_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events.append(path, {"type": "a"})
    with path.open("ab") as handle:
        handle.write(b'{"type": "b"')
    seen, offset = events.read_from(path)
    assert [event["type"] for event in seen] == ["a"]
    with path.open("ab") as handle:
        handle.write(b"}\n")
    assert [event["type"] for event in events.read_from(path, offset)[0]] == ["b"]


def test_a_torn_line_costs_no_later_event(tmp_path: Path) -> None:
    """A writer was killed in the middle of a line; the next start seals it."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type": "a"}\n{"type": "metr')
    events.seal(path)
    events.append(path, {"type": "b"})
    assert [event["type"] for event in events.read_from(path)[0]] == ["a", "b"]


def test_sealing_a_whole_an_empty_or_an_absent_file_changes_nothing(tmp_path: Path) -> None:
    events.seal(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    for content in (b"", b"{}\n"):
        (tmp_path / "file").write_bytes(content)
        events.seal(tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == content


def test_a_number_that_json_lacks_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        events.append(tmp_path / "events.jsonl", {"type": "metrics", "train_loss": float("nan")})
    assert not (tmp_path / "events.jsonl").exists()
