"""Every error that ragtune raises itself.

```
RagtuneError
├── RecordError(ValueError)        one record breaks a rule
├── DatasetError(ValueError)       rows, files or splits that cannot become training data
├── SpecError(ValueError)          a setting of a job that no server would take
├── EvaluationError(ValueError)    facts, answerers, scorers or a log that no evaluation can be made of
├── BudgetExceeded                 the estimate is above the limit that the caller set
├── Unsupported                    this server cannot do that, known before anything was sent
├── MissingKey                     no API key, and the ways to give one
├── TuningClosed                   the account may not create fine-tuning jobs (any more)
├── ModelExpired                   the model was shut down by its maker
├── ModelNotReady                  the job has not finished, so there is no model to ask yet
├── NoTunedModel                   the account holds no finished fine-tune
├── EmptyAnswer                    an answer without the text that was asked for
├── CreateUncertain                a job may or may not have been created; says how to find out
├── JobFailed                      the server ended the job with an error
├── JobCancelled                   somebody ended the job
├── WaitTimeout(TimeoutError)      waiting ended, the job runs on
├── JournalError                   the journal file cannot be used
├── MaintenanceDisabled            a destructive call on a guard that was not opened
├── ArchiveError                   an archive that is cut off, changed, or of another account
├── FeedbackError(ValueError)      a verdict that says nothing, or a feedback file that cannot be used
├── RegistryError(ValueError)      a model, an alias or a registry that cannot be used so, or what is still needed
│   └── GateRefused                a promotion that a gate, or a missing scorecard, stood against
├── BackendError                   the embedded backend cannot start or go on
└── MissingExtraError(ImportError) an optional dependency is not installed

ExpiryWarning(UserWarning)         a model stops answering soon
```

OpenAI's own errors (`openai.APIStatusError` and its family) pass through as they are, with a note where we know more.
Where one of ours stands for an OpenAI error it is raised `from` it, so the original stays in `__cause__`.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ArchiveError",
    "BackendError",
    "BudgetExceeded",
    "CreateUncertain",
    "DatasetError",
    "EmptyAnswer",
    "EvaluationError",
    "ExpiryWarning",
    "FeedbackError",
    "GateRefused",
    "JobCancelled",
    "JobFailed",
    "JournalError",
    "MaintenanceDisabled",
    "MissingExtraError",
    "MissingKey",
    "ModelExpired",
    "ModelNotReady",
    "NoTunedModel",
    "RagtuneError",
    "RecordError",
    "RegistryError",
    "SpecError",
    "TuningClosed",
    "Unsupported",
    "WaitTimeout",
]


class RagtuneError(Exception):
    """Base of everything that ragtune raises itself.

    Example:
        ```python
        import ragtune as rt

        try:
            rt.TuneSpec(model="")
        except rt.RagtuneError as error:
            print(type(error).__name__)
            #> SpecError
        ```
    """


# Where Python has a kind of its own an error is of that kind as well: programs that catch it need not know ragtune.
class RecordError(RagtuneError, ValueError):
    """One record breaks a rule of its format; the message names the place, the value, the rule and the way out."""


class DatasetError(RagtuneError, ValueError):
    """Rows, files or splits that cannot become training data."""


class SpecError(RagtuneError, ValueError):
    """A setting of a fine-tuning job that is out of range or unknown."""


class EvaluationError(RagtuneError, ValueError):
    """Facts, answerers, scorers or a log that no evaluation can be made of, or two models that are one."""


class BudgetExceeded(RagtuneError):
    """The price would be above the limit that the caller set; what would have gone beyond it was not sent."""


class Unsupported(RagtuneError):
    """The server behind the client is known not to offer this; nothing was sent.

    Attributes:
        provider: name of the server's dialect, for example `openai`.
        feature: what was asked for.
        reason: why it is refused.
    """

    def __init__(self, provider: str, feature: str, reason: str) -> None:
        super().__init__(f"{provider} does not support {feature}: {reason}")
        self.provider = provider
        self.feature = feature
        self.reason = reason

    # Python would make a copy of the message alone: in another process such an error could not be read.
    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.provider, self.feature, self.reason)


class MissingKey(RagtuneError):
    """No API key was found; the message names the ways to give one and the keyless way."""


class TuningClosed(RagtuneError):
    """The server does not let this account create fine-tuning jobs.

    Attributes:
        files: ids of the files that were uploaded for the job just now and lie on the account; delete them with
            `Maintenance(client, enabled=True).delete_file(id)`.
    """

    files: tuple[str, ...] = ()


class ModelExpired(RagtuneError):
    """The model (or the base under it) was shut down by its maker."""


class ExpiryWarning(UserWarning):
    """A model stops answering within weeks; silence it with `warnings.simplefilter("ignore", rt.ExpiryWarning)`."""


class ModelNotReady(RagtuneError):
    """There is no model to ask yet: its job has not succeeded, or the server still prepares it."""


class NoTunedModel(RagtuneError):
    """The account holds no finished fine-tune, or the one that a job made was deleted."""


class EmptyAnswer(RagtuneError):
    """An answer was asked for its text and has none: a refusal, a tool call, or no choice at all."""


class CreateUncertain(RagtuneError):
    """A create request went out and its outcome is unknown; the message says how to find out."""


class JobFailed(RagtuneError):
    """The server ended the job with an error.

    Attributes:
        code: the server's machine-readable code, for example `invalid_training_file`, or None.
        param: which input it blames (`training_file`, `validation_file`), or None.
        line: 1-based line that the server's message points at, or None.
        lines: all lines that it points at, `line` first.
        path: the local file that `line` is in, or None where the job does not know it.
        excerpt: the beginning of what stands there, at most 80 characters without keys, or None.
        job_id: the job, for example `ftjob-...`.
        job: its handle; None after a pickle, since it holds a live client.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        lines: tuple[int, ...] = (),
        path: str | None = None,
        excerpt: str | None = None,
        job_id: str | None = None,
        job: object | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.lines = lines
        self.path = path
        self.excerpt = excerpt
        self.job_id = job_id
        self.job = job

    @property
    def line(self) -> int | None:
        """The first of `lines`, or None."""
        return self.lines[0] if self.lines else None

    def __reduce__(self) -> tuple[object, ...]:
        # Without `job`, which holds a client.
        names = ("code", "param", "lines", "path", "excerpt", "job_id")
        return _rebuild_job_failed, (str(self), {name: getattr(self, name) for name in names})


def _rebuild_job_failed(message: str, state: dict[str, Any]) -> JobFailed:
    return JobFailed(message, **state)


class JobCancelled(RagtuneError):
    """The job was cancelled, by this program or by somebody else."""


class WaitTimeout(RagtuneError, TimeoutError):
    """Waiting ended at its deadline; the job runs on and the message says how to come back to it."""


class JournalError(RagtuneError):
    """The journal file is locked, damaged or newer than this version."""


class MaintenanceDisabled(RagtuneError):
    """A destructive call on a `Maintenance` that was not opened with `enabled=True`; nothing was sent."""


class FeedbackError(RagtuneError, ValueError):
    """A verdict that says nothing or is of the wrong kind, or a feedback file that cannot be used."""


class ArchiveError(RagtuneError):
    """An archive that is missing, cut off, changed or of another account, or that does not hold what is asked of it."""


class RegistryError(RagtuneError, ValueError):
    """A model, an alias or a registry that cannot be used like that, or something that is to go and is still needed."""


class GateRefused(RegistryError):
    """A promotion that a gate, or a missing scorecard, stood against; the registry keeps the refusal on record."""


class BackendError(RagtuneError):
    """The embedded backend cannot start or go on."""


class MissingExtraError(RagtuneError, ImportError):
    """An optional dependency is not installed; the message holds the command that installs it."""
