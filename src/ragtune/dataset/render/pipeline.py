"""One batch of rows becomes one batch of lines: a pure function that any engine can run anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from math import isfinite
from numbers import Integral
from typing import TYPE_CHECKING

import orjson

from ragtune.dataset.bad_rows import BadRows
from ragtune.dataset.leakage.grouping import WISH, key_of
from ragtune.dataset.leakage.near_duplicates import near_keys
from ragtune.dataset.masking import Masker
from ragtune.dataset.render import arrow
from ragtune.dataset.render.filters import apply_steps
from ragtune.dataset.render.functions import FunctionRenderer, LaidOut, MakeRecord
from ragtune.dataset.render.rendered import BuildCounts, Made
from ragtune.dataset.render.renderer import Renderer
from ragtune.dataset.render.templates import Template
from ragtune.dataset.render.verdicts import VerdictRow
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from ragtune.dataset.leakage.grouping import SplitPlan
    from ragtune.dataset.leakage.held_out import HeldOut
    from ragtune.dataset.leakage.texts import Texts
    from ragtune.dataset.render.filters import RunningStep
    from ragtune.dataset.render.rendered import Lines, Origin
    from ragtune.dataset.render.rows import Selection
    from ragtune.privacy import Scanner
    from ragtune.tokens import RecordCounter


@dataclass(frozen=True, kw_only=True)
class BuildBatch:
    """`build_batch(table) -> table`: does the last steps, makes and checks records, and numbers their facts.

    The same rows give the same lines whatever came before them, so batches can be made in any order, by any process.
    It can be pickled when its functions can.

    Attributes:
        template: what a record looks like.
        steps: what becomes of rows first, each step by its place in the builder.
        hidden: columns that a function does not see.
        scanner: finds what is covered in every text; None covers nothing.
        plan: how the lines will be split.
        counter: counts the tokens of each record on the way, for rows that are in this process.
        held_out: wordings that no row may hold; None looks for none.
        told_by_recipe: whether rows say by which wording and recipe they were made.
    """

    template: Template | MakeRecord
    steps: Mapping[int, RunningStep]
    hidden: tuple[str, ...]
    scanner: Scanner | None
    plan: SplitPlan
    counter: RecordCounter | None = None
    held_out: HeldOut | None = None
    told_by_recipe: bool = False

    def __call__(self, table: pa.Table) -> pa.Table:
        """From a table of rows to a table of lines, see `ragtune.dataset.render.arrow`; an error is told in it."""
        rows = arrow.read_rows(table)
        # Before the steps, which may drop the first row: the number decides the place of what comes of the table.
        first = rows.number(0)
        try:
            return arrow.of_made(self.make(rows), first)
        except DatasetError as error:
            return arrow.of_error(error, first)

    def make(self, rows: Selection) -> Made:
        """The same without Arrow, for rows that are in this process.

        Raises:
            DatasetError: a filter or the template names a column that is not there, or a row makes no record.
        """
        apply_steps(self.steps, rows)
        if self.scanner is None:
            lines = self._renderer.render(rows)
        else:
            masker = Masker(self.scanner)
            # Before the template reads them, so that what is covered is counted by its column.
            rows.change_texts(masker)
            lines = _masked(self._renderer.render(rows), masker)
            rows.counts = rows.counts.plus(BuildCounts(masked=dict(masker.counts)))
        counts = BuildCounts(
            format=lines.format,
            systems=lines.systems,
            gaps=lines.gaps,
            tokens=() if self.counter is None else (lines.tokens(self.counter),),
        )
        ids = () if self.plan.fact_id is None else _fact_ids(rows, self.plan.fact_id)
        if self.held_out is not None:
            self.held_out.refuse(lines.texts(), rows.numbers())
        origins = _origins(rows) if self.told_by_recipe and ids else ()
        counts = replace(counts, origins=Counter(origins))
        made = Made(
            numbers=rows.numbers(), data=lines.data, counts=rows.counts.plus(counts), fact_ids=ids, origins=origins
        )
        # Without a split nobody asks what rows share, and to number their texts takes time.
        if not (self.plan.validation or self.plan.test):
            return made
        from ragtune.dataset.leakage.text_hashes import number

        said = lines.texts()
        column = self.plan.stratify_by
        classes = () if column is None else classes_of(rows, column)
        return replace(made, facts=number(said), group_keys=self._group_keys(rows, said), classes=classes)

    def _group_keys(self, rows: Selection, said: Texts) -> Sequence[list[int]]:
        if not self.plan.together and not self.plan.near_duplicates:
            return ()
        keys = list(near_keys(said)) if self.plan.near_duplicates else [[] for _ in said.per_row]
        for names in self.plan.together:
            texts = [classes_of(rows, name, who="group_by") for name in names]
            for own, values in zip(keys, zip(*texts, strict=True), strict=True):
                # The names keep equal values of two columns apart, and quotation marks two values of one combination.
                key = key_of(repr((names, *values)).encode("utf-8", "surrogatepass"))
                own.append(key & ~7 | WISH)
        return keys

    @cached_property
    def _renderer(self) -> Renderer | FunctionRenderer:
        if isinstance(self.template, Template):
            return Renderer(self.template)
        return FunctionRenderer(self.template, self.hidden)


def _fact_ids(rows: Selection, column: str) -> list[str]:
    """The ids of the facts, as text.

    Raises:
        BadRowsError: some are blank, or neither text nor a whole number.
    """
    bad, ids = BadRows(), []
    for index, value in enumerate(rows.column(column, who="fact_id")):
        ids.append(str(value))
        if isinstance(value, bool) or not isinstance(value, str | Integral) or not ids[-1].strip():
            bad.add(
                f"{rows.place(index)}, column {column!r}: the fact's id {value!r:.60} must be text or a whole number"
            )
    bad.refuse()
    return ids


def _origins(rows: Selection) -> list[Origin]:
    """By which wording and recipe each row was made."""
    wordings, recipes = (rows.column(name, who="the recipe") for name in ("wording", "recipe"))
    return [(str(wording), str(recipe)) for wording, recipe in zip(wordings, recipes, strict=True)]


def classes_of(rows: Selection, column: str, *, who: str = "stratify_by") -> list[str]:
    """A text for each value of a column, the same for values that are equal.

    Raises:
        DatasetError: the column is not there, or a value nests too deeply to be compared.
    """
    texts = []
    for index, value in enumerate(rows.column(column, who=who)):
        try:
            texts.append(value if isinstance(value, str) else str(_comparable(value)))
        except RecursionError:
            raise DatasetError(
                f"{rows.place(index)}, column {column!r}: the value nests too deeply to be compared; {who} takes a "
                f"column of texts or numbers"
            ) from None
    return texts


def _comparable(value: object) -> object:
    """A value whose text tells whether it equals another: 1 and 1.0 do, and objects whatever the order of keys."""
    if isinstance(value, Mapping):
        return sorted((str(key), str(_comparable(inner))) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return [_comparable(inner) for inner in value]
    # Not by a comparison, which a signalling NaN refuses. To `isfinite` 1E+999999999 is infinite: no int could hold it.
    if isinstance(value, Decimal) and value.is_snan():
        return "nan"
    if isinstance(value, float | Decimal) and isfinite(value):
        return int(value) if value == int(value) else float(value)
    # Scalars and arrays of NumPy.
    return _comparable(value.tolist()) if hasattr(value, "tolist") else value


def _masked(lines: Lines, masker: Masker) -> Lines:
    """Cover what the template, its joins or a function brought in beside the texts of the rows."""
    data = masker.line(lines.data)
    systems = frozenset(None if system is None else masker.uncounted(system) for system in lines.systems)
    if data == lines.data:
        return replace(lines, systems=systems)
    # Tokens are counted of what is written: placeholders have others than what they cover.
    records = [orjson.loads(line) for line in data.split(b"\n")[:-1]]
    return replace(lines, data=data, systems=systems, tokens=lambda counter: counter.count(records))


def making_steps(
    template: Template | MakeRecord | None,
    hidden: tuple[str, ...],
    scanner: Scanner | None,
) -> list[dict[str, object]]:
    """What happens to the rows that are kept, for the manifest and for people."""
    steps: list[dict[str, object]] = []
    if scanner is not None:
        steps.append({"mask_private": {"kinds": list(scanner.kinds), "allow": list(scanner.allow)}})
    if hidden:
        steps.append({"drop_columns": list(hidden)})
    if isinstance(template, Template | VerdictRow):
        steps.append({"template": template.described()})
    elif isinstance(template, LaidOut):
        steps.append({"layout": template.layout, **({} if template.system is None else {"system": template.system})})
    elif template is not None:
        # What has no name of its own, such as a partial, would show an address that differs from run to run.
        steps.append({"records": getattr(template, "__qualname__", type(template).__qualname__)})
    return steps
