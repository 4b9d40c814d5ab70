"""What `auto` becomes where the embedded backend trains: the worker goes by it, and estimates foretell it."""

from __future__ import annotations

import math

from ragtune.limits import (
    AUTO_EPOCHS,
    AUTO_EXAMPLES_PER_BATCH_ROW,
    MAX_AUTO_EPOCHS,
    MAX_AUTO_EXAMPLES,
    MAX_BATCH_SIZE,
)

__all__ = ["auto_batch_size", "auto_epochs"]

_SMALL = 16  # below so many examples, two at a time leave a run enough steps
_MIN_STEPS = 100  # fewer optimizer steps than this leave a small model without its facts (measured)


def auto_batch_size(examples: int) -> int:
    """Examples per step: 4, or 2 of very few; above 2,000 examples 0.2 percent of them (OpenAI's rule of thumb)."""
    if examples < _SMALL:
        return 2
    return min(max(4, examples // AUTO_EXAMPLES_PER_BATCH_ROW), MAX_BATCH_SIZE)


def auto_epochs(examples: int, batch_size: int) -> int:
    """Passes over the file: 3, more where that were fewer than 100 steps, fewer where it were over 25,000 examples."""
    if examples * AUTO_EPOCHS > MAX_AUTO_EXAMPLES:
        return max(1, MAX_AUTO_EXAMPLES // examples)
    steps_per_epoch = math.ceil(examples / batch_size)
    return min(max(AUTO_EPOCHS, math.ceil(_MIN_STEPS / steps_per_epoch)), MAX_AUTO_EPOCHS)
