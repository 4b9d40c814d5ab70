"""The layers that adapters change: each row of a batch gets its own adapter's, for few operations."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

__all__ = ["BASE", "AdapterLayers"]

BASE = "__base__"
"""Stands for rows without an adapter."""


class AdapterLayers:
    """Computes the layers that PEFT has put into a model; the adapters' weights stay where PEFT has loaded them.

    A plain LoRA layer of PEFT makes seven operations for one adapter and as many again for each further one in a
    batch. Here it is four, or five where rows differ: the adapters stand side by side in one pair of matrices, and each
    row keeps its own part. For one adapter the result is PEFT's to the last bit where its scale is a power of two.
    Other layers (DoRA, embeddings, whole layers) are computed by PEFT, once for each adapter in the batch.

    Args:
        model: with the layers that PEFT put into it, or still without any.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._rows = _Rows()

    def refresh(self) -> None:
        """Look at the layers anew after an adapter came or went."""
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils import ModulesToSaveWrapper

        self._rows = _Rows()
        kinds = (BaseTunerLayer, ModulesToSaveWrapper)
        found: list[Any] = [layer for layer in self._model.modules() if isinstance(layer, kinds)]
        for layer in found:
            # PEFT's own comes back first: else a layer would be wrapped once more with every adapter that comes.
            vars(layer).pop("forward", None)
            layer.forward = _Plain(layer, self._rows) if _is_plain(layer) else _ByPeft(layer, self._rows)

    def choose(self, names: Sequence[str]) -> None:
        """Say which adapter answers each row of the next batch."""
        self._rows.choose(tuple(names))


class _Rows:
    """Which adapter each row of a batch wants.

    Attributes:
        names: of each row.
        adapters: all that stand side by side, in order.
        differ: whether a row must be kept from the adapters of others.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.adapters: tuple[str, ...] = ()
        self.differ = False
        self._masks: dict[tuple[int, ...], torch.Tensor] = {}

    def choose(self, names: tuple[str, ...]) -> None:
        if names == self.names:
            return
        wanted = {*names} - {BASE}
        # Those of rows that have left stay beside the others, since to put them together anew costs more.
        if len(wanted) < 2 or not wanted <= {*self.adapters}:
            self.adapters = tuple(sorted(wanted))
        self.differ = len(self.adapters) > 1 or (BASE in names and bool(wanted))
        self.names, self._masks = names, {}

    def own(self, hidden: torch.Tensor, ranks: tuple[int, ...]) -> torch.Tensor:
        """Keep of each row what its own adapter made of it; `ranks` tell how wide each adapter is."""
        import torch

        mask_BR = self._masks.get(ranks)
        if mask_BR is None:
            widths = zip(self.adapters, ranks, strict=True)
            owners = list(chain.from_iterable(repeat(name, rank) for name, rank in widths))
            kept = [_shares(name, owners) for name in self.names]
            mask_BR = self._masks[ranks] = torch.tensor(kept, dtype=hidden.dtype, device=hidden.device)
        # Multiplied by 0 or 1 and not picked out: one operation for all rows, whose number never changes the result.
        if hidden.ndim == 2:  # some models lay the tokens of all rows in one line
            return hidden * mask_BR.repeat_interleave(len(hidden) // len(mask_BR), 0)
        return hidden * mask_BR[:, None]


def _shares(name: str, owners: Sequence[str]) -> list[float]:
    """1 where a column is of the adapter's own, 0 where it is another's."""
    return [float(owner == name) for owner in owners]


class _Plain:
    """A LoRA layer: what the base makes of its input, and what the adapters add."""

    def __init__(self, layer: Any, rows: _Rows) -> None:
        import torch

        self._layer, self._base, self._rows = layer, layer.base_layer, rows
        self._linear = torch.nn.functional.linear
        self._of: tuple[str, ...] = ()
        self._pair: tuple[torch.Tensor, torch.Tensor] | None = None
        self._ranks: tuple[int, ...] = ()
        # The scale goes into a matrix once instead of into every token's result; a power of two changes no digit.
        with torch.no_grad():
            for name, scale in layer.scaling.items():
                if scale != 1.0:
                    layer.lora_B[name].weight.mul_(scale)
                    layer.scaling[name] = 1.0

    def __call__(self, x: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        rows = self._rows
        result: torch.Tensor = self._base(x, *args, **kwargs)
        if rows.adapters != self._of:
            self._join(rows.adapters)
        if self._pair is None:
            return result
        into, out_of = self._pair
        hidden = self._linear(x.to(into.dtype), into)
        if rows.differ:
            hidden = rows.own(hidden, self._ranks)
        # In place: nothing else holds what the base has just made, and no gradient will ask for it.
        return result.add_(self._linear(hidden, out_of))

    def _join(self, names: tuple[str, ...]) -> None:
        """Put the matrices of some adapters side by side; one alone is taken as it is."""
        import torch

        self._of, self._pair = names, None
        # An adapter need not have changed every layer; it then has no part here, and its rows no other's.
        here = [name for name in names if name in self._layer.lora_A]
        down = [self._layer.lora_A[name].weight for name in here]
        up = [self._layer.lora_B[name].weight for name in here]
        self._ranks = tuple(self._layer.r[name] if name in here else 0 for name in names)
        if len(here) == 1:
            self._pair = (down[0], up[0])
        elif here:
            self._pair = (torch.cat(down), torch.cat(up, dim=1))


class _ByPeft:
    """A layer of another kind: PEFT computes it for all rows, once for each adapter."""

    def __init__(self, layer: Any, rows: _Rows) -> None:
        self._layer, self._rows, self._forward = layer, rows, layer.forward

    def __call__(self, *args: object, **kwargs: object) -> torch.Tensor:
        import torch

        # The whole batch for each adapter, though only some rows are its own: such layers are few, and a batch cut into
        # pieces would need other masks than the model has made.
        names = self._rows.names
        by_name = {name: self._with(name, *args, **kwargs) for name in {*names}}
        if len(by_name) == 1:
            return by_name[names[0]]
        each = len(by_name[names[0]]) // len(names)
        return torch.cat([by_name[name][n * each : (n + 1) * each] for n, name in enumerate(names)])

    def _with(self, name: str, *args: object, **kwargs: object) -> torch.Tensor:
        copies = getattr(self._layer, "modules_to_save", None)
        here = name != BASE if copies is None else name in copies
        if here:
            self._layer.set_adapter([name])
        self._layer.enable_adapters(here)
        made: torch.Tensor = self._forward(*args, **kwargs)
        return made


def _is_plain(layer: Any) -> bool:
    """Whether a layer adds the product of two matrices and nothing else (no DoRA, no biases, no embeddings)."""
    from peft.tuners.lora import Linear

    return type(layer) is Linear and not layer.lora_variant and not any(layer.lora_bias.values())
