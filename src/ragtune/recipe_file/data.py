"""The table `[data]` of a recipe file, and the dataset that is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from ragtune.errors import DatasetError
from ragtune.recipe_file.sections import Count, Section, Share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.dataset import Dataset, DatasetBuilder
    from ragtune.dataset.render.batches import SourceRow

__all__ = ["DataSection"]

_PACKED = (".gz", ".bz2", ".xz")
_WORKBOOKS = (".xlsx", ".xls", ".xlsb", ".ods")
_TEMPLATES = {
    ("user", "assistant"): "chat",
    ("prompt", "completion"): "completion",
    ("prompt", "completion", "label"): "unpaired",
    ("prompt", "preferred", "rejected"): "preference",
}


def _some_file(rows: str | list[str]) -> str | list[str]:
    if not rows:
        raise PydanticCustomError("ragtune", "data.rows names no file; give one, several, a pattern or a folder")
    return rows


class DataSection(Section):
    """`[data]`: where the rows come from, which are kept, what a record looks like, how they are split."""

    rows: Annotated[str | list[str], AfterValidator(_some_file)] = Field(
        description="File of rows (csv, tsv, jsonl, json, parquet, xlsx and other workbooks), several, or a pattern; "
        "or a folder of documents, a chunk a row."
    )
    user: str | None = Field(default=None, description="Template of the question, for example '{Question}'.")
    assistant: str | None = Field(default=None, description="Template of the answer, for example '{Answer}'.")
    system: str | None = Field(default=None, description="System prompt; it goes with every question.")
    prompt: str | None = Field(default=None, description="Template of a prompt: of completions or of preference pairs.")
    completion: str | None = Field(
        default=None, description="Template of the text that goes on after the prompt; with label, of the answer."
    )
    label: str | None = Field(default=None, description="Column of the verdict on a completion: good, or bad.")
    preferred: str | None = Field(default=None, description="Template of the better answer of a pair.")
    rejected: str | None = Field(default=None, description="Template of the worse answer of a pair.")
    layout: str | None = Field(
        default=None, description="Layout of finished rows in place of templates, for example 'alpaca'."
    )
    ignore: list[str] = Field(default=[], description="With layout: further keys of the rows that are not trained.")
    require: list[str] = Field(default=[], description="Columns that a row must have text in; other rows are dropped.")
    newest_by: str | None = Field(
        default=None, description="Column of times: of rows with one question the newest is kept."
    )
    deduplicate: bool = Field(default=False, description="Drop rows that repeat question and answer.")
    take: Count | None = Field(default=None, description="Only the first so many rows.")
    sample: Count | None = Field(default=None, description="Only so many rows, drawn by lot.")
    mask_private: bool = Field(default=False, description="Cover secrets and personal data (extra 'privacy').")
    delimiter: str | None = Field(default=None, description="Sign between the fields of a CSV file; default ','.")
    encoding: str | None = Field(default=None, description="Encoding of a CSV file; default utf-8.")
    sheet: str | int | None = Field(default=None, description="Sheet of a workbook: its name, or its number from 1.")
    validation: Share = Field(default=0.0, description="Share of the rows for validation.")
    test: Share = Field(default=0.0, description="Share of the rows for test.")
    group_by: list[str] = Field(default=[], description="Columns whose equal values keep rows in one split.")
    stratify_by: str | None = Field(
        default=None, description="Column of classes that keep their shares in every split."
    )
    fact_id: str | None = Field(default=None, description="Column of the fact that a row teaches.")
    seed: int = Field(default=0, description="Decides which rows go where.")

    def builder(self, folder: Path = Path()) -> DatasetBuilder:
        """The recipe of the dataset; nothing is read yet.

        Args:
            folder: what relative paths start from.
        """
        return self.templated(self.kept(folder))

    def kept(self, folder: Path = Path(), *, question: Sequence[str] = (), answer: str | None = None) -> DatasetBuilder:
        """The rows that are left, before anything is made of them.

        Args:
            folder: as in `builder`.
            question: columns of the question; default: those that the templates name.
            answer: column of the answer; likewise.
        """
        builder = self.source(folder)
        # In this order, however the file has it: what is left out is neither drawn by lot nor counted.
        for column in self.require:
            builder = builder.filter(_Has(column), reason=f"no {column}")
        if self.newest_by is not None:
            builder = builder.keep_newest(per=question or self._columns("user", "prompt"), by=self.newest_by)
        if self.deduplicate:
            asked = (question or self._columns("user", "prompt"))[0]
            answered = answer or self._columns("assistant", "completion", "preferred")[0]
            builder = builder.deduplicate(question=asked, answer=answered)
        if self.sample is not None:
            builder = builder.sample(self.sample, seed=self.seed)
        if self.take is not None:
            builder = builder.take(self.take)
        if self.mask_private:
            builder = builder.mask_private()
        return builder

    def build(
        self, target: Path, *, folder: Path = Path(), builder: DatasetBuilder | None = None, overwrite: bool = False
    ) -> Dataset:
        """Build the dataset into `target`; see `ragtune.DatasetBuilder.build`.

        Args:
            target: folder of the dataset.
            folder: as in `builder`.
            builder: makes the records in place of `builder(folder)`, by a recipe.
            overwrite: replace a dataset that is there.
        """
        return (builder or self.builder(folder)).build(
            target,
            validation=self.validation,
            test=self.test,
            seed=self.seed,
            # Each by itself: together in one list they would be one combination.
            group_by=[[name] for name in self.group_by],
            stratify_by=self.stratify_by,
            # Rows of a recipe know their fact.
            fact_id=self.fact_id if builder is None else None,
            overwrite=overwrite,
        )

    def source(self, folder: Path = Path()) -> DatasetBuilder:
        """The rows as their files give them.

        Raises:
            DatasetError: a file does not exist, or its name tells no kind that can be read.
        """
        from ragtune.dataset import DatasetBuilder
        from ragtune.documents import ENDINGS

        names = [self.rows] if isinstance(self.rows, str) else list(self.rows)
        paths = [str(folder / name) for name in names]
        if len(paths) == 1 and (Path(paths[0]).is_dir() or Path(paths[0]).suffix.lower() in ENDINGS):
            return DatasetBuilder.from_documents(paths[0])
        kind = _kind_of(names)
        if kind in (".csv", ".tsv"):
            delimiter = self.delimiter or ("," if kind == ".csv" else "\t")
            return DatasetBuilder.from_csv(paths, delimiter=delimiter, encoding=self.encoding or "utf-8")
        if kind in _WORKBOOKS:
            return DatasetBuilder.from_excel(paths, sheet=self.sheet)
        read = {
            ".jsonl": DatasetBuilder.from_jsonl,
            ".json": DatasetBuilder.from_json,
            ".parquet": DatasetBuilder.from_parquet,
        }
        return read[kind](paths)

    def described(self, folder: Path = Path()) -> dict[str, object]:
        """The files of the rows, each with its size and sha256."""
        return self.source(folder)._source.described()

    def first_row(self, folder: Path = Path()) -> SourceRow:
        """The first row as its file gives it.

        Raises:
            DatasetError: there is none.
        """
        from ragtune.dataset.sources.readers import rows_of

        source = self.source(folder)._source
        first = next(rows_of(source), None)
        if first is None:
            raise DatasetError(f"{source.name} has no rows; there is nothing to build from")
        return first

    def all_rows(self, folder: Path = Path()) -> list[SourceRow]:
        """The rows as their files give them, in memory."""
        from ragtune.dataset.sources.readers import rows_of

        return list(rows_of(self.source(folder)._source))

    def templated(self, builder: DatasetBuilder, *, recipe: bool = False) -> DatasetBuilder:
        """Say what a record looks like.

        Args:
            builder: the rows.
            recipe: a recipe makes them, whose columns are question and answer.

        Raises:
            DatasetError: the templates are of no kind of record, or of two.
        """
        names = ("user", "assistant", "prompt", "completion", "label", "preferred", "rejected")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.layout is not None:
            if given:
                raise DatasetError(f"layout and {next(iter(given))} are both given; a layout makes the records itself")
            return builder.layout(self.layout, ignore=self.ignore, system=self.system)
        if self.ignore:
            raise DatasetError("ignore names keys that a layout passes over, and there is no layout; give it, too")
        # What every row of a recipe has, whatever the columns of the file are called.
        if recipe and not given:
            given = {"user": "{question}", "assistant": "{answer}"}
        # In the order of `names`, which is that of the table's keys.
        kind = _TEMPLATES.get(tuple(given))
        if kind is None:
            ways = "; ".join(" and ".join(way) for way in _TEMPLATES)
            has = ", ".join(given) or "none of them"
            raise DatasetError(f"what does a record look like? Give {ways}; or layout. There is {has}")
        if self.system is not None:
            if kind == "completion":
                raise DatasetError("completions have no place for a system prompt; put it into the prompt")
            given["system"] = self.system
        made: DatasetBuilder = getattr(builder, kind)(**given)
        return made

    def _columns(self, *names: str) -> list[str]:
        """The columns of the first of these templates that is given.

        Raises:
            DatasetError: there is none, or it names no column.
        """
        from string import Formatter

        for name in names:
            if (template := getattr(self, name)) is not None:
                columns = [column for _, column, _, _ in Formatter().parse(template) if column]
                if columns:
                    return columns
        raise DatasetError(f"which column is meant? None of {', '.join(names)} names one, for example '{{Question}}'")


class _Has:
    """Whether a row has text in a column."""

    def __init__(self, column: str) -> None:
        self._column = column

    def __call__(self, row: SourceRow) -> bool:
        if self._column not in row:
            raise DatasetError(
                f"require names column {self._column!r}, which is not there; the columns are "
                f"{', '.join(map(repr, row))}"
            )
        value = row[self._column]
        return bool(value.strip() if isinstance(value, str) else value)


def _kind_of(names: list[str]) -> str:
    """The ending that says how files are read.

    Raises:
        DatasetError: it says nothing, or they differ.
    """
    paths = [Path(name) for name in names]
    # A packed file is read as it is; what it holds the ending before tells.
    endings = {(path.with_suffix("") if path.suffix in _PACKED else path).suffix.lower() for path in paths}
    known = (".csv", ".tsv", ".jsonl", ".json", ".parquet", *_WORKBOOKS)
    if len(endings) > 1:
        raise DatasetError(f"the files are of several kinds ({', '.join(sorted(endings))}); give files of one kind")
    ending = endings.pop() if endings else ""
    if ending not in known:
        raise DatasetError(
            f"{names[0] if names else 'rows'}: how it is read goes by its ending, one of {', '.join(known)}"
        )
    return ending
