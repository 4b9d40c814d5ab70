"""The steps of a builder: which rows, what becomes of them, what a record looks like."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Self, TypedDict, Unpack, cast

from ragtune import _arguments as arguments
from ragtune.dataset.deduplicate import Form, deduplicate_step
from ragtune.dataset.leakage.assignment import check_seed
from ragtune.dataset.newest import KeepNewest
from ragtune.dataset.render.filters import Filter, Predicate
from ragtune.dataset.render.steps import ChangeRow, Map, Rename, Sample, Take
from ragtune.dataset.render.templates import (
    Template,
    chat_template,
    completion_template,
    preference_template,
    reinforcement_template,
)
from ragtune.dataset.render.verdicts import verdict_row
from ragtune.dataset.sources.constructors import Constructors
from ragtune.dataset.sources.readers import Source, joined
from ragtune.dataset.sources.recipe_rows import recipe_source
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ragtune.dataset.render.filters import Step
    from ragtune.dataset.render.functions import MakeRecord
    from ragtune.dataset.sources.recipe_rows import NumberedRow
    from ragtune.facts import FactSet
    from ragtune.privacy import Kind, Scanner
    from ragtune.recipes import Recipe

# No source has more, and no manifest holds a longer number.
MOST_ROWS = 2**63 - 1


class _Changes(TypedDict, total=False):
    """What one builder has otherwise than another."""

    source: Source
    steps: tuple[Step, ...]
    dropped_columns: tuple[str, ...]
    template: Template | MakeRecord
    scanner: Scanner | None


class Steps(Constructors):
    """What every method of `DatasetBuilder` changes, each in a new builder: the source, the steps, the template."""

    def __init__(
        self,
        source: Source,
        *,
        steps: tuple[Step, ...] = (),
        dropped_columns: tuple[str, ...] = (),
        template: Template | MakeRecord | None = None,
        scanner: Scanner | None = None,
        parts: tuple[Self, ...] = (),
    ) -> None:
        # To the type checker nothing else can come; people call the class with rows all the same.
        given: object = source
        if not isinstance(given, Source):
            raise DatasetError(
                f"DatasetBuilder is made by the constructors of a source: DatasetBuilder.from_rows(...) for rows from "
                f"memory, from_jsonl, from_csv and others for files; got {type(given).__name__} {given!r:.60}"
            )
        super().__init__(source)
        self._steps = steps
        self._dropped_columns = dropped_columns
        self._template = template
        self._scanner = scanner
        # Builders whose rows come one after the other, each with steps of its own.
        self._parts = parts

    def filter(self, keep: Predicate, *, reason: str) -> Self:
        """Keep the rows for which `keep(row)` is true; the report counts the others under `reason`.

        Args:
            keep: sees one row of the source as a mapping.
            reason: why rows are dropped, for people.
        """
        arguments.function("keep", keep)
        return self._then(Filter(keep=keep, reason=arguments.text("reason", reason)))

    def map(self, change: ChangeRow) -> Self:
        """Put what `change(row)` returns in the place of each row; steps behind it and the template see that.

        Args:
            change: gets a copy of a row as a dict and returns a row: the same dict, changed, or another mapping.
        """
        arguments.function("change", change)
        return self._then(Map(change=change))

    def rename(self, names: Mapping[str, str]) -> Self:
        """Give columns other names.

        Args:
            names: the new name of each column, by its old one: `{"Frage": "question"}`.

        Raises:
            DatasetError: two columns would have one name.
        """
        names = arguments.mapping("names", names)
        if len({*names.values()}) < len(names):
            raise DatasetError(f"names={dict(names)!r:.80} gives two columns one name; choose another for one of them")
        return self._then(Rename(names=dict(names)))

    def take(self, count: int) -> Self:
        """Keep the first rows, of those that earlier steps leave; the source is read no further than to them.

        Args:
            count: how many at most.
        """
        return self._then(Take(count=min(MOST_ROWS, arguments.whole_number("count", count, least=1))))

    def sample(self, count: int, *, seed: int = 0) -> Self:
        """Keep rows that are drawn by lot, in the order of the source, of those that earlier steps leave.

        All of them are counted first, so the source is read twice; eight bytes are held for each. The same rows and
        seed give the same sample on every machine, and of a source that grew at its end most rows are drawn again.

        Args:
            count: how many at most.
            seed: decides which.

        Raises:
            DatasetError: the seed is no integer of 64 bits.
        """
        count = min(MOST_ROWS, arguments.whole_number("count", count, least=1))
        return self._then(Sample(count=count, seed=check_seed(seed)))

    def keep_newest(self, *, per: str | Sequence[str], by: str) -> Self:
        """Of rows with the same `per`, in normal form, keep the one with the latest `by`: the last of several as late.

        For questions that were answered again later: of the contradiction the newest answer is left. All rows are
        looked at first, so the source is read twice; the numbers of the facts are held, about 250 bytes for each.

        Args:
            per: the column that rows have in common, for example the question; of several columns all together.
            by: column of times, as the source gives them or as ISO 8601 text (in UTC unless they say otherwise), or of
                numbers. A row without one is older than any other.
        """
        step = KeepNewest(per=arguments.texts("per", per), by=arguments.text("by", by))
        if not step.per:
            raise DatasetError("per is empty; name the column that rows have in common, for example the question")
        return self._then(step)

    def __add__(self, other: Self) -> Self:
        """The rows of this builder, then those of another one, each after its own steps.

        Where their columns have other names, `rename` comes before. Row numbers go on from the first to the second.

        Raises:
            DatasetError: they differ in template, dropped columns or masking, which belong behind the sum.
        """
        arguments.instance("the other builder", other, Steps, "add two builders")
        if self._source.built is not None or other._source.built is not None:
            raise DatasetError(
                "rows of a feedback store are built alone, since it remembers whose words each of them holds; build "
                "the other rows first, and give them as from_feedback(store, previous=dataset)"
            )
        for what, mine, others in (
            ("template or layout", self._template, other._template),
            ("drop_columns", self._dropped_columns, other._dropped_columns),
            ("mask_private", self._scanner, other._scanner),
        ):
            # Behind the sum there is one of each, and whose it should be nobody knows.
            if mine != others:
                raise DatasetError(
                    f"the two builders differ in their {what}; give it to the sum, (a + b)..., and bring the columns "
                    f"of both to the same names before, with .rename() or .map()"
                )
        parts = (*self._summands(), *other._summands())
        source = joined([(part._source, part._described_steps()) for part in parts])
        return type(self)(
            source,
            dropped_columns=self._dropped_columns,
            template=self._template,
            scanner=self._scanner,
            parts=parts,
        )

    def __radd__(self, other: object) -> Self:
        """What `sum` begins with is nothing."""
        return self if other == 0 else NotImplemented

    def _summands(self) -> tuple[Self, ...]:
        # A sum without steps of its own is its parts, however many: nested, a long one would be too deep to read.
        return self._parts if self._parts and not self._steps else (self,)

    def deduplicate(self, *, question: str, answer: str, context: str | None = None, answers: Form = "exact") -> Self:
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
        return self._then(deduplicate_step(question=question, answer=answer, context=context, answers=answers))

    def drop_columns(self, *names: str) -> Self:
        """Hide columns from the template; filters still see them."""
        return self._with(dropped_columns=(*self._dropped_columns, *arguments.texts("names", names)))

    def mask_private(self, *, allow: Sequence[str] = (), kinds: Sequence[Kind] | None = None) -> Self:
        """Put `[EMAIL]`, `[API_KEY]` and the like in place of secrets and personal data in every text.

        That is: in the rows that templates and functions see, however deep, and in the records that come of them, with
        the constants of a template, what a function adds, and the arguments of tools. Keys stay, and filters see the
        rows as they are. The manifest counts what was covered by kind, and what a scan of the written files found.

        Args:
            allow: values that may stay, in any case; `"@acme.com"` stands for every address there.
            kinds: what is covered; None takes all of `ragtune.privacy.KINDS`.

        Raises:
            DatasetError: an unknown kind or none at all, `allow` is one text, or the builder masks already.
            MissingExtraError: the extra `privacy` is not installed.
        """
        from ragtune.privacy import KINDS, Scanner

        if self._scanner is not None:
            raise DatasetError("this builder masks already; name all kinds and all that may stay in one mask_private()")
        return self._with(
            scanner=Scanner(kinds=KINDS if kinds is None else cast("tuple[Kind, ...]", kinds), allow=allow)
        )

    def chat(self, *, user: str, assistant: str, system: str | None = None) -> Self:
        """One question and one answer per row, for chat models.

        Args:
            user: template of the user's message.
            assistant: template of the answer, which is what the model learns.
            system: template of the system prompt; None leaves it out.

        Raises:
            DatasetError: a template is empty or malformed, or the builder has one already.
        """
        return self._filled(chat_template(system=system, user=user, assistant=assistant))

    def completion(self, *, prompt: str, completion: str) -> Self:
        """A legacy prompt/completion pair per row.

        Args:
            prompt: template of the prompt; `""` makes open-ended text.
            completion: template of the text to learn.

        Raises:
            DatasetError: a template is empty or malformed, or the builder has one already.
        """
        return self._filled(completion_template(prompt=prompt, completion=completion))

    def preference(self, *, prompt: str, preferred: str, rejected: str, system: str | None = None) -> Self:
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

    def unpaired(self, *, prompt: str, completion: str, label: str, system: str | None = None) -> Self:
        """One answer per row, and whether it was good: a thumb up or down, for `KTO`.

        Args:
            prompt: template of the user's message.
            completion: template of the answer that was judged.
            label: the column of the verdict: true or false, 1 against 0 or -1, or one of these as text.
            system: template of the system prompt; None leaves it out.

        Raises:
            DatasetError: a template is empty or malformed, `label` is no column's name, or the builder has a template
                already.
        """
        return self._filled(verdict_row(prompt=prompt, completion=completion, label=label, system=system))

    def reinforcement(self, *, user: str, reference: Mapping[str, str], developer: str | None = None) -> Self:
        """One question per row for the model to answer itself, with reference fields for the grader.

        Args:
            user: template of the user's message.
            reference: a template per reference field; graders read it as `item.<field>`.
            developer: template of the instructions; None leaves them out.

        Raises:
            DatasetError: a template is empty or malformed, or the builder has one already.
        """
        return self._filled(reinforcement_template(user=user, reference=reference, developer=developer))

    def records(self, make: MakeRecord) -> Self:
        """Records from a Python function: several turns, tools, images, whatever a record may hold.

        Args:
            make: gets a row, without the dropped columns, and returns a record or a dict that is one. All records of a
                dataset must be of one kind.

        Raises:
            DatasetError: the builder has a template already.
        """
        arguments.function("make", make)
        return self._filled(make)

    def _filled(self, template: Template | MakeRecord) -> Self:
        if self._template is not None:
            raise DatasetError("this builder has a template already; start a second builder for a second record kind")
        if isinstance(template, Template):
            # Of a function nobody knows which columns it reads until it is called.
            hidden = [name for name in template.columns if name in self._dropped_columns]
            if hidden:
                raise DatasetError(f"the template names column {hidden[0]!r}, which drop_columns took away")
        return self._with(template=template)

    def _on(self, source: Source) -> Self:
        if self._parts:
            raise DatasetError("this builder is a sum; give each of its parts the layout before they are added")
        return self._with(source=source)

    def _described_steps(self) -> list[dict[str, object]]:
        return [step.described() for step in self._steps]

    def _remade(
        self, recipe: Recipe, facts: Callable[[Iterator[NumberedRow]], FactSet], held_out: FactSet | None
    ) -> Self:
        if self._template is not None:
            raise DatasetError(
                "this builder has a template already; .recipe() comes before it and gives it its columns"
            )
        if self._source.built is not None:
            raise DatasetError("rows of a feedback store are finished records, and a recipe makes rows of facts")
        of = (self._source, self._described_steps())
        source = recipe_source(recipe, lambda: facts(self._numbered_rows()), held_out, of=of)
        # Steps and dropped columns stay behind: they belong to the rows that the facts are read from.
        return type(self)(source, scanner=self._scanner)

    @abstractmethod
    def _numbered_rows(self) -> Iterator[NumberedRow]: ...

    def _then(self, step: Step) -> Self:
        return self._with(steps=(*self._steps, step))

    def _with(self, **changes: Unpack[_Changes]) -> Self:
        return type(self)(
            changes.get("source", self._source),
            steps=changes.get("steps", self._steps),
            dropped_columns=changes.get("dropped_columns", self._dropped_columns),
            template=changes.get("template", self._template),
            scanner=changes.get("scanner", self._scanner),
            parts=self._parts,
        )
