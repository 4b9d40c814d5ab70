"""How long a training will take and how much memory it needs, before it starts. Loads no torch.

The work is counted from the shapes of the weights and the tokens of the file; how fast this machine does it was
measured (`hardware/speeds.py`). What is not known, such as the speed of a GPU, makes the forecast unknown.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragtune.errors import BackendError
from ragtune.modelling.hardware.formats import BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.modelling.hardware.placement import Placement
    from ragtune.records.base import JsonObject

__all__ = ["Forecast", "ModelSize", "Workload", "duration", "forecast"]

# What is no matrix product (norms, attention, adapters, casts, the optimizer): seconds per token, layer and number of
# a layer's width. The same on two processors whose float32 products differ by 2.4 times (AVX2 and AVX-512).
_OVERHEAD_S = 6e-8
_START_S = 8.0  # imports, loading, encoding, the first step
_PARALLEL = 0.8  # what each further thread adds
# Memory that is there before any weight: Python, torch, transformers and the data.
_PROCESS_BYTES = 900_000_000
# Copies of a layer's inputs that the backward pass keeps, in numbers of the base's format and in float32 (adapters).
_KEPT_OF_HIDDEN, _KEPT_OF_WIDE = 16, 8
# A GPU's fused attention keeps no tables, and its autocast no copies in float32: 0.54 of them were measured on an H200
# for 1.5 billion numbers in bfloat16, float32 and nf4; the rest is room for other shapes.
_KEPT_ON_GPU = 0.7
_MICRO_BATCH_TOKENS = 4096
# Entries of the vocabulary that TRL's KTO trainer looks at in one go.
_KTO_PIECE = 32_768


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """How large a causal language model is, read from its configuration and the headers of its weights.

    Attributes:
        parameters: numbers in all weights.
        linear: numbers in the matrices that each token passes through, the vocabulary's aside.
        sides: sum of both sides of those matrices: a LoRA adapter of rank r has r times as many numbers.
        vocabulary: entries of the vocabulary.
        hidden: width of the model.
        wide: width of the widest part of a layer.
        layers: number of layers.
    """

    parameters: int
    linear: int
    sides: int
    vocabulary: int
    hidden: int
    wide: int
    layers: int

    @classmethod
    def read(cls, folder: str | Path) -> ModelSize:
        """Read the size of the model in a folder.

        Raises:
            BackendError: the folder holds no model as safetensors.
        """
        try:
            config = _json_object(Path(folder, "config.json").read_bytes())
            shapes = list(chain.from_iterable(map(_shapes, sorted(Path(folder).glob("*.safetensors")))))
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"{folder}: its config.json and *.safetensors cannot be read ({error}); give a model's folder"
            raise BackendError(message) from error
        text = config.get("text_config") or config
        vocabulary = int(text.get("vocab_size") or 0)
        # The vocabulary's own matrices are known by that side; they are counted apart, since they work only where the
        # loss looks.
        matrices = [shape for shape in shapes if len(shape) == 2 and vocabulary not in shape]
        hidden = int(text.get("hidden_size") or text.get("n_embd") or text.get("d_model") or 0)
        return cls(
            parameters=sum(math.prod(shape) for shape in shapes),
            linear=sum(math.prod(shape) for shape in matrices),
            sides=sum(sum(shape) for shape in matrices),
            vocabulary=vocabulary,
            hidden=hidden,
            wide=max((max(shape) for shape in matrices), default=hidden),
            layers=int(text.get("num_hidden_layers") or text.get("n_layer") or 1),
        )


def _shapes(file: Path) -> list[list[int]]:
    """The shapes of a safetensors file, from its header: eight bytes of length, then JSON."""
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if length > file.stat().st_size:  # another kind of file, such as the pointer that git keeps in its place
            raise ValueError(f"{file.name} is no safetensors file")
        header = _json_object(handle.read(length))
    return [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]


def _json_object(data: bytes) -> JsonObject:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} stands where an object must")
    return found


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a training run has to compute.

    Attributes:
        tokens: tokens of the training file, prompts included; one epoch.
        labelled: those of them that the loss looks at.
        longest: tokens of the longest example.
        n_epochs: passes over the file.
        batch_size: examples per step.
        method: `supervised`; or `dpo`, which also asks the untrained model about each pair; or `kto`, which also asks
            both about each question with a stranger's answer.
        lora_r: rank of the adapter.
    """

    tokens: int
    labelled: int
    longest: int
    n_epochs: int
    batch_size: int
    method: Literal["supervised", "dpo", "kto"] = "supervised"
    lora_r: int = 16

    @classmethod
    def of(cls, lengths: Sequence[int], *, labelled: int, **settings: Any) -> Workload:
        """The workload of examples with these numbers of tokens."""
        return cls(tokens=sum(lengths), labelled=labelled, longest=max(lengths, default=0), **settings)

    def operations(self, model: ModelSize) -> float:
        """Floating-point operations that the run needs.

        Two per weight and token forward, two backward (frozen weights need no gradient of their own), six for the
        adapter's, and the vocabulary only where the loss looks. Attention between tokens: 12 x width per pair and
        layer. dpo adds one pass forward without the adapter, kto three passes forward; and on a processor TRL's head
        for kto looks at all tokens, and twice before it goes backward.
        """
        passes = {"supervised": 4, "dpo": 6, "kto": 10}[self.method]
        per_token = passes * model.linear + (8 if self.method == "kto" else 6) * self.lora_r * model.sides
        attention = (20 if self.method == "kto" else 12) * self.tokens * self.longest * model.hidden * model.layers
        head = passes * model.vocabulary * model.hidden * self.labelled
        if self.method == "kto":
            head = (passes + 2) * model.vocabulary * model.hidden * self.tokens
        return float(self.n_epochs * (per_token * self.tokens + attention + head))


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """How long a run takes and what it needs.

    Attributes:
        seconds: on the clock of a machine at rest; None when this machine's speed is unknown.
        memory_bytes: most memory of the device at a time.

    Example:
        ```python
        from ragtune.modelling.forecast import Forecast

        print(Forecast(seconds=190, memory_bytes=1_630_000_000))
        #> about 3 min, at most 1.6 GB of memory
        ```
    """

    seconds: float | None
    memory_bytes: int

    def __str__(self) -> str:
        time = "unknown time" if self.seconds is None else f"about {duration(self.seconds)}"
        return f"{time}, at most {self.memory_bytes / 1e9:.1f} GB of memory"


def forecast(model: ModelSize, work: Workload, placement: Placement) -> Forecast:
    """Foretell a run on one device."""
    return Forecast(seconds=_seconds(model, work, placement), memory_bytes=_memory(model, work, placement))


def _seconds(model: ModelSize, work: Workload, placement: Placement) -> float | None:
    # What a GPU needs per token was never measured, so nothing is said rather than something wrong.
    if placement.gflops is None or placement.device != "cpu":
        return None
    products = work.operations(model) / (placement.gflops * 1e9)
    numbers = work.tokens * work.n_epochs * model.layers * (model.hidden + model.wide)
    passes = {"supervised": 1.0, "dpo": 2.0, "kto": 3.0}[work.method]
    return _START_S + (products + passes * numbers * _OVERHEAD_S) / (1 + _PARALLEL * (placement.threads - 1))


def _weights(model: ModelSize, placement: Placement) -> float:
    # Only the matrices between the vocabulary's two sides are held in 4 bits.
    linear = model.linear if placement.dtype == "nf4" else 0
    return linear * BYTES["nf4"] + (model.parameters - linear) * BYTES[placement.number_format]


def _memory(model: ModelSize, work: Workload, placement: Placement) -> int:
    size = BYTES[placement.number_format]
    # A single example is never cut, however long it is.
    tokens = max(work.longest, min(work.batch_size * work.longest, _MICRO_BATCH_TOKENS))
    adapter = work.lora_r * model.sides * 4 * BYTES["float32"]  # weights, gradients and Adam's two moments
    kept = model.layers * (_KEPT_OF_HIDDEN * model.hidden + _KEPT_OF_WIDE * model.wide)
    # A preference run keeps the logits of all tokens, those of the untrained model beside them.
    labelled = tokens * min(1.0, work.labelled / max(1, work.tokens)) if work.method == "supervised" else 2 * tokens
    # A kto run makes them piece by piece.
    wide = min(model.vocabulary, _KTO_PIECE) if work.method == "kto" else model.vocabulary
    logits = 3 * labelled * wide * BYTES["float32"]
    bytes_kept = _KEPT_ON_GPU * size if placement.device == "cuda" else (size + 4) / 2
    return int(_PROCESS_BYTES + _weights(model, placement) + adapter + tokens * kept * bytes_kept + logits)


def duration(seconds: float) -> str:
    """Seconds in words, as coarse as a forecast is: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds / 5) * 5)} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
