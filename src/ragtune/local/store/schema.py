"""The typed rows that come out of the backend's database; its tables are made in `migrations`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from pathlib import Path

    from ragtune.modelling.encoding.thoughts import ReasoningUse
    from ragtune.records.base import JsonObject
    from ragtune.train.spec import TrainMethod

JobStatus = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]

UploadStatus = Literal["pending", "completed", "cancelled", "expired"]

TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})

# As conditions of SQL; the first stands in two indexes, which SQLite takes only for the very same words.
UNFINISHED = "status NOT IN ('cancelled', 'failed', 'succeeded')"
FINISHED = "status IN ('cancelled', 'failed', 'succeeded')"


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """One uploaded or produced file; its bytes lie in the blob named by `sha256`."""

    id: str
    filename: str
    bytes: int
    purpose: str
    sha256: str
    created_at: int
    expires_at: int | None


@dataclass(frozen=True, kw_only=True)
class UploadRow:
    """One file that comes in parts."""

    id: str
    filename: str
    bytes: int
    """How many bytes the whole file is to have."""
    purpose: str
    status: UploadStatus
    created_at: int
    expires_at: int
    """When the upload, not its file, is given up."""
    file_expires_after_s: int | None
    """How long the file is to be kept, in seconds, once it is whole; None for ever."""
    file: str | None
    """The file that the upload has become."""


@dataclass(frozen=True, kw_only=True)
class PartRow:
    """One part of an upload; its bytes lie in the blob named by `sha256`."""

    id: str
    upload: str
    bytes: int
    sha256: str
    created_at: int


class MethodSettings(TypedDict):
    """What a method was asked to do; a number or `auto` each."""

    hyperparameters: JsonObject


class TrainingMethod(TypedDict, total=False):
    """How a job trains, as it was asked for: the settings stand under the name of the method."""

    type: Required[TrainMethod]
    supervised: MethodSettings
    dpo: MethodSettings
    kto: MethodSettings


class Hyperparameters(TypedDict, total=False):
    """The hyperparameters of a request, with a number in place of each `auto`."""

    n_epochs: Required[int]
    batch_size: Required[int]
    learning_rate_multiplier: Required[float]
    learning_rate: float
    beta: float
    desirable_weight: float
    undesirable_weight: float
    reasoning: ReasoningUse
    evaluate_every: int
    early_stop: int


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One fine-tuning job as it stands in the database."""

    id: str
    status: JobStatus
    model: str
    """The name that was asked for; it also stands in the tuned model's name."""
    base: str
    """The base model that is really trained."""
    parent: str | None
    """The tuned model that is trained further, or None."""
    training_file: str
    validation_file: str | None
    training_sha256: str
    validation_sha256: str | None
    suffix: str | None
    tuned_name: str
    """Chosen when the job is made; shown as `fine_tuned_model` only after success."""
    seed: int
    method: TrainingMethod
    created_at: int
    metadata: dict[str, str] | None = None
    resolved: Hyperparameters | None = None
    """The hyperparameters with every `auto` replaced, once the files are validated."""
    error: dict[str, str | None] | None = None
    finished_at: int | None = None
    estimated_finish: int | None = None
    trained_tokens: int | None = None
    result_file: str | None = None
    base_sha256: str | None = None
    """Of the weights of a base of the owner's own, once the job was validated; None for bases that ragtune knows."""
    read_offset: int = 0
    """How many bytes of the worker's event file stand in the event table."""


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """One event of a job."""

    id: str
    created_at: int
    level: str
    message: str
    type: str
    data: Mapping[str, object] | None


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One tuned model or checkpoint that can be asked by its name."""

    id: str
    base: str
    adapter: Path
    """Folder with the adapter's weights."""
    job: str
    created_at: int
    base_sha256: str | None = None
    """Of the weights that the adapter fits, where that is known."""


@dataclass(frozen=True, kw_only=True)
class CheckpointRow:
    """The state of a model after one epoch."""

    id: str
    job: str
    step: int
    model: str
    metrics: dict[str, float]
    created_at: int


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    """What was asked of one model on one day (UTC, ISO date)."""

    day: str
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, kw_only=True)
class DialogueRow:
    """A dialogue that was saved in the playground; `body` is its JSON."""

    id: str
    title: str
    body: str
    created_at: int


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    """One webhook event that is to be sent."""

    id: str
    type: str
    job: str
    created_at: int
    attempts: int
    """How often it was tried in vain."""
    due_at: float
    """When to try next, Unix seconds."""


@dataclass(frozen=True, kw_only=True)
class CompletionRow:
    """A chat completion that its client wanted kept."""

    id: str
    model: str
    messages: list[dict[str, Any]]
    """What was asked, as it came."""
    answer: dict[str, Any]
    """The body that was answered."""
    metadata: dict[str, str]
    created_at: int


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event that is about to be written; `step` keeps a repeated step from being written twice."""

    message: str
    level: Literal["info", "warn", "error"] = "info"
    type: Literal["message", "metrics"] = "message"
    data: Mapping[str, object] | None = None
    step: int | None = None
    created_at: int | None = None


# By name, for all tables: a column that is called so holds JSON wherever it stands.
_JSON_COLUMNS = frozenset(
    {"method", "resolved", "metadata", "error", "data", "metrics", "answer", "messages", "content"}
)


def fields(row: sqlite3.Row, *names: str) -> JsonObject:
    """Take columns out of a row and decode those that hold JSON."""
    return {name: _decode(name, row[name]) for name in names}


def encode(name: str, value: object) -> object:
    """Prepare a value for its column; the reverse of `fields`."""
    if name in _JSON_COLUMNS and value is not None:
        return json.dumps(value, ensure_ascii=False)
    return value


def _decode(name: str, value: Any) -> object:
    if name in _JSON_COLUMNS and value is not None:
        return json.loads(value)
    return value
