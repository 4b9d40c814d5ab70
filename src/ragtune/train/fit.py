"""The training itself: base, adapter and data of a spec, put into transformers' `Trainer`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import set_seed

from ragtune._extras import require
from ragtune.modelling.base_model import load_model, quiet
from ragtune.modelling.forecast import ModelSize
from ragtune.modelling.four_bit import adapters_in_float32, load_four_bit
from ragtune.train import events
from ragtune.train.batches import micro_batch_size, share_of_batch
from ragtune.train.callbacks import CopiesCallback, EventsCallback, StopCallback, WholeCheckpointCallback
from ragtune.train.checkpoints.copies import Copies
from ragtune.train.checkpoints.folders import save_adapter
from ragtune.train.distributed import is_main
from ragtune.train.held_out.recall import Best, HeldOutQuestions, Recall
from ragtune.train.held_out.validation import Validation
from ragtune.train.methods.trainer import MaskedTrainer, settings
from ragtune.train.spec import DEFAULT_BETA, TrainSpec
from ragtune.train.start import RunStart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PreTrainedModel, TrainerCallback

    from ragtune.modelling.hardware.placement import Placement
    from ragtune.train.methods.preference import PreferenceTrainer
    from ragtune.train.methods.unpaired import UnpairedTrainer
    from ragtune.train.stop import StopRequest

    AnyTrainer = MaskedTrainer | PreferenceTrainer | UnpairedTrainer

__all__ = ["Outcome", "fit"]

# Plain attention keeps a table of tokens x tokens for each layer and head, which is little up to here.
_SHORT = 256
# Folder of the adapters that answered best so far, for a run that may end early.
_BEST = "best"


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
    # First, since it needs nothing: a batch that cannot be shared out is told before anything is loaded.
    per_process = share_of_batch(spec)
    # Torch takes all cores by itself, also those that the server answers on.
    if placement.device == "cpu":
        torch.set_num_threads(placement.threads)
    # Before the adapter is made, whose first weights are drawn.
    set_seed(spec.seed)
    start = RunStart.read(spec, placement)
    foretold = start.foretold()
    if is_main():
        start.announce(foretold)
    recall = _recall(start)
    with quiet():
        trainer = _trainer(start, per_process)
        if placement.dtype == "nf4":
            adapters_in_float32(cast("PeftModel", trainer.model))
        for callback in _callbacks(start, trainer, recall, stop=stop, cpu_before=cpu_before):
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=str(start.checkpoint[1]) if start.checkpoint else None)
    ended = Outcome(
        state="succeeded" if _is_over(trainer, recall, total_steps=start.total_steps) else "stopped",
        adapter=None,
        trained_tokens=int(trainer.state.num_input_tokens_seen),
        operations=start.work.operations(ModelSize.read(spec.base_path)),
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
    # Where nothing was ever right there is no best one.
    if spec.early_stop is not None and recall is not None and recall.best.accuracy > 0:
        _take_best(spec, recall.best)
    else:
        save_adapter(cast("PeftModel", trainer.model), spec.output_dir / "adapter")


def _take_best(spec: TrainSpec, best: Best) -> None:
    """Make the adapter that answered best the run's result; the last one has only learned its examples better."""
    text = f"The model of step {best.step} is kept: it answered {best.accuracy:.0%} of the held-out questions right"
    text += f", and {spec.early_stop} measurements after it none was better" if best.gives_up else ""
    events.append(spec.output_dir / "events.jsonl", {"type": "message", "level": "info", "message": text})
    adapter = spec.output_dir / "adapter"
    if not adapter.is_dir():  # a start that was killed after this line has moved it already
        (spec.output_dir / _BEST / f"step-{best.step}").rename(adapter)
    shutil.rmtree(spec.output_dir / _BEST, ignore_errors=True)


def _recall(start: RunStart) -> Recall | None:
    spec = start.spec
    if start.validation is None or spec.evaluate_every is None or spec.method != "supervised":
        return None
    recall = Recall(
        HeldOutQuestions(start.validation.examples, start.tokenizer, pad_token_id=start.filler),
        Best(spec.early_stop),
        every=spec.evaluate_every,
        folder=None if spec.early_stop is None else spec.output_dir / _BEST,
    )
    # A run that goes on must not count its patience from zero again.
    if start.resumed_from is not None:
        recall.best.recall(events.read_from(spec.output_dir / "events.jsonl")[0], up_to=start.resumed_from)
    return recall


def _callbacks(
    start: RunStart, trainer: Any, recall: Recall | None, *, stop: StopRequest, cpu_before: float
) -> Iterator[TrainerCallback]:
    """What happens after each step, in this order."""
    spec = start.spec
    # Before the stop: a loss that is no number raises before one could save the state that it came from.
    yield EventsCallback(
        spec.output_dir,
        meter=trainer.meter,
        validation=_validation(start, trainer),
        recall=recall,
        steps_per_epoch=start.steps_per_epoch,
        cpu_before=cpu_before,
        placement=start.placement,
    )
    yield StopCallback(stop)
    yield WholeCheckpointCallback(spec.output_dir / "checkpoints")
    if spec.checkpoints is not None:
        yield CopiesCallback(Copies(spec.checkpoints, spec.job_id, run=spec.fingerprint()), spec.output_dir)


def _validation(start: RunStart, trainer: Any) -> Validation | None:
    if start.validation is None:
        return None
    examples = start.validation.examples
    at_once = micro_batch_size(start.spec, start.spec.batch_size, examples)
    return Validation(trainer.score, trainer.figures, examples, batch_size=at_once)


def _trainer(start: RunStart, per_process: int) -> AnyTrainer:
    spec, placement, examples = start.spec, start.placement, start.training.examples
    arguments = settings(
        spec,
        placement,
        spec.output_dir / "checkpoints",
        per_process=per_process,
        micro_batch_size=micro_batch_size(spec, per_process, examples),
        total_steps=start.total_steps,
    )
    model, adapter = _model(spec, placement)
    if placement.device == "cpu" and placement.number_format == "bfloat16" and start.work.longest <= _SHORT:
        # Torch's fused attention goes backward ten times slower than plain products here (11 ms a layer, not 1).
        model.set_attn_implementation("eager")
    if spec.method == "supervised":
        whole = model if adapter is None else get_peft_model(model, adapter, autocast_adapter_dtype=True)
        return MaskedTrainer(model=whole, arguments=arguments, examples=examples, pad_token_id=start.filler)
    require("local", "trl", reason="training on preference records")
    common: dict[str, Any] = {
        "model": model,
        "adapter": adapter,
        "arguments": arguments,
        "beta": DEFAULT_BETA if spec.beta is None else spec.beta,
        "tokenizer": start.tokenizer,
        "pad_token_id": start.filler,
    }
    if spec.method == "kto":
        from ragtune.train.methods.unpaired import UnpairedTrainer

        return UnpairedTrainer(spec=spec, answers=examples, **common)
    from ragtune.train.methods.preference import PreferenceTrainer

    return PreferenceTrainer(pairs=examples, **common)


def _model(spec: TrainSpec, placement: Placement) -> tuple[PreTrainedModel | PeftModel, LoraConfig | None]:
    """The base and the adapter that is to be put on it; or a tuned model, which has its adapter, and None."""
    if placement.dtype == "nf4":
        model = load_four_bit(spec.base_path, placement)
    else:
        model = load_model(spec.base_path, dtype=placement.dtype)
    if spec.adapter_path is not None:
        return PeftModel.from_pretrained(model, str(spec.adapter_path), is_trainable=True), None
    # On all matrices: those of queries and values alone would save no more than 11 % of a step's time (measured).
    # Adapters are float32 on any base: small updates would vanish in bfloat16.
    return model, LoraConfig(
        task_type="CAUSAL_LM", r=spec.lora_r, lora_alpha=spec.lora_alpha, target_modules="all-linear", lora_dropout=0.0
    )
