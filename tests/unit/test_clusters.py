"""The files for clusters that no test can reach: held to the schemas of those who read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "examples" / "clusters"


def test_kubeflow_knows_every_key_of_the_train_job() -> None:
    """Its models leave out what they do not know, without a word."""
    models = pytest.importorskip("kubeflow_trainer_api.models", reason="needs kubeflow-trainer-api")
    job = yaml.safe_load((FOLDER / "kubeflow-trainjob.yaml").read_text(encoding="utf-8"))
    assert json.loads(models.TrainerV1alpha1TrainJob.from_dict(job).to_json()) == job


def test_skypilot_takes_the_task() -> None:
    schemas = pytest.importorskip("sky.utils.schemas", reason="needs skypilot")
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema")
    task = yaml.safe_load((FOLDER / "skypilot.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(task, schemas.get_task_schema())


@pytest.mark.parametrize("name", ["skypilot.yaml", "kubeflow-trainjob.yaml"])
def test_each_runs_the_worker_by_its_contract(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8").replace(", ", " ")
    assert "torchrun" in text
    assert "-m ragtune.train /shared/spec.json" in text
