"""A tiny base, tokenizers of several families, and small training files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ragtune.data import demo_file
from ragtune.modelling.base_model import load_tokenizer
from ragtune.modelling.bases import resolve_base
from ragtune.train.spec import TrainSpec

if TYPE_CHECKING:
    from pathlib import Path

MakeSpec = Callable[..., TrainSpec]


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The folder of `tiny-random`."""
    return resolve_base("tiny-random")


@pytest.fixture(scope="session")
def tokenizer(tiny: Path) -> Any:
    """The tokenizer of `tiny-random`: byte-level, ChatML."""
    return load_tokenizer(tiny)


def chat_lines(count: int) -> list[dict[str, Any]]:
    """The first demo facts as chat records."""
    facts = [json.loads(line) for line in demo_file().read_text(encoding="utf-8").splitlines()]
    return [
        {
            "messages": [
                {"role": "user", "content": fact["question"]},
                {"role": "assistant", "content": fact["correct_answer"]},
            ]
        }
        for fact in facts[:count]
    ]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def make_spec(tmp_path: Path, tiny: Path) -> MakeSpec:
    """Builds a spec for 12 facts in batches of 4 (3 steps per epoch), two epochs, one thread."""

    def make(name: str = "run", *, examples: int = 12, **changes: Any) -> TrainSpec:
        values: dict[str, Any] = {
            "job_id": name,
            "output_dir": tmp_path / name,
            "base_path": tiny,
            "training_file": write_lines(tmp_path / f"{name}.jsonl", chat_lines(examples)),
            "n_epochs": 2,
            "batch_size": 4,
            "learning_rate": 5e-3,
            "seed": 7,
            "threads": 1,
            **changes,
        }
        return TrainSpec(**values)

    return make
