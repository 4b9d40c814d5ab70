"""The registry against a server: what an alias gives, what a server deleted, what maintenance must not delete."""

from __future__ import annotations

import asyncio
import datetime as dt
import warnings
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

import ragtune as rt
from ragtune import aio
from ragtune.testing import ScriptedBackend

BASE = "gpt-4o-mini-2024-07-18"
LINE = '{"messages": [{"role": "user", "content": "%s?"}, {"role": "assistant", "content": "Yes."}]}\n'
DAY = dt.timedelta(days=1)


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


@pytest.fixture
def client(backend: ScriptedBackend) -> Iterator[openai.OpenAI]:
    with backend.client() as made:
        yield made


@pytest.fixture
def registry(tmp_path: Path) -> rt.Registry:
    return rt.Registry(tmp_path / "models.sqlite3")


@pytest.fixture(autouse=True)
def own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGTUNE_JOURNAL", str(tmp_path / "journal.sqlite3"))


def built(folder: Path, seed: int = 0) -> rt.Dataset:
    rows = [{"q": f"What is {n} + {seed}?", "a": str(n + seed)} for n in range(12)]
    return rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}", system="Say the sum.").build(folder)


def tuned(client: openai.OpenAI, dataset: rt.Dataset) -> rt.TunedModel:
    job = rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model="tiny-random", seed=7))
    return rt.JobMonitor(job).wait()


@pytest.mark.slow
def test_the_alias_brings_the_prompt_it_was_promoted_with(
    client: openai.OpenAI, registry: rt.Registry, tmp_path: Path
) -> None:
    """The journal may be gone on the machine that asks: the registry knows prompt, dataset, job and cost."""
    dataset = built(tmp_path / "sums")
    model = tuned(client, dataset)
    version = registry.add(model, dataset=dataset)
    assert (version.system, version.fingerprint, version.cost_usd) == ("Say the sum.", dataset.fingerprint, 0.0)
    assert version.job_id is not None
    assert version.expiry.kind == "never"
    registry.promote("prod", model, force=True, by="anna", why="first")
    asked = registry.model("prod", client, journal=None)
    assert (asked.name, asked.system(), asked.fingerprint) == (model.name, "Say the sum.", dataset.fingerprint)
    assert asked.ask("What is 4 + 0?").text == "4"

    with (
        ScriptedBackend() as other,
        other.client() as elsewhere,
        pytest.raises(rt.RegistryError, match="it was registered at"),
    ):
        registry.model("prod", elsewhere)


def test_the_async_face_is_the_same(backend: ScriptedBackend, registry: rt.Registry) -> None:
    """`add` and `model` are awaited, the rest is not."""

    async def main() -> str | None:
        async with backend.async_client() as client:
            both = aio.AsyncRegistry(registry.path)
            await both.add(aio.AsyncTunedModel(client, "tiny-random", system="Short."))
            both.promote("prod", "tiny-random", force=True, by="anna", why="first")
            return await (await both.model("prod", client)).system()

    assert asyncio.run(main()) == "Short."


@pytest.mark.slow
def test_a_model_that_was_deleted_behind_our_back(client: openai.OpenAI, registry: rt.Registry, tmp_path: Path) -> None:
    """The alias says so, with the way back; a rollback does not lead to what is known to be deleted."""
    first, second = (tuned(client, built(tmp_path / f"sums-{n}", n)) for n in (1, 2))
    for model in (first, second):
        registry.add(model)
        registry.promote("prod", model, force=True, by="anna", why="x")
    client.models.delete(second.name)
    with pytest.raises(
        rt.RegistryError, match=rf"deleted from .* without a word .*; rollback\('prod'\) goes to {first.name}"
    ):
        registry.model("prod", client)
    rt.Maintenance(client, enabled=True, registry=registry).delete_model(first.name)
    assert not registry.version(first.name).lives
    with pytest.raises(rt.RegistryError, match="would go back, was deleted"):
        registry.rollback("prod")
    with pytest.raises(rt.RegistryError, match="was deleted on"):
        registry.promote("prod", first)


def test_a_model_that_was_deleted_with_its_registry_is_no_work_of_others(
    client: openai.OpenAI, registry: rt.Registry, tmp_path: Path
) -> None:
    """And no rollback is advised where there is nothing to go back to."""
    model = tuned(client, built(tmp_path / "sums"))
    registry.add(model)
    registry.promote("prod", model, force=True, by="anna", why="x")
    rt.Maintenance(client, enabled=True, registry=registry).delete_model(model.name, force=True)
    with pytest.raises(rt.RegistryError, match=r": it was deleted on \d{4}-\d\d-\d\d; promote\(\) another$"):
        registry.model("prod", client)


def test_a_server_that_ends_a_model_within_the_notice_warns(
    backend: ScriptedBackend, client: openai.OpenAI, registry: rt.Registry, tmp_path: Path
) -> None:
    """In 90 days: with 60 days of notice nobody is told, with 120 everybody."""
    model = tuned(client, built(tmp_path / "sums"))
    registry.add(model)
    end = (dt.datetime.now(tz=dt.UTC) + 90 * DAY).date()
    backend.change_next("models.retrieve", lambda body: body | {"shutdown_date": end.isoformat()}, times=None)
    registry.promote("prod", model, force=True, by="anna", why="first")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.model("prod", client)
    registry.promote("prod", model, force=True, by="anna", why="more notice", notice_days=120)
    with pytest.warns(rt.ExpiryWarning, match=f"prod leads to {model.name}, which stops answering on {end}"):
        registry.model("prod", client)


def test_a_prompt_that_nobody_knows_is_not_taken_for_none(client: openai.OpenAI, registry: rt.Registry) -> None:
    """A job that was not made from a dataset of ours: who asks is warned, until somebody says the prompt."""
    content = "".join(LINE % number for number in range(10)).encode()
    file = client.files.create(file=("own.jsonl", content), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="tiny-random", training_file=file.id)
    name = str(client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model)
    with pytest.warns(UserWarning, match="the system prompt that .* is not known"):
        assert not registry.add(rt.TunedModel(client, name)).system_known
    registry.promote("prod", name, force=True, by="anna", why="first")
    with pytest.warns(UserWarning, match="is not known"):
        registry.model("prod", client).system()
    registry.add(rt.TunedModel(client, name, system="Be brief."))
    registry.promote("prod", name, force=True, by="anna", why="with its prompt")
    assert registry.model("prod", client).system() == "Be brief."


@pytest.mark.slow
def test_maintenance_refuses_what_is_needed(client: openai.OpenAI, registry: rt.Registry, tmp_path: Path) -> None:
    """What an alias leads to, the file of a living model, and the last copy of a dead one's data."""
    dataset = built(tmp_path / "sums")
    model = tuned(client, dataset)
    version = registry.add(model, dataset=dataset)
    registry.promote("prod", model, force=True, by="anna", why="first")
    maintenance = rt.Maintenance(client, enabled=True, registry=registry.path)
    assert version.training_file is not None
    with pytest.raises(rt.RegistryError, match=r"the alias prod leads to it\. force=True deletes it all the same"):
        maintenance.delete_model(model.name)
    assert "leads to it" in maintenance.delete_model(model.name, dry_run=True).warnings[0]
    with pytest.raises(rt.RegistryError, match=f"{model.name}, which lives, was trained on it"):
        maintenance.delete_file(version.training_file)
    assert "which lives" in maintenance.delete_file(version.training_file, dry_run=True).warnings[0]
    assert maintenance.delete_model(model.name, checkpoints=True, force=True).deleted
    (tmp_path / "sums" / "train.jsonl").rename(tmp_path / "elsewhere.jsonl")
    with pytest.raises(rt.RegistryError, match=r"the last known copy of what .* learned from"):
        maintenance.delete_file(version.training_file)
    (tmp_path / "elsewhere.jsonl").rename(tmp_path / "sums" / "train.jsonl")
    assert maintenance.delete_file(version.training_file).deleted


def test_a_file_that_a_job_reads_stays(backend: ScriptedBackend, registry: rt.Registry, tmp_path: Path) -> None:
    """A job that runs needs its file to the end."""
    backend.next_job(end="running")
    with backend.client() as client:
        job = rt.FineTuneJob.create(client, built(tmp_path / "sums"), rt.TuneSpec(model="tiny-random"))
        maintenance = rt.Maintenance(client, enabled=True, registry=registry)
        with pytest.raises(rt.RegistryError, match=f"{job.id}, which is running, still reads it"):
            maintenance.delete_file(str(job.details.training_file))
