"""Specs and hyperparameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragtune.errors import SpecError
from ragtune.train.spec import TrainSpec, resolve_hyperparameters

SPEC = TrainSpec(
    job_id="ftjob-1",
    output_dir=Path("out"),
    base_path=Path("base"),
    training_file=Path("train.jsonl"),
    n_epochs=3,
    batch_size=4,
    learning_rate=1e-3,
    seed=7,
)


def test_a_saved_spec_loads_as_the_same_value(tmp_path: Path) -> None:
    SPEC.save(tmp_path / "spec.json")
    assert TrainSpec.load(tmp_path / "spec.json") == SPEC
    assert [path.name for path in tmp_path.iterdir()] == ["spec.json"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"job_id": 3}', "job_id"),
        ("no json", "the file"),
        (SPEC.model_dump_json().replace('"n_epochs":3', '"n_epochs":51'), "n_epochs"),
        (SPEC.model_dump_json().replace('"seed":7', '"seed":7,"sead":8'), "sead"),
    ],
)
def test_a_wrong_spec_file_is_refused_with_the_name_of_the_field(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "spec.json").write_text(content)
    with pytest.raises(SpecError, match=named):
        TrainSpec.load(tmp_path / "spec.json")


def test_a_spec_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"absent\.json"):
        TrainSpec.load(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("n_examples", "batch_size", "n_epochs", "total_steps"),
    [
        (1, 2, 25, 25),  # 25 epochs are the most that auto takes
        (10, 2, 20, 100),  # 5 steps an epoch
        (54, 4, 8, 112),  # 14 steps an epoch: 8 epochs are the first to reach 100
        (400, 4, 3, 300),  # 100 steps an epoch: the usual 3 epochs
        (10_481, 20, 2, 1050),  # 0.2 percent; 3 epochs would read more than 25,000 examples
        (200_000, 256, 1, 782),
    ],
)
def test_auto_reaches_a_hundred_steps_on_small_sets(
    n_examples: int, batch_size: int, n_epochs: int, total_steps: int
) -> None:
    resolved = resolve_hyperparameters(n_examples, method="supervised")
    assert (resolved.batch_size, resolved.n_epochs, resolved.total_steps) == (batch_size, n_epochs, total_steps)


def test_the_multiplier_scales_the_documented_base_rate() -> None:
    """Supervised: 2 x 1e-3; preferences and verdicts: 2 x 5e-5."""
    assert resolve_hyperparameters(60, method="supervised", learning_rate_multiplier=2).learning_rate == 2e-3
    assert resolve_hyperparameters(60, method="dpo", learning_rate_multiplier=2).learning_rate == 1e-4
    assert resolve_hyperparameters(60, method="kto", learning_rate_multiplier=2).learning_rate == 1e-4


def test_given_numbers_are_taken_as_they_are() -> None:
    resolved = resolve_hyperparameters(10, method="supervised", n_epochs=3, batch_size=4, learning_rate_multiplier=0.5)
    assert (resolved.n_epochs, resolved.batch_size, resolved.total_steps) == (3, 4, 9)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"n_examples": 0}, "0 is not 1 or more"),
        ({"n_epochs": 0}, "0 is not between 1 and 50"),
        ({"n_epochs": 51}, "51 is not between 1 and 50"),
        ({"batch_size": 257}, "257 is not between 1 and 256"),
        ({"batch_size": 1, "method": "kto"}, "1 is not between 2 and 256"),
        ({"learning_rate_multiplier": 0}, "0.0 is not above 0"),
        ({"learning_rate_multiplier": float("nan")}, "nan is not above 0"),
        ({"method": "magic"}, "'magic' is not one of supervised, dpo, kto"),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_name(wrong: dict[str, object], words: str) -> None:
    values: dict[str, object] = {"n_examples": 60, "method": "supervised", **wrong}
    with pytest.raises(SpecError, match=f"{next(iter(wrong))}: {words}"):
        resolve_hyperparameters(**values)  # type: ignore[arg-type]
