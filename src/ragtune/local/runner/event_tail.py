"""From the worker's events file to the job's row: messages, metrics, checkpoints, and at the end the result."""

from __future__ import annotations

import base64
import csv
import io
import time
from typing import TYPE_CHECKING

from ragtune.local.store.schema import NewEvent
from ragtune.train.events import read_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ragtune.local.store import Store
    from ragtune.local.store.schema import JobRow
    from ragtune.train.events import Event

__all__ = ["Follower", "result_csv"]

# OpenAI's result file calls the column `train_accuracy`, its events `train_mean_token_accuracy`.
_RESULT_COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}


class Follower:
    """Reads one job's events file from where it was left and writes what it says into the store.

    Attributes:
        step: the highest step seen, 0 before the first.
        end: the `end` event when it is the last one in the file, else None.
    """

    def __init__(self, store: Store, job: JobRow) -> None:
        self._store = store
        self._job = job
        self._path = store.job_folder(job.id) / "events.jsonl"
        self._offset = job.read_offset
        self._pace = _Pace()
        self.step = store.jobs.last_step(job.id)
        # Read from the start: a server may have been killed between reading the end and acting on it.
        whole, _ = read_from(self._path, 0)
        self.end = _end_of(whole)

    def drain(self) -> None:
        """Take in all whole lines that are new."""
        # A folder that was removed meanwhile begins a file anew: what was read of the old one is no part of it.
        if _size(self._path) < self._offset:
            self._offset = 0
        events, offset = read_from(self._path, self._offset)
        if offset == self._offset:
            return
        # The events and how far was read go in together: after a crash none is missing and none comes twice.
        with self._store.transaction():
            for event in events:
                # One by one: a checkpoint looks up the metrics of its step.
                note = self._translate(event)
                if note is not None:
                    self._store.jobs.note(self._job.id, note)
            self._store.jobs.read_up_to(self._job.id, offset=offset, estimated_finish=self._pace.estimated_finish())
        self._offset = offset
        if events:
            self.end = _end_of(events)

    def forget_end(self) -> None:
        """Begin to wait for the last word of a new worker."""
        self.end = None

    def _translate(self, event: Event) -> NewEvent | None:
        at = int(event.get("time", time.time()))
        match event.get("type"):
            case "message":
                return NewEvent(message=str(event["message"]), level=event.get("level", "info"), created_at=at)
            case "start":
                self._pace.begin(event, at)
                return _started(event, at)
            case "metrics":
                self.step = max(self.step, int(event["step"]))
                self._pace.saw(event)
                return _metrics_note(event, at)
            case "checkpoint":
                return self._checkpoint(event, at)
        return None

    def _checkpoint(self, event: Event, at: int) -> NewEvent | None:
        step, name = int(event["step"]), f"{self._job.tuned_name}:ckpt-step-{event['step']}"
        # The folder is named by its step, so that the path holds even when the backend's folder was moved.
        adapter = self._store.job_folder(self._job.id) / "epochs" / f"step-{step}"
        new = self._store.models.add_checkpoint(
            self._job.id, step=step, model=name, base=self._job.base, adapter=adapter
        )
        return NewEvent(message=f"Checkpoint created at step {step}: {name}", created_at=at) if new else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class _Pace:
    """How fast steps come, for the estimate of the end; before the second step what was foretold of it."""

    def __init__(self) -> None:
        self._foretold: int | None = None
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] | None = None
        self._total = 0

    def begin(self, event: Event, at: int) -> None:
        seconds = event.get("seconds")
        self._foretold = None if seconds is None or event.get("resumed_from") is not None else at + int(seconds)

    def saw(self, event: Event) -> None:
        point = (int(event["step"]), float(event.get("time", time.time())))
        # A worker that goes on from a checkpoint repeats steps: its pace is measured anew.
        if self._first is None or point[0] <= self._first[0]:
            self._first = point
        self._last, self._total = point, int(event["total_steps"])

    def estimated_finish(self) -> int | None:
        if self._first is None or self._last is None or self._last[0] == self._first[0]:
            return self._foretold
        seconds_per_step = (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])
        return int(self._last[1] + seconds_per_step * (self._total - self._last[0]))


def _started(event: Event, at: int) -> NewEvent | None:
    if event.get("resumed_from") is not None:
        return NewEvent(message=f"Going on from the checkpoint at step {event['resumed_from']}", created_at=at)
    return None


def _metrics_note(event: Event, at: int) -> NewEvent:
    step, total = event["step"], event["total_steps"]
    message = f"Step {step}/{total}: training loss={event['train_loss']:.2f}"
    for name, words in (("valid_loss", "validation loss"), ("full_valid_loss", "full validation loss")):
        if event.get(name) is not None:
            message += f", {words}={event[name]:.2f}"
    if event.get("valid_fact_accuracy") is not None:
        message += f", held-out questions answered right={event['valid_fact_accuracy']:.0%}"
    data = {name: value for name, value in event.items() if name not in {"type", "time"} and value is not None}
    return NewEvent(type="metrics", message=message, data=data, step=int(step), created_at=at)


def _end_of(events: list[Event]) -> Event | None:
    return events[-1] if events and events[-1].get("type") == "end" else None


def result_csv(metrics: Sequence[Mapping[str, object]]) -> bytes:
    """The result file of a job: OpenAI's columns, one line per step, base64 as OpenAI serves it.

    A value that was not measured at a step stays blank.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_RESULT_COLUMNS)
    for row in metrics:
        writer.writerow(["" if (value := row.get(name)) is None else value for name in _RESULT_COLUMNS.values()])
    return base64.b64encode(text.getvalue().encode())
