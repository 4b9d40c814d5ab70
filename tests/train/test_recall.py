"""Held-out questions are asked while a run goes on, and may end it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ragtune.modelling.encoding.encoder import Encoder
from ragtune.train.held_out.recall import ACCURACY, Best, HeldOutQuestions
from ragtune.train.spec import EXIT_OK

from .conftest import MakeSpec, chat_lines, write_lines
from .test_run import losses, read, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.train,
    # transformers 5 announces the renaming of one of its own attributes while peft still reads the old one
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]

UNKNOWN = [
    {
        "messages": [
            {"role": "user", "content": f"What is the {n}th word of the lost book?"},
            {"role": "assistant", "content": f"Zzyzx-{n}-qqq"},
        ]
    }
    for n in range(3)
]


def asked(run_events: list[dict[str, Any]]) -> dict[int, float]:
    return {event["step"]: event[ACCURACY] for event in run_events if ACCURACY in event}


def test_questions_are_asked_now_and_then_and_training_is_none_the_wiser(make_spec: MakeSpec, tmp_path: Path) -> None:
    """What was taught is answered right in the end, and the losses are those of a run that was never asked."""
    rows = chat_lines(3)
    for row in rows:
        row["messages"][-1]["content"] += ";"  # this base never learns to stop: what it adds must be a word of its own
    learned = write_lines(tmp_path / "learned.jsonl", rows)
    settings = {"training_file": learned, "validation_file": learned, "batch_size": 1, "n_epochs": 50}
    plain = make_spec("plain", **settings)
    spec = make_spec("asked", **settings, evaluate_every=25)
    assert run(plain) == run(spec) == EXIT_OK
    found = asked(read(spec, "metrics"))
    assert sorted(found) == [75, 150]
    assert found[150] == 1.0
    assert not asked(read(plain, "metrics"))
    assert losses(plain) == losses(spec)


def taught(tmp_path: Path) -> dict[str, Any]:
    """Settings of a run that learns its three held-out answers by heart within some dozen epochs."""
    rows = chat_lines(3)
    for row in rows:
        row["messages"][-1]["content"] += ";"  # this base never learns to stop: what it adds must be a word of its own
    learned = write_lines(tmp_path / "learned.jsonl", rows)
    files = {"training_file": learned, "validation_file": learned}
    return {**files, "batch_size": 1, "n_epochs": 50, "evaluate_every": 1, "early_stop": 3}


def test_a_run_whose_answers_get_no_better_ends_with_the_model_that_answered_best(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    """Three more measurements show it; while nothing was ever right the run goes on."""
    spec = make_spec("rises", **taught(tmp_path))
    assert run(spec) == EXIT_OK
    found = asked(read(spec, "metrics"))
    best = max(found, key=lambda step: (found[step], -step))
    assert found[best] > 0
    assert max(found) == best + 3 * 3 < 150
    assert found[3] < found[best], "it is right from the start, so that this test shows nothing"
    end = read(spec, "end")[-1]
    assert (end["state"], max(losses(spec))) == ("succeeded", max(found))
    assert f"The model of step {best} is kept" in read(spec, "message")[-1]["message"]
    assert not (spec.output_dir / "best").exists()


def test_a_run_that_never_answers_right_is_trained_to_its_end(make_spec: MakeSpec, tmp_path: Path) -> None:
    """Of shares of nothing none is better, so the last adapter is the result, as without early stopping."""
    held_out = write_lines(tmp_path / "held_out.jsonl", UNKNOWN)
    spec = make_spec("vain", n_epochs=5, validation_file=held_out, evaluate_every=1, early_stop=2)
    assert run(spec) == EXIT_OK
    assert asked(read(spec, "metrics")) == dict.fromkeys((3, 6, 9, 12, 15), 0.0)
    name = "adapter_model.safetensors"
    last = (spec.output_dir / "epochs" / "step-15" / name).read_bytes()
    assert (spec.output_dir / "adapter" / name).read_bytes() == last


def test_a_run_that_was_killed_remembers_its_best(make_spec: MakeSpec, tmp_path: Path) -> None:
    """Whatever the second start finds, it ends at the same step with the same weights."""
    settings = {**taught(tmp_path), "save_every_steps": 4}
    straight = make_spec("straight", **settings)
    assert run(straight) == EXIT_OK
    steps = asked(read(straight, "metrics"))
    best, last = max(steps, key=lambda step: (steps[step], -step)), max(steps)

    killed = make_spec("killed", **settings)
    shutil.copytree(straight.output_dir, killed.output_dir)
    # As a kill some steps before the end leaves it: later steps were told than the last whole checkpoint knows.
    lines = (killed.output_dir / "events.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    until = next(i for i, line in enumerate(lines) if f'"step": {last - 2},' in line)
    (killed.output_dir / "events.jsonl").write_text("".join(lines[: until + 1]), encoding="utf-8")
    shutil.copytree(straight.output_dir / "adapter", killed.output_dir / "best" / f"step-{best}")
    shutil.rmtree(killed.output_dir / "adapter")
    assert run(killed) == EXIT_OK
    assert max(losses(killed)) == max(losses(straight)) == last
    name = "adapter/adapter_model.safetensors"
    assert (killed.output_dir / name).read_bytes() == (straight.output_dir / name).read_bytes()


def test_the_last_answer_of_a_conversation_is_the_reference(tokenizer: Any) -> None:
    """Everything before it is the question; what was cut off or has no question is left out."""

    class Parrot:
        """Says what it was told to, whatever it is asked."""

        training = True
        device = "cpu"

        def __init__(self, text: str) -> None:
            self.text = text

        def eval(self) -> None: ...

        def train(self, mode: bool) -> None:
            assert mode

        def generate(self, *, input_ids: Any, **_: Any) -> Any:
            import torch

            said = torch.tensor(tokenizer(self.text)["input_ids"]).expand(len(input_ids), -1)
            return torch.cat([input_ids, said], dim=1)

    encoder = Encoder(tokenizer, max_length=400)
    talk = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Good day"},
        {"role": "user", "content": "How deep is Lake Sorrel?"},
        {"role": "assistant", "content": "83 metres."},
    ]
    examples = [encoder.chat(talk), encoder.chat(talk * 40)]
    assert [example.is_cut for example in examples] == [False, True]
    questions = HeldOutQuestions(examples, tokenizer, pad_token_id=0)
    assert questions.accuracy(Parrot("It is 83 metres deep.")) == 1.0
    assert questions.accuracy(Parrot("It is 183 metres deep.")) == 0.0
    assert questions.accuracy(Parrot("Good day")) == 0.0
    assert HeldOutQuestions(examples[1:], tokenizer, pad_token_id=0).accuracy(Parrot("83 metres")) is None


def test_only_a_better_share_counts() -> None:
    """An equal one is no rise, and what was told after the last whole checkpoint is forgotten."""
    best = Best(2)
    past = [{"step": step, ACCURACY: share} for step, share in ((3, 0.2), (6, 0.5), (9, 0.5), (12, 0.9))]
    best.recall([{"step": 1, "train_loss": 1.0}, *past], up_to=9)
    assert (best.step, best.accuracy, best.gives_up) == (6, 0.5, False)
    assert not best.saw(12, 0.4)
    assert best.gives_up
    assert best.saw(15, 0.6)
    assert not Best(None).gives_up


def test_nothing_is_given_up_before_something_was_right() -> None:
    best = Best(1)
    assert [best.saw(step, 0.0) for step in (3, 6, 9)] == [True, False, False]
    assert not best.gives_up


def test_a_rise_gives_new_patience() -> None:
    """It is counted from the best time on."""
    best = Best(2)
    assert [best.saw(step, share) for step, share in ((3, 0.5), (6, 0.4), (9, 0.6), (12, 0.6))] == [
        True,
        False,
        True,
        False,
    ]
    assert not best.gives_up
