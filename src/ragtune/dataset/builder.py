"""From rows to a dataset: choose rows, say what a record looks like, build."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from ragtune._html import table
from ragtune.checks.private import masked
from ragtune.dataset.dataset import Dataset, dataset_of
from ragtune.dataset.deduplicate import Deduplicate, DuplicatePair, Form, deduplicate_step, duplicate_pairs
from ragtune.dataset.leakage.assignment import check_seed, check_shares
from ragtune.dataset.leakage.grouping import SplitPlan
from ragtune.dataset.leakage.held_out import HeldOut
from ragtune.dataset.leakage.overlap import FieldNumbers, Overlap, find_overlap, numbers_of
from ragtune.dataset.masking import Masker
from ragtune.dataset.render.executors import Engine, run
from ragtune.dataset.render.filters import Filter, Predicate, drop_rows
from ragtune.dataset.render.pipeline import BuildBatch, making_steps
from ragtune.dataset.render.rows import Column, RowBatch, Selection, SourceRow, missing_column
from ragtune.dataset.render.templates import (
    Template,
    chat_template,
    completion_template,
    preference_template,
    reinforcement_template,
)
from ragtune.dataset.report.audit import FactAudit, audit_rows
from ragtune.dataset.report.preview import Preview
from ragtune.dataset.sources.constructors import Constructors
from ragtune.dataset.writer import build_folder
from ragtune.errors import DatasetError
from ragtune.records import parse_record
from ragtune.tokens import record_counter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ragtune.catalog import Encoding
    from ragtune.dataset.render.functions import MakeRecord
    from ragtune.dataset.render.rendered import BuildCounts, Made
    from ragtune.dataset.sources.readers import Source
    from ragtune.facts import FactSet
    from ragtune.privacy import Kind, Scanner
    from ragtune.records import AnyRecord
    from ragtune.tokens import RecordCounter, TokenCounter


class _Changes(TypedDict, total=False):
    """What one builder has otherwise than another."""

    source: Source
    filters: tuple[Filter | Deduplicate, ...]
    dropped_columns: tuple[str, ...]
    template: Template | MakeRecord
    scanner: Scanner | None


class DatasetBuilder(Constructors):
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

    def __init__(
        self,
        source: Source,
        *,
        filters: tuple[Filter | Deduplicate, ...] = (),
        dropped_columns: tuple[str, ...] = (),
        template: Template | MakeRecord | None = None,
        scanner: Scanner | None = None,
    ) -> None:
        super().__init__(source)
        self._filters = filters
        self._dropped_columns = dropped_columns
        self._template = template
        self._scanner = scanner

    # Steps

    def filter(self, keep: Predicate, *, reason: str) -> DatasetBuilder:
        """Keep the rows for which `keep(row)` is true; the report counts the others under `reason`.

        Args:
            keep: sees one row of the source as a mapping.
            reason: why rows are dropped, for people.
        """
        return self._with(filters=(*self._filters, Filter(keep=keep, reason=reason)))

    def deduplicate(
        self, *, question: str, answer: str, context: str | None = None, answers: Form = "exact"
    ) -> DatasetBuilder:
        """Keep the first of all rows with the same question and context in normal form and the same answer.

        The report counts exact repetitions as `duplicate` and further ones as `duplicate once normalised`; `duplicates`
        shows each pair. The numbers of the facts are held in memory, about 250 bytes per row.

        Args:
            question: column of the question.
            answer: column of the answer; a question with another answer is a contradiction and stays, see `audit`.
            context: column of the passage; the same question on another passage stays.
            answers: `"exact"` compares answers as they are, `"normalised"` in normal form, too.

        Raises:
            DatasetError: `answers` is neither.
        """
        step = deduplicate_step(question, answer, context, answers)
        return self._with(filters=(*self._filters, step))

    def duplicates(
        self, *, question: str, answer: str, context: str | None = None, answers: Form = "exact"
    ) -> Iterator[DuplicatePair]:
        """Each row that `deduplicate` with these arguments would drop, beside the one that stays; nothing is written.

        Ask before the step is added: behind it there are none. The texts of the rows that stay are held in memory.

        Raises:
            DatasetError: an empty source, or a column that is not there.
        """
        return duplicate_pairs(self._selections(), deduplicate_step(question, answer, context, answers))

    def drop_columns(self, *names: str) -> DatasetBuilder:
        """Hide columns from the template; filters still see them."""
        return self._with(dropped_columns=(*self._dropped_columns, *names))

    def mask_private(self, *, allow: Sequence[str] = (), kinds: Sequence[Kind] | None = None) -> DatasetBuilder:
        """Put `[EMAIL]`, `[API_KEY]` and the like in place of secrets and personal data in every text.

        That is: in the rows that templates and functions see, however deep, and in the records that come of them, with
        the constants of a template, what a function adds, and the arguments of tools. Keys stay, and filters see the
        rows as they are. The manifest counts what was covered by kind, and what a scan of the written files found.

        Args:
            allow: values that may stay, in any case; `"@acme.com"` stands for every address there.
            kinds: what is covered; None takes all of `ragtune.privacy.KINDS`.

        Raises:
            DatasetError: an unknown kind, or `allow` is one text.
            MissingExtraError: the extra `privacy` is not installed.
        """
        from ragtune.privacy import KINDS, Scanner

        return self._with(scanner=Scanner(kinds=KINDS if kinds is None else tuple(kinds), allow=allow))

    def chat(self, *, user: str, assistant: str, system: str | None = None) -> DatasetBuilder:
        """One question and one answer per row, for chat models.

        Args:
            user: template of the user's message.
            assistant: template of the answer, which is what the model learns.
            system: template of the system prompt; None leaves it out.

        Raises:
            DatasetError: a template is empty or malformed, or the builder has one already.
        """
        return self._filled(chat_template(system=system, user=user, assistant=assistant))

    def completion(self, *, prompt: str, completion: str) -> DatasetBuilder:
        """A legacy prompt/completion pair per row.

        Args:
            prompt: template of the prompt; `""` makes open-ended text.
            completion: template of the text to learn.

        Raises:
            DatasetError: a template is empty or malformed, or the builder has one already.
        """
        return self._filled(completion_template(prompt=prompt, completion=completion))

    def preference(self, *, prompt: str, preferred: str, rejected: str, system: str | None = None) -> DatasetBuilder:
        """One preference pair per row, for direct preference optimisation.

        Args:
            prompt: template of the user's message.
            preferred: template of the answer that is wanted.
            rejected: template of the answer that is not.
            system: template of the system prompt; None leaves it out.

        Raises:
            DatasetError: a template is empty or malformed, or the builder has one already.
        """
        return self._filled(preference_template(prompt=prompt, preferred=preferred, rejected=rejected, system=system))

    def reinforcement(self, *, user: str, reference: Mapping[str, str], developer: str | None = None) -> DatasetBuilder:
        """One question per row for the model to answer itself, with reference fields for the grader.

        Args:
            user: template of the user's message.
            reference: a template per reference field; graders read it as `item.<field>`.
            developer: template of the instructions; None leaves them out.

        Raises:
            DatasetError: a template is empty or malformed, or the builder has one already.
        """
        return self._filled(reinforcement_template(user=user, reference=reference, developer=developer))

    def records(self, make: MakeRecord) -> DatasetBuilder:
        """Records from a Python function: several turns, tools, images, whatever a record may hold.

        Args:
            make: gets a row, without the dropped columns, and returns a record or a dict that is one. All records of a
                dataset must be of one kind.

        Raises:
            DatasetError: the builder has a template already.
        """
        return self._filled(make)

    def _filled(self, template: Template | MakeRecord) -> Self:
        if self._template is not None:
            raise DatasetError("this builder has a template already; start a second builder for a second record kind")
        if isinstance(template, Template):
            hidden = [name for name in template.columns if name in self._dropped_columns]
            if hidden:
                raise DatasetError(f"the template names column {hidden[0]!r}, which drop_columns took away")
        return self._with(template=template)

    def _on(self, source: Source) -> Self:
        return self._with(source=source)

    def _with(self, **changes: Unpack[_Changes]) -> Self:
        return type(self)(
            changes.get("source", self._source),
            filters=changes.get("filters", self._filters),
            dropped_columns=changes.get("dropped_columns", self._dropped_columns),
            template=changes.get("template", self._template),
            scanner=changes.get("scanner", self._scanner),
        )

    # Results

    def preview(self, count: int = 5) -> Preview:
        """The first finished records; nothing is written.

        Raises:
            DatasetError: no template, an empty source, or a row that makes no record.
        """
        build_batch = self._build_batch(SplitPlan())
        found: list[AnyRecord] = []
        for rows in self._selections():
            rows.cut(count - len(found))
            found.extend(parse_record(line) for line in build_batch.make(rows).data.split(b"\n")[:-1])
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

        def rows() -> Iterator[SourceRow]:
            for selection in self._selections():
                # Only to name the column that is not there; the rows are read one by one.
                for name in filter(None, (question, answer, context, *distractors)):
                    selection.column(name)
                yield from selection.rows()

        return audit_rows(rows(), question=question, answer=answer, context=context, distractors=tuple(distractors))

    def overlap(self, other: DatasetBuilder, *, columns: Sequence[str]) -> Overlap:
        """What the rows share with those of another source, column by column; nothing is written.

        Args:
            other: where the texts of this builder's rows are looked for, usually the training rows.
            columns: columns that both have; blank texts do not count.

        Raises:
            DatasetError: an empty source, or a column that is not there.
        """

        def fields(builder: DatasetBuilder) -> Iterator[Mapping[str, FieldNumbers]]:
            for rows in builder._selections():
                yield numbers_of({name: _spoken(rows.column(name)) for name in columns})

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
                fact of each record, and the manifest says how many facts stand on both sides: none.
            held_out: questions of an evaluation that no row may hold, alone or inside a longer text, for example
                `facts.select("reworded")`.
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
        if stratify_by is not None and not isinstance(stratify_by, str):
            raise DatasetError(f"stratify_by={stratify_by!r:.60} must be the name of one column")
        plan = SplitPlan(
            validation=validation,
            test=test,
            seed=check_seed(seed),
            group_by=_combinations(group_by),
            stratify_by=stratify_by,
            near_duplicates=near_duplicates,
            fact_id=fact_id,
        )
        counted = count if engine == "in_process" else None
        counting = None if counted is None else record_counter(counted, counter)
        batches = self._made(self._build_batch(plan, counting, held_out), engine)
        sources = self._source.paths
        manifest, counts = build_folder(
            batches,
            self._described,
            Path(folder),
            plan=plan,
            overwrite=overwrite,
            sources=sources,
            scanner=self._scanner,
        )
        known = {} if counted is None else {counted: tuple(chain.from_iterable(counts.tokens))}
        dataset = dataset_of(Path(folder), manifest, known)
        if self._source.built is not None:
            self._source.built(dataset)
        return dataset

    def _build_batch(
        self, plan: SplitPlan, counter: RecordCounter | None = None, held_out: FactSet | None = None
    ) -> BuildBatch:
        if self._template is None:
            raise DatasetError(
                "say what a record looks like first: .chat(), .completion(), .preference(), ... or .records()"
            )
        return BuildBatch(
            template=self._template,
            filters={},
            hidden=self._dropped_columns,
            scanner=self._scanner,
            plan=plan,
            counter=counter,
            held_out=None if held_out is None else HeldOut.of(held_out),
        )

    def _made(self, build_batch: BuildBatch, engine: Engine) -> Iterator[Made]:
        """The lines batch by batch."""
        # What remembers rows must see them all in order; the filters behind it need not, so they run with the rest.
        steps = dict(enumerate(self._filters))
        in_order = max((place for place, step in steps.items() if isinstance(step, Deduplicate)), default=-1)
        further = {place: step for place, step in steps.items() if place > in_order and isinstance(step, Filter)}
        return run(engine, replace(build_batch, filters=further), self._read(self._filters[: in_order + 1]))

    def _selections(self) -> Iterator[Selection]:
        """The rows that the filters leave, batch by batch.

        Raises:
            DatasetError: the source has no rows, or a filter or `drop_columns` names a column that is not there.
        """
        for rows in self._read(self._filters):
            if self._scanner is not None:
                rows.change_texts(Masker(self._scanner))
            yield rows

    def _read(self, steps: Sequence[Filter | Deduplicate]) -> Iterator[Selection]:
        started = {place: step.start() for place, step in enumerate(steps)}
        read = 0
        unknown, seen = set(self._dropped_columns), dict[str, None]()
        for batch in self._source.read():
            # A key that the first rows lack may come later.
            if unknown:
                seen.update(dict.fromkeys(batch.names))
                unknown -= seen.keys()
                if unknown and not isinstance(batch, RowBatch):
                    break
            rows = Selection(batch, range(read, read + len(batch)))
            read += len(batch)
            drop_rows(started, rows)
            yield rows
        for name in sorted(unknown) if seen else ():
            raise DatasetError(missing_column(name, tuple(seen), "drop_columns"))
        if read == 0:
            raise DatasetError(f"{self._source.name} has no rows; there is nothing to build from")

    def _described(self, counts: BuildCounts) -> dict[str, object]:
        """Source and steps as the manifest keeps them, each step with the rows it dropped, by reason."""
        steps = [{**step.described(), "dropped": counts.of_step(place)} for place, step in enumerate(self._filters)]
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
        for step in (*(item.described() for item in self._filters), *self._making()):
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
    given: list[object] = list(group_by)
    names = tuple(name for name in given if isinstance(name, str))
    if names == tuple(given):
        return (names,) if names else ()
    several = [tuple(names) for names in given if isinstance(names, list | tuple) and names]
    if len(several) < len(given) or not all(isinstance(name, str) for name in chain.from_iterable(several)):
        raise DatasetError(
            f"group_by={group_by!r:.80} must be a column, several columns that count together, ('document', 'page'), "
            f"or a list of such lists, each of which keeps rows together, [['document'], ['page']]"
        )
    return tuple(several)
