"""What a training worker is told: one frozen spec, and how OpenAI's `auto` hyperparameters become numbers.

Loads no torch, so that a server can write specs without paying for it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ragtune._atomic import write_whole
from ragtune.errors import SpecError
from ragtune.limits import MAX_BATCH_SIZE, MAX_BETA, MAX_EPOCHS, MAX_SEED
from ragtune.modelling.auto import auto_batch_size, auto_epochs
from ragtune.modelling.encoding.thoughts import ReasoningUse  # noqa: TC001 - pydantic reads it
from ragtune.modelling.hardware.formats import Device, Dtype  # noqa: TC001 - pydantic reads them

__all__ = [
    "BASE_LEARNING_RATE",
    "DEFAULT_BETA",
    "EXIT_FAILED",
    "EXIT_HELD",
    "EXIT_LOST",
    "EXIT_OK",
    "EXIT_STORAGE",
    "TrainMethod",
]
__all__ += ["Resolved", "TrainSpec", "resolve_hyperparameters"]

TrainMethod = Literal["supervised", "dpo", "kto"]

EXIT_OK = 0
"""The run finished or was stopped; the `end` event says which."""
EXIT_FAILED = 1
"""The run failed; the `end` event says why."""
EXIT_LOST = 69
"""Another process of the run was lost (EX_UNAVAILABLE of sysexits.h); the last checkpoint is whole, start again."""
EXIT_STORAGE = 74
"""The disk did not even take the `end` event (EX_IOERR of sysexits.h)."""
EXIT_HELD = 75
"""Another worker holds the output folder (EX_TEMPFAIL of sysexits.h); nothing was touched."""

# LoRA's usual 2e-4 taught a model of 135 million parameters none of 50 facts in 8 epochs, and 1e-3 all of them.
BASE_LEARNING_RATE: dict[TrainMethod, float] = {"supervised": 1e-3, "dpo": 5e-5, "kto": 5e-5}
"""Absolute LoRA learning rate that `learning_rate_multiplier` 1.0 stands for, per method."""

DEFAULT_BETA = 0.1
"""What `beta` of a dpo or kto run stands for when it is `auto` (the number of OpenAI's guide and of TRL)."""


class TrainSpec(BaseModel):
    """Everything that one training run depends on.

    Two runs of an equal spec on the same machine in one number format with the same number of threads end with equal
    losses (CPU).

    Attributes:
        version: layout of this file; 1.
        job_id: name of the run, for people.
        output_dir: folder that the worker owns: `events.jsonl`, `checkpoints/`, `epochs/step-N/`, `adapter/`, `lock`.
        base_path: folder of the base model (config, tokenizer, safetensors).
        adapter_path: folder of a LoRA adapter to train further, or None for a fresh one.
        method: `supervised` (chat or prompt/completion records), `dpo` (preference) or `kto` (unpaired).
        training_file: JSONL file with the training records.
        validation_file: JSONL file with held-out records, or None.
        n_epochs: passes over the training file, 1 to 50.
        batch_size: examples per optimizer step, 1 to 256.
        learning_rate: absolute peak rate of the cosine schedule, above 0.
        beta: dpo, kto: how much leaving the reference costs, in (0, 2]; None for `DEFAULT_BETA`.
        desirable_weight: kto: how much good answers count, above 0; None for 1.
        undesirable_weight: kto: how much bad answers count, above 0; None for 1.
        seed: seed of weights and data order, 0 to 2147483647.
        lora_r: rank of the adapter matrices.
        lora_alpha: scale of the adapter, usually twice `lora_r`.
        threads: CPU threads of torch, or None for torch's own choice.
        device: where it is trained, or None for the best device of the machine.
        dtype: number format of the frozen base, or None for the right one on that device; adapters are always float32.
            What was chosen at the first start stands in the `spec.json` of `output_dir`, and later starts keep to it.
        reasoning: supervised: what becomes of the thoughts in the records: `train`, `mask` or `drop`; None trains them
            where the chat template of the base writes thoughts and leaves them out elsewhere.
        evaluate_every: epochs from one time that the held-out questions are asked to the next, or None for never.
        early_stop: times in a row without a better share of right answers after which the run ends, with the adapter
            of the best time as its result; None trains all epochs and keeps the last.
        max_length: tokens per example before the end is cut off, or None for the context of the base.
        save_every_steps: steps between resumable checkpoints, or None for about ten per run.
        checkpoints: address of fsspec, for example `s3://bucket/runs`, that each whole checkpoint is copied to; a run
            whose folder has none goes on from there. None copies nothing.
        lifeline: `stdin` stops the run at end-of-file on standard input (the parent is gone); None leaves it alone.

    Example:
        ```python
        from ragtune.train.spec import TrainSpec

        spec = TrainSpec(
            job_id="ftjob-1", output_dir="out", base_path="base", training_file="train.jsonl",
            n_epochs=3, batch_size=4, learning_rate=1e-3, seed=7,
        )
        print(spec.method, spec.lora_r, spec.threads)
        #> supervised 16 None
        ```
    """

    # A key that is misspelt must not be passed over in silence.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: Literal[1] = 1
    job_id: str
    output_dir: Path
    base_path: Path
    adapter_path: Path | None = None
    method: TrainMethod = "supervised"
    training_file: Path
    validation_file: Path | None = None
    n_epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS)]
    batch_size: Annotated[int, Field(ge=1, le=MAX_BATCH_SIZE)]
    learning_rate: Annotated[float, Field(gt=0)]
    beta: Annotated[float, Field(gt=0, le=MAX_BETA)] | None = None
    desirable_weight: Annotated[float, Field(gt=0)] | None = None
    undesirable_weight: Annotated[float, Field(gt=0)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    # With rank 8 the same run learned 46 of the 50 facts, with 16 all (one seed each).
    lora_r: Annotated[int, Field(ge=1)] = 16
    lora_alpha: Annotated[int, Field(ge=1)] = 32
    threads: Annotated[int, Field(ge=1)] | None = None
    device: Device | None = None
    dtype: Dtype | None = None
    reasoning: ReasoningUse | None = None
    evaluate_every: Annotated[int, Field(ge=1, le=MAX_EPOCHS)] | None = None
    early_stop: Annotated[int, Field(ge=1, le=MAX_EPOCHS)] | None = None
    max_length: Annotated[int, Field(ge=2)] | None = None
    save_every_steps: Annotated[int, Field(ge=1)] | None = None
    checkpoints: str | None = None
    lifeline: Literal["stdin"] | None = None

    @classmethod
    def load(cls, path: str | Path) -> TrainSpec:
        """Read a spec that `save` wrote.

        Raises:
            SpecError: the file cannot be read, is no JSON, or breaks a rule; the message names the field.
        """
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            message = f"{path}: cannot read the training spec: {error.strerror}; give a file that TrainSpec.save wrote"
            raise SpecError(message) from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "the file"
            message = f"{path}: {field}: {first['msg']}; correct it and start the worker again"
            raise SpecError(message) from error

    def fingerprint(self) -> str:
        """What is trained on what, whatever the machine: the hash of the data's content and of the settings.

        Raises:
            OSError: the data cannot be read.
        """
        files = {"output_dir", "base_path", "adapter_path", "training_file", "validation_file"}
        machine = {"threads", "device", "dtype", "lifeline", "checkpoints", "save_every_steps"}
        told = self.model_dump_json(exclude=files | machine)
        digest = hashlib.sha256(told.encode())
        for data in filter(None, (self.training_file, self.validation_file)):
            with data.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the spec as JSON under its final name in one step, so that no reader meets half of it."""
        write_whole(Path(path), self.model_dump_json(indent=2) + "\n")


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Hyperparameters after every `auto` became a number.

    Attributes:
        n_epochs: passes over the training file.
        batch_size: examples per optimizer step.
        learning_rate_multiplier: OpenAI's relative rate, as asked for or 1.0.
        learning_rate: the absolute rate: multiplier times `BASE_LEARNING_RATE[method]`.
        total_steps: optimizer steps of the whole run.
        beta: dpo, kto: how much leaving the reference costs; None for other methods.
        desirable_weight: kto: how much good answers count; None for other methods.
        undesirable_weight: kto: how much bad answers count; None for other methods.
        reasoning: what becomes of thoughts, as asked for.
        evaluate_every: epochs from one look at the held-out questions to the next, as asked for.
        early_stop: looks without a rise that end the run, as asked for.

    Example:
        ```python
        from ragtune.train.spec import resolve_hyperparameters

        auto = resolve_hyperparameters(60, method="supervised")
        print(auto.n_epochs, auto.batch_size, auto.learning_rate, auto.total_steps)
        #> 7 4 0.001 105
        ```
    """

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    total_steps: int
    beta: float | None = None
    desirable_weight: float | None = None
    undesirable_weight: float | None = None
    reasoning: ReasoningUse | None = None
    evaluate_every: int | None = None
    early_stop: int | None = None


def resolve_hyperparameters(
    n_examples: int,
    *,
    method: TrainMethod,
    n_epochs: int | Literal["auto"] = "auto",
    batch_size: int | Literal["auto"] = "auto",
    learning_rate_multiplier: float | Literal["auto"] = "auto",
    learning_rate: float | None = None,
    beta: float | Literal["auto"] = "auto",
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    reasoning: ReasoningUse | None = None,
    evaluate_every: int | None = None,
    early_stop: int | None = None,
) -> Resolved:
    """Turn `auto` into numbers.

    `batch_size`: 4, or 2 below 16 examples; above 2,000 examples 0.2 percent of them, at most 256 (OpenAI's published
    rule of thumb). `n_epochs`: 3; fewer when that exceeds 25,000 examples seen, more (up to 25) until the run has 100
    optimizer steps. Both stand in `ragtune.modelling.auto`, where estimates find them, too.
    `learning_rate_multiplier`: 1.0, which stands for 1e-3 (supervised) or 5e-5 (dpo, kto): LoRA rates.
    `beta`: 0.1.

    Args:
        n_examples: examples in the training file, at least 1.
        method: `supervised`, `dpo` or `kto`.
        n_epochs: 1 to 50, or `auto`.
        batch_size: 1 to 256, or `auto`.
        learning_rate_multiplier: above 0, or `auto`.
        learning_rate: the absolute rate, above 0, where it was asked for in place of a multiplier; None goes by that.
        beta: for dpo and kto: above 0 and at most 2, or `auto`.
        desirable_weight: for kto, kept as it is.
        undesirable_weight: for kto, kept as it is.
        reasoning: kept as it is.
        evaluate_every: kept as it is.
        early_stop: kept as it is.

    Raises:
        SpecError: a number is out of its range.
    """
    if method not in BASE_LEARNING_RATE:
        message = f"method: {method!r} is not one of {', '.join(BASE_LEARNING_RATE)}; choose one of them"
        raise SpecError(message)
    _require_between("n_examples", n_examples, low=1, high=None)
    size = auto_batch_size(n_examples) if batch_size == "auto" else batch_size
    # KTO compares the answers of a batch with one another's questions.
    _require_between("batch_size", size, low=2 if method == "kto" else 1, high=MAX_BATCH_SIZE)
    epochs = auto_epochs(n_examples, size) if n_epochs == "auto" else n_epochs
    _require_between("n_epochs", epochs, low=1, high=MAX_EPOCHS)
    rate, multiplier = _resolve_rate(method, learning_rate_multiplier, rate=learning_rate)
    return Resolved(
        n_epochs=epochs,
        batch_size=size,
        learning_rate_multiplier=multiplier,
        learning_rate=rate,
        total_steps=math.ceil(n_examples / size) * epochs,
        beta=_resolve_beta(method, beta),
        desirable_weight=desirable_weight if method == "kto" else None,
        undesirable_weight=undesirable_weight if method == "kto" else None,
        reasoning=reasoning,
        evaluate_every=evaluate_every,
        early_stop=early_stop,
    )


def _resolve_rate(method: TrainMethod, given: float | Literal["auto"], *, rate: float | None) -> tuple[float, float]:
    base = BASE_LEARNING_RATE[method]
    if rate is not None:
        if not (given == "auto" and math.isfinite(rate) and rate > 0):
            message = f"learning_rate: {rate!r} must be above 0, and no learning_rate_multiplier beside it"
            raise SpecError(message)
        return rate, rate / base
    multiplier = 1.0 if given == "auto" else float(given)
    if not (math.isfinite(multiplier) and multiplier > 0):
        message = f"learning_rate_multiplier: {multiplier!r} is not above 0; give a positive number or 'auto'"
        raise SpecError(message)
    return multiplier * base, multiplier


def _resolve_beta(method: TrainMethod, beta: float | Literal["auto"]) -> float | None:
    if method == "supervised":
        return None
    chosen = DEFAULT_BETA if beta == "auto" else float(beta)
    if not 0 < chosen <= MAX_BETA:
        message = f"beta: {chosen!r} is not above 0 and at most {MAX_BETA:g}; give a number in that range, or 'auto'"
        raise SpecError(message)
    return chosen


def _require_between(name: str, value: int, *, low: int, high: int | None) -> None:
    if value < low or (high is not None and value > high):
        limits = f"{low} or more" if high is None else f"between {low} and {high}"
        message = f"{name}: {value!r} is not {limits}; give a number in that range"
        raise SpecError(message)
