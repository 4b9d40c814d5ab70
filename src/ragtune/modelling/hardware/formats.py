"""The kinds of processor that torch knows, and the number formats that a frozen base is held in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BYTES", "Device", "Dtype"]

Device = Literal["cuda", "xpu", "mps", "cpu"]
"""What torch calls the kinds of processor: AMD's GPUs (ROCm) go by `cuda`, Intel's by `xpu`, Apple's by `mps`."""
Dtype = Literal["float32", "bfloat16", "float16", "nf4"]
"""Number formats of a frozen base; adapters are float32 on each of them. `nf4` is QLoRA's 4-bit format."""

BYTES: Mapping[Dtype, float] = {"float32": 4, "bfloat16": 2, "float16": 2, "nf4": 0.516}
"""Bytes of one number; those of nf4 have a scale of one byte for each 64 beside them, and a scale of these for 256."""
