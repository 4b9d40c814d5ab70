"""Datasets become uploaded files: once per content, by a name that says which content it is."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._api import synchronous
from ragtune._api.calls import LocalFile
from ragtune._api.errors import never_left, refused
from ragtune._api.fields import required, text, whole
from ragtune._api.times import moment
from ragtune._checked import checked
from ragtune._sync import run
from ragtune.errors import DatasetError
from ragtune.files.parts import create_file
from ragtune.journal import USERS
from ragtune.journal.best_effort import note
from ragtune.journal.recorder import Recorder

if TYPE_CHECKING:
    from datetime import datetime

    import openai

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.dataset import Dataset, Split
    from ragtune.journal import JournalArgument

__all__ = ["UploadedFile", "upload"]

logger = logging.getLogger("ragtune")

# How long to watch a file that the server still looks at. A job may be created meanwhile, so this is no condition.
SETTLING_S = 30.0
UNSETTLED = ("uploaded", "pending", "running")
REFUSED = ("error", "failed", "invalid")


@checked()
@dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """A file as the server knows it.

    Attributes:
        id: the server's name for it, `file-...`.
        filename: ours: the local name and the first 16 digits of the content's sha256.
        bytes: its size, None where the server does not say.
        status: `processed`, `uploaded`, `error`, or None: some servers give none.
        sha256: of its content in hex, or None for a file that was not sent by this call.
        purpose: what it is for, `fine-tune` for training data.
        created_at: when it was uploaded (UTC), or None where the server does not say.
        reused: whether the content already lay on the account and nothing was sent.
        fingerprint: of the dataset whose training file it is, None for other files.
        system: that dataset's constant system prompt, or None.
        dataset: that dataset itself, by which a job on the upload is checked and priced; None where it is not at hand.

    Example:
        ```python
        import ragtune as rt

        uploaded = rt.UploadedFile(id="file-1", filename="train-0a1b2c3d4e5f6071.jsonl", bytes=120, status=None)
        print(uploaded.id, uploaded.status)
        #> file-1 None
        ```
    """

    id: str
    filename: str
    bytes: int | None = None
    status: str | None = None
    sha256: str | None = None
    purpose: str | None = None
    created_at: datetime | None = None
    reused: bool = False
    fingerprint: str | None = None
    system: str | None = field(default=None, repr=False)
    dataset: Dataset | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_wire(cls, body: Json, *, sha256: str | None = None, reused: bool = False) -> UploadedFile:
        """Read the server's file object; what it leaves out is None."""
        return cls(
            id=required(body, "file"),
            filename=text(body.get("filename")) or "",
            bytes=whole(body.get("bytes")),
            status=_status(body),
            purpose=text(body.get("purpose")),
            created_at=moment(body.get("created_at")),
            sha256=sha256,
            reused=reused,
        )


@checked()
def upload(
    client: openai.OpenAI | Api,
    source: Dataset | Split | str | os.PathLike[str],
    *,
    new: bool = False,
    journal: JournalArgument = USERS,
) -> UploadedFile:
    """Upload training data, unless the same content already lies on the account.

    The file goes as it is: what it holds is for `rt.check_file(path)` to say, which `FineTuneJob.create` asks before it
    sends a dataset, and for the server.

    Args:
        client: an `openai.OpenAI`.
        source: a dataset (its training split is sent, and a job on the upload knows system prompt, fingerprint and
            price), one split, or the path of a finished JSONL file.
        new: send it even when the content is there.
        journal: a `Journal`, the path of one, or None for none; default: the user's. It knows the contents that were
            sent before, whatever their files were called.

    Raises:
        DatasetError: the file is empty, cannot be read, was changed since its dataset was built, or the server refused
            it.
        JournalError: the journal cannot be used; nothing was sent.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        rows = [{"q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("sums", overwrite=True)
        with LocalBackend("runs") as backend:
            first = rt.upload(backend.client(), dataset)
            again = rt.upload(backend.client(), dataset)
            print(again.reused, again.id == first.id)
            #> True True
        ```
    """
    return run(upload_source(synchronous(client), source, new=new, journal=journal))


async def upload_source(
    api: Api,
    source: Dataset | Split | str | os.PathLike[str],
    *,
    new: bool = False,
    journal: JournalArgument = USERS,
) -> UploadedFile:
    """Upload what a caller named; see `upload`."""
    file = await api.port.work(local_file, source)
    recorder = Recorder(journal, heard=api.port.heard)
    account = await api.account() if recorder.is_on else ""
    sent = await send(api, file, new=new, recorder=recorder, account=account)
    if isinstance(source, str | os.PathLike):
        return sent
    from ragtune.dataset import Dataset

    if not isinstance(source, Dataset):
        return sent
    # In a thread: files that were not built here are read through for it.
    system = await api.port.work(lambda: source.system)
    write = partial(recorder.trained_on, sent.id, fingerprint=source.fingerprint, system=system)
    await note(api.port, f"{sent.id} comes from {source!r}", write)
    return replace(sent, fingerprint=source.fingerprint, system=system, dataset=source)


async def send(api: Api, file: LocalFile, *, new: bool = False, recorder: Recorder, account: str) -> UploadedFile:
    """Upload one file, or find it.

    Args:
        api: the account.
        file: what to send.
        new: send it even when it is there.
        recorder: writes down what happens.
        account: the account's name in the journal.

    Raises:
        DatasetError: the server refused the content.
        JournalError: the journal cannot be used; nothing was sent.
    """
    taken = f"{file.name} is being sent by another process; its end is waited for"
    async with recorder.held(api.port, "upload", account, file.sha256 or file.name, waits=lambda: logger.info(taken)):
        if not new and (found := await _find(api, file, recorder, account)) is not None:
            logger.info("%s lies on the account as %s; nothing was sent", file.name, found.id)
            await note(
                api.port,
                f"{found.id} is on the account",
                lambda: recorder.adopt_upload(account, file, found.id, now=api.port.now()),
            )
            return found
        number = await api.port.work(recorder.begin_upload, account, file, api.port.now())
        body = await _create(api, file, recorder, number=number)
    return UploadedFile.from_wire(
        await _settled(api, file, body=body, recorder=recorder, number=number), sha256=file.sha256
    )


async def _create(api: Api, file: LocalFile, recorder: Recorder, *, number: int) -> Json:
    try:
        body = await create_file(api, file)
    except KeyboardInterrupt as stop:
        # As its argument too: a bare KeyboardInterrupt prints no message.
        stop.args = (f"stopped while {file.name} was uploaded; no job was created, the same call begins again",)
        raise
    except Exception as error:
        if refused(error) or never_left(error):
            await note(api.port, f"{file.name} was not taken", partial(recorder.end_upload, number, None))
        raise
    file_id = required(body, "file")
    await note(api.port, f"{file_id} is on the account", partial(recorder.end_upload, number, file_id))
    return body


async def _settled(api: Api, file: LocalFile, *, body: Json, recorder: Recorder, number: int) -> Json:
    waited, pause, file_id = 0.0, 0.5, required(body, "file")
    # A status that is missing says nothing, so it is not waited for.
    while api.dialect.file_status and _status(body) in UNSETTLED and waited < SETTLING_S:
        await api.port.sleep(pause)
        waited, pause = waited + pause, min(2 * pause, 5.0)
        body = await api.file(file_id) | {"id": file_id}
    if _status(body) in REFUSED:
        await note(api.port, f"{file_id} is of no use", partial(recorder.end_upload, number, None))
        details = body.get("status_details") or "it gives no details"
        message = f"the server refused {file.name} ({file_id}): {details}; repair the data and upload again"
        raise DatasetError(message)
    return body


async def _find(api: Api, file: LocalFile, recorder: Recorder, account: str) -> UploadedFile | None:
    """Return the file on this account with the same content: by the journal, else by its name, which carries the hash.

    What the journal says was true once, so the server is asked.
    """
    known = await api.port.work(recorder.find_upload, account, file)
    if known is not None:
        body = await _fetch(api, known)
        if body is not None and _usable(body):
            return UploadedFile.from_wire(
                body | {"id": known, "filename": text(body.get("filename")) or file.name},
                sha256=file.sha256,
                reused=True,
            )
        # It is gone, or was refused: the next upload need not ask for it again.
        await api.port.work(recorder.lose_upload, account, known)
    async with aclosing(api.files(purpose="fine-tune")) as files:
        async for body in files:
            if not text(body.get("id")) or not _usable(body):
                continue
            if body.get("filename") == file.name and whole(body.get("bytes")) == file.bytes:
                return UploadedFile.from_wire(body, sha256=file.sha256, reused=True)
    return None


async def _fetch(api: Api, file_id: str) -> Json | None:
    import openai

    try:
        return await api.file(file_id)
    except openai.NotFoundError:
        return None


def _usable(body: Json) -> bool:
    return _status(body) not in (*REFUSED, "deleted")


def _status(body: Json) -> str | None:
    said = text(body.get("status"))
    # Servers that copied the wire write it in capitals as well.
    return None if said is None else said.lower()


def local_file(source: Dataset | Split | str | os.PathLike[str]) -> LocalFile:
    """Return the file to send for what a caller named.

    Raises:
        DatasetError: there is none, it is empty, cannot be read, or is not what the dataset knows any more.
    """
    if isinstance(source, str | os.PathLike):
        return _file_at(Path(source))
    from ragtune.dataset import Dataset

    split = source.train if isinstance(source, Dataset) else source
    if split.path is None or len(split) == 0:
        message = "this split is empty, so there is nothing to upload; build the dataset with a share for it"
        raise DatasetError(message)
    file = _file_at(Path(split.path))
    if file.sha256 != split.sha256:
        # Sent under the old hash, it would be taken for the old content by every later upload.
        message = (
            f"{split.path} was changed after the dataset was built or read (its sha256 differs); nothing was sent. "
            "Build it again, or take the file as it is with rt.Dataset.from_files"
        )
        raise DatasetError(message)
    return file


def _file_at(path: Path) -> LocalFile:
    try:
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
            # Of the file that was hashed: under its path there may be another one by now.
            size = os.fstat(handle.fileno()).st_size
    except OSError as error:
        message = f"cannot read {str(path)!r}: {error.strerror}; give the path of a JSONL file"
        raise DatasetError(message) from error
    if size == 0:
        message = f"{str(path)!r} is empty; a training file has one JSON object per line"
        raise DatasetError(message)
    return LocalFile(path=path, name=_named(path, digest), bytes=size, sha256=digest)


def _named(path: Path, sha256: str) -> str:
    # The name is the only thing that a server keeps for us with a file, so it carries the content's hash.
    return f"{path.stem}-{sha256[:16]}.jsonl"
