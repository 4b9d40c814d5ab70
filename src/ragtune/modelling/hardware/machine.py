"""What a machine has for training and answering: asked of torch, and measured where torch does not know."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import platform
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._extras import require
from ragtune.modelling.hardware.memory import usable_memory, usable_processors
from ragtune.modelling.hardware.speeds import kept_speeds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.modelling.hardware.formats import Device, Dtype

__all__ = ["Machine", "this_machine", "usable_cores"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a machine has for training and answering.

    Attributes:
        device: the best kind of processor that torch can use here.
        name: its name, for people.
        memory_bytes: memory of that device; None when unknown.
        cores: cores of the processor that this process may use.
        native_bfloat16: whether the device computes bfloat16 itself; None where torch does not know.
        gflops: measured speed of one thread in 10^9 operations per CPU-second, by number format: a linear layer
            forward and backward through frozen weights. Empty where nothing was measured.
        torch: version of torch.
        capability: compute capability of an NVIDIA GPU; None for every other device.
        bitsandbytes: whether bitsandbytes is installed, which 4-bit bases need.

    Example:
        ```python
        from ragtune.modelling.hardware.machine import Machine
        from ragtune.modelling.hardware.placement import place

        laptop = Machine(device="cpu", name="a laptop", memory_bytes=16 * 10**9, cores=8,
                         gflops={"float32": 63.0, "bfloat16": 7.6})
        print(place(laptop).dtype, "-", place(laptop).why)
        #> float32 - bfloat16 is emulated here: measured 7.6 GFLOP/s a thread, float32 63
        ```
    """

    device: Device
    name: str
    memory_bytes: int | None
    cores: int
    native_bfloat16: bool | None = None
    gflops: Mapping[Dtype, float] = field(default_factory=dict)
    torch: str = ""
    capability: tuple[int, int] | None = None
    bitsandbytes: bool = False

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices that can be asked for here."""
        return ("cpu",) if self.device == "cpu" else (self.device, "cpu")

    def on(self, device: Device) -> Machine:
        """The same machine with only its processor in use, or itself."""
        if device == self.device:
            return self
        return _processor(self.torch)


def usable_cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Docker's --cpus and Kubernetes' limits hide no core: they stop a process that has used up its share of their time,
    # and threads on all cores use it up at once.
    share = usable_processors()
    return allowed if share is None else max(1, min(allowed, math.ceil(share)))


@functools.cache
def this_machine() -> Machine:
    """Ask torch what this machine has, and measure what torch does not know: a second or two, once per torch version.

    Raises:
        MissingExtraError: the extra `local` is not installed.
    """
    require("local", "torch", reason="running models on this machine")
    import torch

    version = str(torch.__version__)
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Machine(
            device="cuda",
            name=properties.name,
            memory_bytes=properties.total_memory,
            cores=usable_cores(),
            # Without the argument the answer is yes also where bfloat16 is emulated.
            native_bfloat16=torch.cuda.is_bf16_supported(including_emulation=False),
            torch=version,
            # AMD's GPUs have numbers of another kind there.
            capability=None if torch.version.hip else (properties.major, properties.minor),
            bitsandbytes=_has_bitsandbytes(),
        )
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        graphics = torch.xpu.get_device_properties(0)
        return Machine(
            device="xpu",
            name=graphics.name,
            memory_bytes=graphics.total_memory,
            cores=usable_cores(),
            native_bfloat16=torch.xpu.is_bf16_supported(including_emulation=False),
            torch=version,
            bitsandbytes=_has_bitsandbytes(),
        )
    if torch.backends.mps.is_available():
        return Machine(
            device="mps",
            name=_processor_name(),
            memory_bytes=torch.mps.recommended_max_memory(),
            cores=usable_cores(),
            gflops=kept_speeds("mps", processor=_processor_name(), torch=version),
            torch=version,
        )
    return _processor(version)


def _processor(version: str) -> Machine:
    return Machine(
        device="cpu",
        name=_processor_name(),
        memory_bytes=usable_memory(),
        cores=usable_cores(),
        gflops=kept_speeds("cpu", processor=_processor_name(), torch=version),
        torch=version,
        bitsandbytes=_has_bitsandbytes(),
    )


def _has_bitsandbytes() -> bool:
    # Looked for and not imported: it takes a second, and few ask for it.
    return find_spec("bitsandbytes") is not None


def _processor_name() -> str:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine() or "processor"
