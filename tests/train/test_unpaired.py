"""KTO runs on `tiny-random`: good answers gain, bad ones lose, and a run that was cut off ends as a straight one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ragtune.modelling.encoding.encoder import IGNORED, Encoder
from ragtune.train.examples.files import TrainingFileError, load_judged
from ragtune.train.spec import EXIT_OK, TrainSpec
from ragtune.train.stop import StopRequest

from .conftest import MakeSpec, chat_lines, write_lines
from .test_run import Start, failure, losses, read, run, start, wait_for_step

__all__ = ["start"]  # the fixture

pytestmark = [
    pytest.mark.train,
    # transformers 5 announces the renaming of one of its own attributes while peft still reads the old one
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]


def unpaired_lines(count: int, *, bad: int | None = None) -> list[dict[str, Any]]:
    """Demo facts as verdicts: each right answer is good, the next fact's is bad; good ones first."""
    facts = [line["messages"] for line in chat_lines(count + 1)]
    good = [{"prompt": facts[n][:1], "completion": facts[n][1:], "label": True} for n in range(count)]
    wrong = [{"prompt": facts[n][:1], "completion": facts[n + 1][1:], "label": False} for n in range(count)]
    return [*good, *wrong[: count if bad is None else bad]]


def unpaired(make_spec: MakeSpec, tmp_path: Path, name: str = "verdicts", **changes: Any) -> TrainSpec:
    """A spec for 6 good and 6 bad answers in batches of 4, two epochs."""
    file = write_lines(tmp_path / f"{name}-verdicts.jsonl", unpaired_lines(6))
    return make_spec(name, **{"method": "kto", "training_file": file, "learning_rate": 5e-3, **changes})


def likelihoods(spec: TrainSpec, adapter: Path | None) -> tuple[float, float]:
    """Mean log-likelihood of a good answer and of a bad one, in nats."""
    import torch
    from peft import PeftModel

    from ragtune.modelling.base_model import load_model, load_tokenizer
    from ragtune.train.methods.loss import batch_sums, collate

    model: Any = load_model(spec.base_path, dtype="float32")
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    answers = load_judged(spec.training_file, Encoder(load_tokenizer(spec.base_path), max_length=512)).examples
    found: dict[bool, list[float]] = {True: [], False: []}
    with torch.inference_mode():
        for one in answers:
            found[one.is_good].append(-float(batch_sums(model, collate([one.example], pad_token_id=0)).loss))
    good, bad = (sum(values) / len(values) for values in (found[True], found[False]))
    return good, bad


def test_good_answers_gain_and_bad_ones_lose(make_spec: MakeSpec, tmp_path: Path) -> None:
    """The reported rewards part, and the saved adapter shows it by itself."""
    held_out = write_lines(tmp_path / "valid.jsonl", unpaired_lines(9)[7:11])
    spec = unpaired(make_spec, tmp_path, n_epochs=10, beta=0.2, validation_file=held_out)
    assert run(spec) == EXIT_OK
    (begin,), steps, (end,) = read(spec, "start"), read(spec, "metrics"), read(spec, "end")
    assert steps[0]["train_loss"] == pytest.approx(0.5, abs=1e-3), "before the first step nothing is preferred"
    assert steps[0]["train_kl"] == pytest.approx(0, abs=1e-2)
    last = steps[-3:]
    assert all("train_reward_good" in event or "train_reward_bad" in event for event in steps)
    assert max(event["train_loss"] for event in last) < 0.4
    assert min(event["train_reward_margin"] for event in last if "train_reward_margin" in event) > 0.5
    assert "full_valid_loss" in steps[-1]
    assert "full_valid_reward_margin" in steps[-1]
    assert [event["step"] for event in read(spec, "checkpoint")] == list(range(3, 31, 3))
    assert end["trained_tokens"] == 10 * begin["n_tokens"] == steps[-1]["tokens_seen"]
    adapter = spec.output_dir / "adapter"
    assert {path.name for path in adapter.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    (good_before, bad_before), (good, bad) = likelihoods(spec, None), likelihoods(spec, adapter)
    assert good - good_before > bad - bad_before + 1.0


def test_a_weight_makes_its_answers_count_more(make_spec: MakeSpec, tmp_path: Path) -> None:
    """With bad answers at four times their weight they lose more than with good ones at four times theirs."""
    specs = [
        unpaired(make_spec, tmp_path, name, n_epochs=6, **{name: 4.0})
        for name in ("undesirable_weight", "desirable_weight")
    ]
    for spec in specs:
        assert run(spec) == EXIT_OK
    (_, lost), (gained, kept) = (likelihoods(spec, spec.output_dir / "adapter") for spec in specs)
    assert lost < kept
    assert gained > likelihoods(specs[0], specs[0].output_dir / "adapter")[0]


def test_a_stopped_kto_run_ends_as_a_straight_one(make_spec: MakeSpec, tmp_path: Path) -> None:
    straight, stopped = (unpaired(make_spec, tmp_path, name) for name in ("straight", "stopped"))
    run(straight)
    stop = StopRequest()
    stop.ask()
    assert run(stopped, stop) == EXIT_OK
    assert list(losses(stopped)) == [1]
    assert run(stopped) == EXIT_OK
    assert losses(stopped) == losses(straight)
    told = [[{**e, "time": 0, "cpu_seconds": 0} for e in read(spec, "metrics")] for spec in (straight, stopped)]
    assert told[0] == told[1]
    files = [(spec.output_dir / "adapter" / "adapter_model.safetensors").read_bytes() for spec in (straight, stopped)]
    assert files[0] == files[1]


def test_a_killed_kto_run_goes_on_with_the_losses_of_a_straight_one(
    make_spec: MakeSpec, tmp_path: Path, start: Start
) -> None:
    """kill -9 after step 7 of 18; a checkpoint every 2 steps."""
    straight, killed = (
        unpaired(make_spec, tmp_path, name, n_epochs=6, save_every_steps=2) for name in ("straight", "killed")
    )
    run(straight)
    worker = start(killed)
    wait_for_step(killed, 7, worker)
    worker.kill()
    worker.wait()
    assert start(killed).wait() == EXIT_OK
    resumed = [event["resumed_from"] for event in read(killed, "start")]
    assert resumed[0] is None
    assert resumed[1] >= 6
    assert losses(killed) == losses(straight)
    assert killed.output_dir.with_suffix(".log").read_text() == "", "the worker chatters"


def test_a_tuned_model_is_its_own_reference(make_spec: MakeSpec, tmp_path: Path) -> None:
    """Trained further on verdicts, it begins at no reward; the reference is not saved with it."""
    tuned = make_spec("tuned", n_epochs=6)
    run(tuned)
    further = unpaired(make_spec, tmp_path, "further", adapter_path=tuned.output_dir / "adapter", n_epochs=4)
    assert run(further) == EXIT_OK
    steps = read(further, "metrics")
    assert steps[0]["train_loss"] == pytest.approx(0.5, abs=1e-3)
    saved = {path.name for path in (further.output_dir / "adapter").rglob("*")}
    assert saved == {"adapter_config.json", "adapter_model.safetensors"}


def test_each_epoch_has_an_order_of_its_own_and_a_batch_of_one_borrows_an_answer(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    """Seven examples in batches of two: the fourth batch of each epoch holds one."""
    lines = unpaired_lines(4)[:7]
    random.Random(3).shuffle(lines)
    file = write_lines(tmp_path / "odd-lines.jsonl", lines)
    spec = unpaired(make_spec, tmp_path, "odd", training_file=file, batch_size=2)
    assert run(spec) == EXIT_OK
    assert len(read(spec, "metrics")) == 8
    assert all(event["train_loss"] > 0 for event in read(spec, "metrics"))


def test_a_question_stands_beside_the_answer_of_another(tmp_path: Path, tokenizer: Any) -> None:
    """What TRL's KL term is estimated on: our mask stays exactly on the answers, in either part of the batch."""
    from ragtune.train.methods.unpaired import UnpairedTrainer, _Collator

    file = write_lines(tmp_path / "v.jsonl", unpaired_lines(3, bad=0))
    answers = load_judged(file, Encoder(tokenizer, max_length=512)).examples
    rows = [UnpairedTrainer.row(one) for one in answers]
    texts = [tokenizer.decode([t for t in one.example.labels if t != IGNORED]) for one in answers]

    def said(batch: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
        found = []
        for ids, mask in zip(batch[f"{prefix}input_ids"], batch[f"{prefix}completion_mask"], strict=True):
            begin = int(mask.nonzero()[0])
            found.append((tokenizer.decode(ids[:begin]), tokenizer.decode(ids[mask.bool()])))
        return found

    batch = _Collator(rows[:2], 0)(rows)
    assert [answer for _, answer in said(batch, "")] == texts
    assert [answer for _, answer in said(batch, "KL_")] == [texts[2], texts[0], texts[1]]
    assert [asked for asked, _ in said(batch, "")] == [asked for asked, _ in said(batch, "KL_")]
    alone = _Collator(rows[:2], 0)(rows[:1])
    assert [answer for _, answer in said(alone, "KL_")] == [texts[1]]


def test_unequal_labels_are_told_with_the_weights_that_balance_them(make_spec: MakeSpec, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "many.jsonl", unpaired_lines(9, bad=3))
    told = []
    for name, weight in (("equal", None), ("balanced", 3.0)):
        spec = unpaired(make_spec, tmp_path, name, training_file=file, n_epochs=1, undesirable_weight=weight)
        assert run(spec) == EXIT_OK
        told.append([event["message"] for event in read(spec, "message") if event["level"] == "warn"])
    (warning,) = told[0]
    assert "9 good answers of weight 1 and 3 bad ones of weight 1" in warning
    assert "undesirable_weight from 2.26 to 3" in warning
    assert told[1] == []


def test_other_records_and_lone_batches_are_refused(make_spec: MakeSpec, tmp_path: Path, tokenizer: Any) -> None:
    mixed = write_lines(tmp_path / "mixed.jsonl", [*unpaired_lines(1), *chat_lines(1)])
    with pytest.raises(TrainingFileError, match="line 3: ChatRecord: the method kto learns from unpaired records"):
        load_judged(mixed, Encoder(tokenizer, max_length=512))
    error = failure(unpaired(make_spec, tmp_path, batch_size=1))
    assert (error["code"], error["param"]) == ("invalid_batch_size", "batch_size")
    assert "2 examples for each; give a multiple of 2" in error["message"]
