"""An account in one folder: what its jobs were made of, kept by hash, to be verified and read without a server."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune._api import asynchronous, synchronous
from ragtune._api.fields import object_of, objects, text
from ragtune._checked import checked
from ragtune._progress import bar, visible
from ragtune._sync import run
from ragtune.dataset import Dataset
from ragtune.errors import ArchiveError
from ragtune.job import Checkpoint, JobDetails
from ragtune.job.metadata import SYSTEM
from ragtune.journal import USERS
from ragtune.migration.questions import LIMIT, Questions
from ragtune.migration.store.archived import PARTS, ArchivedJob, Verification, lost_parts
from ragtune.migration.store.collect import collect
from ragtune.migration.store.contents import Contents
from ragtune.migration.store.manifest import lines_of, read_manifest
from ragtune.monitor import JobEvent

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import openai

    from ragtune._api import Api
    from ragtune.dialects import Dialect
    from ragtune.journal import JournalArgument
    from ragtune.migration.store.manifest import ArchiveEntry, Manifest

__all__ = ["Archive", "create_archive"]

CONCURRENCY = 8


@checked()
@dataclass(frozen=True, kw_only=True)
class Archive:
    """A folder with all files and jobs of an account.

    The folder holds `manifest.jsonl`, a line for each job and file with the sha256 of its content, and `content/` with
    the contents under their hashes: files byte by byte as the server gave them, jobs as JSON with their events and
    checkpoints. It holds no key and no address with one in it. Training data may be private, so only its owner may
    read the folder.

    Attributes:
        folder: where it is.
        account: whose it is: address, organisation and project.
        server: the account's address.
        dialect: name of the server's dialect.
        begun_at: when it was begun (UTC), None where the manifest does not tell.
        is_whole: whether it was made to its end, and not cut off since.

    Example:
        ```python
        import ragtune as rt
        from ragtune.testing import ScriptedBackend

        rows = [{"q": f"What is {n} + {n}?", "a": f"{n + n}."} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("sums", overwrite=True)
        with ScriptedBackend() as backend, backend.client() as client:
            job = rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model="tiny-random"))
            rt.JobMonitor(job).wait()
            archive = rt.Archive.create(client, "archive")
        print(len(archive.jobs), archive.verify().ok, archive.dataset(job.id).train.rows)
        #> 1 True 12
        ```
    """

    folder: Path
    account: str
    server: str
    dialect: str
    begun_at: datetime | None
    is_whole: bool
    _manifest: Manifest

    @classmethod
    def create(
        cls,
        client: openai.OpenAI | Api,
        folder: str | os.PathLike[str],
        *,
        concurrency: int = CONCURRENCY,
        progress: bool | None = None,
        dialect: Dialect | str | None = None,
        journal: JournalArgument = USERS,
    ) -> Archive:
        """Fetch an account's jobs and files into a folder, or fetch what is not there yet.

        Each thing is there whole or not at all, so that a run which was killed goes on with the same call. What the
        server does not give (any more), a file or a job's events or checkpoints, is written down with the server's
        reason (`lost`), and asked for again by the next call.

        Args:
            client: an `openai.OpenAI`.
            folder: the archive's; made where it is not there.
            concurrency: how many things are fetched at once, at least 1.
            progress: draw a bar. True: always; False: never; None: on a terminal or in a notebook.
            dialect: name or `Dialect` of the server; default: job by job what the journal knows, else by base URL.
            journal: a `Journal`, the path of one, or None for none; it knows system prompts that are too long for a
                job's metadata.

        Raises:
            ArchiveError: the folder holds something else, the archive of another account, or one that was changed; or
                it cannot be made.
            openai.OpenAIError: the server did not answer any more; what was fetched stays.
        """
        _check_concurrency(concurrency)
        api = synchronous(client).speaking(dialect)
        with closing(_Bar(progress)) as shown:
            run(collect(api, Path(folder), journal=journal, concurrency=concurrency, progress=shown.at))
        return cls.load(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Archive:
        """Open an archive; its contents are not read, see `verify`.

        Raises:
            ArchiveError: there is none, it is of a newer version, or its manifest was changed.
        """
        place = Path(folder).absolute()
        found = read_manifest(place)
        try:
            begun_at = datetime.fromisoformat(found.begun_at)
        # The moment is for people; a manifest without one still says all that lies there.
        except ValueError:
            begun_at = None
        return cls(
            folder=place,
            account=found.account,
            server=found.server,
            dialect=found.dialect,
            begun_at=begun_at,
            is_whole=found.is_whole,
            _manifest=found,
        )

    @property
    def held(self) -> frozenset[tuple[str, str]]:
        """Kind and id of everything whose content it holds."""
        return frozenset(key for key, entry in self._manifest.entries.items() if entry.sha256 is not None)

    @property
    def lost(self) -> tuple[str, ...]:
        """What the server did not give, each with its reason."""
        return tuple(
            f"{entry.kind} {entry.id}: {entry.lost}" for entry in self._manifest.entries.values() if entry.lost
        )

    @property
    def files(self) -> tuple[str, ...]:
        """Ids of the files whose content it holds."""
        return tuple(entry.id for entry in lines_of(self._manifest.entries, "file") if entry.sha256 is not None)

    @property
    def jobs(self) -> tuple[ArchivedJob, ...]:
        """All jobs, newest first."""
        return tuple(map(self._job, self._job_entries()))

    def _job_entries(self) -> Iterator[ArchiveEntry]:
        found = (entry for entry in lines_of(self._manifest.entries, "job") if entry.sha256 is not None)
        # As text: servers write seconds since 1970 or ISO times, and within one account either sorts so.
        return iter(sorted(found, key=lambda entry: str(entry.about.get("created_at") or ""), reverse=True))

    def job(self, about: str) -> ArchivedJob:
        """Return a job by its id, or by the name of the model that it made.

        Raises:
            ArchiveError: the archive holds no such job.
        """
        # A checkpoint was made by the job of its model.
        model = about.partition(":ckpt-step-")[0]
        for entry in self._job_entries():
            if entry.id == about or entry.about.get("fine_tuned_model") == model:
                return self._job(entry)
        known = ", ".join(entry.id for entry in self._job_entries()) or "none"
        lost = self._manifest.entries.get(("job", about))
        why = f"; the server did not give it: {lost.lost}" if lost is not None and lost.lost else ""
        raise ArchiveError(f"{self.folder} holds no job {about!r}{why}; it holds {known[:300]}")

    def _job(self, entry: ArchiveEntry) -> ArchivedJob:
        place = self._path(entry)
        try:
            said = object_of(json.loads(place.read_bytes()))
            details = JobDetails.from_wire(object_of(said.get("job")))
            events, checkpoints = (objects(said.get(part)) for part in PARTS)
            told = tuple(map(JobEvent.from_wire, events)), tuple(map(Checkpoint.from_wire, checkpoints))
        except (ValueError, RecursionError) as error:
            message = f"{place} of job {entry.id} is no job; the archive was changed or damaged: {str(error)[:200]}"
            raise ArchiveError(message) from error
        return ArchivedJob(
            details=details,
            events=told[0],
            checkpoints=told[1],
            # What the archive wrote down comes first: metadata hold no prompt beyond 512 characters.
            system=text(said.get("system")) or details.metadata.get(SYSTEM),
            lost=lost_parts(said),
        )

    def path(self, file_id: str) -> Path:
        """Return where the content of a file lies; it is read and held against its hash first.

        Raises:
            ArchiveError: the archive does not hold it, or it was changed.
        """
        entry = self._manifest.entries.get(("file", file_id))
        if entry is None or entry.sha256 is None:
            why = "it is not in the manifest" if entry is None else f"the server did not give it: {entry.lost}"
            raise ArchiveError(f"{self.folder} does not hold the file {file_id}: {why}")
        return self._path(entry)

    def _path(self, entry: ArchiveEntry) -> Path:
        assert entry.sha256 is not None, "only what was given is looked for"
        contents = Contents(self.folder)
        if (found := contents.digest(entry.sha256)) != entry.sha256:
            what = "is missing" if found is None else "was changed or cut off; delete it"
            message = f"{contents.path(entry.sha256)} of {entry.kind} {entry.id} {what}"
            raise ArchiveError(f"{message}; rt.Archive.create(client, {str(self.folder)!r}) fetches it again")
        return contents.path(entry.sha256)

    def dataset(self, about: str) -> Dataset:
        """Return the data of a job, its training and its validation file, as they lie in the archive.

        Args:
            about: the job's id, or the name of its model.

        Raises:
            ArchiveError: the archive does not hold the job or its training file.
        """
        details = self.job(about).details
        if details.training_file is None:
            raise ArchiveError(f"{details.id} names no training file, so there is nothing to train on")
        # A validation file that was lost must not keep anybody from training again.
        held = details.validation_file is not None and ("file", details.validation_file) in self.held
        validation = self.path(str(details.validation_file)) if held else None
        return Dataset.from_files(self.path(details.training_file), validation)

    def questions(self, about: str, *, limit: int = LIMIT, seed: int = 7) -> Questions:
        """Return questions from the rows of a job, those held out of training first; see `Questions.from_dataset`.

        Args:
            about: the job's id, or the name of its model.
            limit: how many at most.
            seed: another one picks others.

        Raises:
            ArchiveError: the archive does not hold the job or its training file.
            EvaluationError: no row can be asked.
        """
        return Questions.from_dataset(self.dataset(about), limit=limit, seed=seed)

    def verify(self) -> Verification:
        """Read all contents again and hold them against their hashes; nobody is asked."""
        contents, problems, size, read = Contents(self.folder), [], 0, 0
        if not self.is_whole:
            problems.append("the manifest has no last line: the archive was not made to its end, or was cut off")
        known: dict[str, str | None] = {}
        for entry in self._manifest.entries.values():
            if entry.sha256 is None:
                continue
            # Equal contents lie there once and are read once.
            if entry.sha256 not in known:
                known[entry.sha256] = contents.digest(entry.sha256)
                read, size = read + 1, size + (entry.bytes or 0)
            if known[entry.sha256] != entry.sha256:
                what = "is missing" if known[entry.sha256] is None else "was changed"
                problems.append(f"the content of {entry.kind} {entry.id} {what} ({contents.path(entry.sha256)})")
        return Verification(checked=read, bytes=size, problems=tuple(problems), lost=self.lost)

    def __repr__(self) -> str:
        held = Counter(kind for kind, _ in self.held)
        return f"Archive({str(self.folder)!r}: {held['job']:,} jobs, {held['file']:,} files of {self.account})"


@checked()
async def create_archive(
    client: openai.AsyncOpenAI | Api,
    folder: str | os.PathLike[str],
    *,
    concurrency: int = CONCURRENCY,
    progress: bool | None = None,
    dialect: Dialect | str | None = None,
    journal: JournalArgument = USERS,
) -> Archive:
    """Fetch an account's jobs and files into a folder; see `Archive.create`."""
    _check_concurrency(concurrency)
    api = asynchronous(client).speaking(dialect)
    with closing(_Bar(progress)) as shown:
        await collect(api, Path(folder), journal=journal, concurrency=concurrency, progress=shown.at)
    return Archive.load(folder)


def _check_concurrency(concurrency: int) -> None:
    if concurrency < 1:
        raise ArchiveError(f"concurrency: {concurrency!r} things at a time cannot be; it must be at least 1")


class _Bar:
    """A bar that is drawn once it is known how long it will be."""

    def __init__(self, wanted: bool | None) -> None:
        self._wanted = visible() if wanted is None else wanted
        self._drawn: Any = None

    def at(self, done: int, total: int) -> None:
        """Show that so many are done."""
        if not self._wanted:
            return
        if self._drawn is None:
            self._drawn = bar("archive", unit="item", total=total, done=done)
        self._drawn.update(done - self._drawn.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._drawn is not None:
            self._drawn.close()
