"""How much memory models take: what the owner says, and what happens when that is used up."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from ragtune.errors import BackendError
from ragtune.local import LocalBackend
from ragtune.local.engine import Engine
from ragtune.local.engine.memory import memory_bytes
from ragtune.local.inference import refusal
from ragtune.modelling.bases import resolve_base
from ragtune.modelling.hardware.memory import usable_memory, usable_processors


@pytest.mark.parametrize(
    ("asked", "size"), [(7, 7), ("512", 512), ("4GB", 4 * 10**9), ("4 GiB", 4 * 2**30), ("1.5 mb", 1_500_000)]
)
def test_a_size_is_a_number_or_a_text_with_a_unit(asked: int | str, size: int) -> None:
    assert memory_bytes(asked) == size


@pytest.mark.parametrize("asked", [0, -1, "", "GB", "80%", "4G B", "4 bananas", "-4GB", "nan", True])
def test_what_is_no_size_is_refused_when_the_backend_is_made(tmp_path: Path, asked: int | str) -> None:
    with pytest.raises(BackendError, match=r"memory .*: give a number of bytes above 0, for example 4GB"):
        LocalBackend(tmp_path, memory=asked)


def test_a_container_may_use_no_more_than_its_limit(tmp_path: Path) -> None:
    """The limit of a control group counts where it is less than the machine has."""
    machine = usable_memory(tmp_path)
    limit = tmp_path / "sys/fs/cgroup/memory.max"
    limit.parent.mkdir(parents=True)
    for text, expected in (("max", machine), (str(machine // 2), machine // 2), (str(2**63), machine)):
        limit.write_text(text + "\n")
        assert usable_memory(tmp_path) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_a_containers_share_of_time_counts_as_processors(
    tmp_path: Path, files: dict[str, str], expected: float | None
) -> None:
    """In either version of control groups; Docker's --cpus and Kubernetes' limits stand there."""
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert usable_processors(tmp_path) == expected


def test_an_engine_of_ones_own_is_told_itself(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="give one of memory= and engine="):
        LocalBackend(tmp_path, memory="4GB", engine=Engine())


@pytest.mark.slow
def test_models_that_do_not_fit_together_take_turns_over_http(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With memory for one base the other one leaves when it is asked, and every question is answered all the same."""
    base = resolve_base("tiny-random")
    shutil.copytree(base, tmp_path / "other")
    size = sum(file.stat().st_size for file in base.glob("*.safetensors"))
    caplog.set_level(logging.INFO, "ragtune")
    options = {"bases": {"other": tmp_path / "other"}, "threads": 1}
    with LocalBackend(tmp_path / "backend", memory=size + 1, **options) as backend, backend.client() as client:  # type: ignore[arg-type]
        texts = {
            client.completions.create(model=name, prompt="Once", max_tokens=4, temperature=0).choices[0].text
            for name in ("tiny-random", "other", "tiny-random")
        }
    assert len(texts) == 1
    unloaded = [record.getMessage() for record in caplog.records if record.getMessage().startswith("unloaded")]
    assert unloaded == [f"unloaded {base.name}", "unloaded other"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError("8 GB"), 500),
        (RuntimeError("CUDA out of memory"), 500),
        (OSError(28, "No space left on device"), 500),
        (TypeError("can only concatenate str"), 400),
        (RecursionError("maximum recursion depth exceeded"), 400),
    ],
)
def test_a_memory_that_is_full_is_no_fault_of_the_messages(error: Exception, status: int) -> None:
    """What a chat template raises is the asker's to mend; of what the machine lacks only the log tells."""
    said = refusal(error)
    assert said.status == status
    assert ("chat template refuses" in said.message) == (status == 400)
    assert str(error) not in said.message or status == 400
