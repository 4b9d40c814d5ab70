"""Tuned models and checkpoints: names that can be asked, and the adapters behind them."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING

from ragtune.local.ids import new_id
from ragtune.local.store.paging import page
from ragtune.local.store.schema import FINISHED, UNFINISHED, CheckpointRow, ModelRow, fields

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from ragtune._sqlite import Database

__all__ = ["KEPT_CHECKPOINTS", "Models"]

# OpenAI keeps the checkpoints of the last three epochs.
KEPT_CHECKPOINTS = 3
_MODEL = "SELECT model.*, job.base_sha256 FROM model JOIN job ON job.id = model.job"


class Models:
    """The tuned models of the account, checkpoints included."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    def add(self, name: str, *, base: str, adapter: Path, job: str) -> None:
        """Make an adapter callable under a name; a name that is there already stays as it is."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO model (id, base, adapter, job, created_at) VALUES (?, ?, ?, ?, ?)",
                # Relative: the backend's folder may be moved.
                (name, base, adapter.relative_to(self._folder).as_posix(), job, int(time.time())),
            )

    def find(self, name: str) -> ModelRow | None:
        """Look up one tuned model or checkpoint."""
        row = self._database.row(f"{_MODEL} WHERE model.id = ? AND deleted_at IS NULL", (name,))
        return None if row is None else self._model(row)

    def deleted_at(self, name: str) -> int | None:
        """When a tuned model was deleted (Unix seconds); None for one that is there or never was."""
        row = self._database.row("SELECT deleted_at FROM model WHERE id = ?", (name,))
        return None if row is None else row["deleted_at"]

    def all(self) -> list[ModelRow]:
        """All tuned models and checkpoints, newest first."""
        rows = self._database.rows(f"{_MODEL} WHERE deleted_at IS NULL ORDER BY model.seq DESC")
        return [self._model(row) for row in rows]

    def needed_by(self, name: str) -> str | None:
        """The job that has not ended and trains this model further; None when there is none."""
        row = self._database.row(f"SELECT id FROM job WHERE parent = ? AND {UNFINISHED}", (name,))
        return None if row is None else str(row["id"])

    def delete(self, name: str) -> bool:
        """Delete a tuned model and its weights; False when there is no such model.

        While its job still trains the folder belongs to the worker, and the weights stay until the job has ended.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                "UPDATE model SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL RETURNING job",
                (int(time.time()), name),
            ).fetchone()
        if row is not None:
            self.drop_unused(row["job"])
        return row is not None

    def drop_unused(self, job: str) -> None:
        """Remove the weights of a job's deleted models, once the job has ended."""
        rows = self._database.rows(
            "SELECT adapter FROM model JOIN job ON job.id = model.job"
            f" WHERE job.id = ? AND model.deleted_at IS NOT NULL AND {FINISHED}",
            (job,),
        )
        for row in rows:
            # Whatever cannot be removed costs room alone: the model is gone from the books.
            shutil.rmtree(self._folder / row["adapter"], ignore_errors=True)

    def add_checkpoint(self, job: str, *, step: int, model: str, base: str, adapter: Path) -> bool:
        """Keep the checkpoint of an epoch with the metrics of its step, and let go of all but the last three.

        One that a job trains further stays until the next is made after that job.

        Returns:
            False when this step's checkpoint stood already, as after a resume.
        """
        with self._database.transaction() as connection:
            self.add(model, base=base, adapter=adapter, job=job)
            # They are known: the worker tells the metrics of a step before its checkpoint.
            found = connection.execute("SELECT data FROM event WHERE job = ? AND step = ?", (job, step)).fetchone()
            made = connection.execute(
                "INSERT OR IGNORE INTO checkpoint (id, job, step, model, metrics, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (new_id("ftckpt_"), job, step, model, _metrics(found), int(time.time())),
            ).rowcount
            old = connection.execute(
                # SQLite takes an OFFSET only behind a LIMIT; -1 is none.
                "SELECT model FROM checkpoint WHERE job = ? ORDER BY step DESC LIMIT -1 OFFSET ?",
                (job, KEPT_CHECKPOINTS),
            ).fetchall()
            for row in old:
                if self.needed_by(row["model"]) is None:
                    self.delete(row["model"])
        return made == 1

    def checkpoints(self, job: str, *, after: str | None, limit: int) -> tuple[list[CheckpointRow], bool]:
        """One page of the checkpoints of a job that can still be asked, newest first."""
        rows, more = page(
            self._database,
            "checkpoint",
            where="job = ? AND EXISTS (SELECT 1 FROM model WHERE id = checkpoint.model AND deleted_at IS NULL)",
            parameters=[job],
            after=after,
            limit=limit,
        )
        return [
            CheckpointRow(**fields(row, "id", "job", "step", "model", "metrics", "created_at")) for row in rows
        ], more

    def _model(self, row: sqlite3.Row) -> ModelRow:
        # Kept relative, so that the whole folder can be moved to another place.
        values = fields(row, "id", "base", "job", "created_at", "base_sha256")
        return ModelRow(**values, adapter=self._folder / row["adapter"])


_CHECKPOINT_METRICS = (
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
    "valid_fact_accuracy",
)


def _metrics(event: sqlite3.Row | None) -> str:
    data = json.loads(event["data"]) if event is not None and event["data"] else {}
    return json.dumps({name: data[name] for name in _CHECKPOINT_METRICS if data.get(name) is not None})
