"""Losses and accuracies of a job, from its events and from its result file."""

from __future__ import annotations

import base64
import binascii
import csv
import io
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from ragtune._api.fields import number, whole
from ragtune._checked import checked
from ragtune._table import Table
from ragtune.errors import RagtuneError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    import pandas as pd

__all__ = ["MetricRow", "Metrics"]

# Events, checkpoints, result files and the service of 2021 call the same numbers by different names.
_NAMES = {
    "step": "step",
    "train_loss": "train_loss",
    "training_loss": "train_loss",
    "train_accuracy": "train_accuracy",
    "train_mean_token_accuracy": "train_accuracy",
    "training_token_accuracy": "train_accuracy",
    "valid_loss": "valid_loss",
    "validation_loss": "valid_loss",
    "valid_accuracy": "valid_accuracy",
    "valid_mean_token_accuracy": "valid_accuracy",
    "validation_token_accuracy": "valid_accuracy",
    "full_valid_loss": "full_valid_loss",
    "full_valid_mean_token_accuracy": "full_valid_accuracy",
    "valid_fact_accuracy": "valid_fact_accuracy",
    "train_reward_margin": "train_reward_margin",
    "train_reward_accuracy": "train_reward_accuracy",
    "valid_reward_margin": "valid_reward_margin",
    "valid_reward_accuracy": "valid_reward_accuracy",
    "full_valid_reward_margin": "full_valid_reward_margin",
    "full_valid_reward_accuracy": "full_valid_reward_accuracy",
}
# A rise that a smooth curve makes by chance is no overfitting.
_CLEAR_RISE = 1.02


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One training step; what was not measured at that step is None.

    Attributes:
        step: number of the step, from 1.
        time: when it was reported (UTC); None from a result file.
        train_loss: mean loss over the step's tokens (nats).
        train_accuracy: share of those tokens that the model would have said itself, in [0, 1].
        valid_loss: the same on a sample of the validation file.
        valid_accuracy: the same on that sample.
        full_valid_loss: the same on the whole validation file, as a rule once per epoch.
        full_valid_accuracy: the same on the whole validation file.
        valid_fact_accuracy: share of held-out questions whose generated answer contains the reference, in [0, 1]
            (embedded backend, `Supervised(evaluate_every=...)`).
        train_reward_margin: preference pairs, and verdicts where a batch holds both kinds: mean of `beta` times the log
            ratio that the preferred or good answer gained on the other one.
        train_reward_accuracy: preference pairs alone: share of pairs where it gained, in [0, 1].
        valid_reward_margin: the same on a sample of the validation file.
        valid_reward_accuracy: the same on that sample.
        full_valid_reward_margin: the same on the whole validation file.
        full_valid_reward_accuracy: the same on the whole validation file.

    Example:
        ```python
        from ragtune.monitor import MetricRow

        print(MetricRow(step=3, train_loss=0.25).valid_loss)
        #> None
        ```
    """

    step: int
    time: datetime | None = None
    train_loss: float | None = None
    train_accuracy: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_accuracy: float | None = None
    valid_fact_accuracy: float | None = None
    train_reward_margin: float | None = None
    train_reward_accuracy: float | None = None
    valid_reward_margin: float | None = None
    valid_reward_accuracy: float | None = None
    full_valid_reward_margin: float | None = None
    full_valid_reward_accuracy: float | None = None


_MEASURED = tuple(field.name for field in fields(MetricRow) if field.name != "step")


@checked()
@dataclass(frozen=True, kw_only=True)
class Metrics(Table[MetricRow]):
    """The measured steps of one job, in order; prints as a summary of at most ten lines.

    Attributes:
        rows: the steps.
        device: where it is trained (`cuda`, `xpu`, `mps`, `cpu`); None where the server does not say.
        dtype: number format of the frozen base, for example `bfloat16`; None where the server does not say.

    Example:
        ```python
        import ragtune as rt
        from ragtune.monitor import MetricRow

        losses = [(2.0, 2.1), (1.0, 1.4), (0.4, 1.9)]
        rows = tuple(MetricRow(step=i, train_loss=t, valid_loss=v) for i, (t, v) in enumerate(losses, start=1))
        metrics = rt.Metrics(rows=rows)
        print(metrics.overfitting, metrics.best_step)
        #> True 2
        print(str(metrics).splitlines()[2])
        #> validation loss      2.1 -> 1.9, best 1.4 at step 2
        ```
    """

    device: str | None = None
    dtype: str | None = None

    def __str__(self) -> str:
        return "\n".join(summary(self))

    def columns(self) -> dict[str, list[object]]:
        """Return the numbers by column; columns that nobody measured stay out, apart from the step."""
        columns: dict[str, list[object]] = {"step": [row.step for row in self.rows]}
        for name in _MEASURED:
            cells = [getattr(row, name) for row in self.rows]
            if any(cell is not None for cell in cells):
                columns[name] = cells
        return columns

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a `pandas.DataFrame`; what was not measured is NaN."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    @property
    def best_step(self) -> int | None:
        """The step with the lowest validation loss, None without validation."""
        losses = self._validation()
        return min(losses, key=lambda pair: pair[1])[0] if losses else None

    @property
    def overfitting(self) -> bool | None:
        """Whether the validation loss ended clearly (2 %) above its minimum while the training loss went on falling.

        None when there are fewer than two validation points to tell by.
        """
        losses = self._validation()
        if len(losses) < 2:
            return None
        best_step, best = min(losses, key=lambda pair: pair[1])
        trained = [row.train_loss for row in self.rows if row.step >= best_step and row.train_loss is not None]
        # Where both losses rise, the rate is too high; that is no overfitting.
        fell = len(trained) < 2 or trained[-1] < trained[0]
        return losses[-1][1] > best * _CLEAR_RISE and fell

    def plot(self, path: str | os.PathLike[str], *, title: str = "Loss") -> Path:
        """Draw the loss curves into an image file (PNG, SVG or PDF, by the name's ending) and return its path.

        Raises:
            RagtuneError: there is nothing to draw, or the name's ending is no kind of image.
            MissingExtraError: the extra `plots` is not installed.
        """
        from ragtune import plots

        if not any(row.train_loss is not None for row in self.rows):
            message = "there are no losses to draw yet: no step of the job has been reported"
            raise RagtuneError(message)
        return plots.loss_curve(self.columns(), path, title=title)

    def _validation(self) -> list[tuple[int, float]]:
        # The whole file says more than a sample of it.
        return _series(self, "full_valid_loss") or _series(self, "valid_loss")


# What a person looks at first; of a validation the whole file says more than a sample of it.
_TOLD = {
    "training loss": ("train_loss",),
    "training accuracy": ("train_accuracy",),
    "reward margin": ("train_reward_margin",),
    "reward accuracy": ("train_reward_accuracy",),
    "validation loss": ("full_valid_loss", "valid_loss"),
    "validation accuracy": ("full_valid_accuracy", "valid_accuracy"),
    "facts known": ("valid_fact_accuracy",),
    "validation margin": ("full_valid_reward_margin", "valid_reward_margin"),
}


def summary(metrics: Metrics) -> list[str]:
    """What is worth knowing of a run, a line each: first and last number, the best, what that means."""
    if not metrics.rows:
        return ["no step of the job has been reported yet"]
    where = " in ".join(part for part in (metrics.device, metrics.dtype) if part)
    steps = metrics.rows[-1].step
    lines = [f"{steps:,} step{'' if steps == 1 else 's'}{f' on {where}' if where else ''}"]
    for words, names in _TOLD.items():
        series = next(filter(None, (_series(metrics, name) for name in names)), [])
        if series:
            (_, first), (_, last) = series[0], series[-1]
            told = f"{first:.3g} -> {last:.3g}" if len(series) > 1 else f"{last:.3g}"
            if words == "validation loss" and len(series) > 1:
                step, best = min(series, key=lambda pair: pair[1])
                told += f", best {best:.3g} at step {step}"
            lines.append(f"{words:<21}{told}")
    if metrics.overfitting is not None:
        told = f"yes: the validation loss rose again behind step {metrics.best_step}" if metrics.overfitting else "no"
        lines.append(f"{'overfitting':<21}{told}")
    return lines


def _series(metrics: Metrics, name: str) -> list[tuple[int, float]]:
    return [(row.step, value) for row in metrics.rows if (value := getattr(row, name)) is not None]


def merged(rows: Iterable[MetricRow], *, device: str | None = None, dtype: str | None = None) -> Metrics:
    """Return one row per step in order; for a step that comes twice, earlier rows win where both have a number."""
    steps: dict[int, MetricRow] = {}
    for row in rows:
        known = steps.get(row.step, row)
        gaps = {name: getattr(row, name) for name in _MEASURED if getattr(known, name) is None}
        steps[row.step] = replace(known, **gaps)
    return Metrics(rows=tuple(steps[step] for step in sorted(steps)), device=device, dtype=dtype)


def row_from(values: Mapping[str, object], *, time: datetime | None = None) -> MetricRow | None:
    """Read one set of numbers by whichever names it uses; None when it has no step."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        read = number(value) if name in _NAMES else None
        if read is not None:
            numbers[_NAMES[name]] = float(read)
    step = whole(numbers.pop("step", None))
    return None if step is None else MetricRow(step=step, time=time, **numbers)


def rows_from_file(content: bytes) -> list[MetricRow]:
    """Read a result file: CSV with a header, plain or base64 as OpenAI sends it.

    Raises:
        RagtuneError: it is neither.
    """
    plain = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not plain.startswith(b"step"):
        try:
            # Strict, since Python else skips what is no base64 and gives nonsense; so line ends have to go before.
            plain = base64.b64decode(b"".join(plain.split()), validate=True)
        except binascii.Error as error:
            message = f"the result file is neither CSV nor base64 of it; it begins with {content[:40]!r}"
            raise RagtuneError(message) from error
    text = plain.decode("utf-8-sig", errors="replace")
    rows = [row_from(values) for values in csv.DictReader(io.StringIO(text))]
    return [row for row in rows if row is not None]
