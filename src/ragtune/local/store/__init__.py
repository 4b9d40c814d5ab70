"""Everything of the backend that must survive a crash: one database and the blobs beside it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ragtune._sqlite import Database
from ragtune.errors import BackendError
from ragtune.local.store.blobs import BlobStore
from ragtune.local.store.conversations.completions import Completions
from ragtune.local.store.conversations.dialogues import Dialogues
from ragtune.local.store.conversations.responses import Responses
from ragtune.local.store.files import Files
from ragtune.local.store.jobs import Jobs
from ragtune.local.store.migrations import MIGRATIONS
from ragtune.local.store.models import Models
from ragtune.local.store.outbox import Outbox
from ragtune.local.store.uploads import Uploads
from ragtune.local.store.usage import UsageCounts

if TYPE_CHECKING:
    import sqlite3
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["Store"]

# Room to write down how jobs failed when the disk is full.
_RESERVE = 512 * 1024


class Store:
    """The state of one backend folder.

    Attributes:
        files: uploaded and produced files.
        uploads: files that come in parts.
        jobs: fine-tuning jobs and their events.
        models: tuned models and checkpoints.
        outbox: webhook events that are to be sent.
        usage: what was asked of which model.
        dialogues: what was saved in the playground.
        completions: chat completions that were to be kept.
        responses: responses, each with its input.

    Raises:
        BackendError: the folder's database cannot be used.

    Example:
        ```python
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from ragtune.local.store import Store

        with TemporaryDirectory() as folder:
            store = Store(Path(folder))
            file = store.files.add_bytes(b"{}", filename="rows.jsonl", purpose="fine-tune")
            print(store.files.path(file).read_bytes())
            #> b'{}'
            store.close()
        ```
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "state.sqlite3"
        with suppress(OSError):  # the database says what is wrong
            path.touch(mode=0o600)  # dialogues are in it; SQLite's files beside it take its mode
        # A server's own record may lose the last instant in a power cut: the worker's event file is read again then.
        self._database = Database(
            path,
            migrations=MIGRATIONS,
            synchronous="NORMAL",
            error=BackendError,
            reserve_bytes=_RESERVE,
        )
        self.files = Files(self._database, BlobStore(folder))
        self.uploads = Uploads(self._database, self.files)
        self.outbox = Outbox(self._database)
        self.jobs = Jobs(self._database, self.outbox)
        self.models = Models(self._database, folder)
        self.usage = UsageCounts(self._database)
        self.dialogues = Dialogues(self._database)
        self.completions = Completions(self._database)
        self.responses = Responses(self._database)

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Join several writes to the tables into one that happens whole or not at all."""
        return self._database.transaction()

    def job_folder(self, job_id: str) -> Path:
        """The folder that a job's worker writes to."""
        return self.folder / "jobs" / job_id

    def close(self) -> None:
        """Close the database."""
        self._database.close()
