"""How long a run will take and what it needs, by arithmetic that can be followed by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ragtune.errors import BackendError
from ragtune.modelling.bases import resolve_base
from ragtune.modelling.forecast import Forecast, ModelSize, Workload, duration, forecast
from ragtune.modelling.hardware.placement import Placement

if TYPE_CHECKING:
    from ragtune.modelling.hardware.formats import Dtype

# One layer, 10 numbers wide, widest part 20: matrices 10 x 20 and 20 x 10, vocabulary of 100.
SMALL = ModelSize(parameters=1_400, linear=400, sides=60, vocabulary=100, hidden=10, wide=20, layers=1)
TWO_EPOCHS = Workload(tokens=50, labelled=20, longest=10, n_epochs=2, batch_size=4, lora_r=2)


def on(**changes: Any) -> Placement:
    """A processor with one thread that does 1 GFLOP/s."""
    values: dict[str, Any] = {"device": "cpu", "dtype": "float32", "threads": 1, "why": "", "gflops": 1.0}
    return Placement(**{**values, **changes})


def test_the_size_of_a_model_is_read_from_its_headers() -> None:
    """tiny-random: 64 wide, 128 at the widest, 2 layers, 1024 words, keys and values 32.

    A layer has q and o (64 x 64), k and v (32 x 64), gate, up and down (64 x 128): 8,192 + 4,096 + 24,576 = 36,864
    numbers and 2 * 128 + 2 * 96 + 3 * 192 = 1,024 of sides. Words: 1024 * 64, shared by both ends; norms: 5 * 64.
    """
    assert ModelSize.read(resolve_base("tiny-random")) == ModelSize(
        parameters=2 * 36_864 + 1_024 * 64 + 5 * 64,
        linear=2 * 36_864,
        sides=2 * 1_024,
        vocabulary=1_024,
        hidden=64,
        wide=128,
        layers=2,
    )


def test_a_model_in_a_larger_configuration_is_read_by_its_text_part(tmp_path: Path) -> None:
    base = resolve_base("tiny-random")
    shutil.copytree(base, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps({"model_type": "composed", "text_config": config}))
    assert ModelSize.read(tmp_path / "base") == ModelSize.read(base)


BROKEN = [
    b"",
    b"\x05\0\0\0\0\0\0\0[1,2]",
    b"\x04\0\0\0\0\0\0\0null",
    b'\x07\0\0\0\0\0\0\0{"a":1}',
    b'\x08\0\0\0\0\0\0\0{"a":{}}',
    b"version https://git-lfs.github.com/spec/v1\n",
]


@pytest.mark.parametrize("weights", BROKEN)
def test_weights_that_cannot_be_read_are_named(tmp_path: Path, weights: bytes) -> None:
    """Also the pointer that git keeps in place of a large file: read as a length it says 2 * 10^18 bytes."""
    (tmp_path / "config.json").write_text('{"vocab_size": 8}')
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(BackendError, match=r"safetensors cannot be read .*; give a model's folder"):
        ModelSize.read(tmp_path)


def test_a_folder_without_a_configuration_is_named(tmp_path: Path) -> None:
    for config in (None, "[]", "{"):
        if config is not None:
            (tmp_path / "config.json").write_text(config)
        with pytest.raises(BackendError, match=r"config.json .* cannot be read .*; give a model's folder"):
            ModelSize.read(tmp_path)


def test_the_operations_of_supervised_training() -> None:
    """Per token 4 * 400 through the weights and 6 * 2 * 60 through the adapter: 2,320.

    Attention 12 * 50 * 10 * 10 = 60,000; the vocabulary 4 * 100 * 10 at 20 labelled tokens: 80,000; twice over.
    """
    assert TWO_EPOCHS.operations(SMALL) == 2 * (2_320 * 50 + 60_000 + 80_000) == 512_000


def test_the_operations_of_preference_training() -> None:
    """One more pass forward without the adapter: 6 instead of 4 per weight, and at the vocabulary."""
    pairs = Workload(tokens=50, labelled=20, longest=10, n_epochs=2, batch_size=4, lora_r=2, method="dpo")
    assert pairs.operations(SMALL) == 2 * ((6 * 400 + 720) * 50 + 60_000 + 120_000) == 672_000


def test_the_operations_of_training_on_verdicts() -> None:
    """Three more passes forward: 10 per weight, 8 per number of the adapter, 20 for attention, 12 at the vocabulary.

    TRL's head looks at all tokens on a processor, at the labelled ones or not.
    """
    judged = Workload(tokens=50, labelled=20, longest=10, n_epochs=2, batch_size=4, lora_r=2, method="kto")
    assert judged.operations(SMALL) == 2 * ((10 * 400 + 960) * 50 + 100_000 + 12 * 1_000 * 50) == 1_896_000


def test_a_workload_is_counted_from_the_examples() -> None:
    made = Workload.of([3, 9, 4], labelled=5, n_epochs=1, batch_size=2)
    assert (made.tokens, made.longest, made.labelled) == (16, 9, 5)
    assert Workload.of([], labelled=0, n_epochs=1, batch_size=2).longest == 0


def test_time_falls_with_speed_and_threads() -> None:
    """8 s of starting, 512,000 operations, and 60 ns for each of 50 * 2 tokens, 1 layer, 30 numbers: 0.18 ms."""
    rest = 100 * 1 * 30 * 6e-8
    assert forecast(SMALL, TWO_EPOCHS, on(gflops=0.001)).seconds == pytest.approx(8 + 0.512 + rest)
    assert forecast(SMALL, TWO_EPOCHS, on(gflops=0.0001)).seconds == pytest.approx(8 + 5.12 + rest)
    assert forecast(SMALL, TWO_EPOCHS, on(gflops=0.001, threads=2)).seconds == pytest.approx(8 + (0.512 + rest) / 1.8)


@pytest.mark.parametrize("placement", [on(gflops=None), on(device="cuda", gflops=None), on(device="mps")])
def test_a_speed_that_nobody_measured_gives_an_unknown_time(placement: Placement) -> None:
    foretold = forecast(SMALL, TWO_EPOCHS, placement)
    assert foretold.seconds is None
    assert str(foretold) == "unknown time, at most 0.9 GB of memory"


@pytest.mark.parametrize(
    ("dtype", "computes_in", "peak_gb"), [("bfloat16", None, 11.6), ("nf4", "bfloat16", 9.6), ("float32", None, 21.1)]
)
def test_memory_on_a_gpu_is_foretold_a_little_above_what_was_measured(
    dtype: Dtype, computes_in: Dtype | None, peak_gb: float
) -> None:
    """1.54 billion numbers in the shape of Qwen2.5-1.5B on an H200: a job must not be refused for twice of that."""
    hidden, wide, layers, vocabulary, keys = 1536, 8960, 28, 151_936, 256
    linear = layers * (2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * wide)
    model = ModelSize(
        parameters=linear + vocabulary * hidden,
        linear=linear,
        sides=layers * (4 * hidden + 2 * (hidden + keys) + 3 * (hidden + wide)),
        vocabulary=vocabulary,
        hidden=hidden,
        wide=wide,
        layers=layers,
    )
    work = Workload(tokens=34_189, labelled=8_500, longest=156, n_epochs=2, batch_size=16)
    placement = on(device="cuda", dtype=dtype, computes_in=computes_in, gflops=None)
    assert 1.1 < forecast(model, work, placement).memory_bytes / (peak_gb * 1e9) < 1.5


def test_memory_grows_with_weights_and_with_what_a_batch_keeps() -> None:
    """Weights of 7 billion numbers take 28 GB in float32 and half of it in bfloat16, beside the same rest."""
    large = ModelSize(
        parameters=7 * 10**9,
        linear=6_600_000_000,
        sides=2_300_000,
        vocabulary=32_000,
        hidden=4096,
        wide=11008,
        layers=32,
    )
    one = Workload(tokens=500, labelled=100, longest=50, n_epochs=1, batch_size=1)
    eight = Workload(tokens=500, labelled=100, longest=50, n_epochs=1, batch_size=8)
    full, half = (forecast(large, one, on(dtype=dtype)).memory_bytes for dtype in ("float32", "bfloat16"))
    assert 28e9 < full < 31e9
    assert 14e9 < full - half < 14.5e9  # half of what a batch keeps is in the base's format, too
    assert forecast(large, eight, on()).memory_bytes > full
    # 6.6 billion of them in 4 bits and scales, the vocabulary's 0.4 in the format that is computed in.
    small = forecast(large, one, on(dtype="nf4", computes_in="bfloat16", gflops=None))
    assert half - small.memory_bytes == pytest.approx(6_600_000_000 * (2 - 0.516), abs=10)
    assert small.seconds is None


def test_memory_stops_growing_where_a_batch_is_split() -> None:
    """Beyond 4,096 tokens a batch is passed through in parts."""
    of_256, of_16 = (
        Workload(tokens=10**6, labelled=10**5, longest=256, n_epochs=1, batch_size=size) for size in (256, 16)
    )
    assert forecast(SMALL, of_256, on()).memory_bytes == forecast(SMALL, of_16, on()).memory_bytes


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 s"), (38, "40 s"), (89, "90 s"), (190, "3 min"), (5_399, "90 min"), (9_000, "2.5 h"), (300_000, "3 days")],
)
def test_a_duration_is_as_coarse_as_a_forecast(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_forecast_reads_as_a_sentence() -> None:
    assert str(Forecast(seconds=190, memory_bytes=1_630_000_000)) == "about 3 min, at most 1.6 GB of memory"
