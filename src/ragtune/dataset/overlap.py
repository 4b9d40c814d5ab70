"""What two files share: whole texts, exactly and normalised, and runs of thirteen words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from itertools import islice
from string import Formatter
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ragtune.dataset.shingles import Shingles

    Fields = Mapping[str, Sequence[str]]
    Reader = Callable[[], Iterator[Fields]]

RUN_WORDS = 13
_AT_ONCE = 1_024
_LEAST_FILTER_BITS, _MOST_FILTER_BITS = 20, 28


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


def overlap_table(fields: Iterable[Mapping[str, Any]]) -> str:
    """The fields of an overlap as an HTML table."""
    head = ("in both", "field", "texts", "exact", "normalised", f"runs of {RUN_WORDS} words", "shared")
    rows = [
        f"<tr><td>{escape(item['file'])} in {escape(item['other'])}</td><td>{escape(item['field'])}</td>"
        + "".join(f"<td>{item[key]:,}</td>" for key in ("texts", "exact", "normalised", "runs", "shared_runs"))
        + "</tr>"
        for item in fields
    ]
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{''.join(rows)}</table>"


class _Sought:
    """The texts of one field that are looked for; keeps numbers, no texts."""

    def __init__(self) -> None:
        self.exact: list[int] = []
        self.normal: list[int] = []
        self._runs: list[npt.NDArray[np.uint64]] = []

    def add(self, texts: Sequence[str], numbers: Shingles) -> None:
        self.exact += map(hash, texts)
        self.normal += numbers.texts.tolist()
        self._runs.append(numbers.hashes)

    def finish(self, ignored: npt.NDArray[np.uint64]) -> None:
        """Sort the runs; from now on the field is searched for."""
        import numpy as np

        from ragtune.dataset.splits import distinct

        runs = np.concatenate([*self._runs, np.zeros(0, np.uint64)])
        runs = distinct(runs)
        self.runs = runs[~np.isin(runs, ignored)] if len(ignored) else runs
        self._runs.clear()
        # At most one place in sixteen is taken.
        bits = min(max(_LEAST_FILTER_BITS, len(self.runs).bit_length() + 4), _MOST_FILTER_BITS)
        self._mask = np.uint64((1 << bits) - 1)
        # Nearly every run of the other file is told apart by this table alone.
        self._maybe = np.zeros(1 << bits, dtype=np.bool_)
        self._maybe[self.runs & self._mask] = True
        self.forget()

    def forget(self) -> None:
        """Begin with another file."""
        import numpy as np

        self._exact_there: set[int] = set()
        self._normal_there: set[int] = set()
        self._shared = np.zeros(len(self.runs), dtype=np.bool_)
        self._all_exact, self._all_normal = set(self.exact), set(self.normal)

    def mark(self, texts: Sequence[str], numbers: Shingles) -> None:
        """Look at some texts of the other file."""
        import numpy as np

        self._exact_there |= self._all_exact.intersection(map(hash, texts))
        self._normal_there |= self._all_normal.intersection(numbers.texts.tolist())
        if len(self.runs):
            likely = numbers.hashes[self._maybe[numbers.hashes & self._mask]]
            places = np.minimum(np.searchsorted(self.runs, likely), len(self.runs) - 1)
            self._shared[places[self.runs[places] == likely]] = True

    def found(self, file: str, other: str, field: str) -> FieldOverlap:
        return FieldOverlap(
            file=file,
            other=other,
            field=field,
            texts=len(self.exact),
            exact=sum(number in self._exact_there for number in self.exact),
            normalised=sum(number in self._normal_there for number in self.normal),
            runs=len(self.runs),
            shared_runs=int(self._shared.sum()),
        )


def find_overlap(
    files: Mapping[str, Reader],
    others: Mapping[str, Reader],
    *,
    ignored: Sequence[str] = (),
) -> Overlap:
    """Look for the texts of `files` in `others`; a file is not compared with itself or with an earlier one of `files`.

    Args:
        files: name and a function that starts reading: batches of texts by field. Eight bytes per run of words are
            held.
        others: the same for the files that are searched; nothing of them is held.
        ignored: texts whose runs of words do not count, for example those of a template.
    """
    from ragtune.dataset.shingles import shingle

    sought: dict[str, dict[str, _Sought]] = {}
    skipped = shingle(ignored, RUN_WORDS).hashes
    searched_for = {other: _after(list(files), other) for other in others}
    for name, read in files.items():
        if not any(name in names for names in searched_for.values()):
            continue
        own = sought.setdefault(name, {})
        for batch in read():
            for field, texts in batch.items():
                own.setdefault(field, _Sought()).add(texts, shingle(texts, RUN_WORDS))
        for item in own.values():
            item.finish(skipped)
    found = []
    for other, read in others.items():
        wanted = [name for name in searched_for[other] if sought[name]]
        if not wanted:
            continue
        for batch in read():
            for field, texts in batch.items():
                numbers = shingle(texts, RUN_WORDS)
                for name in wanted:
                    if field in sought[name]:
                        sought[name][field].mark(texts, numbers)
        for name in wanted:
            for field, item in sought[name].items():
                found.append(item.found(name, other, field))
                item.forget()
    return Overlap(fields=tuple(sorted(found, key=lambda item: (list(files).index(item.file), item.other, item.field))))


def _after(files: list[str], other: str) -> list[str]:
    return files[files.index(other) + 1 :] if other in files else files


def constants(manifest: Mapping[str, Any]) -> list[str]:
    """The words that the templates of a build put into every record."""
    templates = [step["template"] for step in manifest.get("steps", ()) if "template" in step]
    sources = [text for template in templates for text in _strings(template)]
    return [constant for source in sources for constant, *_ in Formatter().parse(source)]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)


def fields_of_lines(lines: Iterable[bytes]) -> Iterator[Fields]:
    """Texts by speaker from lines of records: questions of any length, others from five words on; no system prompts."""
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
        yield fields


def _spoken(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from ragtune.dataset.splits import MIN_KEY_WORDS

    for field, content in _contents(record):
        if isinstance(content, list):
            content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        if isinstance(content, str) and (
            (field in ("user", "prompt") and content.strip())
            or len(content.split(None, MIN_KEY_WORDS - 1)) >= MIN_KEY_WORDS
        ):
            yield field, content


def _contents(record: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        messages = value.get("messages") if key == "input" and isinstance(value, dict) else value
        if key in ("messages", "input", "preferred_output", "non_preferred_output") and isinstance(messages, list):
            for message in messages:
                if isinstance(message, dict) and message.get("role") not in ("system", "developer"):
                    name = str(message.get("role")) if key in ("messages", "input") else key
                    yield name, message.get("content")
        else:
            yield key, value
