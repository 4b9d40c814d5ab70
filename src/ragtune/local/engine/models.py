"""Models in memory: a few bases, and on each a few adapters that are swapped in and out."""

from __future__ import annotations

import json
import warnings
from collections import OrderedDict
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from ragtune.train.base import context_length, load_model, load_tokenizer, quiet
from ragtune.train.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LoadedBase", "Models"]

# Tokens with which the common families end a turn or a text. A base's own configuration often names only one of them.
_END_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "</s>", "<|end_of_text|>")


class LoadedBase:
    """A base model in memory, with the adapters that were asked for lately.

    Args:
        folder: the base model.
        max_adapters: adapters kept in memory; the one that was used longest ago leaves first.
    """

    def __init__(self, folder: Path, *, max_adapters: int) -> None:
        import torch

        self.tokenizer = load_tokenizer(folder)
        self._model = load_model(folder, dtype=_dtype(folder))
        if torch.cuda.is_available():
            self._model = self._model.to("cuda")
        self.context_tokens = context_length(self._model.config)
        self.encoder = Encoder(self.tokenizer, max_length=self.context_tokens)
        self.end_tokens = self._find_end_tokens()
        # What a base recommends for itself (temperature, repetition penalty) must not act behind a request's back.
        self._model.generation_config = type(self._model.generation_config)()
        self._peft: Any = None
        self._adapters: OrderedDict[Path, str] = OrderedDict()
        self._max_adapters = max_adapters
        self._count = 0

    @contextmanager
    def using(self, adapter: Path | None) -> Iterator[Any]:
        """The model with one adapter switched on, or with none (the base itself)."""
        if adapter is not None:
            self._switch_on(adapter)
        off = self._peft.disable_adapter() if adapter is None and self._peft is not None else nullcontext()
        with off:
            yield self._peft or self._model

    def forget(self, adapter: Path) -> None:
        """Let go of an adapter, for example because its model was deleted."""
        name = self._adapters.pop(adapter, None)
        # PEFT cannot be without any adapter; the last one stays, out of reach, until another comes.
        if name is not None and len(self._peft.peft_config) > 1:
            self._peft.delete_adapter(name)

    def _switch_on(self, adapter: Path) -> None:
        name = self._adapters.get(adapter)
        if name is None:
            name = self._load(adapter)
        self._adapters[adapter] = name
        self._adapters.move_to_end(adapter)
        self._peft.set_adapter(name)
        while len(self._adapters) > self._max_adapters:
            self.forget(next(iter(self._adapters)))

    def _load(self, adapter: Path) -> str:
        from peft import PeftModel

        self._count += 1
        name = f"adapter-{self._count}"
        with quiet(), warnings.catch_warnings():
            # PEFT asks transformers for an attribute by its old name; nobody who reads the warning could change that.
            warnings.simplefilter("ignore", FutureWarning)
            if self._peft is None:
                self._peft = PeftModel.from_pretrained(self._model, str(adapter), adapter_name=name).eval()
            else:
                self._peft.load_adapter(str(adapter), adapter_name=name)
        return name

    def _find_end_tokens(self) -> frozenset[int]:
        configured = getattr(self._model.generation_config, "eos_token_id", None)
        many = configured if isinstance(configured, list) else [configured]
        special = set(self.tokenizer.all_special_tokens) | {
            str(token) for token in self.tokenizer.added_tokens_decoder.values() if token.special
        }
        known = [self.tokenizer.convert_tokens_to_ids(token) for token in _END_TOKENS if token in special]
        return frozenset(token for token in [*many, self.tokenizer.eos_token_id, *known] if token is not None)


class Models:
    """The bases in memory; the one that was used longest ago leaves first.

    Args:
        max_bases: bases kept in memory.
        max_adapters: adapters kept per base.
    """

    def __init__(self, *, max_bases: int = 2, max_adapters: int = 8) -> None:
        self._bases: OrderedDict[Path, LoadedBase] = OrderedDict()
        self._max_bases = max_bases
        self._max_adapters = max_adapters

    def get(self, folder: Path) -> LoadedBase:
        """The base in a folder, loaded when it is not in memory yet.

        Raises:
            BackendError: the folder holds no model that can be served.
        """
        if folder not in self._bases:
            while len(self._bases) >= self._max_bases:
                self._bases.popitem(last=False)
            self._bases[folder] = LoadedBase(folder, max_adapters=self._max_adapters)
        self._bases.move_to_end(folder)
        return self._bases[folder]

    def forget(self, adapter: Path) -> None:
        """Let go of an adapter wherever it is loaded."""
        for base in self._bases.values():
            base.forget(adapter)

    def clear(self) -> None:
        """Let go of everything."""
        self._bases.clear()


def _dtype(folder: Path) -> Any:
    """The type that the weights were saved in, so that serving computes as training did."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    saved = config.get("dtype") or config.get("torch_dtype")
    return "bfloat16" if saved in ("bfloat16", "float16") else "float32"
