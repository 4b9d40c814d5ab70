"""Preference runs on `tiny-random`: the preferred answer gains on the other one, under the same rules as other runs."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from ragtune.modelling.encoding.encoder import IGNORED, Encoder
from ragtune.train.examples.files import TrainingFileError, load_pairs
from ragtune.train.spec import EXIT_OK, TrainSpec
from ragtune.train.stop import StopRequest

from .conftest import MakeSpec, chat_lines, write_lines
from .test_run import failure, losses, read, run
from .test_tool_masks import HERMES

pytestmark = [
    pytest.mark.train,
    # transformers 5 announces the renaming of one of its own attributes while peft still reads the old one
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]


def preference_lines(count: int) -> list[dict[str, Any]]:
    """Demo facts as pairs: the right answer is preferred to the next fact's."""
    facts = [line["messages"] for line in chat_lines(count + 1)]
    return [
        {
            "input": {"messages": [fact[0]]},
            "preferred_output": [fact[1]],
            "non_preferred_output": [other[1]],
        }
        for fact, other in pairwise(facts)
    ]


def preference(make_spec: MakeSpec, tmp_path: Path, name: str = "pairs", **changes: Any) -> TrainSpec:
    """A spec for 12 pairs in batches of 4, two epochs."""
    file = write_lines(tmp_path / f"{name}-pairs.jsonl", preference_lines(12))
    return make_spec(name, **{"method": "dpo", "training_file": file, "learning_rate": 5e-3, **changes})


def margin(spec: TrainSpec, adapter: Path | None) -> float:
    """Mean over the pairs of how much likelier the preferred answer is than the other one, in nats."""
    import torch
    from peft import PeftModel

    from ragtune.modelling.base_model import load_model, load_tokenizer
    from ragtune.train.methods.loss import batch_sums, collate

    model: Any = load_model(spec.base_path, dtype="bfloat16")
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    pairs = load_pairs(spec.training_file, Encoder(load_tokenizer(spec.base_path), max_length=512)).examples
    with torch.inference_mode():
        sums = [
            [float(batch_sums(model, collate([one], pad_token_id=0)).loss) for one in (pair.rejected, pair.chosen)]
            for pair in pairs
        ]
    return sum(rejected - chosen for rejected, chosen in sums) / len(sums)


def test_the_preferred_answers_gain_on_the_others(make_spec: MakeSpec, tmp_path: Path) -> None:
    """The reported margin grows, and the saved adapter shows it by itself: `reward = beta * log ratio`."""
    held_out = write_lines(tmp_path / "valid.jsonl", preference_lines(20)[12:])
    spec = preference(make_spec, tmp_path, n_epochs=8, beta=0.2, validation_file=held_out)
    assert run(spec) == EXIT_OK
    (begin,), steps, (end,) = read(spec, "start"), read(spec, "metrics"), read(spec, "end")
    assert steps[0]["train_loss"] == pytest.approx(math.log(2), abs=1e-3), "before the first step nothing is preferred"
    assert steps[0]["train_reward_margin"] == pytest.approx(0, abs=1e-2)
    assert steps[-1]["train_loss"] < 0.5
    assert steps[-1]["train_reward_margin"] > 0.5
    assert steps[-1]["train_reward_accuracy"] == 1.0
    assert all(0 <= event["train_mean_token_accuracy"] <= 1 for event in steps)
    assert "full_valid_reward_margin" in steps[-1]
    assert "full_valid_loss" in steps[-1]
    assert [event["step"] for event in read(spec, "checkpoint")] == list(range(3, 25, 3))
    assert end["trained_tokens"] == 8 * begin["n_tokens"] == steps[-1]["tokens_seen"]
    adapter = spec.output_dir / "adapter"
    assert {path.name for path in adapter.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    gained = margin(spec, adapter) - margin(spec, None)
    assert 0.2 * gained == pytest.approx(steps[-1]["train_reward_margin"], rel=0.5)


def test_beta_decides_how_much_leaving_the_reference_costs(make_spec: MakeSpec, tmp_path: Path) -> None:
    """With a small beta the log ratios go further for the same reward."""
    loose, tight = (preference(make_spec, tmp_path, f"b{beta}", beta=beta, n_epochs=8) for beta in (0.05, 2.0))
    assert run(loose) == run(tight) == EXIT_OK
    ratios = [read(spec, "metrics")[-1]["train_reward_margin"] / spec.beta for spec in (loose, tight) if spec.beta]
    assert ratios[0] > ratios[1]


def test_a_stopped_preference_run_ends_as_a_straight_one(make_spec: MakeSpec, tmp_path: Path) -> None:
    straight, stopped = (preference(make_spec, tmp_path, name) for name in ("straight", "stopped"))
    run(straight)
    stop = StopRequest()
    stop.ask()
    assert run(stopped, stop) == EXIT_OK
    assert list(losses(stopped)) == [1]
    assert run(stopped) == EXIT_OK
    assert losses(stopped) == losses(straight)
    margins = [[e["train_reward_margin"] for e in read(spec, "metrics")] for spec in (straight, stopped)]
    assert margins[0] == margins[1]
    files = [(spec.output_dir / "adapter" / "adapter_model.safetensors").read_bytes() for spec in (straight, stopped)]
    assert files[0] == files[1]


def test_a_tuned_model_is_its_own_reference(make_spec: MakeSpec, tmp_path: Path) -> None:
    """Trained further on preferences, also over a stop, it begins at no margin; the reference is not saved with it."""
    tuned = make_spec("tuned", n_epochs=6)
    run(tuned)
    further = preference(make_spec, tmp_path, "further", adapter_path=tuned.output_dir / "adapter", n_epochs=4)
    straight = preference(make_spec, tmp_path, "straight", adapter_path=tuned.output_dir / "adapter", n_epochs=4)
    stop = StopRequest()
    stop.ask()
    assert run(further, stop) == run(further) == run(straight) == EXIT_OK
    assert losses(further) == losses(straight)
    steps = read(further, "metrics")
    assert steps[0]["train_reward_margin"] == pytest.approx(0, abs=1e-2)
    assert steps[-1]["train_reward_margin"] > steps[0]["train_reward_margin"]
    saved = {path.name for path in (further.output_dir / "adapter").rglob("*")}
    assert saved == {"adapter_config.json", "adapter_model.safetensors"}
    assert margin(further, further.output_dir / "adapter") > margin(further, tuned.output_dir / "adapter")


def test_only_the_two_answers_are_compared(tmp_path: Path, tokenizer: Any) -> None:
    """Earlier answers of the conversation are context; a call of a tool may be an answer."""
    call = {"id": "c", "type": "function", "function": {"name": "land", "arguments": "{}"}}
    before = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bird?"},
    ]
    record = {
        "input": {"messages": before},
        "preferred_output": [{"role": "assistant", "content": "A heron."}],
        "non_preferred_output": [{"role": "assistant", "content": "A stork.", "tool_calls": [call]}],
    }
    lines = write_lines(tmp_path / "p.jsonl", [record])
    with pytest.raises(TrainingFileError, match="line 1: the chat template of this base writes no calls"):
        load_pairs(lines, Encoder(tokenizer, max_length=512))
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = HERMES
    (pair,) = load_pairs(lines, Encoder(tokenizer, max_length=512)).examples
    texts = [tokenizer.decode([t for t in one.labels if t != IGNORED]) for one in (pair.chosen, pair.rejected)]
    called = '<tool_call>\n{"name": "land", "arguments": {}}\n</tool_call>'
    assert texts == ["A heron.<|im_end|>", f"A stork.{called}<|im_end|>"]


def test_other_records_are_refused_by_line(make_spec: MakeSpec, tmp_path: Path, tokenizer: Any) -> None:
    mixed = write_lines(tmp_path / "mixed.jsonl", [*preference_lines(1), *chat_lines(1)])
    with pytest.raises(TrainingFileError, match="line 2: ChatRecord: the method dpo learns from preference records"):
        load_pairs(mixed, Encoder(tokenizer, max_length=512))
    error = failure(preference(make_spec, tmp_path, training_file=mixed))
    assert (error["code"], error["param"]) == ("invalid_training_file", "training_file")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """The environment of a process that takes a listener for the Hub, and the paths that the listener was asked for."""
    asked: list[str] = []

    class Note(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_HEAD  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    # Where these are set, the Hub's client and TRL send less by themselves.
    silencers = ("CI", "DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    kept = {name: value for name, value in os.environ.items() if name not in silencers}
    with HTTPServer(("127.0.0.1", 0), Note) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield {**kept, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hub")}, asked
        server.shutdown()


ASK = "from huggingface_hub import HfApi; HfApi().model_info('a/known-question')"


def test_a_run_tells_nobody_about_itself(
    make_spec: MakeSpec, tmp_path: Path, hub: tuple[dict[str, str], list[str]]
) -> None:
    """TRL would report each run, and the Hub's client asks what it pleases.

    The process has ended, so nothing of it comes late; the listener answers one request after the other, so all that
    came stands before the question that is asked last.
    """
    environment, asked = hub
    spec = preference(make_spec, tmp_path, n_epochs=1)
    spec.save(tmp_path / "spec.json")
    subprocess.run([sys.executable, "-m", "ragtune.train", str(tmp_path / "spec.json")], env=environment, check=True)
    assert read(spec)[-1]["state"] == "succeeded"
    with pytest.raises(HTTPError):
        urlopen(f"{environment['HF_ENDPOINT']}/last")
    assert asked == ["/last"]
    subprocess.run([sys.executable, "-c", ASK], env=environment, stderr=subprocess.DEVNULL)
    assert any("known-question" in path for path in asked), "the listener hears what is really sent"
