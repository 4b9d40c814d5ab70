"""Slips that everybody makes once: a sentence says the right call, before anything is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
from typer.testing import CliRunner

import ragtune as rt
from ragtune import aio
from ragtune.cli import app
from ragtune.errors import BackendError, MissingExtraError
from ragtune.local import LocalBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from ragtune._api import Api

untyped: Any = rt
untyped_aio: Any = aio
SPEC = rt.TuneSpec(model="base")


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda: untyped.TuneSpec(n_epochs=3), r"TuneSpec\(model=..., method=rt.Supervised\(n_epochs=3\)\)"),
        (lambda: untyped.TuneSpec("base"), r"TuneSpec\(model='base'\)"),
        (lambda: untyped.TuneSpec(), "names no model"),
        (lambda: untyped.TuneSpec(model="base", epochs=3), "TuneSpec has no epochs; it has model, method"),
        (lambda: untyped.Supervised(3), r"Supervised\(n_epochs=3\)"),
        (lambda: untyped.Supervised(seed=3), r"rt.TuneSpec\(seed=3, method=...\)"),
        (lambda: untyped.DPO(lr=0.1), "DPO has no lr; it has"),
    ],
)
def test_a_spec_says_where_a_setting_belongs(slip: Any, words: str) -> None:
    with pytest.raises(rt.SpecError, match=words):
        slip()


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda api: untyped.JobMonitor("ftjob-1"), r"rt.FineTuneJob.get\(client, 'ftjob-1'\)"),
        (lambda api: untyped.JobMonitor(None), "takes a job's handle, not NoneType"),
        (lambda api: list(untyped.watch_many(["ftjob-1"])), "watch_many takes a job's handle, not 'ftjob-1'"),
        (lambda api: asyncio.run(anext(untyped_aio.watch_many(["ftjob-1"]))), "watch_many takes a job's handle"),
        (lambda api: untyped.TunedModel.from_job("ftjob-1"), "from_job takes a job's handle"),
        (lambda api: model(api).ask([{"role": "user", "content": "x"}]), r"messages go to chat\(messages\)"),
        (lambda api: model(api).ask(["x"], dry_run=True), "one question is a text, not a list"),
        (lambda api: model(api).stream(None), "one question is a text, not a NoneType"),
        (lambda api: model(api).complete(["x"]), "one question is a text, not a list"),
        (lambda api: model(api).chat("x"), r"one question goes to ask\(prompt\)"),
        (lambda api: model(api).ask_many("x"), r"ask_many takes a list of questions, not 'x'"),
    ],
)
def test_a_call_says_what_it_takes(api: Api, stub: Any, slip: Callable[[Any], object], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        slip(api)
    assert not stub.requests


def test_a_folder_in_place_of_a_dataset_is_told_how_to_load_it(api: Api, stub: Any, dataset: rt.Dataset) -> None:
    folder = Path(str(dataset.train.path)).parent
    for given in (str(folder), folder):
        with pytest.raises(rt.SpecError, match=r"is a folder, not the id of an uploaded file; pass rt\.Dataset\.load"):
            create(api, given, SPEC)
    with pytest.raises(rt.SpecError, match="a list is no data to train on"):
        create(api, [{"messages": []}], SPEC)
    assert not stub.requests


def test_a_models_name_in_place_of_a_spec_is_told_the_spec(api: Api, stub: Any, dataset: rt.Dataset) -> None:
    with pytest.raises(rt.SpecError, match=r"pass rt.TuneSpec\(model='base'\)"):
        create(api, dataset, "base")
    assert not stub.requests


def test_an_empty_name_asks_for_nothing(api: Api, stub: Any) -> None:
    """The client would leave it out of the path, and the path without it is a list."""
    for call in (rt.Maintenance(api, enabled=True).delete_file, rt.Maintenance(api).job):
        with pytest.raises(rt.SpecError, match="'' names nothing"):
            call("")
    assert not stub.requests


def create(api: Any, data: Any, spec: Any) -> object:
    return rt.FineTuneJob.create(api, data, spec, journal=None)


def model(api: Any) -> Any:
    return rt.TunedModel(api, "m", system="", journal=None)


@pytest.mark.parametrize("limit", [float("nan"), -1, True, "5"])
def test_a_limit_that_is_no_amount_is_refused(limit: Any, tmp_path: Path) -> None:
    """`nan` compares as false with every price, so it would be no limit at all."""
    rows = [{"q": f"What is {n}?", "a": str(n)} for n in range(12)]
    data = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build(tmp_path / "data")
    client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(rt.SpecError, match="max_cost_usd"):
        rt.FineTuneJob.plan(client, data, rt.TuneSpec(model="gpt-4o-mini-2024-07-18"), max_cost_usd=limit)


@pytest.mark.parametrize("wish", [{"threads": 0}, {"threads": 1.5}, {"max_running": 0}, {"max_running": "2"}])
def test_a_number_of_threads_or_jobs_is_one_or_more(wish: Any, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="must be a whole number, 1 or more"):
        LocalBackend(tmp_path, **wish)


def test_a_launcher_whose_extra_is_missing_is_refused_before_a_job_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragtune._extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"launcher 'ray' needs ray.*ragtune\[ray\]"):
        LocalBackend(tmp_path / "server", launcher="ray --workers 2")
    done = CliRunner().invoke(app, ["serve", str(tmp_path / "server"), "--port", "0", "--launcher", "ray"])
    assert (done.exit_code, "pip install 'ragtune[ray]'" in done.stderr) == (1, True), done.output
    assert not (tmp_path / "server").exists()


def test_a_launcher_that_is_no_command_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"launcher: .* is no command line"):
        LocalBackend(tmp_path, launcher="torchrun '")
