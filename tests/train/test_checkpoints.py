"""What a killed writer leaves in a run's folder is gone before the run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragtune.train.checkpoints.folders import hold_adapter, keep_newest, last_whole_checkpoint, remove_torn


def test_what_was_left_half_goes_and_what_is_whole_stays(tmp_path: Path) -> None:
    """A checkpoint without its mark, an adapter and a spec under temporary names."""
    for name in ("checkpoints/checkpoint-4", "checkpoints/checkpoint-8", "epochs/step-4", "epochs/.step-8.0f3a.tmp"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "checkpoints/checkpoint-4/whole").touch()
    for name in ("spec.json", ".spec.json.77b1.tmp"):
        (tmp_path / name).touch()
    remove_torn(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} - {"checkpoints", "epochs"}
    assert left == {"checkpoints/checkpoint-4", "checkpoints/checkpoint-4/whole", "epochs/step-4", "spec.json"}
    assert last_whole_checkpoint(tmp_path / "checkpoints") == (4, tmp_path / "checkpoints" / "checkpoint-4")


def test_an_adapter_that_another_run_trains_further_outlives_the_newest_three(tmp_path: Path) -> None:
    for step in (3, 6, 9, 12, 15):
        (tmp_path / f"step-{step}").mkdir()
    hold_adapter(tmp_path / "step-6")
    keep_newest(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-12", "step-15", "step-6", "step-9"]
    with pytest.raises(FileNotFoundError):
        hold_adapter(tmp_path / "step-3")
