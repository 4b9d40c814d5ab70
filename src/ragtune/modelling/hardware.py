"""Where a model runs on this machine: device, number format of the frozen base, threads, and why.

What the machine has is a value (`Machine`), and what follows from it a pure function of that value (`place`), so that
the decision can be read, printed and tested for machines that nobody has at hand. Torch is asked for what it knows.
Where it does not know (a processor and an Apple GPU take bfloat16 also where they have to emulate it, about ten
times slower), a short measurement decides, once per machine and torch version. Loads no torch by itself.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from ragtune._atomic import write_whole
from ragtune._extras import require
from ragtune.errors import BackendError
from ragtune.modelling.cache import default_cache_dir
from ragtune.modelling.memory import usable_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BYTES", "Device", "Dtype", "HardwareError", "Machine", "Placement", "place", "this_machine"]
__all__ += ["check_wish", "usable_cores"]

Device = Literal["cuda", "xpu", "mps", "cpu"]
"""What torch calls the kinds of processor: AMD's GPUs (ROCm) go by `cuda`, Intel's by `xpu`, Apple's by `mps`."""
Dtype = Literal["float32", "bfloat16", "float16", "nf4"]
"""Number formats of a frozen base; adapters are float32 on each of them. `nf4` is QLoRA's 4-bit format."""

BYTES: Mapping[Dtype, float] = {"float32": 4, "bfloat16": 2, "float16": 2, "nf4": 0.516}
"""Bytes of one number; those of nf4 have a scale of one byte for each 64 beside them, and a scale of these for 256."""

_DEVICES = ", ".join(get_args(Device))

_NAMES: Mapping[Device, str] = {"cuda": "CUDA GPU", "xpu": "Intel GPU", "mps": "Apple GPU", "cpu": "processor"}
# Emulated bfloat16 was measured at 0.04 to 0.2 of float32's speed, native at 1.4 (AVX-512) to 6 times (AMX).
# Between those kinds lies room enough that no noise of a busy machine carries one over to the other.
_CLEARLY_FASTER = 1.1
_MEASURED: tuple[Dtype, ...] = ("float32", "bfloat16")
# A processor computes float16 by emulation alone; bitsandbytes' way to an Apple GPU was never tried by us.
_NOT_THERE: Mapping[Device, tuple[Dtype, ...]] = {"cpu": ("float16",), "mps": ("nf4",)}
# Of NVIDIA's GPUs, by the installation guide of bitsandbytes 0.50.
_LEAST_CAPABILITY = (6, 0)
# Weights that take more than this leave no room for what is computed with them.
_SHARE_OF_WEIGHTS = 0.8
_FEWEST_ROUNDS = 3
_MEASURE_S = 0.3
_MEASURE_LIMIT_S = 60.0


class HardwareError(BackendError):
    """A device or a number format that this machine does not have."""


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
        from ragtune.modelling.hardware import Machine, place

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


def usable_cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
            gflops=_speeds("mps", version),
            torch=version,
        )
    return _processor(version)


def _processor(version: str) -> Machine:
    return Machine(
        device="cpu",
        name=_processor_name(),
        memory_bytes=usable_memory(),
        cores=usable_cores(),
        gflops=_speeds("cpu", version),
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


def _speeds(device: Device, version: str) -> Mapping[Dtype, float]:
    """The measured speeds, from the cache folder where it knows them; nothing where they cannot be measured."""
    from filelock import FileLock

    folder = default_cache_dir()
    file = folder / f"speed-{_fingerprint(device, version)}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Processes of one run that measured at the same time could come to different formats.
        with FileLock(folder / ".speed.lock", timeout=_MEASURE_LIMIT_S):
            known = _read_speeds(file)
            if known is None:
                known = _measured_apart(device)
                write_whole(file, json.dumps(known))
            return known
    # Unknown, then: a home that cannot be written or a lock that is held (filelock's Timeout is an OSError) must keep
    # nobody from training.
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}


def _read_speeds(file: Path) -> dict[Dtype, float] | None:
    """What was measured before; None where nothing was, or where the file is damaged."""
    try:
        return _speeds_of(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _speeds_of(text: str) -> dict[Dtype, float]:
    told = json.loads(text)
    if not isinstance(told, dict) or not all(isinstance(told.get(name), (int, float)) for name in _MEASURED):
        raise ValueError(f"{text[:80]!r} does not tell the speed of {' and '.join(_MEASURED)}")
    return {name: float(told[name]) for name in _MEASURED}


def _fingerprint(device: Device, version: str) -> str:
    """What the speeds depend on: a home folder may be shared by many machines, and a setting may hide units."""
    settings = [f"{name}={os.environ.get(name, '')}" for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")]
    told = [platform.node(), platform.machine(), _processor_name(), device, version, *settings]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _measured_apart(device: Device) -> dict[Dtype, float]:
    """Measure in a process of its own, so that no setting of torch changes in this one."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-m", "ragtune.modelling.hardware", device],
        capture_output=True,
        text=True,
        check=True,
        timeout=_MEASURE_LIMIT_S,
        env={**os.environ, **threads},
    )
    return _speeds_of(done.stdout.strip().rpartition("\n")[2])


def measure(device: Device, *, tokens: int = 256, width: int = 576, wide: int = 1536) -> dict[str, float]:
    """Speed of one thread in float32 and bfloat16, in 10^9 operations per CPU-second (per second on a GPU).

    A linear layer of a small model, forward and backward through frozen weights: what training mostly does. The formats
    take turns and the best round counts, so that another program's load slows neither of them alone.
    """
    import time

    import torch

    # CPU time of this thread where there is one: another program's load must not decide the number format.
    clock = time.thread_time if device == "cpu" else time.perf_counter
    torch.set_num_threads(1)
    # Two operations per weight and token forward, and two backward.
    work = 4 * tokens * width * wide / 1e9
    layers = {}
    for name in _MEASURED:
        kind = {"dtype": getattr(torch, name), "device": device}
        layer = torch.nn.Linear(width, wide, bias=False, **kind).requires_grad_(False)
        layers[name] = (
            layer,
            torch.randn(tokens, width, **kind, requires_grad=True),
            torch.randn(tokens, wide, **kind),
        )
    best = dict.fromkeys(layers, float("inf"))
    rounds, started = 0, time.perf_counter()
    while rounds < _FEWEST_ROUNDS or time.perf_counter() - started < _MEASURE_S:
        rounds += 1
        for name, (layer, inputs, gradient) in layers.items():
            began = clock()
            layer(inputs).backward(gradient)
            if device == "mps":
                # What a GPU is asked to do is only queued until then.
                torch.mps.synchronize()
            best[name] = min(best[name], clock() - began)
    return {name: round(work / max(seconds, 1e-9), 1) for name, seconds in best.items()}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))  # type: ignore[arg-type]  # noqa: T201
