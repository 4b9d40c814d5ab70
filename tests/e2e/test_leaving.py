"""From a server that dies to one's own: archive, record, replay with real training, compare; killed on the way."""

from __future__ import annotations

import html
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import ragtune as rt
from ragtune.cli import app
from ragtune.local import LocalBackend
from ragtune.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.e2e]

BASE = "gpt-4o-mini-2024-07-18"
ARCHIVE = """
import sys, openai, ragtune as rt
client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
rt.Archive.create(client, "archive", concurrency=1, progress=False)
"""
RECORD = """
import sys, openai, ragtune as rt
client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
questions = rt.Archive.load("archive").questions(sys.argv[3], limit=30)
rt.record(rt.TunedModel(client, sys.argv[3]), questions, "golden.jsonl", samples=2, concurrency=1, progress=False)
"""
REPLAY = """
import sys, warnings, ragtune as rt
from ragtune.local import LocalBackend
warnings.simplefilter("ignore")
with LocalBackend("local") as backend, backend.client() as client:
    job = rt.replay("archive", sys.argv[1], client, base="tiny-random")
    print(job.id, flush=True)
    rt.JobMonitor(job).wait()
"""


@pytest.fixture
def dying(tmp_path: Path) -> Iterator[ScriptedBackend]:
    """A server with one tuned model and thirty further files."""
    rows = [{"q": f"How deep is lake {n}?", "a": f"It is {n} metres deep."} for n in range(1, 41)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(system="You know lakes.", user="{q}", assistant="{a}")
    dataset = builder.build(tmp_path / "lakes", validation=0.2, seed=7)
    spec = rt.TuneSpec(model=BASE, method=rt.Supervised(n_epochs=2, batch_size=8), seed=7, suffix="lakes")
    with ScriptedBackend(tmp_path / "openai") as server, server.client() as client:
        rt.JobMonitor(rt.FineTuneJob.create(client, dataset, spec)).wait()
        for n in range(30):
            client.files.create(file=(f"{n}.jsonl", b'{"n":%d}\n' % n), purpose="fine-tune")
        yield server


def killed(folder: Path, program: str, *arguments: str, when: Callable[[], bool]) -> None:
    """Run a program and end it with SIGKILL in the middle."""
    command = [sys.executable, "-c", program, *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun = time.monotonic()
    while not when():
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() - begun < 120, "it never came so far"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_dying_server_is_left_and_its_models_live_on_elsewhere(
    dying: ScriptedBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Job creation is closed, then files and models go dark while we are still there; every stage is killed once."""
    monkeypatch.chdir(tmp_path)
    with dying.client(max_retries=0) as client:
        job = rt.list_jobs(client)[0].details
        old, where = str(job.fine_tuned_model), (str(client.base_url), client.api_key)
        dying.fail_next("fine_tuning.jobs.create", status=403, code="forbidden", message="closed", times=None)

        inventory = rt.Maintenance(client, dialect="openai").inventory()
        assert inventory.of("model")[0].days_left is not None

        manifest = tmp_path / "archive/manifest.jsonl"
        dying.fail_next("files.content", delay_s=0.05, times=12)
        killed(tmp_path, ARCHIVE, *where, when=lambda: lines(manifest) > 6)
        # One of the files goes dark between two runs.
        gone = next(row.id for row in inventory.of("file") if row.orphan)
        client.files.delete(gone)
        archive = rt.Archive.create(client, "archive", dialect="openai")
        assert archive.verify().ok
        assert all(gone in lost for lost in archive.lost)

        golden = tmp_path / "golden.jsonl"
        dying.reset()
        dying.fail_next("chat.completions.create", delay_s=0.05, times=20)
        killed(tmp_path, RECORD, *where, old, when=lambda: lines(golden) > 12)
        before = lines(golden)
        recorded = rt.record(rt.TunedModel(client, old), archive.questions(old, limit=30), golden, samples=2)
        assert recorded.is_complete
        assert before > 12

        dying.fail_next("*", status=404, code="model_not_found", message="The model does not exist", times=None)
        with pytest.raises(rt.ModelExpired):
            rt.record(rt.TunedModel(client, old, system=""), ["And lake 99?"], "late.jsonl")

    killed(tmp_path, REPLAY, job.id, when=lambda: any((tmp_path / "local").rglob("events.jsonl")))
    with LocalBackend("local") as backend, backend.client() as client:
        with pytest.warns(UserWarning, match=f"base: {BASE} becomes tiny-random"):
            again = rt.replay(archive, job.id, client, base="tiny-random")
        assert isinstance(again, rt.FineTuneJob)
        assert len(rt.list_jobs(client)) == 1
        model = rt.JobMonitor(again).wait()
        details = again.refresh().details
        assert (details.n_epochs, details.batch_size, details.suffix) == (2, 8, "lakes")
        assert model.system() == "You know lakes."
        found = rt.compare(golden, model, max_tokens=16)
        report = found.to_html(tmp_path / "comparison.html").read_text(encoding="utf-8")
    # Two epochs of a random model teach nothing: it must be told, with where and by how much.
    assert found.verdict == "worse"
    assert set(found.worse_where) <= {"held out", "trained"}
    assert found.differences[0].high < 0
    assert found.sentence in html.unescape(report)


def test_the_command_line_goes_the_same_way(
    dying: ScriptedBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inventory, archive, verification, recording, plan and comparison."""
    monkeypatch.chdir(tmp_path)
    with dying.client() as client:
        old = str(rt.list_jobs(client)[0].details.fine_tuned_model)
        key = tmp_path / "key.txt"
        key.write_text(client.api_key)
        server = ["--base-url", str(client.base_url), "--key-file", str(key)]

        def run(*arguments: str) -> str:
            done = CliRunner().invoke(app, arguments)
            assert done.exit_code == 0, f"{arguments}:\n{done.output}"
            return done.stdout

        assert "tuned models" in run("inventory", "--dialect", "openai", "--html", "inventory.html", *server)
        assert (tmp_path / "inventory.html").exists()
        assert '"lost": []' in run("archive", "kept", "--json", *server)
        assert "as they were written" in run("archive", "kept", "--verify")
        assert '"answers": 5' in run("record", old, "--archive", "kept", "--limit", "5", "--json", *server)
        plan = run(
            "replay", old, "--archive", "kept", "--to", "nebius", "--base", "x/y", "--dry-run", "--key-file", str(key)
        )
        assert "warning: learning_rate" in plan
        assert '"verdict"' in run("compare", "golden.jsonl", old, "--html", "page.html", "--json", *server)
        assert (tmp_path / "page.html").exists()
