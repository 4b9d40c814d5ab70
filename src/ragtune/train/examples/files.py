"""From a JSONL file to encoded examples; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from ragtune.errors import RecordError
from ragtune.modelling.encoding.encoder import Example, Judged, Pair
from ragtune.records import ChatRecord, CompletionRecord, PreferenceRecord, UnpairedRecord, parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ragtune.modelling.encoding.encoder import Encoder
    from ragtune.records import JsonObject

__all__ = ["LoadedFile", "TrainingFileError", "load_examples", "load_judged", "load_pairs"]

_Taught = TypeVar("_Taught", Example, Pair, Judged)


class TrainingFileError(RecordError):
    """A training or validation file that cannot be trained on.

    Attributes:
        line: 1-based line in the file, or None when it is about the whole file.
    """

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, kw_only=True)
class LoadedFile(Generic[_Taught]):
    """A file in memory, ready to train on.

    Attributes:
        examples: one per record that teaches something.
        n_tokens: tokens of all examples, prompts included: what one epoch reads.
        cut_lines: 1-based lines of examples that were cut off at the length limit.
        dropped_lines: 1-based lines of examples that had no answer left after that.
    """

    examples: list[_Taught]
    n_tokens: int
    cut_lines: tuple[int, ...]
    dropped_lines: tuple[int, ...]


def load_examples(path: str | Path, encoder: Encoder) -> LoadedFile[Example]:
    """Read and encode a JSONL file of chat or prompt/completion records.

    Raises:
        TrainingFileError: the file cannot be read, a record is wrong or of the wrong kind, or nothing can be learned.
    """
    return _load(Path(path), lambda line: _example(line, encoder))


def load_pairs(path: str | Path, encoder: Encoder) -> LoadedFile[Pair]:
    """Read and encode a JSONL file of preference records.

    Raises:
        TrainingFileError: the file cannot be read, a record is wrong or of the wrong kind, or nothing can be learned.
    """
    return _load(Path(path), lambda line: _pair(line, encoder))


def load_judged(path: str | Path, encoder: Encoder) -> LoadedFile[Judged]:
    """Read and encode a JSONL file of unpaired records.

    Raises:
        TrainingFileError: the file cannot be read, a record is wrong or of the wrong kind, or nothing can be learned.
    """
    return _load(Path(path), lambda line: _judged(line, encoder))


def _load(path: Path, encode: Callable[[bytes], _Taught]) -> LoadedFile[_Taught]:
    examples: list[_Taught] = []
    cut: list[int] = []
    dropped: list[int] = []
    for number, line in _lines(path):
        try:
            example = encode(line)
        except RecordError as error:
            raise TrainingFileError(f"line {number}: {error}", line=number) from error
        if example.is_cut:
            cut.append(number)
        if example.teaches:
            examples.append(example)
        # The file is right and the base too short for it: the run says so and goes on.
        elif example.is_cut:
            dropped.append(number)
        else:
            message = f"line {number}: nothing to learn from: no assistant message, or each is empty or has weight 0"
            raise TrainingFileError(message, line=number)
    if not examples:
        message = f"{path.name}: no example to learn from: it is empty, or every answer is beyond the length limit"
        raise TrainingFileError(message)
    return LoadedFile(
        examples=examples,
        n_tokens=sum(example.n_tokens for example in examples),
        cut_lines=tuple(cut),
        dropped_lines=tuple(dropped),
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                # Editors on Windows write a mark before the first line of a file in UTF-8.
                bare = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if bare.strip():
                    yield number, bare.strip()
    except OSError as error:
        raise TrainingFileError(f"{path.name} cannot be read: {error.strerror}") from error


def _example(line: bytes, encoder: Encoder) -> Example:
    record = parse_record(line)
    if isinstance(record, ChatRecord):
        data = record.to_dict()
        # `functions` is OpenAI's older spelling; templates know tools alone.
        tools = data.get("tools") or [{"type": "function", "function": f} for f in data.get("functions", [])]
        return encoder.chat(data["messages"], tools or None)
    if isinstance(record, CompletionRecord):
        return encoder.completion(record.prompt, record.completion)
    message = f"{type(record).__name__}: the method supervised learns from chat or prompt/completion records"
    raise RecordError(message)


def _pair(line: bytes, encoder: Encoder) -> Pair:
    record = parse_record(line)
    if not isinstance(record, PreferenceRecord):
        message = f"{type(record).__name__}: the method dpo learns from preference records"
        raise RecordError(message)
    data = record.to_dict()
    tools = data["input"].get("tools")
    before = _context(data["input"]["messages"])
    return Pair(
        chosen=encoder.chat([*before, *data["preferred_output"]], tools),
        rejected=encoder.chat([*before, *data["non_preferred_output"]], tools),
    )


def _judged(line: bytes, encoder: Encoder) -> Judged:
    record = parse_record(line)
    if not isinstance(record, UnpairedRecord):
        raise RecordError(f"{type(record).__name__}: the method kto learns from unpaired records")
    data = record.to_dict()
    example = encoder.chat([*_context(data["prompt"]), *data["completion"]], data.get("tools"))
    return Judged(example=example, is_good=record.label)


def _context(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """What was said before: the answers beside it alone are judged."""
    return [{**turn, "weight": 0} if turn["role"] == "assistant" else turn for turn in messages]
