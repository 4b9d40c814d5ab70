"""The checkpoint that answers best, told by its answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import ragtune as rt
from ragtune.facts import Fact, FactSet, Wording
from ragtune.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("one", "two", "three", "four")
FACTS = FactSet(
    facts=tuple(
        Fact(
            id=name,
            answers=(name,),
            wordings=(
                Wording(question=f"What is number {n}?"),
                Wording(question=f"How is {n} called?", kind="reworded"),
            ),
        )
        for n, name in enumerate(NAMES, 1)
    )
)
# How many of the four facts each checkpoint knows in other words; all of them know the trained ones.
KNOWN = {"ckpt-step-3": 1, "ckpt-step-6": 3}


def answer(model: str, messages: Any) -> str:
    question = messages[-1]["content"]
    assert messages[0] == {"role": "system", "content": "Be brief."}
    number = int("".join(filter(str.isdigit, question)))
    known = next((count for name, count in KNOWN.items() if model.endswith(name)), 3)
    return NAMES[number - 1] if question.startswith("What") or number <= known else "no idea"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedBackend]:
    with ScriptedBackend(answer=answer) as backend:
        yield backend


@pytest.fixture
def dataset(tmp_path: Path) -> rt.Dataset:
    rows = [{"q": f"What is number {n}?", "a": str(n)} for n in range(12)]
    return rt.DatasetBuilder.from_rows(rows).chat(system="Be brief.", user="{q}", assistant="{a}").build(tmp_path / "d")


def spec(epochs: int = 3) -> rt.TuneSpec:
    return rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=epochs, batch_size=4))


def test_the_best_is_the_one_whose_held_out_answers_are_right(
    server: ScriptedBackend, dataset: rt.Dataset, tmp_path: Path
) -> None:
    """Of equals the earliest; the trained prompt goes along; the log can be looked at again."""
    with server.client() as client:
        job = rt.FineTuneJob.create(client, dataset, spec=spec(), journal=None)
        monitor = rt.JobMonitor(job)
        monitor.wait(timeout_s=60)
        best = monitor.best_checkpoint(FACTS, log=tmp_path / "log.jsonl")
    assert [(score.step, score.score.mean) for score in best.curve] == [(3, 0.25), (6, 0.75), (9, 0.75)]
    assert (best.step, best.name.endswith("ckpt-step-6")) == (6, True)
    assert best.card.kinds == ("reworded",)
    assert (tmp_path / "log.jsonl").exists()
    assert "best" in str(best)
    assert best.to_pandas()["Mean"].tolist() == [0.25, 0.75, 0.75]


def test_every_question_can_be_named_and_the_async_twin_does_the_same(
    server: ScriptedBackend, dataset: rt.Dataset
) -> None:
    async def main() -> Any:
        async with server.async_client() as client:
            job = await rt.AsyncFineTuneJob.create(client, dataset, spec=spec(), journal=None)
            monitor = rt.AsyncJobMonitor(job)
            await monitor.wait(timeout_s=60)
            return await monitor.best_checkpoint(FACTS, ("exact",), kind="verbatim")

    best = asyncio.run(main())
    assert [score.score.mean for score in best.curve] == [1.0, 1.0, 1.0]
    assert best.step == 3


def test_a_job_without_a_checkpoint_and_facts_without_the_kind_say_so(dataset: rt.Dataset) -> None:
    with ScriptedBackend(answer=answer, pace="poll") as server, server.client() as client:
        job = rt.FineTuneJob.create(client, dataset, spec=spec(), journal=None)
        with pytest.raises(rt.NoTunedModel, match="has no checkpoint that can be asked: it is"):
            rt.JobMonitor(job).best_checkpoint(FACTS)
        with pytest.raises(rt.EvaluationError, match="no wording of the kind control, only reworded, verbatim"):
            rt.JobMonitor(job).best_checkpoint(FACTS, kind="control")


def test_a_job_that_ended_early_has_its_finished_model_asked_as_well(dataset: rt.Dataset) -> None:
    """It may be the model of an epoch whose checkpoint is gone."""
    method = rt.Supervised(n_epochs=2, batch_size=4, early_stop=1)
    with ScriptedBackend(answer=answer) as server, server.client() as client:
        held_out = rt.upload(client, dataset.train, journal=None)
        job = rt.FineTuneJob.create(
            client,
            dataset,
            spec=rt.TuneSpec(model="tiny-random", method=method),
            validation=held_out,
            dialect="local",
            journal=None,
        )
        monitor = rt.JobMonitor(job)
        monitor.wait(timeout_s=60)
        best = monitor.best_checkpoint(FACTS)
    assert [score.step for score in best.curve] == [3, 6, None]
    assert best.curve[-1].name == job.details.fine_tuned_model
