"""Progress bars where somebody can see them."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def visible() -> bool:
    """Whether standard error is a terminal, or this is a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def bar(label: str, *, unit: str, total: int | None = None, done: int = 0) -> Any:
    """Begin a bar.

    Args:
        label: stands before it.
        unit: what is counted.
        total: how many there will be, None while that is not known.
        done: how many were there before it began.
    """
    with warnings.catch_warnings():
        # A notebook without ipywidgets gets tqdm's text bar, which is good enough to go without its warning.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

        # The mean since the first step: steps arrive in bunches, one for each look at a job.
        return tqdm(desc=label, unit=unit, total=total, initial=done, dynamic_ncols=True, mininterval=0.2, smoothing=0)


class NoBar:
    """Stands where a bar would, when nobody watches."""

    def update(self) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing was shown."""
