"""The tables of a recipe file, each with what the library makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ragtune.errors import DatasetError, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.dataset import Dataset, DatasetBuilder
    from ragtune.dataset.render.batches import SourceRow
    from ragtune.facts import FactSet
    from ragtune.spec import TuneSpec

__all__ = ["BudgetSection", "DataSection", "EvaluationSection", "JobSection", "ModelSection", "ServerSection"]

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Usd = Annotated[float, Field(ge=0)]

_PACKED = (".gz", ".bz2", ".xz")
_WORKBOOKS = (".xlsx", ".xls", ".xlsb", ".ods")
_TEMPLATES = {
    ("user", "assistant"): "chat",
    ("prompt", "completion"): "completion",
    ("prompt", "completion", "label"): "unpaired",
    ("prompt", "preferred", "rejected"): "preference",
}
# Settings of some methods only.
_OF_METHODS = {"beta": ("kto", "dpo"), "desirable_weight": ("kto",), "undesirable_weight": ("kto",)}


class Section(BaseModel):
    """A table: keys that it does not know are refused, and values must be of their kind."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


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
        if recipe and not given:
            given = {"user": "{question}", "assistant": "{answer}"}
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


class ModelSection(Section):
    """`[model]`: what is trained."""

    base: str = Field(description="Base model, for example gpt-4o-mini-2024-07-18 or smollm2-135m-instruct.")
    local: str | None = Field(
        default=None, description="The base that stands for it where this machine trains; default: base itself."
    )


class JobSection(Section):
    """`[job]`: how it is trained; what is left out the server chooses."""

    method: Literal["supervised", "dpo", "kto"] = Field(default="supervised", description="How it learns.")
    n_epochs: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = Field(
        default="auto", description="Passes over the data."
    )
    batch_size: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default="auto", description="Examples per step."
    )
    learning_rate_multiplier: float | None = Field(
        default=None, description="Factor on the server's own rate (OpenAI)."
    )
    learning_rate: float | None = Field(default=None, description="The rate itself, where the server takes one.")
    beta: float | None = Field(default=None, description="dpo, kto: how closely to stay with the model as it was.")
    desirable_weight: float | None = Field(default=None, description="kto: how much good answers count; default 1.")
    undesirable_weight: float | None = Field(default=None, description="kto: how much bad answers count; default 1.")
    seed: int | None = Field(default=None, description="Same seed and settings should give the same model.")
    suffix: str | None = Field(default=None, description="Part of the tuned model's name.")

    def spec(self, base: str) -> TuneSpec:
        """The job on a base model.

        Raises:
            SpecError: settings that do not go together or are out of range.
        """
        from ragtune.spec import DPO, KTO, Absolute, Multiplier, Supervised, TuneSpec

        if self.learning_rate is not None and self.learning_rate_multiplier is not None:
            raise SpecError("learning_rate and learning_rate_multiplier are both given; leave one of them out")
        rate: Absolute | Multiplier | Literal["auto"] = "auto"
        if self.learning_rate is not None:
            rate = Absolute(self.learning_rate)
        if self.learning_rate_multiplier is not None:
            rate = Multiplier(self.learning_rate_multiplier)
        own = {name: value for name in _OF_METHODS if (value := getattr(self, name)) is not None}
        for name in own:
            if self.method not in (methods := _OF_METHODS[name]):
                raise SpecError(
                    f"{name} is a setting of {' and '.join(methods)}; leave it out, or set method to {methods[-1]!r}"
                )
        kind: type[Supervised | DPO | KTO] = {"supervised": Supervised, "dpo": DPO, "kto": KTO}[self.method]
        method = kind(n_epochs=self.n_epochs, batch_size=self.batch_size, learning_rate=rate, **own)
        return TuneSpec(model=base, method=method, seed=self.seed, suffix=self.suffix)


class ServerSection(Section):
    """`[server]`: who trains and answers. Keys are never in this file."""

    to: str = Field(
        default="local", description="local (this machine), openai, or the URL of a server that speaks its wire."
    )
    folder: str | None = Field(
        default=None, description="Folder of this machine's backend; default: in the folder of the run."
    )
    key_file: str | None = Field(default=None, description="File with the API key; default: OPENAI_API_KEY.")


class EvaluationSection(Section):
    """`[evaluation]`: what base and tuned model are asked, and who says what is right."""

    facts: str | None = Field(default=None, description="JSONL file of facts; default: what the dataset teaches.")
    split: Literal["train", "validation", "test"] = Field("train", description="Part of the dataset that is asked.")
    answer: str | None = Field(default=None, description="Column of the answer, where the template holds more than it.")
    passages: str | None = Field(
        default=None, description="Column of passages: base and tuned are asked with them as well."
    )
    failing_retrieval: bool = Field(
        default=False, description="With passages: also ask with none, and with false ones."
    )
    reword: Annotated[int, Field(ge=0)] = Field(default=1, description="Rewordings per question, made by rules.")
    questions: Count | None = Field(default=None, description="At most so many facts.")
    scorers: list[str] = Field(default=["contains", "f1"], description="The first one is shown.")
    max_tokens: Count = Field(default=64, description="Most tokens of an answer.")
    concurrency: Count = Field(default=8, description="Questions under way at once.")
    base: bool = Field(default=True, description="Ask the base model as well.")

    def facts_of(
        self, dataset: Dataset | None, *, rows: list[SourceRow] | None = None, folder: Path = Path()
    ) -> FactSet:
        """The facts that are asked for.

        Args:
            dataset: what was trained on, where `facts` names no file.
            rows: the rows that it was built of, where columns are named.
            folder: what relative paths start from.

        Raises:
            DatasetError: there are none.
        """
        from ragtune.facts import FactSet

        if self.facts is not None:
            facts = FactSet.from_jsonl(folder / self.facts)
        elif dataset is None:
            raise DatasetError("nothing says what to ask: name a file of facts, or a dataset")
        else:
            by_column = self.answer is not None
            facts = FactSet.from_dataset(
                dataset,
                split=self.split,
                rows=rows if by_column else None,
                answer=self.answer,
                context=self.passages if by_column else None,
                repeats="merge",
            )
        if self.questions is not None:
            facts = FactSet(facts=facts.facts[: self.questions])
        if self.reword and "reworded" not in facts.counts:
            facts = facts.with_wordings(kind="reworded", make="rules", per_fact=self.reword)
        return facts


class BudgetSection(Section):
    """`[budget]`: what may be spent at most, in US dollars; above it nothing is sent."""

    training_usd: Usd | None = Field(default=None, description="Of one training job.")
    evaluation_usd: Usd | None = Field(default=None, description="Of all answers of the evaluation.")


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
