"""Runs in both number formats that a processor can hold: each trains, is told everywhere, and is kept over a stop."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ragtune.modelling.hardware.machine import this_machine
from ragtune.modelling.hardware.placement import Placement
from ragtune.train.fit import fit
from ragtune.train.placement import SPEC_FILE, settled
from ragtune.train.spec import EXIT_OK, TrainSpec
from ragtune.train.start import TooLargeError
from ragtune.train.stop import StopRequest

from .conftest import MakeSpec, chat_lines, write_lines
from .test_run import failure, losses, read, run

pytestmark = [
    pytest.mark.train,
    # transformers 5 announces the renaming of one of its own attributes while peft still reads the old one
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]
FORMATS: list[Any] = ["float32", "bfloat16"]


def formats_told(spec: TrainSpec) -> set[tuple[str, str]]:
    """Device and format of every start and step in the events."""
    return {(event["device"], event["dtype"]) for kind in ("start", "metrics") for event in read(spec, kind)}


def test_both_formats_train_and_are_told_everywhere(make_spec: MakeSpec) -> None:
    """Loss and adapter come out of both; bfloat16 has 8 bits of fraction, so its first loss agrees to 2^-7."""
    first: dict[str, float] = {}
    for dtype in FORMATS:
        spec = make_spec(dtype, device="cpu", dtype=dtype, n_epochs=4)
        assert run(spec) == EXIT_OK
        found = losses(spec)
        assert found[12] < found[1] * 0.9
        assert formats_told(spec) == {("cpu", dtype)}
        kept = settled(spec.output_dir)
        assert kept is not None
        assert (kept.device, kept.dtype) == ("cpu", dtype)
        (said,) = [event["message"] for event in read(spec, "message")]
        assert said.startswith(f"Training on cpu with 1 thread, {dtype} (as asked for): about ")
        first[dtype] = found[1]
    assert first["bfloat16"] == pytest.approx(first["float32"], rel=2**-7)
    assert first["bfloat16"] != first["float32"]


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_run_goes_on_in_the_format_that_it_was_begun_in(make_spec: MakeSpec, dtype: Any) -> None:
    """The second start asks for nothing; in one of the two formats this machine's own choice is the other one."""
    straight = make_spec("straight", dtype=dtype)
    begun, resumed = make_spec("stopped", dtype=dtype), make_spec("stopped")
    assert resumed.dtype is None
    assert run(straight) == EXIT_OK
    stop = StopRequest()
    stop.ask()
    assert run(begun, stop) == EXIT_OK
    assert run(resumed) == EXIT_OK
    assert [event["resumed_from"] for event in read(resumed, "start")] == [None, 1]
    assert losses(resumed) == losses(straight)
    assert {told for _, told in formats_told(resumed)} == {dtype}
    adapters = [(spec.output_dir / "adapter" / "adapter_model.safetensors").read_bytes() for spec in (straight, begun)]
    assert adapters[0] == adapters[1]


@pytest.mark.parametrize("method", ["supervised", "kto"])
def test_an_adapter_is_kept_in_float32_and_computed_in_the_bases_format(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, method: Any
) -> None:
    """Every forward pass of a step, those without gradients too, looks at the adapter in bfloat16; both learn."""
    from peft.tuners.lora import Linear
    from safetensors.torch import load_file

    forward, seen = Linear.forward, set()

    def watched(self: Any, x: Any, *given: Any, **named: Any) -> Any:
        handle = self.lora_A["default"].register_forward_hook(
            lambda _, inputs, out: seen.add((inputs[0].dtype, out.dtype))
        )
        try:
            return forward(self, x, *given, **named)
        finally:
            handle.remove()

    monkeypatch.setattr(Linear, "forward", watched)
    changes: dict[str, Any] = {"method": method, "dtype": "bfloat16", "device": "cpu", "n_epochs": 6}
    if method == "kto":
        lines = chat_lines(12)
        judged = [
            {"prompt": line["messages"][:1], "completion": lines[n - n % 2]["messages"][1:], "label": n % 2 == 0}
            for n, line in enumerate(lines)
        ]
        changes["training_file"] = write_lines(make_spec().training_file.with_name("judged.jsonl"), judged)
    spec = make_spec(**changes)
    assert run(spec) == EXIT_OK
    assert seen == {(torch.bfloat16, torch.bfloat16)}
    found = losses(spec)
    assert found[18] < found[1] * 0.97
    adapter = load_file(spec.output_dir / "adapter" / "adapter_model.safetensors")
    assert {numbers.dtype for numbers in adapter.values()} == {torch.float32}


def test_another_wish_at_the_second_start_changes_nothing(make_spec: MakeSpec) -> None:
    """A backend that was started with another `dtype` meanwhile must not spoil the jobs that it goes on with."""
    stop = StopRequest()
    stop.ask()
    assert run(make_spec("run", dtype="float32"), stop) == EXIT_OK
    other = make_spec("run", dtype="bfloat16")
    assert run(other) == EXIT_OK
    assert {told for _, told in formats_told(other)} == {"float32"}


def test_a_run_that_was_begun_on_a_gpu_goes_on_here_with_a_warning(make_spec: MakeSpec) -> None:
    if "cuda" in this_machine().devices:
        pytest.skip("this machine has a CUDA GPU")
    spec = make_spec(device="cpu", dtype="float32")
    spec.output_dir.mkdir()
    spec.model_copy(update={"device": "cuda", "dtype": "float16"}).save(spec.output_dir / SPEC_FILE)
    assert run(spec) == EXIT_OK
    warning = next(event for event in read(spec, "message") if event["level"] == "warn")["message"]
    assert warning.startswith("device 'cuda': this machine has none that torch can use; it has ")
    assert warning.endswith("the run was begun elsewhere and goes on here, so its losses may differ a little")
    assert "cuda" not in {device for device, _ in formats_told(spec)}


def test_a_format_that_the_device_cannot_hold_fails_with_what_it_can(make_spec: MakeSpec) -> None:
    error = failure(make_spec(device="cpu", dtype="float16"))
    assert error["code"] == "hardware_not_available"
    assert error["message"] == "dtype 'float16': not on cpu; there it can be float32 or bfloat16 or nf4"


def test_a_run_that_cannot_fit_is_refused_before_it_starts_with_what_to_lower(make_spec: MakeSpec) -> None:
    """Python and PyTorch alone take 0.9 GB, so 0.5 GB are too few for any model."""
    spec = make_spec(batch_size=4)
    spec.output_dir.mkdir()
    small = Placement(device="cpu", dtype="float32", threads=1, why="", memory_bytes=500_000_000)
    with pytest.raises(TooLargeError) as refusal:
        fit(spec, small, StopRequest(), cpu_before=0.0)
    words = str(refusal.value)
    assert words.startswith(
        "the run needs up to 0.9 GB of memory on cpu and there are 0.5 GB; lower batch_size (now 4)"
    )
    assert "shorten the longest example (now " in words
    assert words.endswith("or take a smaller base, or one held in 4 bits (dtype 'nf4')")
    assert read(spec) == []
