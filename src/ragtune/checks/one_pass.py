"""One pass over a training file: every line is read to the end, every problem is reported with its place."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO

from pydantic import ValidationError

from ragtune._encodings import LikelyEncoding, Misreading, likely_encoding
from ragtune.checks.content.rules import content_faults, doubled_key_faults
from ragtune.checks.content.special_tokens import may_hold_special_tokens, special_token_faults
from ragtune.checks.content.thoughts import Thoughts, may_hold_thoughts
from ragtune.checks.content.verdicts import Verdicts
from ragtune.checks.file_rules import file_problem, model_problems, name_problems, size_problems
from ragtune.checks.legacy import Profile
from ragtune.checks.opening.training_file import beginning
from ragtune.checks.private import masked_path, private_faults
from ragtune.checks.problems import Problem, ProblemList
from ragtune.checks.repeats import Repeats
from ragtune.checks.report import CheckStats
from ragtune.checks.schema import first_format_of, format_of, gate, parse_line, shape_faults
from ragtune.checks.texts import texts_with_paths
from ragtune.records import JsonObject, RecordFault, RecordFormat, path_text
from ragtune.tokens import RecordCounter, asked_part, conversations, counter_for

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.catalog import ModelInfo
    from ragtune.privacy import Scanner

__all__ = ["Pass"]

# What is wrong with the lines of a file of another kind, told as one thing.
_NO_OBJECT = {"not-json": "not-json", "not-utf8": "not-json", "not-an-object": "not-an-object"}


@dataclass
class Pass:
    """State of one pass; the line being read stands in `line` and `offset`."""

    problems: ProblemList
    format: RecordFormat | None
    info: ModelInfo | None
    scanner: Scanner | None
    source: Path
    counter: RecordCounter | None = field(init=False)
    other: tuple[str, str] | None = None
    likely: LikelyEncoding | None = None
    pairs: Profile = field(default_factory=Profile)
    verdicts: Verdicts = field(default_factory=Verdicts)
    thoughts: Thoughts = field(default_factory=Thoughts)
    repeats: Repeats = field(default_factory=Repeats)
    letters: Misreading = field(default_factory=Misreading)
    examples: int = 0
    with_images: int = 0
    tokens: int = 0
    longest: int = 0
    line: int = 0
    offset: int = 0

    def __post_init__(self) -> None:
        encoding = self.info.encoding if self.info else None
        self.counter = RecordCounter(counter_for(encoding)) if encoding else None

    def read(self, file: BinaryIO) -> None:
        """Read every line, and report what is wrong with each."""
        # The first line always goes the long way: it may begin with a byte order mark, and it tells the format.
        plain = None
        for raw in file:
            self.line += 1
            # To JSON the CR is white space, so the gate would let it pass without a word.
            if plain is not None and raw[-2:] != b"\r\n":
                try:
                    record = plain(raw)
                except ValidationError:
                    self._check_closely(raw)
                else:
                    self.examples += 1
                    self._check_content(record, raw)
                    self._look_for_private(record)
            else:
                self._check_closely(raw)
                # Which gate fits is known once a line has told the format.
                plain = gate(self.format)
            # Last: until here it is where this line begins, for whatever is reported of it.
            self.offset += len(raw)

    def _bare(self, raw: bytes) -> bytes:
        """The line without its end and without a byte order mark; both are reported."""
        if self.line == 1 and raw.startswith(codecs.BOM_UTF8):
            text = "the file starts with a byte order mark"
            self._report(RecordFault((), "byte-order-mark", text, "save it as UTF-8 without BOM"))
            raw = raw[len(codecs.BOM_UTF8) :]
        content = raw[:-1] if raw.endswith(b"\n") else raw
        if content.endswith(b"\r"):
            content = content[:-1]
            text = "the line ends with CR LF"
            self._report(RecordFault((), "crlf", text, "save it with Unix line ends (LF)", "warning"))
        if not content or content.isspace():
            self._report(
                RecordFault((), "blank-line", "this line is blank", "remove it: every line must hold one record")
            )
            return b""
        return content

    def _check_closely(self, raw: bytes) -> None:
        line = self._bare(raw)
        if not line:
            return
        self.examples += 1
        record, faults = parse_line(line)
        if record is not None:
            faults = self._check_shape(record, line)
        for fault in faults:
            self._report(self._understood(fault, line))
        # A line that is no JSON may hold a key all the same.
        self._look_for_private(line.decode("utf-8", "replace") if record is None else record)

    def _understood(self, fault: RecordFault, line: bytes) -> RecordFault:
        """What a fault of a line comes from, where that is known: the kind of the file, or its encoding."""
        if self.other is not None and fault.code in _NO_OBJECT:
            what, way = self.other
            return replace(fault, code=_NO_OBJECT[fault.code], message=f"this is {what}", hint=way)
        if fault.code != "not-utf8":
            return fault
        if self.likely is None:
            # Once for all lines: the whole beginning says more than a line, but what came out of a pipe is gone.
            self.likely = likely_encoding(beginning(self.source) or line)
        return replace(fault, hint=f"save the file as UTF-8, most likely with {self.likely:iconv}")

    def _look_for_private(self, value: object) -> None:
        if self.scanner is not None:
            for fault in private_faults(value, self.scanner):
                self._report(fault)

    def _check_shape(self, record: JsonObject, line: bytes) -> list[RecordFault]:
        found, unknown = format_of(record) if self.format is not None else first_format_of(record)
        if self.format is None:
            self.format = found
        if self.format is None:
            return unknown
        # A reinforcement record without reference fields looks like chat.
        if found is not None and found != self.format and (self.format, found) != ("reinforcement", "chat"):
            text = f"this record is {found}, but the file is {self.format}"
            return [RecordFault((), "mixed-formats", text, "put each format into a file of its own")]
        faults = shape_faults(record, self.format)
        if not faults:
            # The gate lets no images through.
            self.with_images += b'"image_url"' in line
            self._check_content(record, line)
        return faults

    def _check_content(self, record: JsonObject, line: bytes) -> None:
        assert self.format is not None
        for fault in content_faults(record, line, self.format):
            self._report(fault)
        for fault in doubled_key_faults(line, record):
            self._report(fault)
        # Misread text shows in letters beyond ASCII, which JSON may write as \u00 and two digits.
        if not self.letters.is_enough and (not line.isascii() or b"\\u00" in line):
            for _, text in texts_with_paths(record):
                self.letters.add(text)
        if may_hold_special_tokens(line):
            for fault in special_token_faults(record, "error" if self.counter else "warning"):
                self._report(fault)
        self.repeats.add(record, line, self.line, self.offset, self.format)
        # An empty completion would hide what all others have in common.
        if self.format == "completion" and record["completion"].strip():
            self.pairs.add(record["prompt"], record["completion"])
        if may_hold_thoughts(line):
            self.thoughts.add(record, self.line)
        if self.format == "unpaired":
            self.verdicts.add(record["label"])
        if self.counter is not None:
            (tokens,) = self.counter.count((record,))
            self.tokens += tokens
            # Training reads each answer of a pair with the prompt by itself: the longer of the two must fit.
            longest = max(self.counter.count(conversations(record))) if self.format == "preference" else tokens
            self.longest = max(self.longest, longest)
            limit = self.info.training_context if self.info else None
            if limit is not None and longest > limit:
                self._report(self._too_long(record, longest, limit=limit))

    def _too_long(self, record: JsonObject, tokens: int, *, limit: int) -> RecordFault:
        assert self.counter is not None
        (before,) = self.counter.count((asked_part(record),))
        if before >= limit:
            # Trainers go on without a word: huggingface/trl#6320, 2026-07-07.
            left = f"the first answer begins behind {before:,}, so that nothing would be left to train on"
        else:
            left = "the end, with the answer, would be cut off"
        text = f"{tokens:,} tokens; the training context is {limit:,}: {left}"
        return RecordFault((), "too-long", text, "shorten the context or split the example")

    def _report(self, fault: RecordFault) -> None:
        place = fault.path if self.scanner is None else masked_path(fault.path, self.scanner.mask)
        self.problems.add(
            Problem(
                line=self.line,
                byte_offset=self.offset,
                path=path_text(place),
                code=fault.code,
                message=fault.message,
                hint=fault.hint,
                severity=fault.severity,
            )
        )

    def finish(self, path: Path, *, size: int, model: str | None, min_examples: int) -> None:
        """Add what can only be said about the whole file, unless it is something else altogether."""
        if self.other is not None:
            return
        if self.examples < min_examples:
            text = f"{self.examples} example{'' if self.examples == 1 else 's'}; a job needs at least {min_examples}"
            self.problems.add(file_problem("too-few-examples", text, "add examples"))
        for problem in (
            *name_problems(path),
            *size_problems(self.format, size, examples=self.examples, with_images=self.with_images),
            *model_problems(self.format, with_images=self.with_images, model=model, info=self.info),
            *self.thoughts.problems(model, self.info),
        ):
            self.problems.add(problem)
        if (misread := self.letters.finding) is not None:
            hint = (
                f"read the source again with encoding={self.letters.verdict!r}; fine where it is meant, as in Icelandic"
            )
            self.problems.add(file_problem("misread-text", misread, hint, severity="warning"))
        pairs = self.pairs.problems() if self.format == "completion" else ()
        for problem in (*self.verdicts.problems(), *self.repeats.problems(), *pairs):
            self.problems.add(problem)

    def stats(self) -> CheckStats:
        """The figures of what was read; those of tokens only where they were counted."""
        counted = self.counter is not None
        return CheckStats(
            examples=self.examples,
            format=self.format,
            bytes=self.offset,
            tokens=self.tokens if counted else None,
            longest=self.longest if counted else None,
            encoding=self.info.encoding if self.info and counted else None,
        )
