"""A run before its first step: what it reads, how much there is to do, whether it fits, and what it says of that."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig

from ragtune.modelling.base_model import context_length, load_tokenizer
from ragtune.modelling.encoding.encoder import Encoder
from ragtune.modelling.forecast import Forecast, ModelSize, Workload, forecast
from ragtune.train import events
from ragtune.train.checkpoints.folders import last_whole_checkpoint
from ragtune.train.distributed import process_count
from ragtune.train.examples.advice import labels_advice, thoughts_advice
from ragtune.train.examples.files import LoadedFile, TrainingFileError, load_examples, load_judged, load_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.modelling.encoding.tokenizer import Tokenizer
    from ragtune.modelling.hardware.placement import Placement
    from ragtune.train.spec import TrainSpec

    Loaded = LoadedFile[Any]

__all__ = ["RunStart", "TooLargeError", "ValidationFileError"]

_SLOW = (
    "The base is held in 4 bits on a processor, which saves memory and costs time: a step was measured to take 1.2 "
    "times as long, and loading a small base some seconds"
)
_LINES_SHOWN = 10


class ValidationFileError(TrainingFileError):
    """The validation file, not the training file, cannot be used."""


class TooLargeError(Exception):
    """A run that needs more memory than there is."""


@dataclass(frozen=True, kw_only=True)
class RunStart:
    """One start of a run.

    Attributes:
        spec: what to train.
        placement: where, and in which number format.
        tokenizer: the base's.
        training: the training file.
        validation: the validation file, or None.
        work: how much there is to compute.
        checkpoint: step and folder of the last whole checkpoint, or None for a run that begins.
    """

    spec: TrainSpec
    placement: Placement
    tokenizer: Tokenizer
    training: Loaded
    validation: Loaded | None
    work: Workload
    checkpoint: tuple[int, Path] | None

    @classmethod
    def read(cls, spec: TrainSpec, placement: Placement) -> RunStart:
        """Read the files of a spec, and look for a checkpoint to go on from.

        Raises:
            TrainingFileError: a file cannot be trained on.
            BackendError: the base's tokenizer cannot be loaded.
        """
        tokenizer = load_tokenizer(spec.base_path)
        training, validation = _load_files(spec, tokenizer)
        return cls(
            spec=spec,
            placement=placement,
            tokenizer=tokenizer,
            training=training,
            validation=validation,
            work=_workload(spec, training),
            checkpoint=last_whole_checkpoint(spec.output_dir / "checkpoints"),
        )

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the training file."""
        return math.ceil(len(self.training.examples) / self.spec.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.steps_per_epoch * self.spec.n_epochs

    @property
    def resumed_from(self) -> int | None:
        """The step that an earlier start came to."""
        return None if self.checkpoint is None else self.checkpoint[0]

    @property
    def filler(self) -> int:
        """The token that shorter rows are filled up with."""
        # Any token will do: the mask hides it and no label stands on it.
        ends = (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id)
        return next((i for i in ends if i is not None), 0)

    def foretold(self) -> Forecast:
        """How long the run will take and what it needs, once it is known to fit.

        Raises:
            TooLargeError: it needs more memory than there is.
        """
        spec, placement = self.spec, self.placement
        foretold = forecast(ModelSize.read(spec.base_path), self.work, placement)
        if process_count() > 1:
            foretold = replace(foretold, seconds=None)  # how much several processes gain was never measured
        # Refused before the weights are loaded: a worker that the system kills for its memory can say nothing.
        if placement.memory_bytes is not None and foretold.memory_bytes > placement.memory_bytes:
            message = (
                f"the run needs up to {foretold.memory_bytes / 1e9:.1f} GB of memory on {placement.device} and there "
                f"are {placement.memory_bytes / 1e9:.1f} GB; lower batch_size (now {spec.batch_size}), shorten the "
                f"longest example (now {self.work.longest} tokens), or take a smaller base"
            )
            if placement.dtype != "nf4" and placement.device != "mps":
                message += ", or one held in 4 bits (dtype 'nf4')"
            raise TooLargeError(message)
        return foretold

    def announce(self, foretold: Forecast) -> None:
        """Write the `start` event, and all that should be known before the first step."""
        spec, placement = self.spec, self.placement
        events_file = spec.output_dir / "events.jsonl"
        start = {
            "type": "start",
            "total_steps": self.total_steps,
            "n_examples": len(self.training.examples),
            "n_tokens": self.training.n_tokens,
            "n_epochs": spec.n_epochs,
            "n_processes": process_count(),
            "resumed_from": self.resumed_from,
            "device": placement.device,
            "dtype": placement.dtype,
            "threads": placement.threads,
            "memory_bytes": foretold.memory_bytes,
            "seconds": foretold.seconds,
        }
        events.append(events_file, start)
        if self.resumed_from is None:
            text = f"Training on {placement}: {foretold}"
            events.append(events_file, {"type": "message", "level": "info", "message": text})
        for text in self._warnings():
            events.append(events_file, {"type": "message", "level": "warn", "message": text})

    def _warnings(self) -> list[str]:
        said: list[str | None] = []
        if self.resumed_from is None:
            said.append(labels_advice(self.spec, self.training.examples))
            said.append(thoughts_advice(self.spec, self.training.examples, self.tokenizer))
            if self.placement.dtype == "nf4" and self.placement.device == "cpu":
                said.append(_SLOW)
        if cut := self.training.cut_lines:
            where = ", ".join(map(str, cut[:_LINES_SHOWN])) + (", ..." if len(cut) > _LINES_SHOWN else "")
            said.append(
                f"{len(cut)} examples are longer than the base can read and were cut off at the end (lines {where}); "
                f"{len(self.training.dropped_lines)} of them had no answer left and are not trained on"
            )
        return [text for text in said if text is not None]


def _load_files(spec: TrainSpec, tokenizer: Tokenizer) -> tuple[Loaded, Loaded | None]:
    context = context_length(AutoConfig.from_pretrained(str(spec.base_path), local_files_only=True))
    encoder = Encoder(tokenizer, max_length=min(spec.max_length or context, context), reasoning=spec.reasoning)
    load: Any = {"supervised": load_examples, "dpo": load_pairs, "kto": load_judged}[spec.method]
    training = load(spec.training_file, encoder)
    if spec.validation_file is None:
        return training, None
    try:
        return training, load(spec.validation_file, encoder)
    except TrainingFileError as error:
        raise ValidationFileError(str(error), line=error.line) from error


def _workload(spec: TrainSpec, training: Loaded) -> Workload:
    return Workload.of(
        [example.n_tokens for example in training.examples],
        labelled=sum(example.n_labelled for example in training.examples),
        n_epochs=spec.n_epochs,
        batch_size=spec.batch_size,
        method=spec.method,
        lora_r=spec.lora_r,
    )
