"""A base held in 4 bits beside the whole one, on this processor: loss, memory, and CPU seconds of a step.

    python benchmarks/four_bits.py [--base smollm2-135m-instruct] [--steps 8]

Needs the extras `local` and `qlora`. Between steps the model is also asked without gradients, as a validation does.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, get_peft_model

from ragtune.modelling.base_model import load_model, load_tokenizer, share_the_processor
from ragtune.modelling.bases import resolve_base
from ragtune.modelling.four_bit import load_four_bit
from ragtune.modelling.hardware.machine import this_machine
from ragtune.modelling.hardware.placement import place

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.modelling.hardware.formats import Dtype

FORMATS: tuple[tuple[Dtype, Dtype | None], ...] = (
    ("float32", None),
    ("bfloat16", None),
    ("nf4", "float32"),
    ("nf4", "bfloat16"),
)
ROW = "The municipal library of Quillhaven opens at nine in the morning and closes at six in the evening. " * 2


def measured(folder: Path, dtype: Dtype, computes_in: Dtype | None, *, steps: int) -> str:
    """One row of the table."""
    torch.manual_seed(0)
    placement = replace(place(this_machine(), device="cpu", dtype=dtype), computes_in=computes_in)
    began = time.perf_counter()
    model: Any = load_four_bit(folder, placement) if dtype == "nf4" else load_model(folder, dtype=dtype)
    model.set_attn_implementation("eager")
    loaded_s, weights = time.perf_counter() - began, model.get_memory_footprint()
    ids_BT = torch.tensor([load_tokenizer(folder)(ROW)["input_ids"]] * 4)
    tuned = get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear", lora_dropout=0.0)
    )
    optimizer = torch.optim.AdamW([one for one in tuned.parameters() if one.requires_grad], lr=1e-3)
    losses, best_s = [], float("inf")
    for _ in range(steps):
        tuned.eval()
        with torch.inference_mode():
            tuned(input_ids=ids_BT)
        tuned.train()
        began = time.thread_time()
        optimizer.zero_grad()
        loss = tuned(input_ids=ids_BT, labels=ids_BT).loss
        loss.backward()
        optimizer.step()
        best_s = min(best_s, time.thread_time() - began)
        losses.append(float(loss.detach()))
    held = dtype if computes_in is None else f"nf4, computed in {computes_in}"
    return f"| {held} | {losses[0]:.3f} | {losses[-1]:.3f} | {best_s:.2f} | {weights / 1e6:.0f} MB | {loaded_s:.1f} s |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    share_the_processor()
    torch.set_num_threads(1)
    folder = resolve_base(options.base)
    print("| frozen base | first loss | last loss | CPU seconds a step | weights | load |\n|---|---|---|---|---|---|")
    for dtype, computes_in in FORMATS:
        print(measured(folder, dtype, computes_in, steps=options.steps), flush=True)


if __name__ == "__main__":
    main()
