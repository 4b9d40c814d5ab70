"""One file of a dataset: its records, and what is known of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from ragtune.checks import open_training_file
from ragtune.checks.schema import way_in
from ragtune.dataset.leakage.overlap import FieldNumbers, numbers_of_lines
from ragtune.dataset.way_back import as_dataset, columns_of
from ragtune.errors import DatasetError, RecordError
from ragtune.records import RecordFormat, detect_format, parse_record
from ragtune.records.json_values import read_json

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import datasets
    import pandas as pd

    from ragtune.records import AnyRecord, JsonObject


@dataclass(frozen=True, kw_only=True)
class Split:
    """One file of a dataset; an unused split is empty and has no path.

    Iterating reads one record at a time, `len()` counts them.

    Attributes:
        name: `train`, `validation` or `test`.
        path: the JSONL file, None when the split is empty.
        sha256: of the file's bytes, None when the split is empty.
        bytes: size of the file.
        rows: number of records, the same as `len()`.

    Example:
        ```python
        import ragtune as rt

        rows = [{"question": f"What is {n} + 1?", "answer": f"{n + 1}"} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}").build("out")
        print(len(dataset.train), len(dataset.test), next(iter(dataset.train)).messages[0].text)
        #> 12 0 What is 0 + 1?
        ```
    """

    name: str
    format: RecordFormat
    path: Path | None = None
    sha256: str | None = None
    bytes: int = 0
    rows: int = 0

    def __repr__(self) -> str:
        return f"Split({self.name!r}, {self.rows:,} {self.format} records, {str(self.path or '')!r})"

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[AnyRecord]:
        for number, line in self.lines():
            try:
                yield parse_record(line, self.format)
            except RecordError as error:
                raise RecordError(f"{self.path} line {number}: {error}") from None

    # The field of this name hides the type within the class.
    def lines(self) -> Iterator[tuple[int, builtins.bytes]]:
        """The lines that are not blank, each with its number, without a byte order mark."""
        if self.path is None:
            return
        with open_training_file(self.path) as file:
            for number, line in enumerate(file, 1):
                # Files made elsewhere may begin with it, and a reader of JSON would stumble.
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not line.isspace():
                    yield number, line

    def _numbers(self) -> Iterator[Mapping[str, FieldNumbers]]:
        return numbers_of_lines(line for _, line in self.lines())

    def _values(self) -> list[JsonObject]:
        if self.path is None:
            return []
        import jsonlines

        with open_training_file(self.path) as file:
            try:
                # With a reader that keeps whole numbers beyond 64 bits, of which orjson makes floats.
                return list(jsonlines.Reader(file, loads=read_json).iter(type=dict, skip_empty=True))
            except jsonlines.InvalidLineError as error:
                raise RecordError(f"{self.path} line {error.lineno}: {error}") from None

    def to_pandas(self) -> pd.DataFrame:
        """The records as a data frame with one column per key; holds the whole split in memory.

        A key that a record lacks is None, and does not change the values of the others.
        """
        import pandas as pd

        columns = columns_of(self._values())
        return pd.DataFrame({name: _series(values) for name, values in columns.items()})

    def to_hf(self) -> datasets.Dataset:
        """The records as a `datasets.Dataset`; holds the whole split in memory.

        Each row is what went in, but for keys that a record lacks, which are None: a column that Arrow would change,
        because its objects differ in their keys or its values in their types, has the feature `Json`.

        Raises:
            DatasetError: a value that `datasets` cannot hold, such as a whole number beyond 64 bits.
        """
        return as_dataset(columns_of(self._values()))


def _series(values: list[Any]) -> pd.Series[Any]:
    import pandas as pd

    # pandas would make fractions of whole numbers beside a gap.
    return pd.Series(values, dtype=object) if None in values else pd.Series(values)


def read_split(name: str, path: Path, format: RecordFormat) -> Split:
    """The facts of a finished file, read once.

    Raises:
        DatasetError: it cannot be read.
    """
    digest = hashlib.sha256()
    size = rows = 0
    with open_training_file(path) as file:
        for line in file:
            digest.update(line)
            size += len(line)
            rows += not line.isspace()
    return Split(name=name, format=format, path=path, sha256=digest.hexdigest(), bytes=size, rows=rows)


def format_of_file(path: Path) -> RecordFormat:
    """The record kind of the first line.

    Raises:
        DatasetError: it cannot be read, is empty, or begins with something else.
    """
    import jsonlines

    with open_training_file(path) as file:
        try:
            first = jsonlines.Reader(file, loads=orjson.loads).read(type=dict, skip_empty=True)
        except EOFError:
            raise DatasetError(f"{path} is empty; give a file with one record per line") from None
        except jsonlines.InvalidLineError as error:
            raise DatasetError(f"{path} line {error.lineno}: {error}; check_file lists all problems") from None
    way = way_in(first)
    found = detect_format(first) if way is None else None
    if found is None:
        keys = ", ".join(map(repr, first))
        raise DatasetError(
            f"{path} starts with no training record; its keys are {keys:.200}: {way or 'build records of such rows'}"
        )
    return found
