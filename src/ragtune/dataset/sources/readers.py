"""Where rows come from. Every source yields batches and can be read again, so that a preview costs nothing."""

from __future__ import annotations

import codecs
import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ragtune.dataset.render.rows import BATCH_ROWS, ArrowBatch, Batch, RowBatch, SourceRow
from ragtune.dataset.sources.json_stream import Document
from ragtune.dataset.sources.memory_map import read_mapped
from ragtune.errors import DatasetError
from ragtune.layouts import get_layout

if TYPE_CHECKING:
    import datasets
    import pandas as pd

_HUB_COMMIT = re.compile(r"hf://datasets/[^@]+@([0-9a-f]{40})/")
Rows = Iterable[SourceRow]
_ROWS_IN_JSON = "rows must be a list of objects, or the only list in an object"
_LOCAL_WAYS = "from_json, from_jsonl, from_csv, from_parquet, from_pandas or from_rows"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows and where they come from.

    Attributes:
        name: how messages call it.
        details: what the manifest keeps, so that the rows can be found again.
        read: starts reading from the first row.
    """

    name: str
    details: Mapping[str, object]
    read: Callable[[], Iterator[Batch]]
    path: Path | None = None

    def described(self) -> dict[str, object]:
        """What the manifest keeps; a file with its size and sha256."""
        if self.path is None:
            return dict(self.details)
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {**self.details, "sha256": digest, "bytes": self.path.stat().st_size}


def rows_of(source: Source) -> Iterator[SourceRow]:
    """The rows of a source, one by one."""
    return chain.from_iterable(batch.rows() for batch in source.read())


def batched_rows(rows: Iterable[Any], name: str) -> Iterator[Batch]:
    """Group rows into batches and refuse what is not a mapping."""
    iterator = iter(rows)
    start = 0
    while batch := list(islice(iterator, BATCH_ROWS)):
        for index, row in enumerate(batch):
            if not isinstance(row, Mapping):
                raise DatasetError(
                    f"{name}, row {start + index}: a row must be a mapping of column names to values, "
                    f"got {type(row).__name__} {row!r:.60}"
                )
        yield RowBatch(batch)
        start += len(batch)


def rows_source(rows: Rows | Callable[[], Rows], name: str = "rows") -> Source:
    """Rows from memory: a list, any other iterable, or a function that gives a fresh one each time."""
    if callable(rows):
        start: Callable[[], Rows] = rows
    elif isinstance(rows, Iterator):
        start = _Remembering(rows)
    else:
        start = lambda: rows  # noqa: E731
    return Source(name=name, details={"kind": "rows"}, read=lambda: batched_rows(start(), name))


class _Remembering:
    """Lets a one-way iterator be looked at for a preview and then be read once, without holding all its rows."""

    def __init__(self, iterator: Iterator[SourceRow]) -> None:
        self._iterator = iterator
        self._seen: list[SourceRow] = []
        self._used_up = False

    def __call__(self) -> Iterator[SourceRow]:
        if self._used_up:
            raise DatasetError(
                "this iterator of rows was read to its end and cannot be read again; "
                "pass a list, or a function that starts a new iterator"
            )
        return self._read()

    def _read(self) -> Iterator[SourceRow]:
        yield from list(self._seen)
        for row in self._iterator:
            # A batch is as much as a preview asks for; who reads beyond it builds.
            if len(self._seen) < BATCH_ROWS:
                self._seen.append(row)
            else:
                self._used_up = True
            yield row


def laid_out(source: Source, name: str, ignore: Sequence[str]) -> Source:
    """The same rows, converted from a layout that gives plain rows; one source row may become several.

    Raises:
        DatasetError: no layout has this name.
    """
    layout = get_layout(name)

    def converted() -> Iterator[object]:
        for number, row in enumerate(rows_of(source)):
            yield from layout.convert(row, number=number, ignore=ignore)

    details = {**source.details, "layout": name}
    return replace(source, details=details, read=lambda: batched_rows(converted(), source.name))


def noted(source: Source, query: str | None) -> Source:
    """The same rows with a note about where they come from."""
    return source if query is None else replace(source, details={**source.details, "query": query})


def existing_file(path: str | Path) -> Path:
    """The path of a file that exists.

    Raises:
        DatasetError: it does not exist or is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise DatasetError(f"{path} is a folder; give the file with the rows")
    if not path.exists():
        raise DatasetError(f"{path} does not exist; give the path of a file with the rows")
    return path


def file_source(path: str | Path, kind: str, read: Callable[[Path], Iterator[Batch]]) -> Source:
    """Rows from one file."""
    path = existing_file(path)
    return Source(name=str(path), details={"kind": kind, "file": path.name}, read=lambda: read(path), path=path)


def read_jsonl(path: Path) -> Iterator[Batch]:
    """Rows from JSONL: one object per line; a byte order mark, CR LF and blank lines are passed over."""
    return batched_rows(_jsonl_rows(path), str(path))


def _jsonl_rows(path: Path) -> Iterator[object]:
    loads = orjson.loads
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                yield loads(line)
            except orjson.JSONDecodeError as error:
                # Tried only when the line is no JSON: hardly any line is blank.
                if line.isspace() or not line:
                    continue
                raise DatasetError(_bad_json(path, number, line, error)) from None


def _bad_json(path: Path, number: int, line: bytes, error: Exception) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as wrong:
        byte = line[wrong.start]
        return (
            f"{path} line {number}: byte {wrong.start} (0x{byte:02x}) is not UTF-8; "
            f"convert the file, for example with iconv -f {_likely_encoding(path)} -t utf-8"
        )
    return f"{path} line {number} is not JSON: {error}; every line must hold one object"


def read_json(path: Path) -> Iterator[Batch]:
    """Rows from a JSON array of objects, or from the one list that an object holds; read piece by piece."""
    return batched_rows(_json_rows(path), str(path))


def _json_rows(path: Path) -> Iterator[object]:
    with path.open(encoding="utf-8-sig") as file:
        document = Document(file)
        try:
            if document.take("["):
                yield from document.items()
            elif document.take("{"):
                yield from _rows_in_object(path, document)
            elif document.next_sign():
                raise DatasetError(f"{path} holds {type(document.value()).__name__}; {_ROWS_IN_JSON}")
            _refuse_more(path, document)
        except json.JSONDecodeError as error:
            raise DatasetError(f"{path} is not JSON: {error.msg} (near character {document.place:,})") from None
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x}; convert the file, for example with "
                f"iconv -f {_likely_encoding(path)} -t utf-8"
            ) from None


def _rows_in_object(path: Path, document: Document) -> Iterator[object]:
    """The values of the one list in an object."""
    lists: list[str] = []
    for key in document.names():
        if not document.take("["):
            document.value()
            continue
        lists.append(key)
        for value in document.items():
            if len(lists) == 1:
                yield value
    _refuse_more(path, document)
    if len(lists) != 1:
        raise DatasetError(f"{path} holds an object with the lists {lists}; {_ROWS_IN_JSON}")


def _refuse_more(path: Path, document: Document) -> None:
    if document.next_sign():
        raise DatasetError(f"{path} is not JSON: there is more behind its end; for one object per line use from_jsonl")


def csv_source(path: str | Path, delimiter: str, encoding: str) -> Source:
    """Rows from a CSV file with a header; every value is text.

    Raises:
        DatasetError: the file does not exist or is a folder, or an option makes no sense.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise DatasetError(f"delimiter={delimiter!r} must be one sign between fields, for example ',', ';' or a tab")
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:
        raise DatasetError(f"encoding={encoding!r} is not known; for example utf-8, cp1252 or utf-16") from None
    source = file_source(path, "csv", lambda path: batched_rows(_csv_rows(path, delimiter, codec), str(path)))
    options = {"delimiter": delimiter, "encoding": codec}
    defaults = {"delimiter": ",", "encoding": "utf-8"}
    return replace(source, details={**source.details, **dict(options.items() - defaults.items())})


def _csv_rows(path: Path, delimiter: str, encoding: str) -> Iterator[SourceRow]:
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
        reader = csv.DictReader(file, strict=True, delimiter=delimiter)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise DatasetError(
                        f"{path} line {reader.line_num}: this row has not as many fields as the header "
                        f"({len(reader.fieldnames or ())}); quote fields that hold the delimiter {delimiter!r} or line "
                        f"breaks, or pass the delimiter of this file"
                    )
                yield row
        except csv.Error as error:
            raise DatasetError(f"{path} line {reader.line_num} is not CSV: {error}") from error
        except UnicodeError as error:
            raise DatasetError(
                f"{path} is not {encoding.upper()}: {error}; pass its encoding, for example "
                f"encoding={_likely_encoding(path)!r}"
            ) from None


def _likely_encoding(path: Path) -> str:
    """UTF-16 shows itself by the mark at its start; what else is not UTF-8 is most often from Windows."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "cp1252"


def read_parquet(path: Path) -> Iterator[Batch]:
    """Rows from a Parquet file, batch by batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Reading ahead would hold the whole file: measured 330 MB more for 660 MB of rows.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield ArrowBatch(batch)
    except pa.ArrowInvalid as error:
        raise DatasetError(f"{path} is not a Parquet file: {error}") from error


def pandas_source(frame: pd.DataFrame) -> Source:
    """Rows from a data frame; missing values become None."""

    def read() -> Iterator[Batch]:
        for start in range(0, len(frame), BATCH_ROWS):
            part = frame.iloc[start : start + BATCH_ROWS]
            # As objects: otherwise pandas turns None into NaN, and whole numbers beside it into fractions.
            columns = {
                str(name): part[name].astype(object).where(part[name].notna(), None).tolist() for name in part.columns
            }
            yield Batch(tuple(columns), len(part), columns)

    return Source(name="data frame", details={"kind": "pandas", "rows": len(frame)}, read=read)


def hf_source(
    dataset: datasets.Dataset | datasets.IterableDataset, details: Mapping[str, object] | None = None
) -> Source:
    """Rows from a `datasets.Dataset`, read as Arrow, or from an `IterableDataset`."""
    import datasets as hf

    if not isinstance(dataset, hf.Dataset | hf.IterableDataset):
        hint = '; choose a split, for example dataset["train"]' if isinstance(dataset, Mapping) else ""
        raise DatasetError(f"from_dataset takes a datasets.Dataset, got {type(dataset).__name__}{hint}")
    known = {"kind": "datasets", **(details or {}), **_resolved(dataset.info)}
    name = str(known.get("hub", "dataset"))
    if isinstance(dataset, hf.Dataset):
        # The fingerprint names the content and the steps that led to it.
        known.setdefault("fingerprint", dataset._fingerprint)
        arrow = dataset.with_format("arrow")
        files = {file["filename"] for file in dataset.cache_files}
        return Source(
            name=name, details=known, read=lambda: map(ArrowBatch, read_mapped(arrow.iter(BATCH_ROWS), files))
        )

    def read() -> Iterator[Batch]:
        for columns in dataset.iter(BATCH_ROWS):
            yield Batch(tuple(columns), len(next(iter(columns.values()), ())), columns)

    return Source(name=name, details=known, read=read)


def _resolved(info: datasets.DatasetInfo) -> dict[str, str]:
    """The commit on the hub that the rows come from, where `datasets` noted it beside the files that it fetched."""
    commits = {found[1] for url in info.download_checksums or () if (found := _HUB_COMMIT.match(str(url)))}
    return {"resolved_revision": commits.pop()} if len(commits) == 1 else {}


def hub_source(
    repository: str, *, split: str, name: str | None, revision: str | None, streaming: bool, token: str | None
) -> Source:
    """Rows from the Hugging Face hub.

    Raises:
        DatasetError: it cannot be loaded; the message names the local ways.
    """
    import datasets as hf

    try:
        dataset = hf.load_dataset(repository, name, split=split, revision=revision, streaming=streaming, token=token)
    except Exception as error:
        # The hub client raises many types for "no network", "no such repository" and "no such split".
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(
            f"{repository!r} (split {split!r}) cannot be loaded from the hub: {reason[:200]}; "
            f"without a network use a local file or rows: {_LOCAL_WAYS}"
        ) from error
    version = str(dataset.info.version) if dataset.info.version else None
    details = {
        "kind": "hub",
        "hub": repository,
        "config": name,
        "split": split,
        "revision": revision,
        "version": version,
    }
    return hf_source(dataset, {key: value for key, value in details.items() if value is not None})
