"""An account in a folder: whole, resumable, verified, without a secret."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt
from ragtune.migration import create_archive
from ragtune.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEC = rt.TuneSpec(model="gpt-4o-mini-2024-07-18", method=rt.Supervised(n_epochs=2), seed=7, suffix="sums")


@pytest.fixture
def backend(tmp_path: Path, dataset: rt.Dataset) -> Iterator[ScriptedBackend]:
    """A server with one finished job on a dataset with a system prompt and a validation file."""
    with ScriptedBackend(tmp_path / "server") as server, server.client() as client:
        job = rt.FineTuneJob.create(client, dataset, SPEC)
        rt.JobMonitor(job).wait()
        yield server


@pytest.fixture
def client(backend: ScriptedBackend) -> Iterator[openai.OpenAI]:
    with backend.client(max_retries=0) as made:
        yield made


def only_job(client: openai.OpenAI) -> rt.JobDetails:
    return rt.list_jobs(client)[0].details


def test_an_archive_holds_files_byte_by_byte_and_all_that_is_said_of_jobs(
    client: openai.OpenAI, dataset: rt.Dataset, tmp_path: Path
) -> None:
    job = only_job(client)
    archive = rt.Archive.create(client, tmp_path / "archive")
    assert archive.is_whole
    assert archive.verify().ok
    kept = archive.job(job.id)
    assert kept.details == job
    assert kept.details.n_epochs == 2
    assert kept.system == "Add up."
    assert [one.step for one in kept.checkpoints] == [6, 12]
    assert kept.events[0].created_at is not None
    assert "succeeded" in kept.events[-1].message or "completed" in kept.events[-1].message
    assert archive.job(str(job.fine_tuned_model)).details.id == job.id
    assert dataset.train.path is not None
    assert archive.path(str(job.training_file)).read_bytes() == Path(dataset.train.path).read_bytes()
    assert {*job.result_files, job.training_file, job.validation_file} == {*archive.files}
    again = archive.dataset(job.id)
    assert (again.train.sha256, again.validation.sha256) == (dataset.train.sha256, dataset.validation.sha256)


def test_the_inventory_knows_what_is_archived(client: openai.OpenAI, tmp_path: Path) -> None:
    archive = rt.Archive.create(client, tmp_path / "archive")
    extra = client.files.create(file=("new.jsonl", b'{"a":1}\n'), purpose="fine-tune")
    found = rt.Maintenance(client).inventory(archive=archive)
    assert [row.id for row in found.unarchived] == [extra.id]


def test_a_second_call_fetches_what_is_new_alone(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    rt.Archive.create(client, tmp_path / "archive")
    before = (tmp_path / "archive/manifest.jsonl").read_bytes()
    backend.reset()
    rt.Archive.create(client, tmp_path / "archive")
    assert [request.call for request in backend.requests] == ["fine_tuning.jobs.list", "files.list"]
    assert (tmp_path / "archive/manifest.jsonl").read_bytes() == before
    extra = client.files.create(file=("new.jsonl", b'{"a":1}\n'), purpose="fine-tune")
    archive = rt.Archive.create(client, tmp_path / "archive")
    assert extra.id in archive.files
    assert archive.verify().ok


@pytest.mark.slow
def test_equal_contents_are_kept_once(client: openai.OpenAI, tmp_path: Path) -> None:
    ids = [client.files.create(file=("same.jsonl", b'{"a":1}\n'), purpose="fine-tune").id for _ in range(3)]
    archive = rt.Archive.create(client, tmp_path / "archive")
    assert len({archive.path(file_id) for file_id in ids}) == 1


def test_a_file_that_the_server_does_not_give_is_said_and_the_rest_goes_on(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    job = only_job(client)
    client.files.delete(str(job.training_file))
    archive = rt.Archive.create(client, tmp_path / "archive")
    assert len(archive.lost) == 1
    assert archive.lost[0].startswith(f"file {job.training_file}: 404")
    assert archive.is_whole
    assert archive.verify().ok
    assert str(job.validation_file) in archive.files
    with pytest.raises(rt.ArchiveError, match="the server did not give it: 404"):
        archive.dataset(job.id)


def test_a_server_without_a_list_of_files_is_archived_by_what_its_jobs_name(stub: Any, tmp_path: Path) -> None:
    job = {"id": "ftjob-1", "status": "succeeded", "model": "m", "training_file": "file-1", "result_files": ["file-2"]}
    pages = {"": [job], "/ftjob-1/events": [], "/ftjob-1/checkpoints": []}
    for path, found in pages.items():
        stub.on("GET", f"/fine_tuning/jobs{path}", {"object": "list", "data": found, "has_more": False})
    stub.on("GET", "/files", (404, {"error": {"message": "no such route"}}))
    for file_id in ("file-1", "file-2"):
        stub.on("GET", f"/files/{file_id}/content", {"rows": file_id})
    with openai.OpenAI(base_url=stub.base_url, api_key="sk-test", max_retries=0) as client:
        archive = rt.Archive.create(client, tmp_path / "archive", journal=None)
    assert (archive.is_whole, archive.lost, sorted(archive.files)) == (True, (), ["file-1", "file-2"])


def test_what_failed_once_is_asked_for_again(backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path) -> None:
    backend.fail_next("files.content", status=403, code="forbidden", message="not now")
    first = rt.Archive.create(client, tmp_path / "archive", concurrency=1)
    assert "403" in first.lost[0]
    assert rt.Archive.create(client, tmp_path / "archive").lost == ()


@pytest.mark.parametrize("call", ["fine_tuning.jobs.list_events", "fine_tuning.jobs.checkpoints.list"])
@pytest.mark.parametrize("status", [400, 403, 404])
def test_events_and_checkpoints_that_were_refused_are_lost_and_asked_for_again(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path, call: str, status: int
) -> None:
    job, part = only_job(client), "checkpoints" if "checkpoints" in call else "events"
    backend.fail_next(call, status=status, message="not now")
    first = rt.Archive.create(client, tmp_path / "archive", concurrency=1)
    assert first.lost[0].startswith(f"job {job.id}: {part}: {status}")
    assert len(first.lost) == 1
    assert first.job(job.id).lost[0].startswith(f"{part}: {status}")
    told = first.verify()
    assert (told.ok, told.lost) == (True, first.lost)
    again = rt.Archive.create(client, tmp_path / "archive")
    assert (again.lost, again.job(job.id).lost) == ((), ())
    assert again.job(job.id).events
    before = len(backend.requests)
    rt.Archive.create(client, tmp_path / "archive")
    assert not [one for one in backend.requests[before:] if one.call == call]


def test_a_dropped_connection_is_tried_again(backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path) -> None:
    backend.fail_next("files.content", drop=True)
    backend.fail_next("files.content", status=503)
    assert rt.Archive.create(client, tmp_path / "archive", concurrency=1).lost == ()


@pytest.mark.slow
def test_nothing_secret_is_in_it_and_nobody_else_may_read_it(
    backend: ScriptedBackend, client: openai.OpenAI, dataset: rt.Dataset, tmp_path: Path
) -> None:
    leaky = rt.TuneSpec(model="gpt-4o-mini-2024-07-18", metadata={"note": "sk-proj-abcdefghijklmnop1234"})
    rt.JobMonitor(rt.FineTuneJob.create(client, dataset, leaky)).wait()
    rt.Archive.create(client, tmp_path / "archive")
    key = client.api_key.encode()
    for path in (tmp_path / "archive").rglob("*"):
        if path.is_file():
            assert key not in path.read_bytes()
            assert b"sk-proj-abcdefghijklmnop1234" not in path.read_bytes()
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "archive").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "archive/manifest.jsonl").stat().st_mode) == 0o600


def test_another_account_is_refused(client: openai.OpenAI, tmp_path: Path) -> None:
    rt.Archive.create(client, tmp_path / "archive")
    with (
        ScriptedBackend(tmp_path / "other") as other,
        other.client() as stranger,
        pytest.raises(rt.ArchiveError, match="is the archive of the account"),
    ):
        rt.Archive.create(stranger, tmp_path / "archive")


def test_a_changed_a_missing_and_a_cut_content_are_told(client: openai.OpenAI, tmp_path: Path) -> None:
    archive = rt.Archive.create(client, tmp_path / "archive")
    job = only_job(client)
    training, validation = archive.path(str(job.training_file)), archive.path(str(job.validation_file))
    training.write_bytes(training.read_bytes().replace(b"What", b"Whom"))
    validation.unlink()
    found = archive.verify()
    assert not found.ok
    assert sorted(problem.partition(" (")[0].rpartition(" ")[2] for problem in found.problems) == ["changed", "missing"]
    with pytest.raises(rt.ArchiveError, match="is missing"):
        archive.path(str(job.validation_file))
    # What is missing is fetched again; what was changed in place has its length, and only `verify` reads it.
    assert rt.Archive.create(client, tmp_path / "archive").path(str(job.validation_file)).exists()


def test_a_manifest_that_was_cut_off_or_changed_is_told(client: openai.OpenAI, tmp_path: Path) -> None:
    rt.Archive.create(client, tmp_path / "archive")
    manifest = tmp_path / "archive/manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-20])
    assert not rt.Archive.load(tmp_path / "archive").is_whole
    assert "cut off" in str(rt.Archive.load(tmp_path / "archive").verify())
    manifest.write_bytes(whole.replace(b'"bytes": ', b'"bytes": 1', 1))
    with pytest.raises(rt.ArchiveError, match="were changed after they were written"):
        rt.Archive.load(tmp_path / "archive")
    manifest.write_bytes(b"{}\n")
    with pytest.raises(rt.ArchiveError, match="no line of a manifest"):
        rt.Archive.load(tmp_path / "archive")
    manifest.write_bytes(b'{"type": "archive", "version": 99}\n')
    with pytest.raises(rt.ArchiveError, match="use a newer ragtune"):
        rt.Archive.load(tmp_path / "archive")
    with pytest.raises(rt.ArchiveError, match="holds no archive"):
        rt.Archive.load(tmp_path / "nowhere")


@pytest.mark.slow
def test_an_archive_of_another_account_is_refused_each_time_for_the_same_reason(
    client: openai.OpenAI, tmp_path: Path
) -> None:
    """A refusal that kept its lock would say at the second time that another program writes there."""
    rt.Archive.create(client, tmp_path / "archive")
    with ScriptedBackend() as other, other.client() as stranger:
        for _ in range(2):
            with pytest.raises(rt.ArchiveError, match="is the archive of the account"):
                rt.Archive.create(stranger, tmp_path / "archive")


def changed_line(folder: Path, kind: str, **values: object) -> None:
    """Give the first line of a kind other values, and leave the last line away, which would tell."""
    manifest = folder / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_bytes().splitlines()][:-1]
    next(line for line in lines if line["type"] == kind).update(values)
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        ("file", {"sha256": "../secret.jsonl"}, "sha256 = '../secret.jsonl' is not 64 hex digits"),
        ("file", {"sha256": "/etc/passwd"}, "is not 64 hex digits"),
        ("job", {"sha256": "A" * 64}, "is not 64 hex digits"),
        ("job", {"sha256": 123}, "sha256 = 123"),
        ("job", {"about": "x"}, "about = 'x'"),
        ("file", {"bytes": "9"}, "bytes = '9'"),
        ("file", {"id": None}, "id = None"),
    ],
)
def test_a_manifest_that_leads_elsewhere_or_is_damaged_is_refused_with_its_line(
    client: openai.OpenAI, tmp_path: Path, kind: str, values: dict[str, object], says: str
) -> None:
    rt.Archive.create(client, tmp_path / "archive")
    changed_line(tmp_path / "archive", kind, **values)
    with pytest.raises(rt.ArchiveError) as refusal:
        rt.Archive.load(tmp_path / "archive")
    assert says in str(refusal.value)
    assert "manifest.jsonl line " in str(refusal.value)


def test_a_manifest_nested_without_end_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(rt.ArchiveError, match="line 1: this is no line of a manifest"):
        rt.Archive.load(tmp_path)


@pytest.mark.parametrize("content", [b"{}", b'{"', b"[]", b'{"job": 3}', b"[" * 100_000])
def test_a_content_that_is_no_job_is_told_in_words(client: openai.OpenAI, tmp_path: Path, content: bytes) -> None:
    rt.Archive.create(client, tmp_path / "archive")
    sha256 = hashlib.sha256(content).hexdigest()
    place = tmp_path / "archive/content" / sha256[:2] / sha256
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(content)
    changed_line(tmp_path / "archive", "job", sha256=sha256, bytes=len(content))
    with pytest.raises(rt.ArchiveError, match=r"is no job; the archive was changed or damaged"):
        _ = rt.Archive.load(tmp_path / "archive").jobs


def test_a_folder_of_something_else_and_one_that_cannot_be_made_are_refused_before_anything_is_asked(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/faq.csv").write_text("q,a\n")
    backend.reset()
    for place, says in (
        ("data", "is no archive (it holds 'faq.csv')"),
        ("data/faq.csv", "is a file; give the path of a folder"),
        ("data/faq.csv/archive", "the archive cannot be written"),
    ):
        with pytest.raises(rt.ArchiveError) as refusal:
            rt.Archive.create(client, tmp_path / place)
        assert says in str(refusal.value)
    assert backend.requests == []
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["faq.csv"]


def test_data_that_was_changed_is_neither_read_nor_sent(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    archive = rt.Archive.create(client, tmp_path / "archive")
    job = only_job(client)
    training = archive.path(str(job.training_file))
    training.write_bytes(training.read_bytes().replace(b"What", b"Whom"))
    backend.reset()
    for use in (
        lambda: archive.path(str(job.training_file)),
        lambda: archive.dataset(job.id),
        lambda: archive.questions(job.id),
        lambda: rt.replay(archive, job.id, client),
    ):
        with pytest.raises(rt.ArchiveError, match="was changed or cut off; delete it"):
            use()
    assert "files.create" not in [request.call for request in backend.requests]
    training.unlink()
    assert rt.Archive.create(client, tmp_path / "archive").dataset(job.id).train.rows


KILLED = """
import sys
import openai
import ragtune as rt

client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
rt.Archive.create(client, sys.argv[3], concurrency=2, progress=False)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_fetches_nothing_twice(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    """Killed with SIGKILL in the middle of the files, again and again, until one run comes to the end."""
    contents = {
        client.files.create(file=(f"{n}.jsonl", b'{"n":%d}\n' % n * 200), purpose="fine-tune").id for n in range(20)
    }
    backend.reset()
    backend.fail_next("files.content", delay_s=0.1, times=None)
    command = [sys.executable, "-c", KILLED, str(client.base_url), client.api_key, str(tmp_path / "archive")]
    for _ in range(2):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        seen = len(fetched(backend))
        until(lambda seen=seen: len(fetched(backend)) >= seen + 5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not rt.Archive.load(tmp_path / "archive").is_whole
    archive = rt.Archive.create(client, tmp_path / "archive")
    assert contents <= {*archive.files}
    assert archive.verify().ok
    # Two runs died with two files under way each; every other file was asked for once.
    assert len(fetched(backend)) <= len(archive.files) + 2 * 2
    assert not [*(tmp_path / "archive/content").glob(".part-*")]


def fetched(backend: ScriptedBackend) -> list[str]:
    return [request.path for request in backend.requests if request.call == "files.content"]


def until(is_so: Any, seconds: float = 30.0) -> None:
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() - begun < seconds, "it did not come to that"
        time.sleep(0.01)


def test_two_programs_do_not_write_one_archive(client: openai.OpenAI, tmp_path: Path) -> None:
    from ragtune.migration.store.manifest import ManifestWriter

    archive = rt.Archive.create(client, tmp_path / "archive")
    with (
        ManifestWriter(tmp_path / "archive", head={"account": archive.account}),
        pytest.raises(rt.ArchiveError, match="another program is writing"),
    ):
        rt.Archive.create(client, tmp_path / "archive")


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource: a limit of a file's size")
def test_a_full_disk_leaves_no_half_line_among_whole_ones(client: openai.OpenAI, tmp_path: Path) -> None:
    """Another thread goes on for a moment, and its line must begin a line of its own."""
    import resource

    from ragtune.migration.store.manifest import ArchiveEntry, ManifestWriter, read_manifest

    archive = rt.Archive.create(client, tmp_path / "archive")
    manifest = tmp_path / "archive/manifest.jsonl"
    before = manifest.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ManifestWriter(tmp_path / "archive", head={"account": archive.account}) as writer:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (manifest.stat().st_size + 20, old[1]))
            with pytest.raises(OSError, match="the disk took only 20 of"):
                writer.add(ArchiveEntry(kind="file", id="file-cut", lost="?"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        assert manifest.read_bytes() == before
        writer.add(ArchiveEntry(kind="file", id="file-whole", lost="?"))
    assert ("file", "file-whole") in read_manifest(tmp_path / "archive").entries


@pytest.mark.slow
def test_the_asynchronous_face_makes_the_same_archive(
    backend: ScriptedBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    async def made() -> rt.Archive:
        async with backend.async_client() as own:
            return await create_archive(own, tmp_path / "other")

    archive = rt.Archive.create(client, tmp_path / "archive")
    assert asyncio.run(made()).held == archive.held


def test_each_content_lies_under_its_own_hash(client: openai.OpenAI, tmp_path: Path) -> None:
    rt.Archive.create(client, tmp_path / "archive")
    lines = [json.loads(line) for line in (tmp_path / "archive/manifest.jsonl").read_text().splitlines()]
    hashes = {line["sha256"] for line in lines if line["type"] in ("job", "file")}
    assert hashes
    for sha256 in hashes:
        content = tmp_path / "archive/content" / sha256[:2] / sha256
        assert hashlib.sha256(content.read_bytes()).hexdigest() == sha256
