"""Where a run trains: decided at its first start, and kept for all later ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune.errors import SpecError
from ragtune.modelling.forecast import ModelSize
from ragtune.modelling.hardware.machine import this_machine
from ragtune.modelling.hardware.placement import HardwareError, place
from ragtune.train.spec import TrainSpec

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.modelling.hardware.placement import Placement

__all__ = ["SPEC_FILE", "settled", "where_to_train"]

SPEC_FILE = "spec.json"
"""Name of the spec in a run's folder."""


def settled(folder: Path) -> TrainSpec | None:
    """The spec that an earlier start of the run left in its folder; None before the first."""
    try:
        return TrainSpec.load(folder / SPEC_FILE)
    except SpecError:
        return None


def where_to_train(spec: TrainSpec) -> tuple[Placement, str | None]:
    """Decide where a run trains.

    A run that was begun goes on in the same number format, so that it ends with the losses that it would have had.

    Returns:
        The place, and a warning where the machine is not the one on which the run was begun.

    Raises:
        HardwareError: what the spec asks for is not to be had here.
        BackendError: the base cannot be read.
    """
    import torch

    machine, parameters = this_machine(), ModelSize.read(spec.base_path).parameters
    threads = spec.threads or torch.get_num_threads()
    before = settled(spec.output_dir)
    # Before the first start the server's own spec lies under this name, and leaves the format open.
    if before is None or before.dtype is None:
        place_ = place(machine, device=spec.device, dtype=spec.dtype, threads=threads, parameters=parameters)
        return place_, None
    try:
        return place(machine, device=before.device, dtype=before.dtype, threads=threads), None
    except HardwareError as error:
        # Better a run that goes on elsewhere than one that is lost.
        here = place(machine, threads=threads, parameters=parameters)
        return here, f"{error}: the run was begun elsewhere and goes on here, so its losses may differ a little"
