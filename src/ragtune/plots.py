"""Pictures; the only room that draws."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune._extras import require
from ragtune.errors import RagtuneError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

require("plots", "matplotlib", reason="drawing a loss curve")

# Measured at each step: a thin line. Measured now and then: points on a line.
_CURVES: dict[str, tuple[str, dict[str, Any]]] = {
    "train_loss": ("training", {"linewidth": 1.0, "alpha": 0.8}),
    "valid_loss": ("validation (sample)", {"linewidth": 1.2}),
    "full_valid_loss": ("validation (whole file)", {"linewidth": 1.5, "marker": "o"}),
}


def loss_curve(columns: Mapping[str, Sequence[object]], path: str | os.PathLike[str], *, title: str) -> Path:
    """Draw loss against step and return the written file's path; missing folders are made.

    Args:
        columns: equally long columns `step` and any of `train_loss`, `valid_loss`, `full_valid_loss` (None: no point).
        path: image file; its ending chooses the kind.
        title: stands above the curves.
    """
    # The figure alone, not pyplot: no global state, and no window where there is a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, (label, style) in _CURVES.items():
        points = [
            (step, loss) for step, loss in zip(columns["step"], columns.get(name, ()), strict=False) if loss is not None
        ]
        if points:
            steps, losses = zip(*points, strict=True)
            axes.plot(steps, losses, label=label, **style)
    axes.set(xlabel="step", ylabel="loss per token (nats)", title=title)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    target = Path(path)
    kinds = figure.canvas.get_supported_filetypes()
    if target.suffix.removeprefix(".").lower() not in kinds:
        ending = f"{target.suffix!r} is no kind of image" if target.suffix else "its ending says no kind of image"
        raise RagtuneError(f"{target}: {ending}; name it {target.stem}.png, or with one of {', '.join(sorted(kinds))}")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=120)
    return target
