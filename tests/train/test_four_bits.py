"""Runs on a base that is held in 4 bits, on this machine's processor: they learn, are told as nf4, and are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ragtune.modelling.hardware.machine import this_machine
from ragtune.modelling.hardware.placement import place
from ragtune.train.placement import settled
from ragtune.train.spec import EXIT_OK
from ragtune.train.stop import StopRequest

from .conftest import MakeSpec, chat_lines, write_lines
from .test_preference import preference
from .test_run import losses, read, run
from .test_unpaired import unpaired

pytest.importorskip("bitsandbytes", reason="needs the extra qlora")
pytestmark = [
    pytest.mark.train,
    # transformers 5 announces the renaming of one of its own attributes while peft still reads the old one
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]
FOUR_BITS: dict[str, Any] = {"device": "cpu", "dtype": "nf4"}


def formats_saved(adapter: Path) -> set[Any]:
    """Number formats of a saved adapter's tensors."""
    from safetensors.torch import load_file

    return {tensor.dtype for tensor in load_file(adapter / "adapter_model.safetensors").values()}


def test_a_base_in_four_bits_takes_less_and_answers_nearly_as_it_did(tiny: Path) -> None:
    import torch

    from ragtune.modelling.base_model import load_model
    from ragtune.modelling.four_bit import load_four_bit

    placement = place(this_machine(), **FOUR_BITS)
    small: Any = load_four_bit(tiny, placement)
    full: Any = load_model(tiny, dtype=placement.number_format)
    assert small.get_memory_footprint() < 0.75 * full.get_memory_footprint()  # its vocabulary is half of it
    ids_BT = torch.arange(4, 68).reshape(2, 32)
    with torch.inference_mode():
        logits, rounded = full(ids_BT).logits.float(), small(ids_BT).logits.float()
    assert 0 < float((rounded - logits).norm() / logits.norm()) < 0.35


def test_gradients_flow_through_four_bits_after_a_look_without_them(tiny: Path) -> None:
    """On processors with bfloat16 units bitsandbytes itself gives none back then, and only a warning says so."""
    import torch

    from ragtune.modelling.four_bit import load_four_bit

    model: Any = load_four_bit(tiny, place(this_machine(), **FOUR_BITS))
    layer = model.model.layers[0].mlp.down_proj
    x = torch.randn(3, layer.in_features, dtype=layer.compute_dtype)

    def gradient() -> torch.Tensor:
        inputs = x.clone().requires_grad_()
        layer(inputs).sum().backward()
        assert inputs.grad is not None, "no gradient came back"
        return inputs.grad

    layer.train()
    before = gradient()
    layer.eval()
    with torch.inference_mode():
        layer(x)
    layer.train()
    assert torch.equal(gradient(), before)
    assert float(before.abs().max()) > 0


def test_a_run_learns_on_four_bits_and_goes_on_in_them(make_spec: MakeSpec, tmp_path: Path) -> None:
    """With a validation file, so that the base is also asked in between; the second start wishes for nothing."""
    held_out = write_lines(tmp_path / "valid.jsonl", chat_lines(20)[12:])
    straight = make_spec("straight", n_epochs=4, validation_file=held_out, **FOUR_BITS)
    begun = make_spec("stopped", n_epochs=4, validation_file=held_out, **FOUR_BITS)
    resumed = make_spec("stopped", n_epochs=4, validation_file=held_out)
    assert run(straight) == EXIT_OK
    stop = StopRequest()
    stop.ask()
    assert run(begun, stop) == EXIT_OK
    assert run(resumed) == EXIT_OK
    found = losses(straight)
    assert found[12] < found[1] * 0.9
    assert losses(resumed) == found
    assert {event["dtype"] for kind in ("start", "metrics") for event in read(resumed, kind)} == {"nf4"}
    kept = settled(resumed.output_dir)
    assert kept is not None
    assert (kept.device, kept.dtype) == ("cpu", "nf4")
    said = [event["message"] for event in read(straight, "message")]
    assert said[0].startswith("Training on cpu with 1 thread, nf4 (as asked for, computed in ")
    assert "costs time" in said[1]


def test_it_learns_as_much_as_on_the_whole_base(make_spec: MakeSpec) -> None:
    """Where gradients are lost on their way through the layers, adapters learn far less from equal rows."""
    whole, small = make_spec("whole", n_epochs=8, dtype="float32"), make_spec("small", n_epochs=8, **FOUR_BITS)
    assert run(whole) == run(small) == EXIT_OK
    fell = [losses(spec)[1] - losses(spec)[24] for spec in (whole, small)]
    assert fell[1] == pytest.approx(fell[0], rel=0.2)


@pytest.mark.parametrize("make", [preference, unpaired])
def test_preference_runs_keep_their_adapters_in_float32(make: Any, make_spec: MakeSpec, tmp_path: Path) -> None:
    """TRL makes them bfloat16 on such a base, in which small updates vanish."""
    import torch

    spec = make(make_spec, tmp_path, n_epochs=4, **FOUR_BITS)
    assert run(spec) == EXIT_OK
    assert losses(spec)[12] < losses(spec)[1]
    assert formats_saved(spec.output_dir / "adapter") == {torch.float32}
