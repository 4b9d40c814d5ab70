"""What an account holds, in one table, from three lists."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

import ragtune as rt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ragtune._api import Api

BASE = "gpt-4o-mini-2024-07-18"
TUNED = f"ft:{BASE}:acme::one"


def server(stub: Any, wire: Any) -> Any:
    """Two jobs, of which one lost its model; a stranger's model, a checkpoint, and a file that no job names."""
    made = {"model": BASE, "trained_tokens": 2_000_000, "training_file": "file-train", "created_at": 1_762_000_000}
    stub.on(
        "GET",
        "/fine_tuning/jobs",
        wire.page(
            wire.job("ftjob-2", "succeeded", **made, fine_tuned_model=f"ft:{BASE}:acme::gone"),
            wire.job("ftjob-1", "succeeded", **made, fine_tuned_model=TUNED, result_files=["file-result"]),
            wire.job("ftjob-0", "failed", model="unheard-of", training_file="file-lost"),
        ),
    )
    models = [
        {"id": BASE, "object": "model", "shutdown_date": "2027-01-14"},
        {"id": TUNED, "object": "model", "created": 1_762_000_000},
        {"id": f"{TUNED}:ckpt-step-9", "object": "model"},
        {"id": "ft:unheard-of:acme::stray", "object": "model"},
    ]
    stub.on("GET", "/models", {"object": "list", "data": models})
    files = [
        {"id": "file-train", "filename": "train.jsonl", "bytes": 120, "purpose": "fine-tune", "status": "processed"},
        {"id": "file-result", "filename": "step_metrics.csv", "bytes": 80, "purpose": "fine-tune-results"},
        {"id": "file-stray", "filename": "old.jsonl", "purpose": "fine-tune"},
        {"id": "file-chat", "filename": "notes.pdf", "bytes": 7, "purpose": "assistants"},
    ]
    stub.on("GET", "/files", wire.page(*files))
    return stub


def test_three_lists_make_the_whole_table(stub: Any, wire: Any, api: Api) -> None:
    server(stub, wire)
    found = rt.Maintenance(api, dialect="openai", journal=None).inventory()
    assert [request.path for request in stub.requests] == ["/fine_tuning/jobs", "/models", "/files"]
    assert [(row.kind, row.id, row.orphan) for row in found] == [
        ("model", TUNED, None),
        ("model", "ft:unheard-of:acme::stray", "no job of this account made it"),
        ("checkpoint", f"{TUNED}:ckpt-step-9", None),
        ("job", "ftjob-2", "its model is not listed"),
        ("job", "ftjob-1", None),
        ("job", "ftjob-0", "its training file is not listed"),
        ("file", "file-train", None),
        ("file", "file-result", None),
        ("file", "file-stray", "no job names it"),
        ("file", "file-chat", None),
    ]


def test_ends_ages_and_costs_say_where_they_are_from_and_stay_unknown_where_nobody_says(
    stub: Any, wire: Any, api: Api
) -> None:
    """2,000,000 trained tokens at $3 a million are $6; the clock stands at 2025-11-13, the base ends 2027-01-14."""
    server(stub, wire)
    found = rt.Maintenance(api, dialect="openai", journal=None).inventory(asked={TUNED: "the help desk"})
    model, stray = found.of("model")
    assert (model.base, model.ends, model.ends_source) == (BASE, dt.date(2027, 1, 14), "server")
    assert model.days_left == (dt.date(2027, 1, 14) - dt.date(2025, 11, 13)).days
    assert (model.age_days, model.asked) == (11, "the help desk")
    assert (stray.ends, stray.days_left, stray.cost_usd) == (None, None, None)
    assert [job.asked for job in found.of("job")].count("the help desk") == 1
    job, lost = found.of("job")[0], found.of("job")[2]
    assert (job.cost_usd, job.cost_source) == (6.0, "trained tokens x catalogue")
    assert (lost.cost_usd, lost.cost_source) == (None, None)
    assert "2 of them end on 2027-01-14" in found.sentence
    assert "When 1 of them end is not known." in found.sentence
    assert "What 1 jobs cost is not known." in found.sentence
    assert found.cost_usd == 12.0


def test_table_json_and_page_hold_the_same_rows(stub: Any, wire: Any, api: Api, tmp_path: Path) -> None:
    server(stub, wire)
    found = rt.Maintenance(api, dialect="openai", journal=None).inventory()
    assert found.to_pandas().shape == (10, 15)
    said = json.loads(found.to_json())
    assert [row["id"] for row in said["rows"]] == [row.id for row in found]
    assert said["rows"][0]["ends"] == "2027-01-14"
    page = found.to_html(tmp_path / "deep" / "inventory.html").read_text(encoding="utf-8")
    assert all(row.id in page for row in found)
    assert "<script" not in page


def test_a_server_without_a_list_of_models_or_files_says_so_and_marks_nothing_as_lost(
    stub: Any, wire: Any, api: Api
) -> None:
    server(stub, wire).on("GET", "/models", (404, {"detail": "Not Found"})).on("GET", "/files", (405, {"detail": "No"}))
    found = rt.Maintenance(api, journal=None).inventory()
    assert [note.partition(" (")[0] for note in found.notes] == [
        "the server lists no models",
        "the server lists no files",
    ]
    assert [row.id for row in found.of("model")] == [f"ft:{BASE}:acme::gone", TUNED]
    assert found.orphans == ()


def test_what_is_billed_comes_from_the_journal(
    stub: Any, wire: Any, api: Api, dataset: rt.Dataset, tmp_path: Path
) -> None:
    """The journal keeps the price of the day: what the catalogue says today makes no difference."""
    stub.on("POST", "/files", {"id": "file-1", "filename": "x", "bytes": 1, "status": "processed"})
    stub.on("GET", "/files", wire.page()).on("GET", "/models", wire.page())
    stub.on("GET", f"/models/{BASE}", {"id": BASE, "object": "model"})
    job = wire.job("ftjob-1", "succeeded", model=BASE, trained_tokens=1_000_000, fine_tuned_model=TUNED)
    stub.on("GET", "/fine_tuning/jobs", wire.page())
    stub.on("POST", "/fine_tuning/jobs", job)
    journal = tmp_path / "journal.sqlite3"
    rt.FineTuneJob.create(api, dataset, rt.TuneSpec(model=BASE), dialect="openai", journal=journal)
    stub.on("GET", "/fine_tuning/jobs", wire.page(job))
    found = rt.Maintenance(api, dialect="openai", journal=journal).inventory()
    assert [(row.cost_usd, row.cost_source) for row in found.of("job")] == [(3.0, "billed")]


def test_the_asynchronous_face_finds_the_same(
    stub: Any, wire: Any, api: Api, make_async_api: Callable[[], tuple[Any, Api]]
) -> None:
    server(stub, wire)
    found = rt.Maintenance(api, dialect="openai", journal=None).inventory()

    async def again() -> Any:
        client, own = make_async_api()
        async with client:
            return await rt.AsyncMaintenance(own, dialect="openai", journal=None).inventory()

    assert asyncio.run(again()).rows == found.rows


def test_an_archive_that_is_none_is_told_before_anything_is_asked(stub: Any, api: Api, tmp_path: Path) -> None:
    with pytest.raises(rt.ArchiveError, match="holds no archive"):
        rt.Maintenance(api, journal=None).inventory(archive=tmp_path)
    assert stub.requests == []
