"""From rows to a dataset: choose rows, say what a record looks like, build."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from ragtune import _arguments as arguments
from ragtune._html import table
from ragtune.catalog import ENCODINGS
from ragtune.checks.private import masked
from ragtune.dataset.dataset import Dataset, dataset_of
from ragtune.dataset.deduplicate import DuplicatePair, Form, deduplicate_step, duplicate_pairs
from ragtune.dataset.leakage.assignment import check_seed, check_shares
from ragtune.dataset.leakage.grouping import SplitPlan
from ragtune.dataset.leakage.held_out import HeldOut
from ragtune.dataset.leakage.overlap import FieldNumbers, Overlap, find_overlap, numbers_of
from ragtune.dataset.masking import Masker
from ragtune.dataset.render.executors import Engine, run
from ragtune.dataset.render.filters import apply_steps
from ragtune.dataset.render.pipeline import BuildBatch, making_steps
from ragtune.dataset.render.rows import Selection, missing_column
from ragtune.dataset.render.steps import names_behind
from ragtune.dataset.report.audit import FactAudit, audit_rows
from ragtune.dataset.report.preview import Preview
from ragtune.dataset.steps import Steps
from ragtune.dataset.writing.writer import build_folder
from ragtune.errors import DatasetError
from ragtune.records import parse_record
from ragtune.tokens import record_counter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ragtune.catalog import Encoding
    from ragtune.dataset.render.batches import Column, SourceRow
    from ragtune.dataset.render.filters import Step
    from ragtune.dataset.render.rendered import BuildCounts, Made
    from ragtune.dataset.sources.recipe_rows import NumberedRow
    from ragtune.facts import FactSet
    from ragtune.records import AnyRecord
    from ragtune.tokens import RecordCounter, TokenCounter


class DatasetBuilder(Steps):
    """A recipe for a dataset: where rows come from, which are kept, what a record looks like.

    Every method returns a new builder; nothing is read before `preview` or `build`. Filters see the rows as the source
    gives them. Templates hold text and plain column names in braces, `{{` and `}}` stand for braces.

    Example:
        ```python
        import ragtune as rt

        rows = [
            {"question": f"What is {n} + {n}?", "answer": f"{2 * n}", "note": "" if n % 4 == 0 else "doubling"}
            for n in range(20)
        ]
        builder = (
            rt.DatasetBuilder.from_rows(rows)
            .filter(lambda row: row["note"], reason="no note")
            .chat(system="You are good at sums.", user="{question}", assistant="{answer} ({note})")
        )
        dataset = builder.build("out", validation=0.1, seed=7)
        print(len(dataset.train), len(dataset.validation), dict(dataset.report.dropped))
        #> 13 2 {'no note': 5}
        ```
    """

    def rows(self) -> Iterator[SourceRow]:
        """The source rows that the steps leave, before any template, one by one; for retrieval, facts or a look.

        Raises:
            DatasetError: the source cannot be read.

        Example:
            ```python
            import ragtune as rt

            builder = rt.DatasetBuilder.from_rows([{"n": 1}, {"n": 2}]).filter(lambda row: row["n"] > 1, reason="small")
            print(list(builder.rows()))
            #> [{'n': 2}]
            ```
        """
        for selection in self._selections():
            yield from selection.rows()

    def duplicates(
        self, *, question: str, answer: str, context: str | None = None, answers: Form = "exact"
    ) -> Iterator[DuplicatePair]:
        """Each row that `deduplicate` with these arguments would drop, beside the one that stays; nothing is written.

        Ask before the step is added: behind it there are none. The texts of the rows that stay are held in memory.

        Raises:
            DatasetError: an empty source, or a column that is not there.
        """
        return duplicate_pairs(
            self._selections(), deduplicate_step(question=question, answer=answer, context=context, answers=answers)
        )

    def preview(self, count: int = 5) -> Preview:
        """The first finished records; nothing is written.

        Raises:
            DatasetError: no template, an empty source, or a row that makes no record.
        """
        count = arguments.whole_number("count", count)
        build_batch = self._build_batch(SplitPlan())
        found: list[AnyRecord] = []
        for rows in self._selections():
            # A template or function makes the records that are shown, and not a batch of them.
            rows.cut(count - len(found))
            made = build_batch.make(rows)
            # By the kind that was made: its keys alone may fit another one.
            found.extend(parse_record(line, made.counts.format) for line in made.data.split(b"\n")[:-1])
            if len(found) >= count:
                break
        return Preview(records=tuple(found))

    def audit(
        self, *, question: str, answer: str, context: str | None = None, distractors: Sequence[str] = ()
    ) -> FactAudit:
        """Count repeated questions, contradictions and wrong choices among the rows that the filters leave.

        Args:
            question: column of the question.
            answer: column of the answer.
            context: column of the passage; rows are duplicates only when it is the same, too.
            distractors: columns of wrong choices.

        Raises:
            DatasetError: an empty source, or a column that is not there.
        """
        wrong = arguments.texts("distractors", distractors)
        given = {"question": question, "answer": answer, **({} if context is None else {"context": context})}
        columns = [arguments.text(name, value) for name, value in given.items()]

        def rows() -> Iterator[tuple[int, SourceRow]]:
            for selection in self._selections():
                # Only to name the column that is not there; the rows are read one by one.
                for name in (*columns, *wrong):
                    selection.column(name, who="audit")
                yield from zip(selection.numbers(), selection.rows(), strict=True)

        return audit_rows(rows(), question=question, answer=answer, context=context, distractors=wrong)

    def overlap(self, other: DatasetBuilder, *, columns: Sequence[str]) -> Overlap:
        """What the rows share with those of another source, column by column; nothing is written.

        Args:
            other: where the texts of this builder's rows are looked for, usually the training rows.
            columns: columns that both have; blank texts do not count.

        Raises:
            DatasetError: an empty source, or a column that is not there.
        """
        arguments.instance("other", other, DatasetBuilder, "for finished files there is Dataset.overlap")
        names = arguments.texts("columns", columns)

        def fields(builder: DatasetBuilder) -> Iterator[Mapping[str, FieldNumbers]]:
            for rows in builder._selections():
                yield numbers_of({name: _spoken(rows.column(name, who="overlap")) for name in names})

        return find_overlap({"rows": lambda: fields(self)}, {"other rows": lambda: fields(other)})

    def build(
        self,
        folder: str | Path,
        *,
        validation: float = 0.0,
        test: float = 0.0,
        seed: int = 0,
        group_by: str | Sequence[str] | Sequence[Sequence[str]] = (),
        stratify_by: str | None = None,
        near_duplicates: bool = False,
        fact_id: str | None = None,
        held_out: FactSet | None = None,
        overwrite: bool = False,
        count: Encoding | None = None,
        counter: TokenCounter | None = None,
        engine: Engine = "in_process",
    ) -> Dataset:
        """Write the dataset into a folder; records keep the order of their rows.

        Rows that share a question or a longer text stay on one side, see `ragtune.dataset.leakage.grouping`. Files
        appear under their final names only when all of them are written and read back.

        Args:
            folder: new or empty, unless `overwrite`.
            validation: share of rows for validation, in [0, 1). Groups that stay together may change it, which the
                report says; more than a tenth of all rows beside it is refused.
            test: share of rows for test, in [0, 1).
            seed: an integer that decides which rows go where; the same seed gives the same files.
            group_by: a column whose equal values keep rows on one side as well, for example the document of a passage.
                `("document", "page")` means rows with the same page of the same document, as in SQL;
                `[["document"], ["page"]]` rows with the same document or the same page.
            stratify_by: a column of classes that keep their shares in every split; a split that lacks one is reported.
            near_duplicates: keep rows on one side that share nearly the same text, see
                `ragtune.dataset.near_duplicates`.
            fact_id: column of the fact that a row teaches. Rows of one fact stay on one side, the row map names the
                fact of each record, and the manifest says how many facts stand on both sides: none. Rows of a recipe
                know their facts by themselves.
            held_out: questions of an evaluation that no row may hold, alone or inside a longer text, for example
                `facts.select("reworded")`; beside those that a recipe was given.
            overwrite: replace the dataset that is in the folder: the files that its manifest lists and that have not
                changed since. Other files in it stay; what is in the way, or the source of this build, is refused.
            count: an encoding in which tokens are counted on the way; `token_counts` and all that needs them then do
                not read the file again. Ray leaves it out.
            counter: a faster exact counter for it; None takes tiktoken.
            engine: where records are made: `"in_process"`, or `"ray"` on the Ray cluster that this process is
                connected to, else on a local one. The files are the same; `benchmarks/ray_engine.py` says when it pays.

        Raises:
            DatasetError: no template, an empty source, no row left, a row that makes no record, shares out of range or
                out of reach, a seed that is no integer, a row with a held-out question or without the id of its fact, a
                folder that is occupied or cannot be written, or another build that is at work there.
            SpecError: the counter counts otherwise than tiktoken.
            MissingExtraError: `near_duplicates` without the extra `dedup`, `engine="ray"` without the extra `ray`.
        """
        check_shares(validation, test)
        folder, overwrite = arguments.path("folder", folder), arguments.flag("overwrite", overwrite)
        if count is not None:
            arguments.one_of("count", count, ENCODINGS)
        told = self._source.told_by_recipe
        together = [(name,) for name in (*self._source.together, *(("passage",) if told else ()))]
        plan = SplitPlan(
            validation=validation,
            test=test,
            seed=check_seed(seed),
            group_by=tuple(dict.fromkeys((*_combinations(group_by), *together))),
            stratify_by=None if stratify_by is None else arguments.text("stratify_by", stratify_by),
            near_duplicates=arguments.flag("near_duplicates", near_duplicates),
            fact_id=("fact_id" if told else None) if fact_id is None else arguments.text("fact_id", fact_id),
        )
        counted = count if engine == "in_process" else None
        counting = None if counted is None else record_counter(counted, counter=counter)
        batches = self._made(self._build_batch(plan, counting, held_out), engine)
        sources = self._source.paths
        manifest, counts = build_folder(
            batches,
            self._described,
            folder,
            plan=plan,
            overwrite=overwrite,
            sources=sources,
            scanner=self._scanner,
        )
        known = {} if counted is None else {counted: tuple(chain.from_iterable(counts.tokens))}
        dataset = dataset_of(folder, manifest, token_counts=known)
        if self._source.built is not None:
            self._source.built(dataset)
        return dataset

    def _build_batch(
        self, plan: SplitPlan, counter: RecordCounter | None = None, held_out: FactSet | None = None
    ) -> BuildBatch:
        if self._template is None:
            raise DatasetError(
                "say what a record looks like first: .chat(), .completion(), .preference(), .unpaired(), ... or "
                ".records()"
            )
        return BuildBatch(
            template=self._template,
            steps={},
            hidden=self._dropped_columns,
            scanner=self._scanner,
            plan=plan,
            counter=counter,
            held_out=HeldOut.of(*self._source.held_out, *(() if held_out is None else (held_out,))),
            told_by_recipe=self._source.told_by_recipe,
        )

    def _made(self, build_batch: BuildBatch, engine: Engine) -> Iterator[Made]:
        """The lines batch by batch."""
        # What must see all rows in their order is done here; the steps behind it run with the rest.
        in_order = max((place for place, step in enumerate(self._steps) if step.in_order), default=-1)
        further = {
            place: step.start(partial(self._read, self._steps[:place]))
            for place, step in enumerate(self._steps)
            if place > in_order
        }
        return run(engine, replace(build_batch, steps=further), self._read(self._steps[: in_order + 1]))

    def _selections(self) -> Iterator[Selection]:
        """The rows that the steps leave, batch by batch.

        Raises:
            DatasetError: the source has no rows, or a step or `drop_columns` names a column that is not there.
        """
        for rows in self._read(self._steps):
            if self._scanner is not None:
                rows.change_texts(Masker(self._scanner))
            yield rows

    def _numbered_rows(self) -> Iterator[NumberedRow]:
        for rows in self._read(self._steps):
            for index, (number, row) in enumerate(zip(rows.numbers(), rows.rows(), strict=True)):
                yield number, rows.place(index), row

    def _given(self) -> Iterator[Selection]:
        """The rows as the source gives them, or as the parts of a sum leave them."""
        start = 0
        if not self._parts:
            for batch in self._source.read():
                yield Selection(batch, range(start, start + len(batch)))
                start += len(batch)
        for part in self._parts:
            read = 0
            for rows in part._read(part._steps):
                read += rows.counts.read
                yield rows.of_part(start)
            start += read

    def _read(self, steps: Sequence[Step]) -> Iterator[Selection]:
        """The rows behind the first steps."""
        started = {place: step.start(partial(self._read, steps[:place])) for place, step in enumerate(steps)}
        read = 0
        later = self._steps[len(steps) :]
        unknown, seen = set(self._dropped_columns), dict[str, None]()
        for rows in self._given():
            read += rows.counts.read
            apply_steps(started, rows)
            # A key that the first rows lack may come later.
            if unknown and (names := names_behind(later, rows.names)) is not None:
                seen.update(dict.fromkeys(names))
                unknown -= seen.keys()
                # In a table every row has the same columns: none comes later.
                if unknown and rows.are_columns and not self._parts:
                    break
            yield rows
            if not all(step.wants_more for step in started.values()):
                break
        for name in sorted(unknown) if seen else ():
            raise DatasetError(missing_column(name, tuple(seen), "drop_columns"))
        if read == 0:
            raise DatasetError(f"{self._source.name} has no rows; there is nothing to build from")

    def _described(self, counts: BuildCounts) -> dict[str, object]:
        """Source and steps as the manifest keeps them, each step with the rows it dropped, by reason."""
        steps = [{**step.described(), "dropped": counts.of_step(place)} for place, step in enumerate(self._steps)]
        described: dict[str, object] = {"source": self._source.described(), "steps": [*steps, *self._making()]}
        if self._scanner is None:
            return described
        # A query, a file name or a template may hold what the records must not show.
        return {name: masked(value, self._scanner.mask) for name, value in described.items()}

    def _making(self) -> list[dict[str, object]]:
        return making_steps(self._template, self._dropped_columns, self._scanner)

    def _looks(self) -> list[tuple[str, str]]:
        """Source and steps for people."""
        shown = [("source", ", ".join(f"{key}={value}" for key, value in self._source.details.items()))]
        for step in (*(item.described() for item in self._steps), *self._making()):
            for name, value in step.items():
                shown += value.items() if isinstance(value, dict) else [(name, str(value))]
        return shown

    def __repr__(self) -> str:
        return f"DatasetBuilder({'; '.join(f'{name}: {value}' for name, value in self._looks())})"

    def _repr_html_(self) -> str:
        return table(self._looks(), head=("step", "DatasetBuilder"))


def _spoken(values: Column) -> list[str]:
    """The values of a column as texts, without blank ones."""
    texts = [str(value) for value in values if value]
    return [text for text in texts if text.strip()]


def _combinations(group_by: str | Sequence[str] | Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The combinations of columns by which rows stay together."""
    if isinstance(group_by, str):
        return ((group_by,),)
    if not isinstance(group_by, list | tuple):
        raise _no_group(group_by)
    given: list[object] = list(group_by)
    names = tuple(name for name in given if isinstance(name, str))
    if names == tuple(given):
        return (names,) if names else ()
    several = [tuple(names) for names in given if isinstance(names, list | tuple) and names]
    if len(several) < len(given) or not all(isinstance(name, str) for name in chain.from_iterable(several)):
        raise _no_group(group_by)
    return tuple(several)


def _no_group(group_by: object) -> DatasetError:
    return DatasetError(
        f"group_by={group_by!r:.80} must be a column, several columns that count together, ('document', 'page'), "
        f"or a list of such lists, each of which keeps rows together, [['document'], ['page']]"
    )
