"""The look at a job's files before it may train: what OpenAI does while a job is `validating_files`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ragtune.limits import MIN_EXAMPLES
from ragtune.train.spec import TrainMethod, resolve_hyperparameters

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.checks import Problem
    from ragtune.local.store.schema import Hyperparameters, JobRow, TrainingMethod

__all__ = ["JobFaultError", "resolve", "validate"]

_FORMATS_OF_METHOD: dict[TrainMethod, tuple[str, ...]] = {
    "supervised": ("chat", "completion"),
    "dpo": ("preference",),
    "kto": ("unpaired",),
}
_TOO_FEW = "too-few-examples"


class JobFaultError(Exception):
    """Why a job failed, as it stands in the job's `error`.

    Attributes:
        code: machine-readable, for example `invalid_training_file`.
        message: for a person.
        param: `training_file`, `validation_file` or None.
    """

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param

    def body(self) -> dict[str, str | None]:
        """The job's error object."""
        return {"code": self.code, "message": self.message, "param": self.param}


def validate(job: JobRow, *, training: Path, validation: Path | None) -> Hyperparameters:
    """Check a job's files and settle its hyperparameters.

    Args:
        job: the job.
        training: its training file.
        validation: its validation file, if it has one.

    Returns:
        The hyperparameters with every `auto` replaced by a number.

    Raises:
        JobFaultError: a file breaks a rule.
    """
    kind: TrainMethod = job.method["type"]
    n_examples = _check(training, kind, param="training_file")
    if n_examples < MIN_EXAMPLES:
        message = f"Training file has {n_examples} example(s), but must have at least {MIN_EXAMPLES} examples"
        raise JobFaultError(message, code="invalid_n_examples", param="training_file")
    if validation is not None:
        _check(validation, kind, param="validation_file")
    return resolve(job.method, n_examples)


def resolve(method: TrainingMethod, n_examples: int) -> Hyperparameters:
    """Replace `auto` in the hyperparameters of a method, given how many examples there are."""
    kind: TrainMethod = method["type"]
    settled = resolve_hyperparameters(n_examples, method=kind, **method[kind]["hyperparameters"])
    # The keys of the request and no others: OpenAI's answers know no `learning_rate` unless somebody sent one.
    names = [*method[kind]["hyperparameters"]]
    return cast("Hyperparameters", {name: getattr(settled, name) for name in names})


def _place(problem: Problem) -> str:
    if not problem.line:
        return "File"
    return f"Line {problem.line}, {problem.path}" if problem.path else f"Line {problem.line}"


def _check(path: Path, kind: TrainMethod, *, param: str) -> int:
    from ragtune.checks import check_file

    report = check_file(path)
    # Too few examples is a failure with a code of its own, told after everything else was found right.
    errors = [problem for problem in report.problems if problem.severity == "error" and problem.code != _TOO_FEW]
    if errors:
        first = errors[0]
        message = f"The job failed due to an invalid {param.replace('_', ' ')}. {_place(first)}: {first.message}"
        if len(errors) > 1:
            message += f" ({len(errors) - 1} more problem{'s' if len(errors) > 2 else ''})"
        raise JobFaultError(message, code=f"invalid_{param}", param=param)
    if report.stats.format not in _FORMATS_OF_METHOD[kind]:
        message = (
            f"The job failed due to an invalid {param.replace('_', ' ')}. Its records are of the format "
            f"{report.stats.format}, but the method {kind} trains on {' or '.join(_FORMATS_OF_METHOD[kind])} records"
        )
        raise JobFaultError(message, code=f"invalid_{param}", param=param)
    return int(report.stats.examples)
