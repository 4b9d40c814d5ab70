"""Where a model runs and in which number format: decided for machines that nobody has at hand, and measured on this."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragtune.errors import BackendError
from ragtune.local import LocalBackend
from ragtune.modelling.hardware.machine import Machine, _processor, _processor_name, this_machine
from ragtune.modelling.hardware.placement import HardwareError, place

GB = 10**9
SEVEN_BILLION = 7 * 10**9


def gpu(name: str, memory: int, *, bfloat16: bool, device: Any = "cuda", **more: Any) -> Machine:
    """A GPU about which torch knows whether it computes bfloat16 itself."""
    return Machine(device=device, name=name, memory_bytes=memory * GB, cores=16, native_bfloat16=bfloat16, **more)


def measured(name: str, float32: float, bfloat16: float, *, memory: int = 16, device: Any = "cpu") -> Machine:
    """A processor or an Apple GPU with the speeds that were measured there."""
    speeds: Any = {"float32": float32, "bfloat16": bfloat16}
    return Machine(device=device, name=name, memory_bytes=memory * GB, cores=8, gflops=speeds)


H100 = gpu("NVIDIA H100 80GB HBM3", 85, bfloat16=True)
T4 = gpu("Tesla T4", 16, bfloat16=False)
DESKTOP = measured("a desktop with AVX2", 63.0, 7.6)
APPLE = measured("Apple M3", 3300.0, 6100.0, device="mps")

MACHINES = [
    (H100, 0, "cuda", "bfloat16", "NVIDIA H100 80GB HBM3 computes bfloat16 itself"),
    (gpu("NVIDIA A100-SXM4-40GB", 42, bfloat16=True), 0, "cuda", "bfloat16", "computes bfloat16 itself"),
    (gpu("NVIDIA L4", 24, bfloat16=True), 0, "cuda", "bfloat16", "computes bfloat16 itself"),
    (T4, 0, "cuda", "float32", "Tesla T4 has no bfloat16 of its own, and float16 is too small for many models"),
    (gpu("Tesla V100-SXM2-16GB", 17, bfloat16=False), 0, "cuda", "float32", "no bfloat16 of its own"),
    (gpu("Tesla P100-PCIE-16GB", 17, bfloat16=False), 0, "cuda", "float32", "no bfloat16 of its own"),
    (gpu("NVIDIA GeForce GTX 1080", 8, bfloat16=False), 0, "cuda", "float32", "no bfloat16 of its own"),
    (gpu("AMD Instinct MI300X", 206, bfloat16=True), 0, "cuda", "bfloat16", "computes bfloat16 itself"),
    (gpu("AMD Radeon RX 7900 XTX", 25, bfloat16=True), 0, "cuda", "bfloat16", "computes bfloat16 itself"),
    (gpu("Intel(R) Arc(TM) A770", 16, bfloat16=True, device="xpu"), 0, "xpu", "bfloat16", "bfloat16 itself"),
    (gpu("Intel(R) Data Center GPU Max 1550", 68, bfloat16=True, device="xpu"), 0, "xpu", "bfloat16", "itself"),
    (measured("Apple M1", 2100.0, 900.0, device="mps"), 0, "mps", "float32", "bfloat16 is emulated here"),
    (APPLE, 0, "mps", "bfloat16", "bfloat16 is native here"),
    (DESKTOP, 0, "cpu", "float32", "bfloat16 is emulated here: measured 7.6 GFLOP/s a thread, float32 63"),
    (measured("AMD EPYC 7763 (Zen 3)", 70.0, 6.1), 0, "cpu", "float32", "emulated"),
    (
        measured("AMD EPYC 9654 (Zen 4)", 110.0, 205.0),
        0,
        "cpu",
        "bfloat16",
        "measured 205 GFLOP/s a thread, float32 110",
    ),
    (measured("Xeon with AMX", 160.3, 545.4), 0, "cpu", "bfloat16", "measured 545 GFLOP/s a thread, float32 160"),
    (measured("Raspberry Pi 5", 14.2, 1.3, memory=8), 0, "cpu", "float32", "measured 1.3 GFLOP/s a thread, float32 14"),
    (measured("Graviton 3", 80.0, 180.0), 0, "cpu", "bfloat16", "bfloat16 is native here"),
    (measured("a processor with half of it", 60.0, 64.0), 0, "cpu", "float32", "bfloat16 is hardly faster here"),
    # 7 billion numbers: 28 GB in float32 and 14 GB in a format of half the size.
    # 28 GB of 32 leave no room for what is computed with them; 28 of 36 do.
    (measured("big desktop", 63.0, 7.6, memory=32), SEVEN_BILLION, "cpu", "bfloat16", "are too much for 32 GB"),
    (measured("bigger desktop", 63.0, 7.6, memory=36), SEVEN_BILLION, "cpu", "float32", "emulated"),
    (T4, SEVEN_BILLION, "cuda", "float16", "28 GB of weights in float32 are too much for 16 GB; Tesla T4 has no"),
    (DESKTOP, SEVEN_BILLION, "cpu", "bfloat16", "28 GB of weights in float32 are too much for 16 GB; bfloat16 is emul"),
    (measured("Apple M1", 2100.0, 900.0, device="mps"), SEVEN_BILLION, "mps", "float16", "are too much for 16 GB"),
    # Where the half does not fit either, the reason stays the true one, and training says what to lower.
    (gpu("NVIDIA GeForce GTX 1080", 8, bfloat16=False), SEVEN_BILLION, "cuda", "float32", "no bfloat16 of its own"),
    (H100, SEVEN_BILLION, "cuda", "bfloat16", "computes bfloat16 itself"),
]


@pytest.mark.parametrize(
    ("machine", "parameters", "device", "dtype", "why"),
    [pytest.param(*row, id=f"{row[0].name}{' full' if row[1] else ''}") for row in MACHINES],
)
def test_each_machine_gets_its_format_and_the_reason(
    machine: Machine, parameters: int, device: str, dtype: str, why: str
) -> None:
    placement = place(machine, parameters=parameters)
    assert (placement.device, placement.dtype) == (device, dtype)
    assert why in placement.why
    assert placement.memory_bytes == machine.memory_bytes
    assert placement.gflops == machine.gflops.get(dtype)  # type: ignore[call-overload]


def test_a_machine_where_nothing_was_measured_computes_in_float32() -> None:
    unknown = Machine(device="cpu", name="unknown", memory_bytes=None, cores=1)
    placement = place(unknown, parameters=SEVEN_BILLION)
    assert (placement.dtype, placement.threads, placement.gflops) == ("float32", 1, None)
    assert placement.why == "nothing was measured, and float32 is right everywhere"


def test_half_of_the_cores_work_unless_told_otherwise() -> None:
    assert place(DESKTOP).threads == 4
    assert place(DESKTOP, threads=7).threads == 7
    assert str(place(DESKTOP, threads=1)).startswith("cpu with 1 thread, float32 (bfloat16 is emulated here")
    assert str(place(H100)) == "cuda, bfloat16 (NVIDIA H100 80GB HBM3 computes bfloat16 itself)"


@pytest.mark.parametrize(
    ("machine", "wish", "words"),
    [
        (DESKTOP, {"device": "cuda"}, "device 'cuda': this machine has none that torch can use; it has cpu"),
        (H100, {"device": "mps"}, "device 'mps': this machine has none that torch can use; it has cuda and cpu"),
        (
            H100,
            {"device": "gpu"},
            "device 'gpu': this machine has no such (torch knows cuda, xpu, mps, cpu); it has cuda and cpu",
        ),
        (DESKTOP, {"dtype": "float16"}, "dtype 'float16': not on cpu; there it can be float32 or bfloat16 or nf4"),
        (T4, {"dtype": "float8"}, "dtype 'float8': not on cuda; there it can be float32 or bfloat16 or float16 or nf4"),
        (
            replace(APPLE, bitsandbytes=True),
            {"dtype": "nf4"},
            "dtype 'nf4': not on mps; there it can be float32 or bfloat16 or float16",
        ),
        (
            gpu("Tesla M40", 12, bfloat16=False, capability=(5, 2), bitsandbytes=True),
            {"dtype": "nf4"},
            "dtype 'nf4': Tesla M40 has compute capability 5.2, and 4-bit bases need 6.0 or more; "
            "there it can be float32 or bfloat16 or float16",
        ),
        *[
            (
                machine,
                {"dtype": "nf4"},
                "dtype 'nf4' needs bitsandbytes, which is not installed; run: python -m pip install 'ragtune[qlora]'",
            )
            for machine in (H100, T4, DESKTOP)
        ],
    ],
)
def test_a_wish_that_cannot_be_granted_is_answered_with_what_there_is(machine: Machine, wish: Any, words: str) -> None:
    with pytest.raises(HardwareError) as refusal:
        place(machine, **wish)
    assert str(refusal.value) == words


@pytest.mark.parametrize(
    ("machine", "dtype"), [(T4, "float16"), (T4, "bfloat16"), (H100, "float32"), (DESKTOP, "bfloat16")]
)
def test_a_format_that_the_device_can_hold_is_granted(machine: Machine, dtype: Any) -> None:
    """Also the slow one: whoever asks may want equal losses on two machines."""
    placement = place(machine, dtype=dtype)
    assert (placement.device, placement.dtype, placement.why) == (machine.device, dtype, "as asked for")


@pytest.mark.parametrize(
    ("machine", "computes_in"),
    [
        pytest.param(gpu("NVIDIA A100", 42, bfloat16=True, capability=(8, 0)), "bfloat16", id="A100"),
        pytest.param(gpu("Tesla T4", 16, bfloat16=False, capability=(7, 5)), "float32", id="T4"),
        pytest.param(gpu("Tesla P100-PCIE-16GB", 17, bfloat16=False, capability=(6, 0)), "float32", id="P100"),
        pytest.param(gpu("AMD Instinct MI300X", 206, bfloat16=True), "bfloat16", id="MI300X"),
        pytest.param(gpu("Intel(R) Arc(TM) A770", 16, bfloat16=True, device="xpu"), "bfloat16", id="A770"),
        pytest.param(DESKTOP, "float32", id="AVX2"),
        pytest.param(measured("Xeon with AMX", 160.3, 545.4), "bfloat16", id="AMX"),
    ],
)
def test_four_bits_are_granted_and_computed_in_the_right_format_of_the_machine(
    machine: Machine, computes_in: str
) -> None:
    placement = place(replace(machine, bitsandbytes=True), dtype="nf4")
    assert (placement.device, placement.dtype, placement.number_format) == (machine.device, "nf4", computes_in)
    assert placement.why == f"as asked for, computed in {computes_in}"
    assert placement.gflops is None


def test_four_bits_are_never_chosen_unasked() -> None:
    """Also where nothing else fits: a base that answers in another format than it was trained on is nobody's guess."""
    for machine, parameters, _, dtype, _ in MACHINES:
        assert place(replace(machine, bitsandbytes=True), parameters=parameters).dtype == dtype


def test_the_processor_beside_a_gpu_can_be_asked_for() -> None:
    placement = place(H100, device="cpu")
    assert placement.device == "cpu"
    assert placement.memory_bytes == this_machine().on("cpu").memory_bytes


speeds = st.floats(min_value=0.1, max_value=10_000)


@given(float32=speeds, bfloat16=speeds)
def test_bfloat16_is_taken_only_where_it_is_clearly_faster(float32: float, bfloat16: float) -> None:
    placement = place(measured("any", float32, bfloat16))
    assert placement.dtype == ("bfloat16" if bfloat16 >= 1.1 * float32 else "float32")


@given(
    float32=st.floats(min_value=5, max_value=500),
    ratio=st.one_of(st.floats(min_value=0.02, max_value=0.5), st.floats(min_value=1.4, max_value=8)),
    slowed=st.tuples(st.floats(min_value=0.9, max_value=1.1), st.floats(min_value=0.9, max_value=1.1)),
)
def test_noise_of_a_busy_machine_flips_no_decision(float32: float, ratio: float, slowed: tuple[float, float]) -> None:
    """Noise of 10 % in both formats, even in opposite directions, leaves native (1.4 and more) and emulated apart."""
    at_rest = place(measured("any", float32, ratio * float32))
    busy = place(measured("any", float32 * slowed[0], ratio * float32 * slowed[1]))
    assert busy.dtype == at_rest.dtype == ("bfloat16" if ratio > 1 else "float32")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("RAGTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def processor() -> Machine:
    """This machine's processor, as a new process would see it: `this_machine` asks once in a process."""
    return _processor(version("torch"))


def test_the_processor_is_called_by_its_name() -> None:
    """Linux tells it in a file; elsewhere the platform's own word has to do."""
    file = Path("/proc/cpuinfo")
    told = file.read_text(encoding="utf-8") if file.exists() else ""
    names = re.findall(r"^model name\s*: (.+)$", told, flags=re.MULTILINE)
    called = _processor_name()
    assert called.strip() == called != ""
    assert not names or called == names[0].strip()


@pytest.mark.slow
def test_speeds_are_measured_once_and_kept(cache: Path) -> None:
    """The second look reads the file; so does every process of a run, which must come to one format."""
    first = processor()
    (file,) = cache.glob("speed-*.json")
    assert json.loads(file.read_text()) == dict(first.gflops)
    assert min(first.gflops.values()) > 0
    written = file.stat().st_mtime_ns
    assert processor() == first
    assert file.stat().st_mtime_ns == written
    file.write_text('{"float32": 63.0, "bfloat16": 7.6}')
    assert place(processor()).dtype == "float32"
    file.write_text('{"float32": 63.0, "bfloat16": 97.6}')
    assert place(processor()).dtype == "bfloat16"


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", ['{"float32": 6', "[]", "7", '{"float32": 60.0}', '{"float32": "fast", "bfloat16": 1}']
)
def test_a_damaged_file_is_measured_anew(cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    if damage != "[]":  # one real measurement is enough: the others are answered by a program that tells a number
        monkeypatch.setattr(sys, "executable", str(_teller(cache)))
    processor()
    (file,) = cache.glob("speed-*.json")
    file.write_text(damage)
    assert set(processor().gflops) == {"float32", "bfloat16"}
    assert set(json.loads(file.read_text())) == {"float32", "bfloat16"}


def _teller(folder: Path) -> Path:
    """A program in Python's place that says what a measurement says."""
    folder.mkdir(exist_ok=True)
    program = folder / "teller"
    program.write_text('#!/bin/sh\necho \'{"float32": 10.0, "bfloat16": 20.0}\'\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("program", ["/nonexistent/python", "true", "false"])
def test_a_measurement_that_fails_gives_float32(cache: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """A program that is not there, one that says nothing, and one that fails."""
    monkeypatch.setattr(sys, "executable", program)
    assert processor().gflops == {}
    assert place(processor()).dtype == "float32"
    assert not list(cache.glob("speed-*.json"))


def test_a_cache_folder_that_cannot_be_written_gives_float32(cache: Path) -> None:
    cache.write_text("a file in its place", encoding="utf-8")
    assert place(processor()).why == "nothing was measured, and float32 is right everywhere"


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these settings are for x86")
def test_units_that_a_setting_hides_are_measured_apart(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With AVX2 alone every processor emulates bfloat16; its speeds lie beside those of the processor as it is."""
    settings = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    for name in settings:  # the whole suite may run under them
        monkeypatch.delenv(name, raising=False)
    processor()
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    hidden = processor()
    assert len(list(cache.glob("speed-*.json"))) == 2
    assert place(hidden).dtype == "float32"
    assert hidden.gflops["bfloat16"] < hidden.gflops["float32"] / 2


@pytest.mark.parametrize(
    ("wish", "words"),
    [({"device": "gpu"}, "device 'gpu'.*it has .*cpu"), ({"dtype": "float8"}, "dtype 'float8'.*float32 or bfloat16")],
)
def test_a_backend_refuses_a_wish_that_this_machine_cannot_grant(tmp_path: Path, wish: Any, words: str) -> None:
    with pytest.raises(BackendError, match=words):
        LocalBackend(tmp_path / "backend", **wish)
    assert not (tmp_path / "backend").exists()


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path) -> None:
    if "cuda" in this_machine().devices:
        pytest.skip("this machine has a CUDA GPU")
    with pytest.raises(BackendError, match="device 'cuda': this machine has none that torch can use; it has"):
        LocalBackend(tmp_path / "backend", device="cuda")
    command = [sys.executable, "-c", "from ragtune.cli import main; main()", "serve", str(tmp_path / "backend")]
    done = subprocess.run([*command, "--device", "cuda"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "error: device 'cuda': this machine has none that torch can use; it has" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "backend").exists()


def test_the_format_is_decided_without_loading_torch() -> None:
    """A server writes specs and foretells without the heavy world."""
    code = (
        "import sys\nfrom ragtune.modelling.hardware.machine import Machine\n"
        "from ragtune.modelling.hardware.placement import place\n"
        "print(place(Machine(device='cuda', name='x', memory_bytes=1, cores=2, native_bfloat16=True)).dtype)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "bfloat16\n"), done.stderr
