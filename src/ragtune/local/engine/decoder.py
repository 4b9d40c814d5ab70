"""One base at work: rows join and leave between two tokens, whatever adapter they want."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragtune.local.engine.prompt import start_of
from ragtune.local.engine.request import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from ragtune.local.engine.batch_row import BatchRow
    from ragtune.local.engine.model_cache import LoadedBase

    _Numbers = Sequence[Sequence[int]]  # a line for each row

__all__ = ["Decoder"]

# Tokens of all rows that run together, padding included. A token costs 2 x layers x key/value heads x head size
# numbers: 23 kB in a 135-million-parameter model, 128 kB in one of 8 billion.
_MAX_TOKENS = 32_768
# Tokens that a row must be able to write before another one has to leave again.
_HEADROOM = 32


class Decoder:
    """Writes the answers of many rows with one model, a token each per step.

    Args:
        base: the model.
        max_rows: most rows that run together. A model that remembers more than keys and values of attention answers
            one row at a time.
    """

    def __init__(self, base: LoadedBase, *, max_rows: int) -> None:
        self.base = base
        self.rows: list[BatchRow] = []
        self._max_rows = max_rows if _may_join(base) else 1
        self._state: Any = None  # what the model remembers of all rows
        self._mask_BT: Any = None  # B: rows, T: tokens so far; 0 where a row is padded on its left

    def prepare(self, row: BatchRow) -> bool:
        """Get a row ready to join, once; says whether it still wants to, and tells it what is wrong with it."""
        if not row.begun and not row.finished:
            try:
                start = start_of(row.request, self.base)
            except Exception as error:  # whatever the template raises belongs to this row alone
                row.fail(error)
                return False
            row.begin(self.base.tokenizer, start)
        return not row.finished

    def fits(self, row: BatchRow, others: Sequence[BatchRow] = ()) -> bool:
        """Whether a prepared row may join now, together with others that are about to."""
        rows = [*self.rows, *others, row]
        longest = max(len(one.tokens) for one in rows)
        # One alone may be as long as it likes: sent away it would wait for ever. All others are padded to the longest.
        return len(rows) == 1 or (len(rows) <= self._max_rows and len(rows) * (longest + _HEADROOM) <= _MAX_TOKENS)

    def admit(self, rows: Sequence[BatchRow]) -> None:
        """Let prepared rows join: they read their prompts and write their first token."""
        # The answers to one request have one prompt, which is read once.
        places: dict[tuple[Path | None, tuple[int, ...]], int] = {}
        index = [places.setdefault((row.request.adapter_path, tuple(row.tokens)), len(places)) for row in rows]
        first = [rows[index.index(place)] for place in range(len(places))]
        width = max(len(row.tokens) for row in first)
        # Padded on the left, so that the next token of every row stands in the same column. Which token pads is all
        # the same, since the mask hides it.
        tokens = [[0] * (width - len(row.tokens)) + row.tokens for row in first]
        mask = [[0] * (width - len(row.tokens)) + [1] * len(row.tokens) for row in first]
        state, mask_BT, logits_BV = self._look(first, tokens, mask)
        if len(first) < len(rows):
            state.batch_select_indices(self.base.to_device(_tensor(index)))
        self._join(rows, state, mask_BT[index])
        self._take(rows, logits_BV[index])

    def step(self) -> list[BatchRow]:
        """One more token for every row; returns rows that had to leave for lack of room and want to come back."""
        # Before the step: there is room for the new token of everybody who stays.
        evicted = self._evict()
        tokens = [[row.tokens[-1]] for row in self.rows]
        self._state, self._mask_BT, logits_BV = self._look(self.rows, tokens, [[1]] * len(self.rows), self._state)
        self._take(list(self.rows), logits_BV)
        return evicted

    def fail(self, error: BaseException) -> None:
        """End all rows with an error."""
        for row in self.rows:
            if not row.finished:
                row.fail(error)
        self._keep([])

    def _look(
        self, rows: Sequence[BatchRow], tokens: _Numbers, mask: _Numbers, state: Any = None
    ) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Let the model read tokens; gives what it remembers, the mask so far, and the logits of what comes next."""
        import torch

        place, name = self.base.to_device, self.base.state_name
        mask_BT = _tensor(mask)
        if state is not None:
            mask_BT = torch.cat([self._mask_BT, mask_BT], dim=1)
        elif self._max_rows > 1:
            from transformers import DynamicCache

            # Not made from the configuration: windows of attention are left to the mask, so that rows can join.
            state = DynamicCache()
        tokens_BT = _tensor(tokens)
        known = {} if name is None or state is None else {name: state}
        if not mask_BT.all():  # where nothing is padded, models are quicker without it, and some want none
            known["attention_mask"] = place(mask_BT)
        output = self.base.forward(
            [row.request.adapter_path for row in rows],
            input_ids=place(tokens_BT),
            position_ids=place((mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -tokens_BT.shape[1] :]),
            use_cache=True,
            logits_to_keep=1,
            **known,
        )
        state = None if name is None else getattr(output, name)
        # In float32: with the eight bits of bfloat16 many tokens would be equally likely. On the processor: each row
        # is drawn from with its own settings.
        return state, mask_BT, output.logits[:, -1].float().cpu()

    def _take(self, rows: Sequence[BatchRow], logits_BV: torch.Tensor) -> None:
        for row, logits_V in zip(rows, logits_BV, strict=True):
            try:
                row.pick(logits_V)
            except RequestError as error:
                row.fail(error)
        if any(row.finished for row in rows):
            self._keep([number for number, row in enumerate(self.rows) if not row.finished])

    def _join(self, rows: Sequence[BatchRow], state: Any, mask_BT: torch.Tensor) -> None:
        import torch
        from torch.nn.functional import pad

        if not self.rows:
            self._state, self._mask_BT, self.rows = state, mask_BT, list(rows)
            return
        # Those that join and those that are here end in the same column; whoever is shorter is padded in front, where
        # the mask hides what was not read.
        width = max(mask_BT.shape[1], self._mask_BT.shape[1])
        more, more_new = width - self._mask_BT.shape[1], width - mask_BT.shape[1]
        for old, new in zip(self._state.layers, state.layers, strict=True):
            old.keys = torch.cat([pad(old.keys, (0, 0, more, 0)), pad(new.keys, (0, 0, more_new, 0))])
            old.values = torch.cat([pad(old.values, (0, 0, more, 0)), pad(new.values, (0, 0, more_new, 0))])
        self._mask_BT = torch.cat([pad(self._mask_BT, (more, 0)), pad(mask_BT, (more_new, 0))])
        self.rows += rows

    def _keep(self, numbers: Sequence[int]) -> None:
        """Let all other rows go, and with them the padding that only they needed."""
        if not numbers:
            self.rows, self._state, self._mask_BT = [], None, None
            return
        self.rows = [self.rows[number] for number in numbers]
        mask_BT = self._mask_BT[numbers]
        unused = int(mask_BT.any(0).int().argmax())
        self._mask_BT = mask_BT[:, unused:]
        index = self.base.to_device(_tensor(numbers))
        for layer in self._state.layers:
            layer.keys, layer.values = layer.keys[index, :, unused:], layer.values[index, :, unused:]

    def _evict(self) -> list[BatchRow]:
        """Send the newest rows away while all together are longer than may be."""
        # The newest have written least, and what is sent away has to be read once more when it comes back.
        kept = len(self.rows)
        while kept > 1 and kept * (max(len(row.tokens) for row in self.rows[:kept]) + 1) > _MAX_TOKENS:
            kept -= 1
        evicted = self.rows[kept:]
        if evicted:
            self._keep(range(kept))
        return evicted


def _tensor(numbers: Sequence[int] | _Numbers) -> torch.Tensor:
    import torch

    return torch.tensor(list(numbers))


def _may_join(base: LoadedBase) -> bool:
    """Whether rows of this model can join and leave: where all that it remembers are keys and values of attention."""
    from transformers import DynamicCache

    if base.state_name != "past_key_values":
        return False
    kinds = {type(layer).__name__ for layer in DynamicCache(config=base.config).layers}
    return kinds <= {"DynamicLayer", "DynamicSlidingWindowLayer"}
