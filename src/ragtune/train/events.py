"""The events file of a training run: append-only JSON lines that another process may read while they are written.

Kinds of events, told apart by `type`; every one carries `time` (Unix seconds):

- `start`: `total_steps`, `n_examples`, `n_tokens` (one epoch), `n_epochs`, `n_processes`, `resumed_from` (step or
  None), `device`, `dtype`, `threads`, `memory_bytes` (most that it should need), `seconds` (how long it should take,
  None when unknown)
- `message`: `level` (`info`, `warn`, `error`), `message`
- `metrics`: `step`, `total_steps`, `epoch`, `train_loss`, `train_mean_token_accuracy`, `tokens_seen`, `cpu_seconds`,
  `device`, `dtype`; dpo: also `train_reward_margin` (mean over the pairs of `beta` times the log ratio that the
  preferred answer gained on the other one) and `train_reward_accuracy` (share of pairs where it is above 0); kto: no
  accuracies, but `train_kl`, `train_reward_good`, `train_reward_bad` (the same mean for either label, where the step
  has answers of it) and `train_reward_margin` (their distance, where a batch has both). With a validation file now and
  then the same figures as `valid_...` (one batch), and at the end of an epoch as `full_valid_...` (the whole file);
  with `evaluate_every` also `valid_fact_accuracy` (share of held-out questions whose answer, made greedily, contains
  the reference)
- `checkpoint`: `step`, `epoch`, `path` of an adapter folder that can be served
- `end`: `state` (`succeeded`, `failed`, `stopped`), `trained_tokens`, `adapter_path`, `cpu_seconds`, `wall_seconds`,
  `error` (`code`, `message`, `param`) or None; unless it failed also `operations` (floating-point operations that the
  run needs) and `gflops` (10^9 of them that one thread was measured to do per CPU-second, None when unknown)

A sentence for people is a `message` with a level. A new kind is for what a server counts or stores: it needs a branch
in `ragtune.local.runner.event_tail`, which passes over kinds that it does not know; OpenAI's wire has only `message`
and `metrics`.

A run that was resumed repeats the steps after its last whole checkpoint: of two equal steps a reader keeps one.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Event", "append", "read_from", "seal"]

Event = dict[str, Any]


def append(path: str | Path, event: Mapping[str, Any]) -> None:
    """Add one event as one line with one write, which the kernel keeps whole between processes.

    Args:
        path: the events file; made when it is not there.
        event: JSON-ready mapping with a `type`; `time` (Unix seconds) is added when it is missing.

    Raises:
        ValueError: the event holds a number that JSON has no form for (NaN, infinity).
        OSError: the file cannot be written.
    """
    line = json.dumps({"time": time.time(), **event}, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    # Opened to append: the system puts the line at the end, wherever another process has moved that meanwhile.
    with Path(path).open("ab", buffering=0) as file:
        written = file.write(line)
        if written != len(line):
            message = f"{path}: only {written} of {len(line)} bytes were written; is the disk full?"
            raise OSError(message)


def read_from(path: str | Path, offset: int = 0) -> tuple[list[Event], int]:
    """Read the whole lines after a byte offset.

    Args:
        path: the events file; one that is not there yet reads as empty.
        offset: bytes that were read before; 0 for the beginning.

    Returns:
        The events, and the offset to go on from. A line that is still being written stays for the next call; a line
        that a killed writer left torn is passed over.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from ragtune.train.events import append, read_from

        path = Path(tempfile.mkdtemp()) / "events.jsonl"
        append(path, {"type": "message", "level": "info", "message": "hello"})
        events, offset = read_from(path)
        print(events[0]["message"], read_from(path, offset)[0])
        #> hello []
        ```
    """
    try:
        with Path(path).open("rb") as handle:
            handle.seek(offset)
            data = handle.read()
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    # Split as bytes: a text would also be split at U+2028, which JSON leaves as it is.
    events = [event for line in whole.splitlines() if (event := _parse(line)) is not None]
    return events, offset + len(whole)


def seal(path: str | Path) -> None:
    """End a line that a killed writer left torn, so that the next event starts on a line of its own."""
    try:
        with Path(path).open("rb+") as handle:
            if handle.seek(0, os.SEEK_END) == 0:
                return
            handle.seek(-1, os.SEEK_END)
            if handle.read(1) != b"\n":
                handle.write(b"\n")
    except FileNotFoundError:
        return


def _parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
