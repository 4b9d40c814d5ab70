"""Fetching an account into an archive: jobs with all that is said of them, then files with their contents.

The lists are read page by page and tell the jobs and files themselves; only a job's events and checkpoints, and a
file's content, take a request each. What was fetched before is not fetched again, so that a killed run goes on.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune._api import gather
from ragtune._api.errors import NO_SUCH_LIST, UnreadableReplyError, transient
from ragtune._api.fields import identity, text, whole
from ragtune._keys import redact
from ragtune._retry import patiently
from ragtune.errors import ModelExpired, RagtuneError, TuningClosed
from ragtune.job import JobDetails
from ragtune.job.whereabouts import remembering
from ragtune.migration.store.archived import lost_parts
from ragtune.migration.store.contents import Contents
from ragtune.migration.store.manifest import ArchiveEntry, ManifestWriter, make_folder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    import openai

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.journal import JournalArgument, Run

__all__ = ["collect"]

logger = logging.getLogger("ragtune")

# How long one thing is tried again while the server is in trouble.
PATIENCE_S = 120.0
# Jobs that never ran have none, and each list is a request.
_CHECKPOINTS_OF = ("running", "paused", "succeeded", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class _Item:
    """Something to fetch: a job with what the list says of it, or a file, of which the list may say nothing."""

    kind: str
    id: str
    body: Json


async def collect(
    api: Api, folder: Path, *, journal: JournalArgument, concurrency: int, progress: Callable[[int, int], object]
) -> None:
    """Fetch what the archive in `folder` does not hold yet; see `Archive.create`.

    Args:
        api: the account.
        folder: the archive's.
        journal: knows system prompts that no job's metadata can hold.
        concurrency: how many things at once.
        progress: called with how many things are there and how many there will be.

    Raises:
        ArchiveError: the folder cannot be made, or holds something else, the archive of another account or a damaged
            one.
        openai.APIConnectionError: the server is not there any more; what was fetched stays, and the same call goes on.
    """
    make_folder(folder)
    api, runs = await remembering(api, journal)
    jobs = await gather(api.jobs())
    account = await api.account()
    head = {
        "account": account,
        "server": api.port.base_url,
        "dialect": api.dialect.name,
        "begun_at": dt.datetime.fromtimestamp(api.port.now(), tz=dt.UTC).isoformat(timespec="seconds"),
    }
    with ManifestWriter(folder, head=head) as manifest:
        contents = Contents(folder)
        contents.make()
        fetcher = _Fetcher(api=api, runs=runs, contents=contents, manifest=manifest)
        items = [*_jobs(jobs), *_files(jobs, await _listed_files(api))]
        todo = [item for item in items if not fetcher.has(item)]
        done = len(items) - len(todo)
        progress(done, len(items))
        try:
            async with aclosing(api.map(fetcher.fetch, todo, concurrency=concurrency)) as finished:
                async for _ in finished:
                    done += 1
                    progress(done, len(items))
        except (KeyboardInterrupt, Exception) as error:
            error.add_note(f"{folder} holds {done} of {len(items)} jobs and files; the same call goes on there")
            raise
        # Only now: an archive without this line was cut off, whatever else it holds.
        manifest.finish()


def _jobs(bodies: list[Json]) -> list[_Item]:
    return [_Item(kind="job", id=identity(body), body=body) for body in bodies]


async def _listed_files(api: Api) -> list[Json]:
    """The files of the account; none where the server has no such list, since jobs name theirs."""
    import openai

    try:
        return await gather(api.files())
    except openai.APIStatusError as error:
        if error.status_code not in NO_SUCH_LIST:
            raise
        logger.warning("%s lists no files (%s): those that its jobs name are archived", api.place, error.status_code)
        return []


def _files(jobs: list[Json], listed: list[Json]) -> list[_Item]:
    """The files of the list, and those that only jobs still name."""
    found = {identity(body): body for body in listed}
    for job in jobs:
        if text(job.get("id")) is None:
            continue
        details = JobDetails.from_wire(job)
        # A file that is gone from the list may still be given by its id.
        for file_id in (details.training_file, details.validation_file, *details.result_files):
            if file_id is not None:
                found.setdefault(file_id, {})
    return [_Item(kind="file", id=file_id, body=body) for file_id, body in found.items()]


@dataclass(frozen=True, kw_only=True)
class _Fetcher:
    """Fetches one thing after the other and writes down what came."""

    api: Api
    runs: Mapping[str, Run]
    contents: Contents
    manifest: ManifestWriter

    def has(self, item: _Item) -> bool:
        """Whether it is there already, whole and final."""
        entry = self.manifest.known.get((item.kind, item.id))
        if entry is None or entry.sha256 is None or not self.contents.has(entry.sha256, entry.bytes):
            return False
        if entry.lost is not None:
            return False
        # A job that went on since may have a model, further events and a bill by now.
        return item.kind == "file" or entry.about.get("status") == text(item.body.get("status"))

    async def fetch(self, item: _Item) -> None:
        """Fetch one thing; what the server does not give is written down with its reason."""
        import openai

        try:
            sha256, size, lost = await patiently(
                self.api, lambda: self._content(item), window_s=PATIENCE_S, retry_on=transient
            )
        # A key that is refused is no loss of this one thing: all that follows would be written down as lost.
        except openai.AuthenticationError:
            raise
        except (openai.APIStatusError, UnreadableReplyError, ModelExpired, TuningClosed) as error:
            reason = _reason(error)
            logger.warning("%s %s is not given any more: %s", item.kind, item.id, reason)
            self.manifest.add(ArchiveEntry(kind=item.kind, id=item.id, lost=reason, about=_about(item)))
            return
        entry = ArchiveEntry(
            kind=item.kind, id=item.id, sha256=sha256, bytes=size, lost="; ".join(lost) or None, about=_about(item)
        )
        self.manifest.add(entry)

    async def _content(self, item: _Item) -> tuple[str, int, tuple[str, ...]]:
        """Hash and size of what is kept now, and which parts of it the server did not give."""
        if item.kind == "file":
            async with aclosing(self.api.file_chunks(item.id)) as chunks:
                return *await self.contents.keep(chunks), ()
        said = await self._job(item)
        lost = lost_parts(said)
        for part in lost:
            logger.warning("job %s is not given whole: %s", item.id, part)
        # Servers keep no keys in these; a user may have written one into metadata, a suffix or a file's name.
        content = redact(json.dumps(said, ensure_ascii=False)).encode("utf-8", "backslashreplace")
        return *self.contents.put(content), lost

    async def _job(self, item: _Item) -> Json:
        """A job with its events and checkpoints, and the system prompt that only the journal may know."""
        run = self.runs.get(item.id)
        said: Json = {"job": item.body, "events": await self._all(self.api.events(item.id))}
        if text(item.body.get("status")) in _CHECKPOINTS_OF:
            said["checkpoints"] = await self._all(self.api.checkpoints(item.id))
        if run is not None and run.system is not None:
            said["system"] = run.system
        return said

    async def _all(self, items: AsyncGenerator[Json, None]) -> list[Json] | str:
        """What a list says, the oldest first; the reason where the server does not give it."""
        import openai

        try:
            # Servers list the newest first.
            return (await gather(items))[::-1]
        except openai.APIStatusError as error:
            # The whole job is tried again then, and nothing is written down as lost.
            if transient(error) or isinstance(error, openai.AuthenticationError):
                raise
            return _reason(error)


def _reason(error: openai.APIStatusError | RagtuneError) -> str:
    status = getattr(error, "status_code", None)
    words = redact(str(error).splitlines()[0][:300])
    return words if status is None else f"{status}: {words}"


def _about(item: _Item) -> Json:
    """What is worth knowing of a thing without opening its content."""
    if item.kind == "job":
        names = ("status", "model", "fine_tuned_model", "created_at")
        return {name: item.body.get(name) for name in names}
    about = {"name": item.body.get("filename"), "purpose": item.body.get("purpose")}
    return about | {"listed_bytes": whole(item.body.get("bytes")), "created_at": item.body.get("created_at")}
