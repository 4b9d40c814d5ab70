"""The training itself: base, adapter and data of a spec, put into transformers' `Trainer`."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, set_seed

from ragtune._extras import require
from ragtune.modelling.base_model import context_length, load_model, load_tokenizer, quiet
from ragtune.modelling.encoder import Encoder, Taught
from ragtune.modelling.forecast import Forecast, ModelSize, Workload, forecast
from ragtune.modelling.four_bit import adapters_in_float32, load_four_bit
from ragtune.train import events
from ragtune.train.advice import labels_advice, thoughts_advice
from ragtune.train.callbacks import (
    CopiesCallback,
    DivergedError,
    EventsCallback,
    Recall,
    StopCallback,
    Validation,
    WholeCheckpointCallback,
)
from ragtune.train.checkpoints import last_whole_checkpoint, save_adapter
from ragtune.train.copies import Copies
from ragtune.train.data import LoadedFile, TrainingFileError, load_examples, load_judged, load_pairs
from ragtune.train.distributed import is_main, process_count
from ragtune.train.methods.trainer import MaskedTrainer, settings
from ragtune.train.recall import Best, HeldOutQuestions
from ragtune.train.spec import DEFAULT_BETA, TrainSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from ragtune.modelling.hardware import Placement
    from ragtune.modelling.tokenizer import Tokenizer
    from ragtune.train.methods.preference import PreferenceTrainer
    from ragtune.train.methods.unpaired import UnpairedTrainer
    from ragtune.train.stop import StopRequest

    Loaded = LoadedFile[Any]
    AnyTrainer = MaskedTrainer | PreferenceTrainer | UnpairedTrainer

__all__ = ["BatchSizeError", "DivergedError", "Outcome", "TooLargeError", "ValidationFileError", "fit"]

# Activations grow with the tokens of a forward pass; beyond this a batch is split and its gradients are summed.
_MICRO_BATCH_TOKENS = 4096
# Plain attention keeps a table of tokens x tokens for each layer and head, which is little up to here.
_SHORT = 256
_SLOW = (
    "The base is held in 4 bits on a processor, which saves memory and costs time: a step was measured to take 1.2 "
    "times as long, and loading a small base some seconds"
)
# Folder of the adapters that answered best so far, for a run that may end early.
_BEST = "best"


class ValidationFileError(TrainingFileError):
    """The validation file, not the training file, cannot be used."""


class TooLargeError(Exception):
    """A run that needs more memory than there is."""


class BatchSizeError(Exception):
    """A batch that cannot be shared out evenly to the processes of a run."""

    def __init__(self, batch_size: int, processes: int, least: int) -> None:
        each = f", with {least} examples for each" if least > 1 else ""
        super().__init__(
            f"batch_size {batch_size} cannot be shared out evenly to {processes} "
            f"process{'' if processes == 1 else 'es'}{each}; give a multiple of {processes * least}"
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended that did not fail.

    Attributes:
        state: `succeeded`, or `stopped` when somebody asked for it; then the same spec goes on from here.
        trained_tokens: tokens read over all epochs so far, prompts included.
        adapter: folder of the finished adapter, or None.
        operations: floating-point operations that the whole run needs, as `Workload` counts them.
        gflops: what one thread was measured to do in the run's number format (10^9 operations per CPU-second), or None.
    """

    state: Literal["succeeded", "stopped"]
    trained_tokens: int
    adapter: Path | None
    operations: float
    gflops: float | None


def fit(spec: TrainSpec, placement: Placement, stop: StopRequest, *, cpu_before: float) -> Outcome:
    """Train until the last step or until somebody asks to stop.

    Args:
        spec: what to train.
        placement: where, and in which number format.
        stop: looked at after every step.
        cpu_before: CPU seconds that earlier starts of this run took.

    Raises:
        TrainingFileError: a file cannot be trained on.
        TooLargeError: the run needs more memory than there is.
        BatchSizeError: the batch cannot be shared out to the processes of the run.
        DivergedError: the loss is no longer a number.
        BackendError: the base cannot be loaded.
    """
    per_process, least = _share_of_batch(spec), _least_at_once(spec)
    # Torch takes all cores by itself, also those that the server answers on.
    if placement.device == "cpu":
        torch.set_num_threads(placement.threads)
    # Before the adapter is made, whose first weights are drawn.
    set_seed(spec.seed)
    tokenizer = load_tokenizer(spec.base_path)
    training, validation = _load_files(spec, tokenizer)
    steps_per_epoch = math.ceil(len(training.examples) / spec.batch_size)
    total_steps = steps_per_epoch * spec.n_epochs
    work = _workload(spec, training.examples)
    foretold = _foretold(spec, placement, work)
    checkpoints = spec.output_dir / "checkpoints"
    found = last_whole_checkpoint(checkpoints)
    resumed_from = found[0] if found else None
    if is_main():
        _announce(
            spec,
            placement,
            foretold=foretold,
            training=training,
            tokenizer=tokenizer,
            total_steps=total_steps,
            resumed_from=resumed_from,
        )
    arguments = settings(
        spec,
        placement,
        checkpoints,
        per_process=per_process,
        micro_batch_size=_micro_batch_size(per_process, _longest(training.examples), least=least),
        total_steps=total_steps,
    )
    recall = _recall(spec, validation, tokenizer, resumed_from=resumed_from)
    with quiet():
        trainer = _trainer(spec, placement, examples=training.examples, tokenizer=tokenizer, arguments=arguments)
        if placement.dtype == "nf4":
            adapters_in_float32(cast("PeftModel", trainer.model))
        told = EventsCallback(
            spec.output_dir,
            trainer.meter,
            _held_out(trainer, validation, batch_size=spec.batch_size, least=least),
            recall,
            steps_per_epoch=steps_per_epoch,
            cpu_before=cpu_before,
            placement=placement,
        )
        # In this order: a loss that is no number raises before a stop could save the state that it came from.
        for callback in (told, StopCallback(stop), WholeCheckpointCallback(checkpoints)):
            trainer.add_callback(callback)
        if spec.checkpoints is not None:
            trainer.add_callback(
                CopiesCallback(Copies(spec.checkpoints, spec.job_id, run=spec.fingerprint()), spec.output_dir)
            )
        trainer.train(resume_from_checkpoint=str(found[1]) if found else None)
    ended = Outcome(
        state="succeeded" if _is_over(trainer, recall, total_steps=total_steps) else "stopped",
        adapter=None,
        trained_tokens=int(trainer.state.num_input_tokens_seen),
        operations=work.operations(ModelSize.read(spec.base_path)),
        gflops=placement.gflops,
    )
    if ended.state == "stopped":
        return ended
    if is_main():
        _keep_adapter(spec, trainer, recall)
    return replace(ended, adapter=spec.output_dir / "adapter")


def _is_over(trainer: AnyTrainer, recall: Recall | None, *, total_steps: int) -> bool:
    # The Trainer comes back from a stop as it does from its last step, and from a recall that gets no better.
    return trainer.state.global_step >= total_steps or (recall is not None and recall.best.gives_up)


def _keep_adapter(spec: TrainSpec, trainer: AnyTrainer, recall: Recall | None) -> None:
    """Leave the run's result: the adapter that answered best where that is asked for, else the last one."""
    if spec.early_stop is not None and recall is not None and recall.best.accuracy > 0:
        _take_best(spec, recall.best)
    else:
        save_adapter(cast("PeftModel", trainer.model), spec.output_dir / "adapter")


def _recall(
    spec: TrainSpec, validation: Loaded | None, tokenizer: Tokenizer, *, resumed_from: int | None
) -> Recall | None:
    if validation is None or spec.evaluate_every is None or spec.method != "supervised":
        return None
    recall = Recall(
        HeldOutQuestions(validation.examples, tokenizer, pad_token_id=_filler(tokenizer)),
        Best(spec.early_stop),
        every=spec.evaluate_every,
        folder=None if spec.early_stop is None else spec.output_dir / _BEST,
    )
    # A run that goes on must not count its patience from zero again.
    if resumed_from is not None:
        recall.best.recall(events.read_from(spec.output_dir / "events.jsonl")[0], up_to=resumed_from)
    return recall


def _take_best(spec: TrainSpec, best: Best) -> None:
    """Make the adapter that answered best the run's result; the last one has only learned its examples better."""
    text = f"The model of step {best.step} is kept: it answered {best.accuracy:.0%} of the held-out questions right"
    text += f", and {spec.early_stop} measurements after it none was better" if best.gives_up else ""
    events.append(spec.output_dir / "events.jsonl", {"type": "message", "level": "info", "message": text})
    adapter = spec.output_dir / "adapter"
    if not adapter.is_dir():  # a start that was killed after this line has moved it already
        (spec.output_dir / _BEST / f"step-{best.step}").rename(adapter)
    shutil.rmtree(spec.output_dir / _BEST, ignore_errors=True)


def _held_out(trainer: Any, validation: Loaded | None, *, batch_size: int, least: int) -> Validation | None:
    if validation is None:
        return None
    at_once = _micro_batch_size(batch_size, _longest(validation.examples), least=least)
    return Validation(trainer.score, trainer.figures, validation.examples, batch_size=at_once)


def _longest(examples: Sequence[Taught]) -> int:
    return max(example.n_tokens for example in examples)


def _trainer(
    spec: TrainSpec, placement: Placement, *, examples: Any, tokenizer: Tokenizer, arguments: dict[str, Any]
) -> AnyTrainer:
    pad_token_id = _filler(tokenizer)
    model, adapter = _model(spec, placement)
    if placement.device == "cpu" and placement.number_format == "bfloat16" and _longest(examples) <= _SHORT:
        # Torch's fused attention goes backward ten times slower than plain products here (11 ms a layer, not 1).
        model.set_attn_implementation("eager")
    if spec.method == "supervised":
        whole = model if adapter is None else get_peft_model(model, adapter, autocast_adapter_dtype=True)
        return MaskedTrainer(model=whole, arguments=arguments, examples=examples, pad_token_id=pad_token_id)
    require("local", "trl", reason="training on preference records")
    common: dict[str, Any] = {
        "model": model,
        "adapter": adapter,
        "arguments": arguments,
        "beta": DEFAULT_BETA if spec.beta is None else spec.beta,
        "tokenizer": tokenizer,
        "pad_token_id": pad_token_id,
    }
    if spec.method == "kto":
        from ragtune.train.methods.unpaired import UnpairedTrainer

        return UnpairedTrainer(spec=spec, answers=examples, **common)
    from ragtune.train.methods.preference import PreferenceTrainer

    return PreferenceTrainer(pairs=examples, **common)


def _filler(tokenizer: Tokenizer) -> int:
    # Any token will do: the mask hides it and no label stands on it.
    return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)


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


def _workload(spec: TrainSpec, examples: Sequence[Taught]) -> Workload:
    return Workload.of(
        [example.n_tokens for example in examples],
        labelled=sum(example.n_labelled for example in examples),
        n_epochs=spec.n_epochs,
        batch_size=spec.batch_size,
        method=spec.method,
        lora_r=spec.lora_r,
    )


def _foretold(spec: TrainSpec, placement: Placement, work: Workload) -> Forecast:
    """How long the run will take and what it needs, once it is known to fit."""
    foretold = forecast(ModelSize.read(spec.base_path), work, placement)
    if process_count() > 1:
        foretold = replace(foretold, seconds=None)  # how much several processes gain was never measured
    # Refused before the weights are loaded: a worker that the system kills for its memory can say nothing.
    if placement.memory_bytes is not None and foretold.memory_bytes > placement.memory_bytes:
        message = (
            f"the run needs up to {foretold.memory_bytes / 1e9:.1f} GB of memory on {placement.device} and there are "
            f"{placement.memory_bytes / 1e9:.1f} GB; lower batch_size (now {spec.batch_size}), shorten the longest "
            f"example (now {work.longest} tokens), or take a smaller base"
        )
        if placement.dtype != "nf4" and placement.device != "mps":
            message += ", or one held in 4 bits (dtype 'nf4')"
        raise TooLargeError(message)
    return foretold


def _announce(
    spec: TrainSpec,
    placement: Placement,
    *,
    foretold: Forecast,
    training: Loaded,
    tokenizer: Tokenizer,
    total_steps: int,
    resumed_from: int | None,
) -> None:
    events_file = spec.output_dir / "events.jsonl"
    start = {
        "type": "start",
        "total_steps": total_steps,
        "n_examples": len(training.examples),
        "n_tokens": training.n_tokens,
        "n_epochs": spec.n_epochs,
        "n_processes": process_count(),
        "resumed_from": resumed_from,
        "device": placement.device,
        "dtype": placement.dtype,
        "threads": placement.threads,
        "memory_bytes": foretold.memory_bytes,
        "seconds": foretold.seconds,
    }
    events.append(events_file, start)
    if resumed_from is None:
        text = f"Training on {placement}: {foretold}"
        events.append(events_file, {"type": "message", "level": "info", "message": text})
        warnings = [labels_advice(spec, training.examples), thoughts_advice(spec, training.examples, tokenizer)]
        if placement.dtype == "nf4" and placement.device == "cpu":
            warnings.append(_SLOW)
        for text in filter(None, warnings):
            events.append(events_file, {"type": "message", "level": "warn", "message": text})
    if training.cut_lines:
        where = ", ".join(map(str, training.cut_lines[:10])) + (", ..." if len(training.cut_lines) > 10 else "")
        text = (
            f"{len(training.cut_lines)} examples are longer than the base can read and were cut off at the end "
            f"(lines {where}); {len(training.dropped_lines)} of them had no answer left and are not trained on"
        )
        events.append(events_file, {"type": "message", "level": "warn", "message": text})


def _share_of_batch(spec: TrainSpec) -> int:
    """The examples of a batch that each process takes.

    Raises:
        BatchSizeError: it cannot be shared out evenly.
    """
    per_process, rest = divmod(spec.batch_size, process_count())
    least = _least_at_once(spec)
    if rest or per_process < least:
        raise BatchSizeError(spec.batch_size, process_count(), least)
    return per_process


def _least_at_once(spec: TrainSpec) -> int:
    # KTO compares an answer with another one of its batch.
    return 2 if spec.method == "kto" else 1


def _micro_batch_size(batch_size: int, longest: int, *, least: int) -> int:
    """The largest share of a batch that divides it and stays within the token budget; at least so many examples."""
    shares = [n for n in range(least, batch_size + 1) if batch_size % n == 0]
    return max((n for n in shares if n * longest <= _MICRO_BATCH_TOKENS), default=shares[0])


def _model(spec: TrainSpec, placement: Placement) -> tuple[PreTrainedModel | PeftModel, LoraConfig | None]:
    """The base and the adapter that is to be put on it; or a tuned model, which has its adapter, and None."""
    if placement.dtype == "nf4":
        model = load_four_bit(spec.base_path, placement)
    else:
        model = load_model(spec.base_path, dtype=placement.dtype)
    if spec.adapter_path is not None:
        return PeftModel.from_pretrained(model, str(spec.adapter_path), is_trainable=True), None
    # Adapters are float32 on any base: small updates would vanish in bfloat16.
    return model, LoraConfig(
        task_type="CAUSAL_LM", r=spec.lora_r, lora_alpha=spec.lora_alpha, target_modules="all-linear", lora_dropout=0.0
    )
