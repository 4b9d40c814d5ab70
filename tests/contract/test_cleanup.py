"""One reviewed plan for a crowded account: what goes, what stays, and how it goes on after an interruption."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

import ragtune as rt
from ragtune import aio
from ragtune.maintenance import CleanupPlan
from ragtune.testing import ScriptedBackend

JOBS, FILES, ORPHANS = 300, 60, 40
LINE = '{"messages": [{"role": "user", "content": "%s?"}, {"role": "assistant", "content": "Yes."}]}\n'
NOW = dt.datetime.now(tz=dt.UTC)


def aged(backend: ScriptedBackend, days: int, *, young: frozenset[str] = frozenset()) -> None:
    """The server says that everything, but for some, was made so many days ago."""

    def older(body: dict[str, Any]) -> dict[str, Any]:
        for item in body.get("data", ()):
            if item["id"] not in young:
                item["created" if item.get("object") == "model" else "created_at"] -= days * 86_400
        return body

    for call in ("models.list", "files.list"):
        backend.change_next(call, older, times=None)


def uploaded(client: openai.OpenAI, name: str) -> str:
    content = "".join(LINE % f"{name} {number}" for number in range(10)).encode()
    return client.files.create(file=(f"{name}.jsonl", content), purpose="fine-tune").id


@pytest.fixture(scope="module")
def crowded() -> Iterator[tuple[ScriptedBackend, list[str], list[str], list[str]]]:
    """300 jobs on 60 files, each tenth of which failed, and 40 files that nobody reads."""
    with ScriptedBackend() as backend, backend.client() as client:
        files = [uploaded(client, f"data-{number}") for number in range(FILES)]
        orphans = [uploaded(client, f"orphan-{number}") for number in range(ORPHANS)]
        for number in range(JOBS):
            backend.next_job(end="failed" if number % 10 == 9 else "succeeded", steps=1)
            client.fine_tuning.jobs.create(
                model="tiny-random",
                training_file=files[number % FILES],
                hyperparameters={"n_epochs": 1, "batch_size": 10},
            )
        jobs = reversed(list(client.fine_tuning.jobs.list(limit=100)))
        models = [job.fine_tuned_model for job in jobs if job.fine_tuned_model]
        yield backend, files, orphans, models


@pytest.mark.slow
def test_a_plan_for_three_hundred_jobs(
    crowded: tuple[ScriptedBackend, list[str], list[str], list[str]], tmp_path: Path
) -> None:
    """Nothing is asked for one by one, what an alias leads to stays with its data, and it goes on after Ctrl-C."""
    backend, files, orphans, models = crowded
    assert len(models) == 270
    young = frozenset(models[-20:])
    aged(backend, 100, young=young)
    registry = rt.Registry(tmp_path / "models")
    with backend.client() as client:
        champion = rt.TunedModel(client, models[0], system="", journal=None)
        registry.add(champion)
        registry.promote("prod", champion, force=True, by="anna", why="first")
        maintenance = rt.Maintenance(client, enabled=True, journal=None, registry=registry)
        before = len(backend.requests)
        plan = maintenance.cleanup_plan(older_than=90, keep=[models[1], "orphan-7.jsonl"])
        asked = [request.call for request in backend.requests[before:]]
        assert len(asked) < 12, asked
        gone = {item.id for item in plan.going}
        kept = {item.id: item.keep for item in plan.kept}
        assert kept[models[0]] == "the alias prod leads to it"
        assert kept[models[1]] == f"keep='{models[1]}'"
        assert kept[orphans[7]] == "keep='orphan-7.jsonl'"
        assert set(models[2:-20]) <= gone
        assert not young & gone
        assert set(orphans) - gone == {orphans[7]}
        assert {item.why for item in plan.going if item.kind == "model"} == {"100 days old"}
        # The files of the two models that stay, and of the young ones, stay.
        living = {files[0], files[1]} | {files[n % FILES] for n in range(JOBS) if n >= 278 and n % 10 != 9}
        assert not living & gone
        assert files[9] in gone
        assert "checkpoint" in {item.kind for item in plan.going}
        kinds = [item.kind for item in plan.going]
        assert kinds.index("file") > max(n for n, kind in enumerate(kinds) if kind == "model")
        plan.save(tmp_path / "plan.json")
        assert CleanupPlan.load(tmp_path / "plan.json") == plan

        # Somebody stops it in the middle.
        real, count = client._client.send, 0

        def send(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += given[0].method == "DELETE"
            if count == 50:
                raise KeyboardInterrupt
            return real(*given, **named)

        client._client.send = send  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt) as stopped:
            maintenance.clean_up(plan)
        client._client.send = real  # type: ignore[method-assign]
        assert stopped.value.__notes__ == [f"49 of {len(gone)} are done; the same call with the same plan goes on"]

        # Meanwhile somebody promotes a model that was to go.
        late = next(item.id for item in plan.going[60:] if item.kind == "model")
        registry.add(late)
        registry.promote("prod-eu", late, force=True, by="ben", why="needed")
        backend.fail_next("files.delete", status=403, code="forbidden")
        result = maintenance.clean_up(CleanupPlan.load(tmp_path / "plan.json"))
        outcomes = {row.item.id: row for row in result}
        assert outcomes[late].outcome == "kept"
        assert outcomes[late].note == "the alias prod-eu leads to it"
        assert [row.outcome for row in result].count("gone already") == 49
        assert len(result.failed) == 1
        again = maintenance.clean_up(plan)
        assert again.failed == ()
        assert {row.outcome for row in again} == {"gone already", "deleted", "kept"}
        there = {model.id for model in maintenance.models()} | {file.id for file in maintenance.files()}
        assert there & gone == {row.item.id for row in again if row.outcome == "kept"}
        assert {models[0], late, files[0], orphans[7]} <= there


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


def test_young_orphans_and_files_of_others_stay(backend: ScriptedBackend) -> None:
    """A file of a minute ago may be for the next job; one for assistants is none of ours."""
    with backend.client() as client:
        uploaded(client, "fresh")
        maintenance = rt.Maintenance(client, journal=None)
        assert maintenance.cleanup_plan().rows == ()
        assert str(maintenance.cleanup_plan()) == "0 of 0 go: nothing; 0 bytes are freed"
        aged(backend, 2)
        assert len(maintenance.cleanup_plan().going) == 1
        assert maintenance.cleanup_plan(orphans=False).rows == ()
        backend.reset()
        backend.change_next("files.list", _as_assistants, times=None)
        assert maintenance.cleanup_plan().rows == ()


def _as_assistants(body: dict[str, Any]) -> dict[str, Any]:
    data = [item | {"purpose": "assistants", "created_at": item["created_at"] - 200_000} for item in body["data"]]
    return body | {"data": data}


def test_models_that_nobody_asked(backend: ScriptedBackend, tmp_path: Path) -> None:
    """A feedback store, or names, tell who was asked; without dates nothing is old."""
    store = rt.FeedbackStore(tmp_path / "feedback.sqlite3")
    with backend.client() as client:
        file = uploaded(client, "data")
        first, second = (_made(client, file) for _ in range(2))
        store.log("Yes.", question="Really?", model=first)
        maintenance = rt.Maintenance(client, journal=None)
        by_store = maintenance.cleanup_plan(never_asked=store)
        assert [item.id for item in by_store.going if item.kind == "model"] == [second]
        by_names = maintenance.cleanup_plan(never_asked=[first, second])
        assert by_names.going == ()
        backend.change_next("models.list", _undated, times=None)
        assert maintenance.cleanup_plan(older_than=0.001).going == ()
        with pytest.raises(rt.SpecError, match="older_than"):
            maintenance.cleanup_plan(older_than=-1)


def test_a_server_without_lists_loses_nothing(backend: ScriptedBackend) -> None:
    """Models that are not listed may live: their files stay, and the rest of the plan is made."""
    with backend.client() as client:
        _made(client, uploaded(client, "data"))
        uploaded(client, "orphan")
        backend.fail_next("models.list", status=404, code="not_found", times=None)
        aged(backend, 2)
        maintenance = rt.Maintenance(client, journal=None)
        assert [item.why for item in maintenance.cleanup_plan(older_than=0).going] == [
            "no job of this account reads it or wrote it"
        ]
        backend.reset()
        backend.fail_next("files.list", status=501, code="not_implemented", times=None)
        assert {item.kind for item in maintenance.cleanup_plan(older_than=0).rows} == {"checkpoint", "model"}
        backend.fail_next("fine_tuning.jobs.list", status=403, code="forbidden", times=None)
        with pytest.raises(openai.PermissionDeniedError):
            maintenance.cleanup_plan()


def test_a_model_that_was_shut_down_since_stops_no_clean_up(backend: ScriptedBackend) -> None:
    with backend.client() as client:
        file = uploaded(client, "data")
        made = {_made(client, file) for _ in range(2)}
        maintenance = rt.Maintenance(client, enabled=True, journal=None)
        aged(backend, 2)
        plan = maintenance.cleanup_plan(older_than=0, orphans=False)
        backend.fail_next("models.delete", status=404, code="model_not_found", message="It has been deprecated.")
        result = maintenance.clean_up(plan)
        assert [row.outcome for row in result].count("gone already") == 1
        assert not made & {model.id for model in client.models.list()} - {result[0].item.id}


def _made(client: openai.OpenAI, file: str) -> str:
    job = client.fine_tuning.jobs.create(model="tiny-random", training_file=file)
    return str(client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model)


def _undated(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"data": [{key: item[key] for key in item if key != "created"} for item in body["data"]]}


def test_a_plan_is_of_one_account_and_needs_an_open_guard(backend: ScriptedBackend, tmp_path: Path) -> None:
    """A plan for another server would delete strangers; a file that is no plan says so."""
    with backend.client() as client:
        uploaded(client, "old")
        aged(backend, 2)
        closed = rt.Maintenance(client, journal=None)
        plan = closed.cleanup_plan()
        with pytest.raises(rt.MaintenanceDisabled):
            closed.clean_up(plan)
        with (
            ScriptedBackend() as other,
            other.client() as elsewhere,
            pytest.raises(rt.RegistryError, match="the plan is of"),
        ):
            rt.Maintenance(elsewhere, enabled=True).clean_up(plan)
    (tmp_path / "plan.json").write_text("[]")
    with pytest.raises(rt.RagtuneError, match="is no plan"):
        CleanupPlan.load(tmp_path / "plan.json")

    async def main() -> int:
        async with backend.async_client() as client:
            maintenance = aio.AsyncMaintenance(client, enabled=True, journal=None)
            return len(await maintenance.clean_up(await maintenance.cleanup_plan()))

    assert asyncio.run(main()) == 1


@pytest.mark.parametrize("holder", ["keep", "alias"])
def test_a_checkpoint_that_stays_keeps_its_training_file(backend: ScriptedBackend, tmp_path: Path, holder: str) -> None:
    """The model goes, its checkpoint is held: what both learned from must not go, in this plan and after it."""
    registry = rt.Registry(tmp_path / "models")
    with backend.client() as client:
        file = uploaded(client, "data")
        model = _made(client, file)
        checkpoint = next(item.id for item in client.models.list() if item.id.startswith(f"{model}:ckpt-step-"))
        registry.add(checkpoint)
        if holder == "alias":
            registry.promote("prod", checkpoint, force=True, by="anna", why="the best")
        keep = [checkpoint] if holder == "keep" else []
        maintenance = rt.Maintenance(client, enabled=True, journal=None, registry=registry)
        for _ in range(2):
            plan = maintenance.cleanup_plan(older_than=0, keep=keep)
            assert not {checkpoint, file} & {item.id for item in plan.going}
            assert file not in {row.item.id for row in maintenance.clean_up(plan)}
        left = {item.id for item in client.models.list()}
        assert checkpoint in left
        assert model not in left
        with pytest.raises(rt.RegistryError, match="which lives, was trained on it"):
            maintenance.delete_file(file)


def test_what_names_no_model_lets_none_go(backend: ScriptedBackend, tmp_path: Path) -> None:
    """A mistyped or empty store would make every model one that nobody asked."""
    missing, empty = rt.FeedbackStore(tmp_path / "typo.sqlite3"), rt.FeedbackStore(tmp_path / "empty.sqlite3")
    empty.log("Yes.", question="Really?")
    with backend.client() as client:
        maintenance = rt.Maintenance(client, journal=None)
        with pytest.raises(rt.SpecError, match="there is no feedback store"):
            maintenance.cleanup_plan(never_asked=missing)
        for nobody in (empty, [], [""]):
            with pytest.raises(rt.SpecError, match="names no model that was asked"):
                maintenance.cleanup_plan(never_asked=nobody)
        for registry in (tmp_path / "typo", str(tmp_path / "typo.db")):
            with pytest.raises(rt.RegistryError, match="is not there, so it would protect nothing"):
                rt.Maintenance(client, journal=None, registry=registry)
        assert list(tmp_path.glob("typo*")) == []


@pytest.mark.parametrize("age", [float("nan"), float("inf"), 1e12, -1])
def test_an_age_that_is_none_is_told(backend: ScriptedBackend, age: float) -> None:
    """Days that no calendar holds are refused as those below zero are."""
    with backend.client() as client, pytest.raises(rt.SpecError, match=r"older_than=.* number of days, 0 or more"):
        rt.Maintenance(client, journal=None).cleanup_plan(older_than=age)


@pytest.mark.parametrize(
    "wrong", [{"kind": "job"}, {"kind": ["file"]}, {"id": 7}, {"id": ""}, {"id": ["a"]}, {"keep": 3}, {"bytes": "many"}]
)
def test_a_plan_of_wrong_things_is_no_plan(tmp_path: Path, wrong: dict[str, object]) -> None:
    """What somebody edited deletes nothing that a plan does not know."""
    item = {"kind": "file", "id": "file-1", "why": "old", "keep": None, "bytes": 3, "created_at": None} | wrong
    body = {"cleanup": 1, "server": "https://llm.example.org/v1", "made_at": NOW.isoformat(), "items": [item]}
    (tmp_path / "plan.json").write_text(json.dumps(body))
    with pytest.raises(rt.RagtuneError, match="is no plan of a clean-up"):
        CleanupPlan.load(tmp_path / "plan.json")


def test_the_file_of_jobs_that_made_nothing_goes_whatever_else_lives(tmp_path: Path) -> None:
    """A failed job names no model, and neither is there a parent of a model that is no checkpoint."""
    with ScriptedBackend() as backend, backend.client() as client:
        file = uploaded(client, "data")
        backend.next_job(end="failed", steps=1)
        job = client.fine_tuning.jobs.create(model="tiny-random", training_file=file)
        while client.fine_tuning.jobs.retrieve(job.id).status != "failed":
            time.sleep(0.01)
        maintenance = rt.Maintenance(client, journal=None, registry=rt.Registry(tmp_path / "models"))
        aged(backend, 100)
        assert [item.id for item in maintenance.cleanup_plan(older_than=90).going] == [file]
