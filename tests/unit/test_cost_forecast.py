"""What an estimate says of time and memory on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ragtune as rt
from ragtune.modelling.bases import resolve_base
from ragtune.testing import ScriptedBackend


@pytest.fixture
def dataset(tmp_path: Path) -> rt.Dataset:
    """The demo's facts as chat records."""
    rows = rt.DatasetBuilder.from_jsonl(rt.demo_file()).filter(lambda row: row["support"], reason="no support")
    return rows.chat(user="{question}", assistant="{correct_answer}").build(tmp_path / "data", seed=1)


def test_an_estimate_for_a_base_that_is_here_says_how_long_it_takes(dataset: rt.Dataset) -> None:
    """Twice the epochs take longer; memory is the same."""
    resolve_base("tiny-random")  # built on its first use
    once, twice = (dataset.cost("tiny-random", n_epochs=n).forecast for n in (10, 20))
    assert once is not None
    assert twice is not None
    assert once.seconds is not None
    assert twice.seconds is not None
    assert once.seconds < twice.seconds
    assert once.memory_bytes == twice.memory_bytes
    assert "on this machine at rest: about" in str(dataset.cost("tiny-random"))


@pytest.mark.slow
def test_an_estimate_for_a_model_of_others_says_nothing_of_this_machine_and_loads_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys, ragtune as rt\n"
        "rows = [{'q': f'What is {n}?', 'a': str(n)} for n in range(12)]\n"
        "data = rt.DatasetBuilder.from_rows(rows).chat(user='{q}', assistant='{a}').build('data')\n"
        "cost = data.cost('gpt-4o-mini-2024-07-18')\n"
        "print(cost.forecast, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "None False\n"


def test_a_plan_for_the_embedded_backend_says_how_long_training_takes(dataset: rt.Dataset, tmp_path: Path) -> None:
    resolve_base("tiny-random")
    with ScriptedBackend(tmp_path / "backend", models=["tiny-random"]) as backend, backend.client() as client:
        spec = rt.TuneSpec(model="tiny-random")
        plan = rt.FineTuneJob.plan(client, dataset, spec)
        job = rt.FineTuneJob.create(client, dataset, spec, dialect="local")
    assert "GB of memory" in str(plan)
    assert plan.to_dict()["cost"]["forecast"]["memory_bytes"] > 0
    assert job.id.startswith("ftjob-")
