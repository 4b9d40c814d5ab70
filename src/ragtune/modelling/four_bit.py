"""Bases that are held in 4 bits while an adapter is trained on them: QLoRA, by bitsandbytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ragtune._extras import require
from ragtune.modelling.base_model import load_model

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from transformers import PreTrainedModel

    from ragtune.modelling.hardware.placement import Placement

__all__ = ["adapters_in_float32", "load_four_bit"]


def load_four_bit(folder: str | Path, placement: Placement) -> PreTrainedModel:
    """The causal language model in a folder, its matrices in nf4 with scales that are quantised as well.

    The vocabulary's matrices and the norms stay in the format that is computed in.

    Raises:
        MissingExtraError: the extra `qlora` is not installed.
        BackendError: the folder holds no causal language model as safetensors.
    """
    require("qlora", "bitsandbytes", reason="training on a base in 4 bits")
    import torch
    from bitsandbytes.nn import Linear4bit
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, placement.number_format),
    )
    # Quantised where it stays: such a model cannot be moved later. Launchers tell each process its GPU.
    place = "cpu" if placement.device == "cpu" else f"{placement.device}:{os.environ.get('LOCAL_RANK', '0')}"
    model = load_model(folder, dtype=placement.number_format, quantization_config=settings, device_map={"": place})
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            # On processors with bfloat16 units bitsandbytes 0.50 repacks the weights at the first look without
            # gradients, a validation for example, and from then on gives none back: training would learn nothing.
            layer.support_avx512bf16_for_cpu = False
    return model


def adapters_in_float32(model: torch.nn.Module) -> None:
    """Undo what TRL does on 4-bit bases: in bfloat16 small updates of an adapter would vanish."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
