"""What a server says of a job, typed at our own gate: the client's types are no promise.

Servers leave required fields out, send new states, an empty error on a healthy job, times as text; each of these is
read as what it means, and what is not there is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune._api.times import moment

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
        method: supervised, dpo or reinforcement.
        n_epochs: passes over the data; a number once the server has chosen, "auto" before, None when it does not say.
        batch_size: examples per step, likewise.
        learning_rate_multiplier: factor on the server's own rate, likewise.
        learning_rate: absolute rate, on servers that have one.
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
        method = body.get("method") or {}
        kind = method.get("type")
        # The resolved values stand below `method`; `hyperparameters` is the older place and null for some methods.
        values = (body.get("hyperparameters") or {}) | ((method.get(kind) or {}).get("hyperparameters") or {})
        return cls(
            id=body["id"],
            status=str(body.get("status")),
            model=body.get("model"),
            fine_tuned_model=body.get("fine_tuned_model") or None,
            created_at=moment(body.get("created_at")),
            finished_at=moment(body.get("finished_at")),
            estimated_finish=moment(body.get("estimated_finish")),
            trained_tokens=body.get("trained_tokens"),
            method=kind,
            n_epochs=values.get("n_epochs"),
            batch_size=values.get("batch_size"),
            learning_rate_multiplier=values.get("learning_rate_multiplier"),
            learning_rate=values.get("learning_rate"),
            seed=body.get("seed"),
            suffix=body.get("user_provided_suffix") or body.get("suffix"),
            training_file=body.get("training_file"),
            validation_file=body.get("validation_file"),
            result_files=tuple(body.get("result_files") or ()),
            error=_error(body),
            metadata=dict(body.get("metadata") or {}),
            raw=body,
        )


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
            id=body["id"],
            model=body.get("fine_tuned_model_checkpoint"),
            step=body.get("step_number"),
            created_at=moment(body.get("created_at")),
            metrics={name: value for name, value in (body.get("metrics") or {}).items() if value is not None},
        )


def _error(body: Json) -> JobError | None:
    error = body.get("error")
    # A healthy job carries null, {} or three nulls here.
    if isinstance(error, str) and error:
        return JobError(code=None, message=error, param=None)
    if not isinstance(error, dict) or not any(error.get(key) for key in ("code", "message", "param")):
        return None
    return JobError(code=error.get("code"), message=error.get("message"), param=error.get("param"))
