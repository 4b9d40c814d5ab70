"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragtune._atomic import draft_folder_of, draft_of, write_whole


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o027)
    yield
    os.umask(old)


@pytest.mark.parametrize(("private", "mode"), [(True, 0o600), (False, 0o640)])
def test_a_file_is_written_whole_and_readable_for_those_who_may(
    tmp_path: Path, umask: None, private: bool, mode: int
) -> None:
    """A private file is its owner's alone; any other has the mode that every new file has here."""
    target = tmp_path / "key.txt"
    target.write_text("old")
    write_whole(target, "né\n", private=private, flush=True)
    assert target.read_bytes() == "né\n".encode()
    assert stat.S_IMODE(target.stat().st_mode) == mode
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    write_whole(target, b"old")

    def stopped() -> None:
        with draft_of(target) as draft:
            draft.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stopped()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_takes_its_name_with_everything_in_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model"
    with draft_folder_of(target) as draft:
        (draft / "weights").write_bytes(b"1")
        assert not target.exists()
        os.replace(draft, target)
    assert [path.name for path in target.iterdir()] == ["weights"]

    def stopped() -> None:
        with draft_folder_of(tmp_path / "other") as draft:
            (draft / "weights").write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stopped()
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_a_link_stays_one_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    """A private file takes the link's place: whoever laid it there reads nothing."""
    there, link = tmp_path / "there.txt", tmp_path / "link.txt"
    link.symlink_to(there)
    write_whole(link, "new")
    assert (link.is_symlink(), there.read_text()) == (True, "new")
    write_whole(link, "key", private=True)
    assert (link.is_symlink(), link.read_text(), there.read_text()) == (False, "key", "new")
