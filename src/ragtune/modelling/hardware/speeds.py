"""How fast one thread computes in each number format, measured where torch cannot say what is emulated.

A processor and an Apple GPU take bfloat16 also where they have to emulate it, about ten times slower. A short
measurement, once per machine and torch version, tells which it is; it is made in a process of its own, so that this
one loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

from ragtune._atomic import write_whole
from ragtune.modelling.cache import default_cache_dir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ragtune.modelling.hardware.formats import Device, Dtype

__all__ = ["kept_speeds", "measure"]

_MEASURED: tuple[Dtype, ...] = ("float32", "bfloat16")
_FEWEST_ROUNDS = 3
_MEASURE_S = 0.3
_MEASURE_LIMIT_S = 60.0


def kept_speeds(device: Device, *, processor: str, torch: str) -> Mapping[Dtype, float]:
    """The measured speeds, from the cache folder where it knows them; nothing where they cannot be measured.

    Args:
        device: what computes.
        processor: name of this machine's processor.
        torch: version of torch.
    """
    from filelock import FileLock

    folder = default_cache_dir()
    file = folder / f"speed-{_fingerprint(processor=processor, device=device, version=torch)}.json"
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


def _fingerprint(*, processor: str, device: Device, version: str) -> str:
    """What the speeds depend on: a home folder may be shared by many machines, and a setting may hide units."""
    settings = [f"{name}={os.environ.get(name, '')}" for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")]
    told = [platform.node(), platform.machine(), processor, device, version, *settings]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _measured_apart(device: Device) -> dict[Dtype, float]:
    """Measure in a process of its own, so that no setting of torch changes in this one."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-m", "ragtune.modelling.hardware.speeds", device],
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
