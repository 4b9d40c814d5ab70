"""How a batch is shared out: to the processes of a run, and to forward passes that fit into the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune.train.distributed import process_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.modelling.encoding.examples import Taught
    from ragtune.train.spec import TrainSpec

__all__ = ["BatchSizeError", "least_at_once", "micro_batch_size", "share_of_batch"]

# Activations grow with the tokens of a forward pass; beyond this a batch is split and its gradients are summed.
_MICRO_BATCH_TOKENS = 4096


class BatchSizeError(Exception):
    """A batch that cannot be shared out evenly to the processes of a run."""

    def __init__(self, batch_size: int, *, processes: int, least: int) -> None:
        each = f", with {least} examples for each" if least > 1 else ""
        super().__init__(
            f"batch_size {batch_size} cannot be shared out evenly to {processes} "
            f"process{'' if processes == 1 else 'es'}{each}; give a multiple of {processes * least}"
        )


def share_of_batch(spec: TrainSpec) -> int:
    """The examples of a batch that each process takes.

    Raises:
        BatchSizeError: it cannot be shared out evenly.
    """
    per_process, rest = divmod(spec.batch_size, process_count())
    least = least_at_once(spec)
    if rest or per_process < least:
        raise BatchSizeError(spec.batch_size, processes=process_count(), least=least)
    return per_process


def least_at_once(spec: TrainSpec) -> int:
    """Fewest examples that a forward pass may hold."""
    # KTO compares an answer with another one of its batch.
    return 2 if spec.method == "kto" else 1


def micro_batch_size(spec: TrainSpec, batch_size: int, examples: Sequence[Taught]) -> int:
    """The largest share of a batch that divides it and stays within the token budget, whichever examples meet."""
    longest = max(example.n_tokens for example in examples)
    shares = [n for n in range(least_at_once(spec), batch_size + 1) if batch_size % n == 0]
    return max((n for n in shares if n * longest <= _MICRO_BATCH_TOKENS), default=shares[0])
