"""Many rows, one `generate` call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragtune.local.engine.request import ContextOverflowError, EngineClosedError
from ragtune.train.base import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ragtune.local.engine.models import LoadedBase
    from ragtune.local.engine.row import Row

__all__ = ["run_batch"]

# Tokens of all rows of one `generate` call, padding included. A token costs 2 x layers x key/value heads x head size
# numbers: 23 kB in a 135-million-parameter model, 128 kB in one of 8 billion.
_MAX_TOKENS = 32_768


def run_batch(base: LoadedBase, rows: Sequence[Row], *, is_closed: Callable[[], bool]) -> None:
    """Let one model answer all rows; each row hands on its pieces and its end, or its error.

    Args:
        base: the model.
        rows: what was asked of it, all with the same adapter.
        is_closed: asked after each token; once true, open rows end with `EngineClosedError`.
    """
    ready = [row for row in rows if _prepare(base, row)]
    if not ready:
        return
    with base.using(ready[0].request.adapter_path) as model:
        for part in _parts(ready):
            _generate(model, base, part, is_closed)
    for row in ready:
        if not row.finished:
            row.fail(EngineClosedError("the engine was closed before this request was answered"))


def _parts(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows in groups that keep the memory of past tokens bounded; a row that is too long for any group runs alone."""
    part: list[Row] = []
    for row in sorted(rows, key=_reach):
        # Sorted, so the newest row is the longest of its group and all are padded to it.
        if part and (len(part) + 1) * _reach(row) > _MAX_TOKENS:
            yield part
            part = []
        part.append(row)
    yield part


def _reach(row: Row) -> int:
    return len(row.prompt) + row.room


def _prepare(base: LoadedBase, row: Row) -> bool:
    asked = row.request
    try:
        if asked.messages is not None:
            prompt = base.encoder.chat_prompt(asked.messages, asked.tools)
        else:
            prompt = base.encoder.completion_prompt(asked.prompt or "")
        left = base.context_tokens - len(prompt)
        if left < 1:
            raise ContextOverflowError(len(prompt), base.context_tokens)
    except Exception as error:  # whatever the template raises belongs to this row alone
        row.fail(error)
        return False
    row.generation.prompt_tokens = len(prompt)
    room = left if asked.max_tokens is None else min(left, asked.max_tokens)
    row.begin(base.tokenizer, prompt=prompt, room=room, end_tokens=base.end_tokens)
    return True


def _generate(model: Any, base: LoadedBase, rows: Sequence[Row], is_closed: Callable[[], bool]) -> None:
    import torch
    from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

    class Picker(LogitsProcessor):
        """Lets each row pick its token, and leaves `generate` no other choice."""

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            picked_BV = torch.full_like(scores, float("-inf"))  # B: rows, V: vocabulary
            for number, row in enumerate(rows):
                picked_BV[number, row.pick(scores[number].cpu())] = 0.0
            return picked_BV

    class AllRowsFinished(StoppingCriteria):
        """Says of each row whether it has finished."""

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            over = is_closed()
            return torch.tensor([over or row.finished for row in rows], device=input_ids.device)

    width = max(len(row.prompt) for row in rows)
    pad = base.tokenizer.pad_token_id
    pad = pad if pad is not None else min(base.end_tokens, default=0)
    # Padding stands on the left, so that every prompt ends where the answers begin.
    input_ids_BT = torch.tensor([[pad] * (width - len(row.prompt)) + row.prompt for row in rows])
    mask_BT = torch.tensor([[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows])
    make_config: Any = GenerationConfig  # its constructor has no types
    config = make_config(
        do_sample=False, max_new_tokens=max(row.room for row in rows), pad_token_id=pad, eos_token_id=None, num_beams=1
    )
    with quiet(), torch.inference_mode():
        model.generate(
            input_ids=input_ids_BT.to(model.device),
            attention_mask=mask_BT.to(model.device),
            generation_config=config,
            logits_processor=[Picker()],
            stopping_criteria=[AllRowsFinished()],
        )
