"""What two files share: whole texts, exactly and normalised, and runs of thirteen words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain, islice
from string import Formatter
from typing import TYPE_CHECKING, Any

import orjson

from ragtune._html import Markup, table
from ragtune.dataset.leakage.grouping import MIN_KEY_WORDS, distinct
from ragtune.dataset.leakage.texts import with_attachments
from ragtune.text import count_words, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ragtune.dataset.leakage.shingles import Numbers
    from ragtune.records import JsonObject

    Reader = Callable[[], Iterator[Mapping[str, "FieldNumbers"]]]

# As the authors of GPT-3 looked for test texts among what it was trained on (2005.14165).
RUN_WORDS = 13
_AT_ONCE = 1_024
_CONVERSATIONS = ("messages", "input", "prompt")
_SPOKEN = (*_CONVERSATIONS, "preferred_output", "non_preferred_output", "completion")
# A table of 16 MB for each kind of number and field.
_MOST_FILTER_BITS = 24


@dataclass(frozen=True, kw_only=True)
class FieldOverlap:
    """What one field of a file shares with another file.

    Attributes:
        file: the file whose texts are looked for, for example `validation`.
        other: the file they are looked for in, for example `train`.
        field: the column, or who speaks: `user`, `assistant`, `prompt`, ...
        texts: texts in this field of `file`.
        exact: how many of them stand in `other` as they are.
        normalised: how many stand there in normal form, see `ragtune.dataset.normalise`.
        runs: distinct runs of thirteen words in these texts.
        shared_runs: how many of the runs stand in `other`.

    Example:
        ```python
        import ragtune as rt

        one = rt.DatasetBuilder.from_rows([{"q": "Is it?"}, {"q": "Why?"}])
        two = rt.DatasetBuilder.from_rows([{"q": "is  it"}, {"q": "Why?"}])
        found = one.overlap(two, columns=("q",)).fields[0]
        print(found.texts, found.exact, found.normalised)
        #> 2 1 2
        ```
    """

    file: str
    other: str
    field: str
    texts: int
    exact: int
    normalised: int
    runs: int
    shared_runs: int


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What files share, field by field; prints as a table.

    Attributes:
        fields: one entry per pair of files and field.

    Example:
        ```python
        import ragtune as rt

        rows = [{"q": f"What is {n} + 1?", "a": f"{n + 1}"} for n in range(40)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("out", test=0.1)
        print(dataset.overlap())
        #> test in train, user: 0 of 4 texts exactly, 0 normalised, 0 of 0 runs of 13 words
        ```
    """

    fields: tuple[FieldOverlap, ...]

    @property
    def exact(self) -> int:
        """Shared texts in all fields, as they are."""
        return sum(item.exact for item in self.fields)

    @property
    def normalised(self) -> int:
        """Shared texts in all fields, in normal form."""
        return sum(item.normalised for item in self.fields)

    def to_dict(self) -> dict[str, Any]:
        """The overlap as plain values."""
        return {"fields": [asdict(item) for item in self.fields]}

    def __str__(self) -> str:
        return "\n".join(
            f"{item.file} in {item.other}, {item.field}: {item.exact:,} of {item.texts:,} texts exactly, "
            f"{item.normalised:,} normalised, {item.shared_runs:,} of {item.runs:,} runs of {RUN_WORDS} words"
            for item in self.fields
        )

    def _repr_html_(self) -> str:
        return overlap_table([asdict(item) for item in self.fields])


def overlap_table(fields: Iterable[Mapping[str, Any]]) -> Markup:
    """The fields of an overlap as an HTML table."""
    head = ("in both", "field", "texts", "exact", "normalised", f"runs of {RUN_WORDS} words", "shared")
    rows = []
    for item in fields:
        numbers = [f"{item[key]:,}" for key in ("texts", "exact", "normalised", "runs", "shared_runs")]
        rows.append([f"{item['file']} in {item['other']}", item["field"], *numbers])
    return table(rows, head)


@dataclass(frozen=True, kw_only=True)
class FieldNumbers:
    """Some texts of one field as numbers.

    Attributes:
        exact: a number per text, equal for equal texts.
        normal: a number per text, equal for equal normal forms.
        runs: numbers of their runs of thirteen words.
    """

    exact: Numbers
    normal: Numbers
    runs: Numbers


def numbers_of(fields: Mapping[str, Sequence[str]]) -> dict[str, FieldNumbers]:
    """The numbers of texts by field; equal within one process only."""
    import numpy as np

    from ragtune.dataset.leakage.shingles import shingle

    found = {}
    for field, texts in fields.items():
        numbers = shingle(texts, RUN_WORDS)
        # Python's own hash is the fastest at hand; that it differs from process to process does no harm in one.
        exact = np.fromiter(map(hash, texts), np.int64, len(texts)).view(np.uint64)
        found[field] = FieldNumbers(exact=exact, normal=numbers.texts, runs=numbers.hashes)
    return found


class _Wanted:
    """Distinct numbers that are looked for among others."""

    def __init__(self, numbers: Numbers) -> None:
        import numpy as np

        self.numbers = numbers
        # At most one place in sixteen is taken, unless there are very many.
        bits = min(len(numbers).bit_length() + 4, _MOST_FILTER_BITS)
        self._mask = np.uint64((1 << bits) - 1)
        # Nearly every other number is told apart by this table alone.
        self._maybe = np.zeros(1 << bits, dtype=np.bool_)
        self._maybe[numbers & self._mask] = True
        self.forget()

    def forget(self) -> None:
        """Begin with another file."""
        import numpy as np

        self.found = np.zeros(len(self.numbers), dtype=np.bool_)

    def mark(self, numbers: Numbers) -> None:
        """Look at some numbers of the other file."""
        import numpy as np

        likely = numbers[self._maybe[numbers & self._mask]]
        if len(likely):
            # A number beyond the last one has its place behind it, where nothing stands.
            places = np.minimum(np.searchsorted(self.numbers, likely), len(self.numbers) - 1)
            self.found[places[self.numbers[places] == likely]] = True

    def hits(self, numbers: Numbers) -> int:
        """How many of these numbers, all of which are looked for, were found."""
        import numpy as np

        return int(self.found[np.searchsorted(self.numbers, numbers)].sum())


class _Sought:
    """The texts of one field that are looked for; keeps numbers, no texts."""

    def __init__(self, parts: Sequence[FieldNumbers], ignored: Numbers) -> None:
        import numpy as np

        self._exact = np.concatenate([part.exact for part in parts])
        self._normal = np.concatenate([part.normal for part in parts])
        runs = distinct(np.concatenate([part.runs for part in parts]))
        self._exact_wanted, self._normal_wanted = _Wanted(distinct(self._exact)), _Wanted(distinct(self._normal))
        self._runs_wanted = _Wanted(runs[~np.isin(runs, ignored)] if len(ignored) else runs)

    def mark(self, numbers: FieldNumbers) -> None:
        """Look at some texts of the other file."""
        self._exact_wanted.mark(numbers.exact)
        self._normal_wanted.mark(numbers.normal)
        self._runs_wanted.mark(numbers.runs)

    def found(self, file: str, other: str, field: str) -> FieldOverlap:
        """What was found since the last call."""
        found = FieldOverlap(
            file=file,
            other=other,
            field=field,
            texts=len(self._exact),
            exact=self._exact_wanted.hits(self._exact),
            normalised=self._normal_wanted.hits(self._normal),
            runs=len(self._runs_wanted.numbers),
            shared_runs=int(self._runs_wanted.found.sum()),
        )
        for wanted in (self._exact_wanted, self._normal_wanted, self._runs_wanted):
            wanted.forget()
        return found


def find_overlap(
    files: Mapping[str, Reader],
    others: Mapping[str, Reader],
    *,
    ignored: Sequence[str] = (),
) -> Overlap:
    """Look for the texts of `files` in `others`; a file is not compared with itself or with an earlier one of `files`.

    Args:
        files: name and a function that starts reading: numbers of texts by field, some texts at a time. They are held,
            eight bytes per run of words.
        others: the same for the files that are searched; nothing of them is held.
        ignored: texts whose runs of words do not count, for example those of a template.
    """
    from ragtune.dataset.leakage.shingles import shingle

    skipped = shingle(ignored, RUN_WORDS).hashes
    searched_for = {other: _after(list(files), other) for other in others}
    # Among the files of one dataset the first, the training file, is only searched: of the largest nothing is held.
    wanted = set(chain.from_iterable(searched_for.values()))
    sought = {name: _collected(read(), skipped) for name, read in files.items() if name in wanted}
    found: list[FieldOverlap] = []
    for other, read in others.items():
        names = [name for name in searched_for[other] if sought[name]]
        if not names:
            continue
        # One reading of the file serves all that are looked for in it.
        for batch in read():
            for field, numbers in batch.items():
                for name in names:
                    if field in sought[name]:
                        sought[name][field].mark(numbers)
        for name in names:
            found += [item.found(name, other, field) for field, item in sought[name].items()]
    return Overlap(fields=tuple(sorted(found, key=lambda item: (list(files).index(item.file), item.other, item.field))))


def _collected(batches: Iterable[Mapping[str, FieldNumbers]], ignored: Numbers) -> dict[str, _Sought]:
    parts: dict[str, list[FieldNumbers]] = {}
    for batch in batches:
        for field, numbers in batch.items():
            parts.setdefault(field, []).append(numbers)
    return {field: _Sought(own, ignored) for field, own in parts.items() if any(map(_has_texts, own))}


def _has_texts(numbers: FieldNumbers) -> bool:
    return len(numbers.exact) > 0


def _after(files: list[str], other: str) -> list[str]:
    # What test and validation share is told once, from one side.
    return files[files.index(other) + 1 :] if other in files else files


def constants(manifest: Mapping[str, Any]) -> list[str]:
    """The words that the templates of a build put into every record."""
    templates = [step["template"] for step in manifest.get("steps", ()) if "template" in step]
    pieces = [Formatter().parse(text) for text in _strings(templates)]
    return [constant for constant, *_ in chain.from_iterable(pieces)]


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def numbers_of_lines(lines: Iterable[bytes]) -> Iterator[dict[str, FieldNumbers]]:
    """The texts of records by speaker: questions of any length, others from five words on; no system prompts."""
    remaining = iter(lines)
    while batch := list(islice(remaining, _AT_ONCE)):
        fields: dict[str, list[str]] = {}
        for line in batch:
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                # The check of the file names such a line.
                continue
            if isinstance(record, dict):
                for field, text in _spoken(record):
                    fields.setdefault(field, []).append(text)
        yield numbers_of(fields)


def _spoken(record: JsonObject) -> Iterator[tuple[str, str]]:
    for field, content in _contents(record):
        if isinstance(content, list):
            content = _whole(content)
        # Split no further than to know that there are enough words.
        if isinstance(content, str) and (
            (field in ("user", "prompt") and content.strip())
            or len(content.split(None, MIN_KEY_WORDS - 1)) >= MIN_KEY_WORDS
            or (not content.isascii() and count_words(normalise(content)) >= MIN_KEY_WORDS)
        ):
            yield field, content


def _whole(parts: Sequence[object]) -> str:
    """The text of a message in parts, its images by content."""
    known = [part for part in parts if isinstance(part, dict)]
    sources = [part.get("image_url") for part in known]
    images = [str(source.get("url")) for source in sources if isinstance(source, dict)]
    return with_attachments(" ".join(str(part["text"]) for part in known if "text" in part), images, ())


def _contents(record: JsonObject) -> Iterator[tuple[str, object]]:
    for key, value in record.items():
        messages = value.get("messages") if key == "input" and isinstance(value, dict) else value
        if key in _SPOKEN and isinstance(messages, list):
            for message in messages:
                if isinstance(message, dict) and message.get("role") not in ("system", "developer"):
                    name = str(message.get("role")) if key in _CONVERSATIONS else key
                    yield name, message.get("content")
                    yield "reasoning", message.get("reasoning_content")
        else:
            # The texts of a completion, and the reference fields of reinforcement.
            yield key, value
