"""A job that goes on from a tuned model keeps that model's system prompt where its own rows have none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import ragtune as rt
from ragtune.local import LocalBackend
from tests.local.kit import trainer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import openai

ROWS = [{"q": f"What is {n} + {n}?", "a": f"{2 * n}", "bad": f"{2 * n + 1}", "good": n % 2 == 0} for n in range(12)]
KIND = "Be kind and brief."


@pytest.fixture
def client(tmp_path: Path) -> Iterator[openai.OpenAI]:
    """A client of a backend whose training is scripted."""
    with LocalBackend(tmp_path / "backend", trainer=trainer()) as backend, backend.client(timeout=60) as client:
        yield client


def rows() -> rt.DatasetBuilder:
    return rt.DatasetBuilder.from_rows(ROWS)


def tuned(client: openai.OpenAI, dataset: rt.Dataset, model: str, method: Any, journal: Any) -> rt.TunedModel:
    spec = rt.TuneSpec(model=model, method=method)
    job = rt.FineTuneJob.create(client, dataset, spec, journal=journal)
    return rt.JobMonitor(job).wait(timeout_s=60)


def begun(client: openai.OpenAI, folder: Path, journal: Any, *, system: str | None = KIND) -> str:
    """The name of a model that was trained with a system prompt."""
    dataset = rows().chat(system=system, user="{q}", assistant="{a}").build(folder / "first")
    return tuned(client, dataset, "tiny-random", rt.Supervised(n_epochs=1), journal).name


@pytest.mark.slow
@pytest.mark.parametrize("noted", [True, False])
def test_verdicts_without_a_system_prompt_take_that_of_the_model(
    client: openai.OpenAI, tmp_path: Path, noted: bool
) -> None:
    """From the journal, or from the job that made the model where no journal is kept; and so on over generations."""
    journal = rt.Journal(tmp_path / "journal.sqlite3") if noted else None
    first = begun(client, tmp_path, journal)
    judged = rows().unpaired(prompt="{q}", completion="{a}", label="good").build(tmp_path / "judged")
    second = tuned(client, judged, first, rt.KTO(n_epochs=1), journal)
    assert second.system() == KIND
    assert second.fingerprint == judged.fingerprint
    pairs = rows().preference(prompt="{q}", preferred="{a}", rejected="{bad}").build(tmp_path / "pairs")
    third = tuned(client, pairs, second.name, rt.DPO(n_epochs=1), journal)
    assert third.system() == KIND
    assert rt.TunedModel(client, third.name, journal=None).system() == KIND


@pytest.mark.slow
def test_rows_with_a_prompt_of_their_own_keep_it(client: openai.OpenAI, tmp_path: Path) -> None:
    """One prompt for all of them goes before the model's; prompts that vary leave the job without one."""
    first = begun(client, tmp_path, None)
    own = rows().unpaired(system="Be strict.", prompt="{q}", completion="{a}", label="good").build(tmp_path / "own")
    assert tuned(client, own, first, rt.KTO(n_epochs=1), None).system() == "Be strict."
    varied = (
        rows().unpaired(system="Be {bad}.", prompt="{q}", completion="{a}", label="good").build(tmp_path / "varied")
    )
    assert tuned(client, varied, first, rt.KTO(n_epochs=1), None).system() is None


@pytest.mark.slow
def test_a_prompt_too_long_for_metadata_is_missed_by_the_next_model_too(client: openai.OpenAI, tmp_path: Path) -> None:
    first = begun(client, tmp_path, None, system="Be kind. " * 100)
    judged = rows().unpaired(prompt="{q}", completion="{a}", label="good").build(tmp_path / "judged")
    second = tuned(client, judged, first, rt.KTO(n_epochs=1), None)
    with pytest.warns(UserWarning, match="it has 900 characters, more than a job's metadata can keep"):
        assert second.system() is None


@pytest.mark.slow
def test_a_base_has_no_prompt_to_give(client: openai.OpenAI, tmp_path: Path) -> None:
    judged = rows().unpaired(prompt="{q}", completion="{a}", label="good").build(tmp_path / "judged")
    assert tuned(client, judged, "tiny-random", rt.KTO(n_epochs=1), None).system() is None
