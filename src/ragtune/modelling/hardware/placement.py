"""Where a model runs: device, number format of the frozen base, threads, and why.

`place` is a pure function of what the machine has (`Machine`), so that the decision can be read, printed and tested for
machines that nobody has at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast, get_args

from ragtune.errors import BackendError
from ragtune.modelling.hardware.formats import BYTES, Device, Dtype
from ragtune.modelling.hardware.machine import this_machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.modelling.hardware.machine import Machine

__all__ = ["HardwareError", "Placement", "check_wish", "place"]

_DEVICES = ", ".join(get_args(Device))
# Emulated bfloat16 was measured at 0.04 to 0.2 of float32's speed, native at 1.4 (AVX-512) to 6 times (AMX).
# Between those kinds lies room enough that no noise of a busy machine carries one over to the other.
_CLEARLY_FASTER = 1.1
# A processor computes float16 by emulation alone; bitsandbytes' way to an Apple GPU was never tried by us.
_NOT_THERE: Mapping[Device, tuple[Dtype, ...]] = {"cpu": ("float16",), "mps": ("nf4",)}
# Of NVIDIA's GPUs, by the installation guide of bitsandbytes 0.50.
_LEAST_CAPABILITY = (6, 0)
# Weights that take more than this leave no room for what is computed with them.
_SHARE_OF_WEIGHTS = 0.8


class HardwareError(BackendError):
    """A device or a number format that this machine does not have."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a model runs.

    Attributes:
        device: the kind of processor.
        dtype: number format of the frozen base.
        threads: CPU threads.
        why: the reason for the format, for people.
        memory_bytes: memory of the device; None when unknown.
        gflops: measured speed of one thread in this format (10^9 operations per CPU-second); None when not measured.
        computes_in: the format that is computed in, where the base is held in 4 bits; None is `dtype`.
    """

    device: Device
    dtype: Dtype
    threads: int
    why: str
    memory_bytes: int | None = None
    gflops: float | None = None
    computes_in: Dtype | None = None

    @property
    def number_format(self) -> Dtype:
        """The format of the numbers that are computed with."""
        return self.computes_in or self.dtype

    def __str__(self) -> str:
        plural = "" if self.threads == 1 else "s"
        threads = f" with {self.threads} thread{plural}" if self.device == "cpu" else ""
        return f"{self.device}{threads}, {self.dtype} ({self.why})"


def place(
    machine: Machine,
    *,
    device: Device | None = None,
    dtype: Dtype | None = None,
    threads: int | None = None,
    parameters: int = 0,
) -> Placement:
    """Decide where a model runs and in which number format its frozen weights are held.

    Args:
        machine: what there is.
        device: the device that is wanted, None for the best one.
        dtype: the format that is wanted, None for the right one.
        threads: CPU threads, None for half of the cores.
        parameters: numbers in the model's weights, 0 when they do not matter: where float32 is right but does not fit
            into the memory, a format of half the size is taken if that one fits.

    Raises:
        HardwareError: this machine has no such device, or the device no such format; the message says what there is.
    """
    if device is not None and device not in machine.devices:
        known = "none that torch can use" if device in get_args(Device) else f"no such (torch knows {_DEVICES})"
        message = f"device {device!r}: this machine has {known}; it has {' and '.join(machine.devices)}"
        raise HardwareError(message)
    used = machine.on(device or machine.device)
    if dtype is not None:
        _require_format(used, dtype)
    computes_in = _right_format(used)[0] if dtype == "nf4" else None
    asked = "as asked for" if computes_in is None else f"as asked for, computed in {computes_in}"
    chosen, why = (dtype, asked) if dtype is not None else _format(used, parameters)
    return Placement(
        device=used.device,
        dtype=chosen,
        threads=threads or max(1, machine.cores // 2),  # half, so that the machine stays usable meanwhile
        why=why,
        memory_bytes=used.memory_bytes,
        gflops=used.gflops.get(chosen),
        computes_in=computes_in,
    )


def _require_format(machine: Machine, dtype: Dtype) -> None:
    able = " or ".join(one for one in get_args(Dtype) if one not in _NOT_THERE.get(machine.device, ()))
    if dtype not in able.split(" or "):
        raise HardwareError(f"dtype {dtype!r}: not on {machine.device}; there it can be {able}")
    if dtype != "nf4":
        return
    if machine.capability is not None and machine.capability < _LEAST_CAPABILITY:
        has, least = (".".join(map(str, one)) for one in (machine.capability, _LEAST_CAPABILITY))
        others = able.removesuffix(" or nf4")
        message = f"dtype 'nf4': {machine.name} has compute capability {has}, and 4-bit bases need {least} or more"
        raise HardwareError(f"{message}; there it can be {others}")
    if not machine.bitsandbytes:
        message = "dtype 'nf4' needs bitsandbytes, which is not installed; run: python -m pip install 'ragtune[qlora]'"
        raise HardwareError(message)


def _format(machine: Machine, parameters: int) -> tuple[Dtype, str]:
    right, why = _right_format(machine)
    if right != "float32" or machine.memory_bytes is None:
        return right, why
    if parameters * BYTES["float32"] <= _SHARE_OF_WEIGHTS * machine.memory_bytes:
        return right, why
    # Every GPU can hold float16, and loss scaling keeps its small gradients alive; a processor has bfloat16.
    half: Dtype = "bfloat16" if machine.device == "cpu" else "float16"
    if parameters * BYTES[half] > machine.memory_bytes:
        return right, why
    size = parameters * BYTES["float32"] / 1e9
    return half, f"{size:.0f} GB of weights in float32 are too much for {machine.memory_bytes / 1e9:.0f} GB; {why}"


def _right_format(machine: Machine) -> tuple[Dtype, str]:
    if machine.native_bfloat16:
        return "bfloat16", f"{machine.name} computes bfloat16 itself"
    if machine.native_bfloat16 is False:
        # Models that were trained in bfloat16 pass float16's largest number, 65,504, inside, so float32 it is.
        return "float32", f"{machine.name} has no bfloat16 of its own, and float16 is too small for many models"
    full, half = machine.gflops.get("float32"), machine.gflops.get("bfloat16")
    if full is None or half is None:
        return "float32", "nothing was measured, and float32 is right everywhere"
    speeds = f"measured {_figure(half)} GFLOP/s a thread, float32 {_figure(full)}"
    if half >= _CLEARLY_FASTER * full:
        return "bfloat16", f"bfloat16 is native here: {speeds}"
    return "float32", f"bfloat16 is {'emulated' if half < full else 'hardly faster'} here: {speeds}"


def _figure(speed: float) -> str:
    return f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"


def check_wish(device: str | None, dtype: str | None) -> None:
    """Refuse a device or a number format that this machine does not have; loads torch.

    Raises:
        HardwareError: there is no such device or format here; the message says what there is.
    """
    place(this_machine(), device=cast("Device | None", device), dtype=cast("Dtype | None", dtype))
