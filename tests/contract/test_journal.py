"""What the journal keeps, against a scripted server over loopback: lost answers, budgets, troubles of the file."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openai
import pytest

import ragtune as rt
from ragtune._api import Api
from ragtune._api.identity import name_of_account, public_url
from ragtune._api.ports import SyncPort
from ragtune.journal.recorder import Recorder
from ragtune.testing import ScriptedBackend

SPEC = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=2), seed=7, suffix="sums")
PRICED = rt.TuneSpec(model="gpt-4o-mini-2024-07-18", method=rt.Supervised(n_epochs=2), seed=7)
CREATE = "fine_tuning.jobs.create"


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[ScriptedBackend]:
    with ScriptedBackend(tmp_path / "backend") as running:
        yield running


@pytest.fixture
def real(backend: ScriptedBackend) -> Iterator[openai.OpenAI]:
    with backend.client() as client:
        yield client


@pytest.fixture
def journal(tmp_path: Path) -> rt.Journal:
    return rt.Journal(tmp_path / "journal.sqlite3")


def quick(client: openai.OpenAI, clock: Any) -> Api:
    """The calls with a clock that only passes when somebody sleeps."""
    return Api(SyncPort(client, now=clock.now, monotonic=clock.now, sleep=clock.sleep))


def calls(backend: ScriptedBackend, name: str) -> int:
    return sum(request.call == name for request in backend.requests)


def test_a_job_is_in_the_journal_with_its_cost_and_its_end(
    real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    job = rt.FineTuneJob.create(real, dataset, SPEC, journal=journal)
    [run] = journal.runs()
    assert (run.state, run.job_id, run.model, run.suffix) == ("created", job.id, "tiny-random", "sums")
    assert (run.fingerprint, run.system) == (dataset.fingerprint, "Add up.")
    assert (run.predicted_usd, run.trained_tokens) == (0.0, None)
    job.refresh()
    [run] = journal.runs()
    assert (run.status, run.fine_tuned_model) == ("succeeded", job.details.fine_tuned_model)
    assert run.trained_tokens == job.details.trained_tokens
    assert run.finished_at == job.details.finished_at
    assert [upload.state for upload in journal.uploads()] == ["done", "done"]
    assert rt.FineTuneJob.attach(real, run.id, journal=journal).id == job.id


def test_a_watched_job_ends_in_the_journal_too(real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal) -> None:
    job = rt.FineTuneJob.create(real, dataset, SPEC, journal=journal)
    model = rt.JobMonitor(job, poll_s=0.01).wait()
    assert journal.runs()[0].fine_tuned_model == model.name


def test_a_system_prompt_too_long_for_the_metadata_is_remembered(
    real: openai.OpenAI, journal: rt.Journal, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """By the job's id, before the end of the job is written, and by the model's name after it."""
    rows = [{"q": f"{n} + {n}?", "a": str(n + n)} for n in range(12)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(system="Add. " * 200, user="{q}", assistant="{a}")
    job = rt.FineTuneJob.create(real, builder.build(tmp_path / "long"), SPEC, journal=journal)
    assert journal.runs()[0].fine_tuned_model is None
    model = rt.JobMonitor(job, poll_s=0.01).wait()
    assert model.system() == "Add. " * 200
    named = rt.TunedModel(real, model.name, journal=journal)
    assert (named.system(), named.fingerprint) == ("Add. " * 200, job.details.metadata["ragtune_fingerprint"])
    assert not recwarn.list
    with pytest.warns(UserWarning, match="more than a job's metadata can keep"):
        assert rt.TunedModel(real, model.name, journal=None).system() is None


def test_a_journal_of_an_earlier_version_is_read_and_gone_on_with(
    real: openai.OpenAI, journal: rt.Journal, tmp_path: Path
) -> None:
    """The file holds an order for these very rows: today's key for it is the same, so it would not be bought twice."""
    with closing(sqlite3.connect(journal.path)) as file:
        file.executescript(Path(__file__).with_name("journal_0_1_0.sql").read_text(encoding="utf-8"))
    lost, done = journal.runs()
    assert (done.state, done.status, done.system, done.predicted_tokens) == ("created", "succeeded", "Add.", 312)
    assert (done.begun_at.date(), done.billed_usd) == (date(2026, 11, 26), 0.0)
    assert (lost.state, lost.known, lost.cost_usd, lost.job_id) == ("sent", ("ftjob-1",), None, None)
    assert [(spend.model, spend.jobs) for spend in journal.spend()] == [
        ("tiny-random", 1),
        ("gpt-4o-mini-2024-07-18", 1),
    ]
    assert [(upload.state, upload.bytes) for upload in journal.uploads()] == [("done", 1547)]
    journal.give_up(lost.id)
    assert done.fine_tuned_model is not None
    model = rt.TunedModel(real, done.fine_tuned_model, journal=journal)
    assert (model.system(), model.fingerprint) == ("Add.", done.fingerprint)
    rows = [{"q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(system="Add.", user="{q}", assistant="{a}")
    spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=1), seed=7)
    job = rt.FineTuneJob.create(real, builder.build(tmp_path / "sums"), spec, journal=journal)
    new, given_up, _ = journal.runs()
    assert (new.job_id, new.key, new.account == done.account) == (job.id, done.key, False)
    assert given_up.state == "failed"


def test_the_users_own_journal_is_the_default_and_none_is_off(real: openai.OpenAI, dataset: rt.Dataset) -> None:
    rt.FineTuneJob.create(real, dataset, SPEC, journal=None)
    assert not rt.Journal().path.exists()
    rt.FineTuneJob.get(real, real.fine_tuning.jobs.list().data[0].id)
    assert not rt.Journal().path.exists()
    rt.FineTuneJob.create(real, dataset, SPEC)
    assert [run.state for run in rt.runs()] == ["created"]
    assert rt.runs().to_pandas()["Model"].tolist() == ["tiny-random"]


def test_the_journal_holds_no_key_and_only_its_owner_reads_it(
    real: openai.OpenAI, backend: ScriptedBackend, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    """Nor anything else that an address may hide."""
    url = backend.base_url.replace("http://", "http://user:a-password@") + "?token=a-token"
    with openai.OpenAI(base_url=url, api_key=backend.api_key) as client:
        rt.FineTuneJob.plan(client, dataset, SPEC, journal=journal)
        rt.upload(client.with_options(base_url=backend.base_url), dataset, journal=journal)
    rt.FineTuneJob.create(real, dataset, SPEC, journal=journal)
    content = b"".join(path.read_bytes() for path in journal.path.parent.glob("journal.sqlite3*") if path.is_file())
    assert b"tiny-random" in content
    for secret in (backend.api_key, "a-password", "a-token"):
        assert secret.encode() not in content
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert public_url(url) == backend.base_url


def test_an_account_is_address_organisation_and_project() -> None:
    assert name_of_account("https://API.openai.com/v1/", "org-1", "proj-2") == "https://api.openai.com/v1 org-1 proj-2"
    assert name_of_account("http://127.0.0.1:5/v1", None, None, told="org-a") == "org-a"
    assert name_of_account("http://127.0.0.1:5/v1", None, None) == "http://127.0.0.1:5/v1"


def test_an_embedded_backend_is_the_same_account_at_another_address(
    tmp_path: Path, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    ids = []
    for _ in range(2):
        with ScriptedBackend(tmp_path / "kept") as backend, backend.client() as client:
            ids.append(rt.upload(client, dataset, journal=journal).id)
    assert ids[0] == ids[1]
    assert {upload.account for upload in journal.uploads()} == {backend_account(tmp_path / "kept")}


def backend_account(folder: Path) -> str:
    with ScriptedBackend(folder) as backend:
        return backend.account


def test_a_content_is_known_by_its_hash_and_not_by_its_name(
    real: openai.OpenAI, backend: ScriptedBackend, dataset: rt.Dataset, tmp_path: Path, journal: rt.Journal
) -> None:
    """A file that was deleted from the server since is sent again."""
    first = rt.upload(real, dataset, journal=journal)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(dataset.train.path.read_bytes())
    assert rt.upload(real, copy, journal=journal).id == first.id
    real.files.delete(first.id)
    again = rt.upload(real, copy, journal=journal)
    assert (again.reused, again.id != first.id) == (False, True)
    assert [upload.state for upload in journal.uploads()] == ["done", "gone"]


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": True, "after_commit": True},
        {"status": 500, "after_commit": True},
        {"status": 504, "after_commit": True},
    ],
    ids=["dropped reply", "500 after success", "504 after success"],
)
def test_a_lost_answer_buys_one_job(
    backend: ScriptedBackend, dataset: rt.Dataset, journal: rt.Journal, fault: dict[str, Any]
) -> None:
    """The client would try twice more; one request goes out and one job is found."""
    backend.fail_next(CREATE, **fault)
    with backend.client() as client:
        job = rt.FineTuneJob.create(client, dataset, SPEC, journal=journal)
    assert calls(backend, CREATE) == 1
    assert [(run.state, run.job_id) for run in journal.runs()] == [("created", job.id)]


def test_an_answer_without_an_id_is_a_lost_one(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    """A gateway that rewrites answers must not make a bought job look like a failed one."""
    backend.change_next(CREATE, lambda body: {"ok": True})
    job = rt.FineTuneJob.create(real, dataset, SPEC, journal=journal)
    assert [(run.state, run.job_id) for run in journal.runs()] == [("created", job.id)]
    assert calls(backend, CREATE) == 1


@pytest.mark.slow
def test_an_answer_that_comes_too_late_buys_one_job(
    backend: ScriptedBackend, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    """The job is made at once and told after 1.5 s; the client gives up after 0.5 s."""

    def late(body: Any) -> Any:
        time.sleep(1.5)
        return body

    class Impatient(SyncPort):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            return await super().call(name, **arguments | ({"timeout_s": 0.5} if name == CREATE else {}))

    backend.change_next(CREATE, late)
    with backend.client() as client:
        job = rt.FineTuneJob.create(Api(Impatient(client)), dataset, SPEC, journal=journal)
    assert calls(backend, CREATE) == 1
    assert [(run.state, run.job_id) for run in journal.runs()] == [("created", job.id)]


@pytest.mark.parametrize("trouble", ["refused", "no such host", "no TLS"])
def test_a_request_that_never_left_may_be_sent_again(
    backend: ScriptedBackend, dataset: rt.Dataset, journal: rt.Journal, trouble: str
) -> None:
    """No connection came about, so nothing can have been bought: the run is written off, and the next call buys."""
    where = {
        "refused": "http://127.0.0.1:9/v1",
        "no such host": "http://no-such-host.invalid/v1",
        "no TLS": backend.base_url.replace("http://", "https://"),
    }[trouble]

    class Unplugged(SyncPort):
        async def call(self, name: str, /, **arguments: Any) -> Any:
            if name == CREATE:
                self._client = self._client.with_options(base_url=where)
            return await super().call(name, **arguments)

    with backend.client() as client:
        with pytest.raises(openai.APIConnectionError):
            rt.FineTuneJob.create(Api(Unplugged(client)), dataset, SPEC, journal=journal)
        assert [run.state for run in journal.runs()] == ["failed"]
        assert "APIConnectionError" in str(journal.runs())
        with pytest.raises(rt.JournalError, match="leaves its number out"):
            journal.run(99)
        job = rt.FineTuneJob.create(client, dataset, SPEC, journal=journal)
    assert [run.state for run in journal.runs()] == ["created", "failed"]
    assert journal.runs()[0].job_id == job.id


@pytest.mark.slow
def test_an_uncertain_run_blocks_its_key_until_it_is_resolved(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal, clock: Any
) -> None:
    """The job shows up only after `create` gave up; no second request goes out before that."""
    api = quick(real, clock)
    backend.change_next("fine_tuning.jobs.list", lambda page: page | {"data": []}, times=None)
    backend.fail_next(CREATE, drop=True, after_commit=True)
    for _ in range(2):
        with pytest.raises(rt.CreateUncertain, match=r"ragtune runs resolve 1`.*--not-created"):
            rt.FineTuneJob.create(api, dataset, SPEC, journal=journal)
    with pytest.raises(rt.CreateUncertain):
        rt.FineTuneJob.attach(api, 1, journal=journal)
    warnings = rt.FineTuneJob.plan(api, dataset, SPEC, journal=journal, probe=True).warnings
    assert any("run 1" in warning and "unknown" in warning for warning in warnings)
    backend.reset()
    job = rt.FineTuneJob.attach(api, 1, journal=journal)
    assert rt.FineTuneJob.create(api, dataset, SPEC, journal=journal).id == job.id
    assert calls(backend, CREATE) == 0


@pytest.mark.slow
def test_a_run_that_made_no_job_within_an_hour_is_sent_again(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal, clock: Any
) -> None:
    api = quick(real, clock)
    backend.fail_next(CREATE, status=502)
    with pytest.raises(rt.CreateUncertain):
        rt.FineTuneJob.create(api, dataset, SPEC, journal=journal)
    clock.seconds += 3600
    job = rt.FineTuneJob.create(api, dataset, SPEC, journal=journal)
    assert [(run.state, run.job_id) for run in journal.runs()] == [("created", job.id), ("failed", None)]


def forget_metadata(body: Any) -> Any:
    """A server that keeps no metadata and knows no filter by it."""
    for job in body.get("data", [body]):
        job["metadata"] = None
    return body


@pytest.fixture
def forgetful(backend: ScriptedBackend, clock: Any) -> ScriptedBackend:
    """The clock is the server's, since creation times are compared."""
    clock.seconds = time.time()
    for call in ("fine_tuning.jobs.list", CREATE, "fine_tuning.jobs.retrieve"):
        backend.change_next(call, forget_metadata, times=None)
    return backend


def test_without_metadata_a_lost_job_is_known_by_file_suffix_and_time(
    forgetful: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal, clock: Any
) -> None:
    """The list filtered by metadata is empty, as is the metadata of every job."""
    api = quick(real, clock)
    other = rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model="tiny-random", suffix="other"), journal=journal)
    unfiltered_only(forgetful)
    forgetful.fail_next(CREATE, drop=True, after_commit=True)
    job = rt.FineTuneJob.create(api, dataset, SPEC, journal=journal)
    assert job.id != other.id
    assert journal.runs()[0].job_id == job.id
    assert rt.FineTuneJob.create(api, dataset, SPEC, journal=journal).reused


def unfiltered_only(backend: ScriptedBackend) -> None:
    """Reset what was said; the filter by metadata finds nothing, and metadata is not told."""
    backend.reset()
    for call in ("fine_tuning.jobs.list", "fine_tuning.jobs.retrieve"):
        backend.change_next(call, forget_metadata, times=None)


@pytest.mark.slow
def test_without_metadata_two_jobs_that_fit_are_uncertain(
    forgetful: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal, clock: Any
) -> None:
    """A stranger's job on the same file in the same minute cannot be told from ours, so the user must say which."""
    api = quick(real, clock)
    uploaded = rt.upload(api, dataset, journal=journal)
    twin = real.fine_tuning.jobs.create(model="tiny-random", training_file=uploaded.id, suffix="sums", seed=7)
    unfiltered_only(forgetful)
    forgetful.fail_next(CREATE, drop=True, after_commit=True)
    with pytest.raises(rt.CreateUncertain, match=twin.id):
        rt.FineTuneJob.create(api, dataset, SPEC, journal=journal)
    ours = next(job.id for job in real.fine_tuning.jobs.list() if job.id != twin.id)
    [run] = journal.runs()
    assert rt.FineTuneJob.attach(api, run.id, job_id=ours, journal=journal).id == ours
    assert rt.FineTuneJob.create(api, dataset, SPEC, journal=journal).id == ours


def test_two_jobs_that_fit_are_told_without_a_journal_too(
    forgetful: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, clock: Any
) -> None:
    """There is no run to resolve then, so no command is named that would need one."""
    api = quick(real, clock)
    uploaded = rt.upload(api, dataset, journal=None)
    twin = real.fine_tuning.jobs.create(model="tiny-random", training_file=uploaded.id, suffix="sums", seed=7)
    unfiltered_only(forgetful)
    forgetful.fail_next(CREATE, drop=True, after_commit=True)
    with pytest.raises(rt.CreateUncertain, match=f"{twin.id}.*FineTuneJob.get") as uncertain:
        rt.FineTuneJob.create(api, dataset, SPEC, journal=None)
    assert "ragtune runs" not in str(uncertain.value)


@pytest.mark.slow
def test_a_run_of_another_account_is_not_looked_for_here(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal, tmp_path: Path, clock: Any
) -> None:
    backend.fail_next(CREATE, status=502)
    with pytest.raises(rt.CreateUncertain):
        rt.FineTuneJob.create(quick(real, clock), dataset, SPEC, journal=journal)
    with ScriptedBackend(tmp_path / "other") as other, other.client() as stranger:
        with pytest.raises(rt.JournalError, match=r"run 1 belongs to the account 'org-"):
            rt.FineTuneJob.attach(stranger, 1, journal=journal)
        assert rt.FineTuneJob.create(stranger, dataset, SPEC, journal=journal).id
    journal.give_up(1)
    with pytest.raises(rt.JournalError, match="run 1 made no job"):
        rt.FineTuneJob.attach(real, 1, journal=journal)
    with pytest.raises(rt.JournalError, match="run 2 is created"):
        journal.give_up(2)


def test_the_asynchronous_twin_keeps_the_same_journal(
    backend: ScriptedBackend, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    """Two tasks of one loop buy one job."""

    async def buy() -> list[str]:
        async with backend.async_client() as client:
            made = [rt.AsyncFineTuneJob.create(client, dataset, SPEC, journal=journal) for _ in range(2)]
            jobs = await asyncio.gather(*made)
            [run] = journal.runs()
            return [*(job.id for job in jobs), (await rt.AsyncFineTuneJob.attach(client, run.id, journal=journal)).id]

    assert len(set(asyncio.run(buy()))) == 1
    assert calls(backend, CREATE) == 1


def test_a_plan_writes_nothing_and_tells_of_duplicates(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    plan = rt.FineTuneJob.plan(real, dataset, SPEC, journal=journal)
    assert not journal.path.exists()
    assert plan.warnings == ()
    job = rt.FineTuneJob.create(real, dataset, SPEC, journal=journal)
    before = journal.path.read_bytes()
    plan = rt.FineTuneJob.plan(real, dataset, SPEC, journal=journal)
    assert plan.warnings == (f"{job.id} (validating_files by the journal) has the same key: create would hand it back",)
    assert not any(call.writes for call in plan.calls)
    probed = rt.FineTuneJob.plan(real, dataset, SPEC, journal=journal, probe=True)
    assert any(f"{job.id} (succeeded) has the same key" in warning for warning in probed.warnings)
    other = rt.FineTuneJob.plan(real, dataset, rt.TuneSpec(model="tiny-random"), journal=journal, probe=True)
    assert any("train-" in warning and "would not be sent" in warning for warning in other.warnings)
    assert [call.name for call in other.calls] == [CREATE]
    assert journal.path.read_bytes() == before
    assert json.loads(json.dumps(probed.to_dict()))["server"] == backend.base_url


def test_a_probe_tells_that_an_account_may_be_closed(real: openai.OpenAI, dataset: rt.Dataset) -> None:
    """A hint, since a key may not see everything; only where OpenAI's dates hold."""
    told = {
        dialect: rt.FineTuneJob.plan(real, dataset, SPEC, probe=True, dialect=dialect).warnings
        for dialect in ("openai", "generic")
    }
    assert any("TuningClosed" in warning for warning in told["openai"])
    assert not any("TuningClosed" in warning for warning in told["generic"])


@pytest.mark.slow
def test_a_look_tells_the_journal_how_a_job_stands(backend: ScriptedBackend, dataset: rt.Dataset) -> None:
    """Whoever looks: `get`, the list, `Maintenance.cancel`; and a deleted model and file are noted, too."""
    backend.next_job(end="paused", steps=1)
    with backend.client() as client:
        paused = rt.FineTuneJob.create(client, dataset, SPEC)
        rt.FineTuneJob.get(client, paused.id)
        assert rt.runs()[0].status == "paused"
        rt.Maintenance(client, enabled=True).cancel(paused.id)
        assert (rt.runs()[0].status, rt.runs()[0].last_status) == ("cancelled", "cancelled")
        done = rt.FineTuneJob.create(client, dataset, SPEC)
        assert done.id in [job.id for job in rt.list_jobs(client)]
        run = rt.runs()[0]
        assert (run.status, run.fine_tuned_model is not None) == ("succeeded", True)
        rt.Maintenance(client, enabled=True).delete_model(str(run.fine_tuned_model))
        assert rt.runs().to_pandas()["Last Status"][0] == "succeeded, model deleted"
        rt.Maintenance(client, enabled=True).delete_file(str(run.training_file))
        assert {row.state for row in rt.Journal().uploads() if row.file_id == run.training_file} == {"gone"}


@pytest.mark.parametrize("way", ["latest", "from_job", "wait", "create"])
def test_a_model_that_was_deleted_elsewhere_is_noted_when_it_is_missed(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, way: str
) -> None:
    job = rt.FineTuneJob.create(real, dataset, SPEC).refresh()
    real.models.delete(str(job.details.fine_tuned_model))
    if way == "create":
        assert rt.FineTuneJob.create(real, dataset, SPEC).id != job.id
    else:
        ways = {
            "latest": lambda: rt.TunedModel.latest(real),
            "from_job": lambda: rt.TunedModel.from_job(job),
            "wait": lambda: rt.JobMonitor(job).wait(),
        }
        with pytest.raises(rt.NoTunedModel) as missed:
            ways[way]()
        assert way != "latest" or f"the folder {backend.folder}" in str(missed.value)
    assert rt.runs()[-1].last_status == "succeeded, model deleted"


@pytest.mark.slow
def test_a_run_knows_its_folder_and_who_asks_elsewhere_is_told_it(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, tmp_path: Path
) -> None:
    job = rt.FineTuneJob.create(real, dataset, SPEC)
    [run] = rt.runs()
    assert (run.folder, run.account) == (str(backend.folder), backend.account)
    assert f"folder: {backend.folder}\n" in command("show", 1)[1]
    with ScriptedBackend(tmp_path / "other") as other, other.client() as stranger:
        both = f"run 1 made it, of the folder {backend.folder}; this client speaks to the folder {other.folder}"
        with pytest.raises(openai.NotFoundError) as missed:
            rt.FineTuneJob.get(stranger, job.id)
        assert both in missed.value.__notes__[-1]
        model = rt.TunedModel(stranger, str(job.refresh().details.fine_tuned_model))
        ways: list[Callable[[], object]] = [
            lambda: model.ask("2 + 2?"),
            lambda: model.complete("2 + 2 ="),
            lambda: model.respond("2 + 2?"),
            lambda: list(model.stream("2 + 2?")),
            lambda: list(model.stream_response("2 + 2?")),
        ]
        for way in ways:
            with pytest.raises(openai.NotFoundError) as missed:
                way()
            assert [note for note in missed.value.__notes__ if both in note] == [missed.value.__notes__[-1]]
        with pytest.raises(rt.JournalError, match=f"folder {backend.folder}.*folder {other.folder}"):
            rt.FineTuneJob.attach(stranger, run.id)
        with pytest.raises(openai.NotFoundError) as missed:
            rt.FineTuneJob.get(stranger, "ftjob-nobodys")
        assert missed.value.__notes__[-1] == f"this client speaks to the folder {other.folder}"


def test_a_key_is_known_where_a_server_keeps_no_metadata(
    forgetful: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, tmp_path: Path
) -> None:
    job = rt.FineTuneJob.create(real, dataset, SPEC, key="the nightly one", journal=tmp_path / "own.sqlite3")
    saved = job.save(tmp_path / "job.json")
    assert job.details.metadata == {}
    again = rt.FineTuneJob.load(real, saved)
    assert (job.key, again.key) == ("the nightly one", "the nightly one")
    assert rt.Journal(tmp_path / "own.sqlite3").runs()[0].status == "succeeded"


def test_a_journal_is_found_from_home_and_stays_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAGTUNE_JOURNAL", "~/runs.sqlite3")
    assert rt.Journal().path == rt.Journal("~/runs.sqlite3").path == tmp_path / "runs.sqlite3"
    monkeypatch.chdir(tmp_path)
    named = rt.Journal("here.sqlite3")
    monkeypatch.chdir("/")
    assert named.path == tmp_path / "here.sqlite3"


@pytest.mark.parametrize("limit", [0, -1, True, "3"])
def test_a_limit_that_shows_nothing_is_refused(real: openai.OpenAI, limit: Any) -> None:
    """A number out of range is a setting that cannot be; what is no number at all is a slip in the program."""
    maintenance = rt.Maintenance(real)
    for use in (
        lambda: rt.list_jobs(real, limit=limit),
        lambda: rt.runs(limit=limit),
        lambda: maintenance.jobs(limit=limit),
        lambda: maintenance.events("ftjob-1", limit=limit),
    ):
        with pytest.raises((rt.SpecError, TypeError), match=r"limit: .* 1 or more|limit is .* takes a whole number"):
            use()


# Money


@pytest.mark.slow
def test_what_servers_of_ones_own_train_costs_nothing_whatever_its_name(
    backend: ScriptedBackend, dataset: rt.Dataset
) -> None:
    """Through a client that the backend made, and through one that knows its address alone."""
    plain = openai.OpenAI(base_url=backend.base_url, api_key=backend.api_key)
    limits: dict[str, Any] = {"max_cost_usd": 0.0, "budget": rt.Budget(0.0)}
    with plain, backend.client() as client:
        for number, asked in enumerate((plain, client)):
            spec = rt.TuneSpec(model=PRICED.model, method=rt.Supervised(n_epochs=2), seed=number)
            rt.JobMonitor(rt.FineTuneJob.create(asked, dataset, spec, **limits)).wait()
        unpriced = rt.FineTuneJob.plan(client, dataset, PRICED, **limits)
        assert (unpriced.cost and unpriced.cost.usd, unpriced.warnings) == (0.0, ())
        probed = rt.FineTuneJob.plan(plain, dataset, rt.TuneSpec(model=PRICED.model), probe=True, **limits)
        assert probed.cost is not None
        assert probed.cost.usd == 0.0
    assert [(run.estimated_usd, run.billed_usd) for run in rt.runs()] == [(0.0, 0.0)] * 2
    assert [(row.jobs, row.estimated_usd, row.billed_usd) for row in rt.Journal().spend()] == [(2, 0.0, 0.0)]


def test_a_client_that_is_turned_to_another_server_is_not_taken_at_its_word(
    backend: ScriptedBackend, stub: Any, wire: Any, dataset: rt.Dataset
) -> None:
    """It was made for an embedded backend; the server that answers says nothing of the kind."""
    with backend.client(max_retries=0) as made:
        turned = made.with_options(base_url=stub.base_url)
        with pytest.raises(rt.BudgetExceeded, match="above the limit"):
            rt.FineTuneJob.create(turned, dataset, PRICED, max_cost_usd=0.0)
    assert {request.method for request in stub.requests} == {"GET"}


def test_an_uploaded_dataset_is_priced_and_checked_like_the_dataset_itself(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset
) -> None:
    """In another program the id alone still tells system prompt and fingerprint, by the journal."""
    uploaded = rt.upload(real, dataset)
    assert (uploaded.fingerprint, uploaded.system) == (dataset.fingerprint, "Add up.")
    plan = rt.FineTuneJob.plan(real, uploaded, PRICED, dialect="generic")
    assert plan.cost is not None
    assert plan.cost.usd
    assert plan.cost == rt.FineTuneJob.plan(real, dataset, PRICED, dialect="generic").cost
    with pytest.raises(rt.SpecError, match="preference"):
        rt.FineTuneJob.create(real, uploaded, rt.TuneSpec(model="tiny-random", method=rt.DPO()))
    job = rt.FineTuneJob.create(real, uploaded.id, SPEC)
    assert job.details.metadata["ragtune_system"] == "Add up."
    assert rt.runs()[0].fingerprint == dataset.fingerprint


def test_a_scripted_backend_keeps_its_jobs_out_of_the_users_journal(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAGTUNE_JOURNAL")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    job = rt.FineTuneJob.create(real, dataset, SPEC).refresh()
    assert not rt.Journal().path.exists()
    [run] = backend.journal.runs()
    assert (run.job_id, run.status) == (job.id, "succeeded")


def test_only_a_price_of_the_servers_own_is_called_billed() -> None:
    made: dict[str, Any] = {"account": "a", "key": "k", "model": "m", "state": "created", "usd_per_million": 3.0}
    made |= {"begun_at": datetime(2026, 11, 21, tzinfo=UTC), "predicted_usd": 9.0, "trained_tokens": 2_000_000}
    servers = {"https://api.openai.com/v1": 6.0, "https://x.openai.azure.com/v1": None, "https://x.org/v1": None}
    for server, billed in servers.items():
        run = rt.Run(server=server, **made)
        assert (run.billed_usd, run.estimated_usd, run.cost_usd) == (billed, 6.0, 6.0)


def test_wrong_bills_of_earlier_versions_are_put_right(journal: rt.Journal, tmp_path: Path) -> None:
    """What an embedded backend trained under OpenAI's name was billed at OpenAI's price; others' bills stay.

    The backend's failed job is known by its account; a gateway on this machine, which names an organisation as well,
    is not taken for one.
    """
    rows = [
        ("org-mine", "http://127.0.0.1:4000/v1", "ft:gpt-4o-mini-2024-07-18:local::a1", 1_000_000),
        ("org-mine", "http://127.0.0.1:5000/v1", None, None),
        ("org-acme", "http://127.0.0.1:6000/v1", "ft:gpt-4o-mini-2024-07-18:acme::b2", 1_000_000),
        ("https://api.openai.com/v1", "https://api.openai.com/v1", "ft:gpt-4o-mini-2024-07-18:local::c3", 1_000_000),
    ]
    with closing(sqlite3.connect(journal.path)) as file:
        file.executescript(Path(__file__).with_name("journal_0_1_0.sql").read_text(encoding="utf-8"))
        for number, (account, server, model, tokens) in enumerate(rows):
            file.execute(
                "INSERT INTO run (account, server, key, state, model, predicted_usd, usd_per_million, trained_tokens, "
                "fine_tuned_model, job_id, begun_at, sent_at) "
                "VALUES (?, ?, ?, 'created', 'gpt-4o-mini-2024-07-18', 9.0, 3.0, ?, ?, ?, 1795688174, 1795688174)",
                (account, server, f"k{number}", tokens, model, f"ftjob-{number}"),
            )
        file.commit()
    read = {run.job_id: (run.estimated_usd, run.billed_usd) for run in journal.runs()}
    assert [read[f"ftjob-{number}"] for number in range(4)] == [(0.0, 0.0), (0.0, None), (3.0, None), (3.0, 3.0)]
    with closing(sqlite3.connect(journal.path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (1,)
    journal.give_up(2)
    assert {run.job_id: (run.estimated_usd, run.billed_usd) for run in journal.runs()} == read


def test_a_wrong_price_without_evidence_is_put_right_by_the_next_look(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    job = rt.FineTuneJob.create(real, dataset, PRICED, journal=journal)
    with journal._opened() as database, database.transaction() as connection:
        connection.execute("UPDATE run SET dialect = NULL, folder = NULL, predicted_usd = 9.0, usd_per_million = 3.0")
    assert journal.runs()[0].cost_usd == 9.0
    rt.FineTuneJob.get(real, job.id, journal=journal)
    [run] = journal.runs()
    assert (run.cost_usd, run.billed_usd, run.folder) == (0.0, 0.0, str(backend.folder))


def sent(journal: rt.Journal, *rows: tuple[str, str, float | None, float | None, int | None]) -> None:
    """Put runs into the journal: key, day, predicted price, price per million, billed tokens."""
    with journal._opened() as database, database.transaction() as connection:
        for key, day, usd, rate, tokens in rows:
            connection.execute(
                "INSERT INTO run (account, server, key, state, model, predicted_usd, usd_per_million, trained_tokens, "
                "predicted_tokens, begun_at, sent_at) "
                "VALUES ('a', 'https://api.openai.com/v1', ?, 'created', 'm', ?, ?, ?, 100, "
                "unixepoch(?), unixepoch(?))",
                (key, usd, rate, tokens, day, day),
            )


def test_a_budget_counts_what_was_billed_or_else_predicted(journal: rt.Journal) -> None:
    """November: 2 predicted + 1.5 billed (500,000 tokens at 3 dollars, instead of 9 predicted) = 3.5; October: 40."""
    sent(
        journal,
        ("a", "2026-11-02", 2.0, 3.0, None),
        ("b", "2026-11-20", 9.0, 3.0, 500_000),
        ("c", "2026-10-31", 40.0, 3.0, None),
    )
    assert [(row.month, row.jobs, row.estimated_usd, row.billed_usd) for row in journal.spend()] == [
        ("2026-11", 2, 3.5, 1.5),
        ("2026-10", 1, 40.0, None),
    ]
    now = 1_795_305_600.0  # 2026-11-22
    month = [run for run in journal.runs() if run.sent_at and run.sent_at.timestamp() >= rt.Budget(1).began(now)]
    rt.Budget(4.0).check(month, 0.5, allow_unknown=False)
    with pytest.raises(rt.BudgetExceeded, match=r"\$4.00 a month has \$0.50 left \(\$3.50 for 2 job"):
        rt.Budget(4.0).check(month, 0.6, allow_unknown=False)
    assert rt.Budget(1, period="year").began(now) == 1_767_225_600.0
    assert rt.Budget(1, period="day").began(now + 5) == now


def test_a_budget_blocks_before_the_upload_and_hands_a_bought_job_back(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    """The same call again costs nothing, so it is not refused."""
    estimate = dataset.cost(PRICED.model, n_epochs=2).usd
    assert estimate is not None
    budget = rt.Budget(1.5 * estimate)
    options: Any = {"journal": journal, "budget": budget, "dialect": "generic"}
    job = rt.FineTuneJob.create(real, dataset, PRICED, **options)
    assert rt.FineTuneJob.create(real, dataset, PRICED, **options).id == job.id
    seen = len(backend.requests)
    other = rt.TuneSpec(model=PRICED.model, method=rt.Supervised(n_epochs=2), seed=8)
    with pytest.raises(rt.BudgetExceeded, match="left"):
        rt.FineTuneJob.create(real, dataset, other, **options)
    with pytest.raises(rt.BudgetExceeded, match="left"):
        rt.FineTuneJob.plan(real, dataset, other, **options)
    assert backend.requests[seen:] == []
    assert [run.state for run in journal.runs()] == ["created"]


def test_a_budget_is_looked_at_again_when_an_order_is_made_anew(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    """The journal knows the key, so the account is searched before the budget speaks."""
    estimate = dataset.cost(PRICED.model, n_epochs=2).usd
    assert estimate is not None
    options: Any = {"journal": journal, "budget": rt.Budget(1.5 * estimate), "dialect": "generic"}
    rt.FineTuneJob.create(real, dataset, PRICED, **options)
    seen = len(backend.requests)
    with pytest.raises(rt.BudgetExceeded, match="left"):
        rt.FineTuneJob.create(real, dataset, PRICED, new=True, **options)
    assert {request.method for request in backend.requests[seen:]} == {"GET"}
    assert [run.state for run in journal.runs()] == ["failed", "created"]


def test_an_unknown_price_needs_a_word(real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal) -> None:
    uploaded = rt.upload(real, dataset.train, journal=journal)
    options: Any = {"journal": journal, "budget": rt.Budget(5), "dialect": "generic"}
    with pytest.raises(rt.BudgetExceeded, match="allow_unknown_cost=True"):
        rt.FineTuneJob.create(real, uploaded, PRICED, **options)
    rt.FineTuneJob.create(real, uploaded, PRICED, allow_unknown_cost=True, **options)
    with pytest.raises(rt.BudgetExceeded, match="1 earlier job is unknown"):
        rt.FineTuneJob.create(real, dataset, PRICED, new=True, **options)
    with pytest.raises(rt.SpecError, match="journal=None"):
        rt.FineTuneJob.create(real, dataset, SPEC, budget=rt.Budget(5), journal=None)


def test_what_another_process_spent_meanwhile_counts(journal: rt.Journal) -> None:
    """Of 5 dollars nothing is spent when the run begins; then 3 go elsewhere, and another 3 do not fit any more."""
    begun_at = datetime(2026, 11, 21, tzinfo=UTC)
    run = rt.Run(state="intent", account="a", server="s", key="k", model="m", predicted_usd=3.0, begun_at=begun_at)
    recorder = Recorder(journal)
    run = recorder.begin(run)
    sent(journal, ("other", "2026-11-21", 3.0, 3.0, None))
    request: Any = {"training_file": "file-1", "validation_file": None, "known": (), "now": begun_at.timestamp()}
    with pytest.raises(rt.BudgetExceeded, match=r"\$2.00 left"):
        recorder.send(run, **request, budget=rt.Budget(5), allow_unknown=False)
    assert journal.run(run.id).state == "intent"
    assert recorder.send(run, **request, budget=rt.Budget(6), allow_unknown=False).state == "sent"


@pytest.mark.parametrize("wrong", [{"usd": -1}, {"usd": float("nan")}, {"usd": True}, {"usd": 1, "period": "week"}])
def test_a_budget_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(rt.SpecError):
        rt.Budget(**wrong)


# Troubles of the file


def test_a_damaged_journal_is_told_before_anything_is_sent(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    journal.path.write_bytes(b"this is no database" * 100)
    for use in (
        lambda: rt.FineTuneJob.create(real, dataset, SPEC, journal=journal),
        lambda: rt.FineTuneJob.plan(real, dataset, SPEC, journal=journal),
        lambda: rt.upload(real, dataset, journal=journal),
        journal.runs,
    ):
        with pytest.raises(rt.JournalError, match=r"move the file away.*journal=None"):
            use()
    assert {request.method for request in backend.requests} <= {"GET"}


def test_a_locked_journal_is_told_and_read_all_the_same(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, tmp_path: Path
) -> None:
    journal = rt.Journal(tmp_path / "journal.sqlite3", timeout_s=0.1)
    rt.upload(real, dataset, journal=journal)
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(rt.JournalError, match="another program holds it"):
            rt.FineTuneJob.create(real, dataset, SPEC, journal=journal)
        assert len(journal.uploads()) == 1
    assert calls(backend, CREATE) == 0


def test_a_journal_that_cannot_be_written_is_told(real: openai.OpenAI, dataset: rt.Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(rt.JournalError, match=r"cannot be written.*RAGTUNE_JOURNAL"):
        rt.FineTuneJob.create(real, dataset, SPEC, journal=tmp_path / "file" / "journal.sqlite3")
    (tmp_path / "folder").mkdir()
    with pytest.raises(rt.JournalError):
        rt.upload(real, dataset, journal=tmp_path / "folder")


def test_a_read_only_journal_can_be_read(journal: rt.Journal) -> None:
    """SQLite itself refuses a file in WAL mode whose folder takes no side files; as root that is not enforced."""
    sent(journal, ("a", "2026-11-02", 2.0, 3.0, None))
    folder = journal.path.parent
    journal.path.chmod(0o400)
    folder.chmod(0o500)
    try:
        assert len(journal.runs()) == 1
    finally:
        folder.chmod(0o700)


def test_an_empty_file_becomes_a_journal_and_a_newer_one_is_refused(
    real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal
) -> None:
    """An older version is lifted to this one; version 0 is the only one before it."""
    journal.path.touch()
    assert len(journal.runs()) == 0
    rt.upload(real, dataset, journal=journal)
    with closing(sqlite3.connect(journal.path)) as file:
        file.execute("PRAGMA user_version = 99")
    for use in (journal.runs, lambda: rt.upload(real, dataset, journal=journal)):
        with pytest.raises(rt.JournalError, match="newer version of ragtune"):
            use()


def test_a_job_is_not_lost_when_the_journal_fails_after_it(
    backend: ScriptedBackend,
    real: openai.OpenAI,
    dataset: rt.Dataset,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another program takes the file while the request is under way; later the job is found by its key."""
    journal = rt.Journal(tmp_path / "journal.sqlite3", timeout_s=0.1)
    with closing(sqlite3.connect(journal.path, isolation_level=None, check_same_thread=False)) as other:

        def lock(body: Any) -> Any:
            other.execute("BEGIN IMMEDIATE")
            return body

        backend.change_next(CREATE, lock)
        with caplog.at_level(logging.WARNING, "ragtune"):
            job = rt.FineTuneJob.create(real, dataset, SPEC, journal=journal)
        assert f"job {job.id} exists, but that could not be written down" in caplog.text
    assert [run.state for run in journal.runs()] == ["sent"]
    assert rt.FineTuneJob.create(real, dataset, SPEC, journal=journal).id == job.id
    assert [run.state for run in journal.runs()] == ["created"]
    assert calls(backend, CREATE) == 1


# The command


def command(*arguments: object, backend: ScriptedBackend | None = None) -> tuple[int, str, str]:
    import os

    given = {"OPENAI_BASE_URL": backend.base_url, "OPENAI_API_KEY": backend.api_key} if backend else {}
    program = [sys.executable, "-c", "from ragtune.cli import main; main()", "runs", *map(str, arguments)]
    done = subprocess.run(program, env=os.environ | given, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_the_command_lists_shows_and_resolves(
    backend: ScriptedBackend, real: openai.OpenAI, dataset: rt.Dataset, journal: rt.Journal, clock: Any
) -> None:
    assert command("--journal", journal.path) == (0, "no runs\n", "")
    backend.change_next("fine_tuning.jobs.list", lambda page: page | {"data": []}, times=None)
    backend.fail_next(CREATE, drop=True, after_commit=True)
    with pytest.raises(rt.CreateUncertain):
        rt.FineTuneJob.create(quick(real, clock), dataset, SPEC, journal=journal)
    assert "uncertain" in command("--journal", journal.path)[1]
    backend.reset()
    code, out, err = command("resolve", 1, "--journal", journal.path, backend=backend)
    assert (code, err) == (0, "")
    [run] = journal.runs()
    assert out == f"run 1 is {run.job_id}, which is succeeded\n"
    code, out, _ = command("show", 1, "--journal", journal.path)
    assert f"job_id: {run.job_id}\n" in out
    code, out, _ = command("--spend", "--journal", journal.path)
    assert out.splitlines()[0].startswith("Month")
    assert "tiny-random" in out
    code, _, err = command("resolve", 1, "--not-created", "--journal", journal.path)
    assert code == 1
    assert "run 1 is created" in err
    assert command("show", 7, "--journal", journal.path)[0] == 1
