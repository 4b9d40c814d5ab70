"""Models in memory: bases, and on each the adapters that were asked for lately, within a budget."""

from __future__ import annotations

import gc
import inspect
import logging
import warnings
from collections import OrderedDict
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from ragtune.errors import BackendError
from ragtune.local.engine.adapters import BASE, AdapterLayers
from ragtune.local.engine.base_text import BaseText
from ragtune.local.engine.decoding.grammar import token_table
from ragtune.modelling.base_model import context_length, load_model, load_tokenizer, quiet, saved_dtype
from ragtune.modelling.hardware.formats import BYTES
from ragtune.modelling.hardware.machine import this_machine
from ragtune.modelling.hardware.memory import usable_memory
from ragtune.modelling.hardware.placement import place

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import torch
    from transformers import PretrainedConfig

    from ragtune.modelling.hardware.formats import Device, Dtype
    from ragtune.modelling.hardware.placement import Placement

    _Key = tuple[Path, Path | None]

__all__ = ["LoadedBase", "ModelCache", "where_to_answer"]

_log = logging.getLogger("ragtune")

# What the families call the state that a model carries from token to token.
_STATES = ("past_key_values", "cache_params", "state")


class _Wish(TypedDict):
    device: Device | None
    dtype: Dtype | None


class LoadedBase(BaseText):
    """A base model in memory, and its adapters.

    Args:
        folder: the base model.
        placement: where it answers, and in which number format; None for what is right here.
    """

    def __init__(self, folder: Path, placement: Placement | None = None) -> None:
        placement = placement or where_to_answer(folder)
        tokenizer = load_tokenizer(folder)
        model: Any = load_model(folder, dtype=placement.dtype)
        self._model = model.to(placement.device)
        super().__init__(
            folder,
            tokenizer=tokenizer,
            context_tokens=context_length(self._model.config),
            vocabulary=int(self._model.get_input_embeddings().weight.shape[0]),
            eos=getattr(self._model.generation_config, "eos_token_id", None),
        )
        self._arguments = set(inspect.signature(self._model.forward).parameters)
        self.state_name = next((name for name in _STATES if name in self._arguments), None)
        self._peft: Any = None
        self._layers = AdapterLayers(self._model)
        self._adapters: dict[Path, str] = {}
        self._count = 0

    @property
    def config(self) -> PretrainedConfig:
        """The model's configuration."""
        config: PretrainedConfig = self._model.config
        return config

    @cached_property
    def token_table(self) -> Any:
        """The tokens as grammars see them."""
        return token_table(self.tokenizer, size=self.vocabulary, end_tokens=self.end_tokens)

    def forward(self, adapters: Sequence[Path | None], **inputs: object) -> Any:
        """Let the model look at one batch.

        Args:
            adapters: for each row the adapter that answers it, None for the base itself; all must be loaded.
            inputs: of the model; those that this model does not know are left out.
        """
        import torch

        known = {name: value for name, value in inputs.items() if name in self._arguments}
        names = [BASE if adapter is None else self._adapters[adapter] for adapter in adapters]
        self._layers.choose(names)
        with torch.inference_mode():
            return self._model(**known)

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor where the model is."""
        return tensor.to(self._model.device)

    def load(self, adapter: Path) -> None:
        """Bring an adapter into memory.

        Raises:
            BackendError: the folder holds no adapter for this base.
        """
        from peft import PeftModel

        self._count += 1
        name = f"adapter-{self._count}"
        try:
            with quiet(), warnings.catch_warnings():
                # Old names of attributes, tied weights: nobody who reads it here could change anything.
                warnings.simplefilter("ignore")
                if self._peft is None:
                    self._peft = PeftModel.from_pretrained(self._model, str(adapter), adapter_name=name).eval()
                else:
                    self._peft.load_adapter(str(adapter), adapter_name=name)
        # No file, no JSON, a key that is missing, weights of another shape: each is damaged in a way of its own.
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            message = f"{adapter}: no adapter for {self.folder.name} can be loaded from it ({error})"
            raise BackendError(message) from error
        finally:
            # Also after a failure: layers that were put in by then must not add anything to the base.
            self._layers.refresh()
        self._adapters[adapter] = name

    def forget(self, adapter: Path) -> None:
        """Let go of an adapter."""
        name = self._adapters.pop(adapter, None)
        others = [] if name is None else [other for other in self._peft.peft_config if other != name]
        # PEFT cannot be without any adapter; the last one stays, out of reach, until another comes.
        if others:
            self._peft.set_adapter(others[0])
            self._peft.delete_adapter(name)
            self._layers.refresh()


class ModelCache:
    """The bases and adapters in memory. When the budget is used up, what was used longest ago leaves first.

    Args:
        memory_bytes: most bytes of weights; None means 80 % of the memory of the GPU, without one of this machine or
            container. One model alone may be larger.
        device: where they answer, None for the best device of this machine.
        dtype: number format of the bases, None for the right one on that device.
    """

    def __init__(
        self, *, memory_bytes: int | None = None, device: Device | None = None, dtype: Dtype | None = None
    ) -> None:
        self._wish: _Wish = {"device": device, "dtype": dtype}
        if memory_bytes is None:
            known = place(this_machine(), **self._wish).memory_bytes
            memory_bytes = int(0.8 * (known or usable_memory()))
        self._budget = memory_bytes
        self._bases: dict[Path, LoadedBase] = {}
        # Sizes by base and adapter (None: the base itself), least recently used first.
        self._sizes: OrderedDict[_Key, int] = OrderedDict()

    def loaded(self) -> list[_Key]:
        """What is in memory, least recently used first: folders of base and adapter (None: the base itself)."""
        return list(self._sizes)

    def get(self, folder: Path, adapter: Path | None, *, busy: Collection[_Key] = ()) -> LoadedBase | None:
        """A base with an adapter (or none) in memory, loaded where needed.

        Args:
            folder: the base.
            adapter: its adapter, None for the base itself.
            busy: what must stay; other models leave when there is no room.

        Returns:
            The base, or None when there is no room until what is busy has finished.

        Raises:
            BackendError: a folder holds nothing that can be served.
        """
        wanted = [(folder, None), (folder, adapter)] if adapter is not None else [(folder, None)]
        placement = where_to_answer(folder, **self._wish)
        sizes = {key: _file_bytes(key[1]) if key[1] else _base_bytes(key[0], placement) for key in wanted}
        missing = {key: size for key, size in sizes.items() if key not in self._sizes}
        if missing and not self._make_room(sum(missing.values()), wanted=wanted, busy=busy):
            return None
        for key, size in missing.items():
            if key[1] is None:
                self._bases[folder] = LoadedBase(folder, placement)
            else:
                self._bases[folder].load(key[1])
            self._sizes[key] = size
        # The base last, so that an adapter leaves before it.
        for key in reversed(wanted):
            self._sizes.move_to_end(key)
        return self._bases[folder]

    def forget(self, adapter: Path) -> None:
        """Let go of an adapter wherever it is loaded, for example because its model was deleted."""
        for key in [key for key in self._sizes if key[1] == adapter]:
            self._unload(key)

    def clear(self) -> None:
        """Let go of everything."""
        self._bases.clear()
        self._sizes.clear()

    def _make_room(self, size: int, *, wanted: Collection[_Key], busy: Collection[_Key]) -> bool:
        """Unload what may leave until `size` more bytes fit; says whether they may come now."""
        stay = {*wanted, *busy}
        bases_in_use = {folder for folder, _ in stay}
        for key in list(self._sizes):
            if self._fits(size):
                return True
            folder, adapter = key
            if key in self._sizes and key not in stay and (adapter is not None or folder not in bases_in_use):
                self._unload(key)
        # What is too large for the budget is tried all the same once nothing else is at work.
        return self._fits(size) or not busy

    def _fits(self, size: int) -> bool:
        return sum(self._sizes.values()) + size <= self._budget

    def _unload(self, key: _Key) -> None:
        folder, adapter = key
        if adapter is not None:
            self._bases[folder].forget(adapter)
            del self._sizes[key]
        else:
            del self._bases[folder]
            for loaded in [loaded for loaded in self._sizes if loaded[0] == folder]:
                del self._sizes[loaded]
            gc.collect()  # a model refers to itself: its memory is free only now
        _log.info("unloaded %s", (adapter or folder).name)


def where_to_answer(folder: Path, *, device: Device | None = None, dtype: Dtype | None = None) -> Placement:
    """Decide where a base answers, and in which number format.

    Weights that were saved in float32 stay so: nothing of what was saved is lost, and such models are small.

    Raises:
        HardwareError: this machine has no such device, or the device no such format.
    """
    if dtype is None and saved_dtype(folder) == "float32":
        return place(this_machine(), device=device, dtype="float32")
    return place(this_machine(), device=device, dtype=dtype, parameters=_parameters(folder))


def _file_bytes(folder: Path) -> int:
    """Size of the weights on disk."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _base_bytes(folder: Path, placement: Placement) -> int:
    """What the weights of a base take in memory, where they may have another format than on disk."""
    return int(_file_bytes(folder) * BYTES[placement.dtype] / BYTES[saved_dtype(folder)])


def _parameters(folder: Path) -> int:
    return int(_file_bytes(folder) / BYTES[saved_dtype(folder)])
