"""Several processes that train one run together: who speaks for them, and how they agree.

A launcher (torchrun, accelerate and everything built on them) tells each process its number in `RANK` and their count
in `WORLD_SIZE`. Without a launcher there is one process, and nothing here costs anything. Loads no torch by itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["is_lost_process", "is_main", "process_count", "process_number", "summed"]


def process_number() -> int:
    """The number of this process among those of the run, from 0."""
    return int(os.environ.get("RANK", "0"))


def process_count() -> int:
    """How many processes train this run together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes the events, the adapters and the checkpoints' marks."""
    return process_number() == 0


def summed(values: Sequence[float]) -> list[float]:
    """The sum of each value over all processes; all of them have to call it, and wait for each other here."""
    if process_count() == 1:
        return list(values)
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        return list(values)
    # NCCL carries only what lies on a GPU.
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    totals = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(totals)
    return [float(total) for total in totals.tolist()]


def is_lost_process(error: BaseException) -> bool:
    """Whether an error says that another process of the run is gone."""
    if process_count() == 1 or not isinstance(error, RuntimeError):
        return False
    from torch import distributed

    # gloo tells of it in plain RuntimeErrors, known by their words alone; NCCL and the store have errors of their own.
    words = ("gloo", "closed by peer", "reset by peer")
    return isinstance(error, distributed.DistError) or any(word in str(error).lower() for word in words)
