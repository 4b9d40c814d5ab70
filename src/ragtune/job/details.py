"""What a server says of a job, typed at our own gate: the client's types are no promise.

Servers leave required fields out, send new states, an empty error on a healthy job, times as text; each of these is
read as what it means, and what is not there is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune._api.fields import identity, number, object_of, required, setting, text, whole, words
from ragtune._api.times import moment
from ragtune._checked import checked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ragtune._api.calls import Json

__all__ = ["TERMINAL", "Checkpoint", "JobDetails", "JobError"]

# OpenAI's, in the order of a job's life; other servers have further ones.
KNOWN_STATUSES = ("validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled")
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, kw_only=True)
class JobError:
    """Why a job failed.

    Attributes:
        code: for example `invalid_training_file`, or None.
        message: the server's words, or None.
        param: which input it blames, or None.
    """

    code: str | None
    message: str | None
    param: str | None


@checked()
@dataclass(frozen=True, kw_only=True)
class JobDetails:
    """A job at one moment.

    Attributes:
        id: `ftjob-...`.
        status: as the server says it; `succeeded`, `failed` and `cancelled` are final, anything else is not.
        model: base model.
        fine_tuned_model: the tuned model's name, None until the job succeeded.
        created_at: when it was created (UTC).
        finished_at: when it ended (UTC), or None.
        estimated_finish: when the server expects it to end (UTC), or None.
        trained_tokens: billable tokens over all epochs, None until the job ended.
        method: supervised, dpo, kto or reinforcement.
        n_epochs: passes over the data; a number once the server has chosen, "auto" before, None when it does not say.
        batch_size: examples per step, likewise.
        learning_rate_multiplier: factor on the server's own rate, likewise.
        learning_rate: absolute rate, on servers that have one.
        early_stop: measurements without a rise that end it, on servers that ask held-out questions while they train.
        seed: seed of the job.
        suffix: the part of the tuned model's name that was asked for.
        training_file: id of the training file.
        validation_file: id of the validation file, or None.
        result_files: ids of files with the metrics.
        error: why it failed, or None.
        metadata: the job's metadata.
        raw: the server's whole answer.

    Example:
        ```python
        from ragtune import JobDetails

        details = JobDetails.from_wire({"id": "ftjob-1", "status": "paused", "error": {"code": None}, "model": "m"})
        print(details.status, details.is_final, details.error, details.trained_tokens)
        #> paused False None None
        ```
    """

    id: str
    status: str
    model: str | None = None
    fine_tuned_model: str | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    estimated_finish: datetime | None = None
    trained_tokens: int | None = None
    method: str | None = None
    n_epochs: int | str | None = None
    batch_size: int | str | None = None
    learning_rate_multiplier: float | str | None = None
    learning_rate: float | str | None = None
    early_stop: int | None = None
    seed: int | None = None
    suffix: str | None = None
    training_file: str | None = None
    validation_file: str | None = None
    result_files: tuple[str, ...] = ()
    error: JobError | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_final(self) -> bool:
        """Whether the job has ended; a status that this version does not know counts as going on."""
        return self.status in TERMINAL

    @classmethod
    def from_wire(cls, body: Json) -> JobDetails:
        """Read the server's job object."""
        told = body.get("method")
        method = object_of(told)
        # Servers that copied the wire may have the name alone where OpenAI has an object.
        kind = text(method.get("type")) or (text(told) or "").lower() or None
        # The resolved values stand below `method`; `hyperparameters` is the older place and null for some methods.
        values = object_of(body.get("hyperparameters")) | object_of(
            object_of(method.get(kind or "")).get("hyperparameters")
        )
        files = body.get("result_files")
        return cls(
            id=required(body, "job"),
            status=text(body.get("status")) or "unknown",
            model=text(body.get("model")),
            fine_tuned_model=text(body.get("fine_tuned_model")),
            created_at=moment(body.get("created_at")),
            finished_at=moment(body.get("finished_at")),
            estimated_finish=moment(body.get("estimated_finish")),
            trained_tokens=whole(body.get("trained_tokens")),
            method=kind,
            n_epochs=_count(values.get("n_epochs")),
            batch_size=_count(values.get("batch_size")),
            learning_rate_multiplier=setting(values.get("learning_rate_multiplier")),
            learning_rate=setting(values.get("learning_rate")),
            early_stop=whole(values.get("early_stop")),
            seed=whole(body.get("seed")),
            # OpenAI's answer has another name for it than its request; others keep the request's.
            suffix=text(body.get("user_provided_suffix")) or text(body.get("suffix")),
            training_file=text(body.get("training_file")),
            validation_file=text(body.get("validation_file")),
            result_files=tuple(name for name in files if isinstance(name, str)) if isinstance(files, list) else (),
            error=_error(body),
            metadata={key: value for key, value in object_of(body.get("metadata")).items() if isinstance(value, str)},
            raw=body,
        )


@checked()
@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model as it was after one epoch; it can be asked like the finished one.

    Attributes:
        id: `ftckpt_...`.
        model: name to ask it by.
        step: training step it was taken at.
        created_at: when (UTC).
        metrics: losses and accuracies at that step, by the server's names.

    Example:
        ```python
        from ragtune.job import Checkpoint

        wire = {"id": "ftckpt_1", "fine_tuned_model_checkpoint": "ft:b:o::x:ckpt-step-9", "step_number": 9}
        print(Checkpoint.from_wire(wire).step)
        #> 9
        ```
    """

    id: str
    model: str | None
    step: int | None
    created_at: datetime | None
    metrics: Mapping[str, float]

    @classmethod
    def from_wire(cls, body: Json) -> Checkpoint:
        """Read the server's checkpoint object."""
        return cls(
            id=identity(body),
            model=text(body.get("fine_tuned_model_checkpoint")),
            step=whole(body.get("step_number")),
            created_at=moment(body.get("created_at")),
            metrics={
                name: read
                for name, value in object_of(body.get("metrics")).items()
                if (read := number(value)) is not None
            },
        )


def _count(value: object) -> int | str | None:
    read = whole(value)
    return text(value) if read is None else read


def _error(body: Json) -> JobError | None:
    error = body.get("error")
    # A healthy job carries null, {} or three nulls here; others a text, or a list of what is wrong.
    if isinstance(error, str | list):
        said = words(error)
        return JobError(code=None, message=said, param=None) if said else None
    code, message, param = (text(object_of(error).get(key)) for key in ("code", "message", "param"))
    return JobError(code=code, message=message, param=param) if code or message or param else None
