"""Where rows come from. Every source yields batches and can be read again, so that a preview costs nothing."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune import _arguments as arguments
from ragtune._extras import require
from ragtune.dataset.bad_rows import BadRows
from ragtune.dataset.render.batches import BATCH_ROWS, ArrowBatch, Batch, RowBatch, SourceRow
from ragtune.dataset.sources.files.columns import refuse_doubled
from ragtune.dataset.sources.files.csv_rows import csv_rows
from ragtune.dataset.sources.files.excel_rows import excel_rows
from ragtune.dataset.sources.files.json_rows import json_rows, jsonl_rows
from ragtune.dataset.sources.files.paths import Paths, described_files, existing_files
from ragtune.errors import DatasetError
from ragtune.layouts import get_layout

if TYPE_CHECKING:
    import pandas as pd

    from ragtune.facts import FactSet

Rows = Iterable[SourceRow]
# The line of each row that was read and stands in no batch yet.
Lines = list[int]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows and where they come from.

    Attributes:
        name: how messages call it.
        details: what the manifest keeps, so that the rows can be found again.
        read: starts reading from the first row.
        paths: the files that it reads.
        built: is told of each dataset that was built from it; None for sources that keep no account.
        parts: the sources that it is the sum of, each with what its steps say of themselves.
        told_by_recipe: whether each row says its fact, wording and recipe, see `ragtune.recipes.RecipeRow`.
        held_out: questions that no record may hold.
        together: columns whose equal values keep rows in one split, beside those that `build` is given.
    """

    name: str
    details: Mapping[str, object]
    read: Callable[[], Iterator[Batch]]
    paths: tuple[Path, ...] = ()
    built: Callable[[Any], None] | None = None
    parts: tuple[tuple[Source, Sequence[Mapping[str, object]]], ...] = ()
    told_by_recipe: bool = False
    held_out: tuple[FactSet, ...] = ()
    together: tuple[str, ...] = ()

    def described(self) -> dict[str, object]:
        """What the manifest keeps; each file with its size and sha256."""
        if self.parts:
            parts = [{"source": source.described(), "steps": list(steps)} for source, steps in self.parts]
            return {**self.details, "parts": parts}
        return {**self.details, **(described_files(self.paths) if self.paths else {})}


def rows_of(source: Source) -> Iterator[SourceRow]:
    """The rows of a source, one by one."""
    return chain.from_iterable(batch.rows() for batch in source.read())


def joined(parts: Sequence[tuple[Source, Sequence[Mapping[str, object]]]]) -> Source:
    """Sources one after the other, each with what is said of its steps; none that keeps account of what is built."""
    sources = [source for source, _ in parts]
    return Source(
        name=" and ".join(source.name for source in sources),
        details={"kind": "sum", "of": [dict(source.details) for source in sources]},
        read=lambda: chain.from_iterable(source.read() for source in sources),
        paths=tuple(chain.from_iterable(source.paths for source in sources)),
        parts=tuple(parts),
        told_by_recipe=all(source.told_by_recipe for source in sources),
        held_out=tuple(chain.from_iterable(source.held_out for source in sources)),
        together=tuple(dict.fromkeys(chain.from_iterable(source.together for source in sources))),
    )


def batched_rows(rows: Iterable[Any], name: str, *, lines: Lines | None = None, unit: str = "line") -> Iterator[Batch]:
    """Group rows into batches and refuse what is not a mapping.

    Args:
        rows: the rows.
        name: how messages call them.
        lines: where whoever gives the rows notes the line of each.
        unit: what is counted there.
    """
    iterator = iter(rows)
    start = 0
    while batch := list(islice(iterator, BATCH_ROWS)):
        for index, row in enumerate(batch):
            if not isinstance(row, Mapping):
                raise DatasetError(
                    f"{name}, row {start + index}: a row must be a mapping of column names to values, "
                    f"got {type(row).__name__} {row!r:.60}"
                )
        rows_of_batch = RowBatch(batch)
        if lines is not None:
            # A partial and not a lambda: batches may go to other processes.
            rows_of_batch.where = partial(_line, f"{Path(name).name} {unit}", tuple(lines))
            lines.clear()
        yield rows_of_batch
        start += len(batch)


def _line(file: str, lines: Sequence[int], index: int) -> str:
    return f"{file} {lines[index]}"


def _row_of_file(file: str, start: int, index: int) -> str:
    return f"{file} row {start + index}"


def _placed(path: Path, batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches of one of several files; each row knows its number there where it knows no line."""
    start = 0
    for batch in batches:
        batch.where = batch.where or partial(_row_of_file, path.name, start)
        yield batch
        start += len(batch)


def rows_source(rows: Rows | Callable[[], Rows], *, name: str = "rows") -> Source:
    """Rows from memory: a list, any other iterable, or a function that gives a fresh one each time."""
    start = fresh_rows(rows, "from_rows takes an iterable of mappings")
    return Source(name=name, details={"kind": "rows"}, read=lambda: batched_rows(_noting_rows(start()), name))


def fresh_rows(rows: Any, takes: str) -> Callable[[], Iterable[Any]]:
    """What begins anew each time with an iterable, a one-way iterator, or a function that gives either.

    Raises:
        DatasetError: it is none of these; `takes` says what is taken.
    """
    if callable(rows):
        start: Callable[[], Iterable[Any]] = rows
        return start
    # Asked before "iterable", which an iterator is as well: read twice it would be empty the second time.
    if isinstance(rows, Iterator):
        return _Remembering(rows)
    if not isinstance(rows, Iterable):
        raise DatasetError(f"{takes}, got {type(rows).__name__} {rows!r:.60}")
    return lambda: rows


def _noting_rows(rows: Rows) -> Iterator[SourceRow]:
    """The same rows; an error of the user's own iterable says where it came."""
    number = 0
    try:
        for row in rows:
            yield row
            number += 1
    except Exception as error:
        error.add_note(f"while row {number} was read from the rows given to from_rows()")
        raise


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
        # Of a copy, since whoever reads at the same time may add to it.
        yield from list(self._seen)
        for row in self._iterator:
            # A batch is as much as a preview asks for; who reads beyond it builds.
            if len(self._seen) < BATCH_ROWS:
                self._seen.append(row)
            else:
                self._used_up = True
            yield row


def laid_out(source: Source, *, name: str, ignore: Sequence[str]) -> Source:
    """The same rows, converted from a layout that gives plain rows; one source row may become several.

    Raises:
        DatasetError: no layout has this name.
    """
    layout = get_layout(name)

    def converted() -> Iterator[object]:
        bad = BadRows()
        for number, row in enumerate(rows_of(source)):
            try:
                for made in layout.convert(row, number=number, ignore=ignore):
                    # Behind a bad row the others are only looked at for further ones.
                    if not bad:
                        yield made
            except DatasetError as error:
                bad.add(str(error))
        bad.refuse()

    details = {**source.details, "layout": name}
    return replace(source, details=details, read=lambda: batched_rows(converted(), source.name))


def noted(source: Source, query: str | None) -> Source:
    """The same rows with a note about where they come from."""
    if query is None:
        return source
    return replace(source, details={**source.details, "query": arguments.text("query", query)})


def file_source(path: Paths, kind: str, read: Callable[[Path], Iterator[Batch]]) -> Source:
    """Rows from one file, or from several, one after the other.

    Raises:
        DatasetError: a file does not exist or is a folder, or a pattern fits none.
    """
    # Read when rows are asked for: a program may have changed its directory by then.
    paths = tuple(path.absolute() for path in existing_files(path, ending=f".{kind}"))
    several = {"files": [path.name for path in paths]} if len(paths) > 1 else {"file": paths[0].name}
    name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    return Source(
        name=name,
        details={"kind": kind, **several},
        read=lambda: chain.from_iterable(_placed(path, read(path)) if len(paths) > 1 else read(path) for path in paths),
        paths=paths,
    )


def read_jsonl(path: Path) -> Iterator[Batch]:
    """Rows from JSONL: one object per line."""
    lines: Lines = []
    return batched_rows(jsonl_rows(path, lines), str(path), lines=lines)


def read_json(path: Path) -> Iterator[Batch]:
    """Rows from a JSON document, read piece by piece."""
    return batched_rows(json_rows(path), str(path))


def csv_source(path: Paths, *, delimiter: str, encoding: str, skipinitialspace: bool) -> Source:
    """Rows from CSV files with a header; every value is text.

    Raises:
        DatasetError: a file does not exist or is a folder, or an option makes no sense.
    """
    if len(arguments.text("delimiter", delimiter)) != 1 or delimiter in '"\r\n':
        raise DatasetError(f"delimiter={delimiter!r} must be one sign between fields, for example ',', ';' or a tab")
    try:
        # By its one name: the manifest is the same for `utf8` and `UTF-8`.
        codec = codecs.lookup(arguments.text("encoding", encoding)).name
        # Python also has codecs that are no encodings of text, such as base64: a file of text refuses them.
        io.TextIOWrapper(io.BytesIO(), encoding=codec)
    except LookupError:
        raise DatasetError(f"encoding={encoding!r} is not known; for example utf-8, cp1252 or utf-16") from None
    arguments.flag("skipinitialspace", skipinitialspace)

    def read(path: Path) -> Iterator[Batch]:
        lines: Lines = []
        rows = csv_rows(path, delimiter=delimiter, encoding=codec, skipinitialspace=skipinitialspace, lines=lines)
        return batched_rows(rows, str(path), lines=lines)

    source = file_source(path, "csv", read)
    options = {"delimiter": delimiter, "encoding": codec, "skipinitialspace": skipinitialspace}
    defaults = {"delimiter": ",", "encoding": "utf-8", "skipinitialspace": False}
    return replace(source, details={**source.details, **dict(options.items() - defaults.items())})


def excel_source(path: Paths, sheet: str | int | None, *, header: int | None) -> Source:
    """Rows from a sheet of workbooks; every value is text.

    Raises:
        DatasetError: a file does not exist or is a folder.
        MissingExtraError: the extra `excel` is not installed.
    """
    require("excel", "python_calamine", reason="from_excel")
    if sheet is not None and (isinstance(sheet, bool) or not isinstance(sheet, int | str)):
        raise DatasetError(f"sheet={sheet!r:.60} must be the name of a sheet, or its number from 1")
    top = None if header is None else arguments.whole_number("header", header, least=1)

    def read(path: Path) -> Iterator[Batch]:
        lines: Lines = []
        return batched_rows(excel_rows(path, sheet=sheet, header=top, lines=lines), str(path), lines=lines, unit="row")

    source = file_source(path, "xlsx", read)
    options = {"sheet": sheet, "header": top}
    return replace(source, details={**source.details, **{key: value for key, value in options.items() if value}})


def read_parquet(path: Path) -> Iterator[Batch]:
    """Rows from a Parquet file, batch by batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        # Reading ahead would hold the whole file: measured 330 MB more for 660 MB of rows.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            refuse_doubled(file.schema_arrow.names, path)
            for batch in file.iter_batches(BATCH_ROWS):
                yield ArrowBatch(batch)
                row += len(batch)
    except (pa.ArrowException, OSError) as error:
        # Arrow says OSError of damaged data, too.
        place = f"{path} is not a Parquet file" if not row else f"{path} is damaged behind row {row - 1:,}"
        raise DatasetError(f"{place}: {error}") from error


def pandas_source(frame: pd.DataFrame) -> Source:
    """Rows from a data frame; missing values become None.

    Raises:
        DatasetError: it is none, or two of its columns have one name.
    """
    import pandas as pd

    given: object = frame
    if not isinstance(given, pd.DataFrame):
        instead = "frame.to_frame()" if isinstance(given, pd.Series) else "from_rows for a list of mappings"
        raise DatasetError(f"from_pandas takes a DataFrame, got {type(given).__name__}; use {instead}")
    refuse_doubled(list(map(str, frame.columns)), "data frame")

    def read() -> Iterator[Batch]:
        for start in range(0, len(frame), BATCH_ROWS):
            part = frame.iloc[start : start + BATCH_ROWS]
            # As objects: otherwise pandas turns None into NaN, and whole numbers beside it into fractions.
            columns = {
                str(name): part[name].astype(object).where(part[name].notna(), None).tolist() for name in part.columns
            }
            yield Batch(tuple(columns), len(part), columns)

    return Source(name="data frame", details={"kind": "pandas", "rows": len(frame)}, read=read)
