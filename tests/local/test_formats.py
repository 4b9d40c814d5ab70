"""One job in each number format that a processor can hold: trained, answered, and told wherever the job is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

import ragtune as rt
from ragtune.local import LocalBackend
from ragtune.local.engine.model_cache import where_to_answer
from ragtune.modelling.bases import resolve_base
from tests.local.kit import create, messages, wait_for

pytestmark = [pytest.mark.train, pytest.mark.slow]

FORMATS: list[Any] = ["float32", "bfloat16"]
QUESTION: Any = [{"role": "user", "content": "Who keeps the lighthouse?"}]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By format: what a job, its events, its page, its card and the answers of base and tuned model say."""
    return {dtype: everything(tmp_path_factory.mktemp(dtype), dtype) for dtype in FORMATS}


def everything(folder: Path, dtype: Any) -> dict[str, Any]:
    with (
        LocalBackend(folder / "backend", threads=1, device="cpu", dtype=dtype) as backend,
        backend.client(max_retries=0) as client,
    ):
        settings = {"n_epochs": 10, "batch_size": 4, "learning_rate_multiplier": 5.0}
        method = {"type": "supervised", "supervised": {"hyperparameters": settings}}
        job = wait_for(client, create(client, method=method, seed=1).id, timeout_s=120)
        assert job.status == "succeeded", job.error
        return {
            "job": job,
            "messages": messages(client, job.id),
            "metrics": rt.JobMonitor(rt.FineTuneJob.get(client, job.id)).metrics(),
            "page": page(backend, f"/jobs/{job.id}"),
            "card": (backend.export(job.fine_tuned_model, folder / "model").folder / "README.md").read_text(),
            "adapter": json.loads((folder / "model" / "adapter_config.json").read_text()),
            "logprobs": [logprobs(client, name) for name in ("tiny-random", job.fine_tuned_model)],
            "spec": json.loads(next((folder / "backend").rglob(f"{job.id}/**/spec.json")).read_text()),
        }


def page(backend: LocalBackend, path: str) -> str:
    origin = backend.base_url.removesuffix("/v1")
    with httpx.Client(base_url=origin, headers={"accept": "text/html"}) as browser:
        browser.post("/login", data={"key": backend.api_key}, headers={"origin": origin})
        return str(browser.get(path).text)


def logprobs(client: Any, model: str) -> list[float]:
    """How likely the first token of a greedy answer and the next likely ones are."""
    answer = client.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, max_tokens=1, logprobs=True, top_logprobs=5
    )
    return [likely.logprob for likely in answer.choices[0].logprobs.content[0].top_logprobs]


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_format_is_told_wherever_a_job_is_shown(told: dict[str, dict[str, Any]], dtype: str) -> None:
    job = told[dtype]
    assert (job["spec"]["device"], job["spec"]["dtype"]) == ("cpu", dtype)
    (begin,) = [said for said in job["messages"] if said.startswith("Training on ")]
    assert begin.startswith(f"Training on cpu with 1 thread, {dtype} (as asked for): about ")
    assert " GB of memory" in begin
    assert (job["metrics"].device, job["metrics"].dtype) == ("cpu", dtype)
    assert f"<dt>Trained on</dt><dd>cpu, {dtype}</dd>" in job["page"]
    assert f"| dtype | {dtype} |" in job["card"]
    assert "| device | cpu |" in job["card"]


def test_both_formats_learn_the_same(told: dict[str, dict[str, Any]]) -> None:
    """30 steps; bfloat16 has 8 bits of fraction, so losses drift apart: by 0.2 % where it was measured."""
    curves = {dtype: [row.train_loss for row in told[dtype]["metrics"].rows] for dtype in FORMATS}
    for losses in curves.values():
        assert len(losses) == 30
        assert losses[-1] < losses[0] / 2
    assert curves["bfloat16"] == pytest.approx(curves["float32"], rel=0.02)
    assert curves["bfloat16"] != curves["float32"]


@pytest.mark.parametrize("model", ["base", "tuned"])
def test_answers_are_computed_in_the_format_that_was_asked_for(told: dict[str, dict[str, Any]], model: str) -> None:
    """The same weights, rounded: not equal, and within 0.014 of each other where it was measured."""
    full, half = (told[dtype]["logprobs"][model == "tuned"] for dtype in FORMATS)
    assert half != full
    assert half == pytest.approx(full, abs=0.05)


def test_a_job_on_four_bits_is_told_so_and_answers_in_the_right_format(
    told: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """The base answers as it would without the wish, and the export names it as it was saved."""
    pytest.importorskip("bitsandbytes", reason="needs the extra qlora")
    job = everything(tmp_path, "nf4")
    assert (job["spec"]["device"], job["spec"]["dtype"]) == ("cpu", "nf4")
    assert any(said.startswith("Training on cpu with 1 thread, nf4 (as asked for, comp") for said in job["messages"])
    losses = [row.train_loss for row in job["metrics"].rows]
    assert losses[-1] < losses[0] / 2
    assert "<dt>Trained on</dt><dd>cpu, nf4</dd>" in job["page"]
    assert "| dtype | nf4 |" in job["card"]
    assert '"4bit"' not in json.dumps(job["adapter"])
    assert job["adapter"] == {**told["float32"]["adapter"], "target_modules": job["adapter"]["target_modules"]}
    right = where_to_answer(resolve_base("tiny-random"), device="cpu").dtype
    assert job["logprobs"][0] == told[right]["logprobs"][0]
