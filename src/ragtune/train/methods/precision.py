"""In which number format a training step computes what an adapter adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peft.helpers import disable_input_dtype_casting

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

__all__ = ["in_base_format"]


def in_base_format(model: torch.nn.Module) -> AbstractContextManager[None]:
    """Let a model that the Trainer has prepared compute its adapter in the number format of the base.

    The adapter's own numbers stay float32, or small updates would vanish; what is computed with them need not be.
    """
    # Left to itself PEFT brings the inputs of every layer to float32 and the outputs back, and keeps the larger copies
    # for the way back: 14.8 GB and not 11.6 for 1.5 billion numbers on an H200, a fifth more time on a processor.
    # Autocast is not entered here but by the forward that the Trainer has wrapped, once for each call: a pass without
    # gradients, such as KTO's, leaves copies of the weights in it that know of no gradient, and the pass after it,
    # inside the same autocast, would learn nothing.
    return disable_input_dtype_casting(model)
