"""The set of facts that recipes teach and evaluations ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ragtune._arguments import refuse_content
from ragtune._atomic import write_whole
from ragtune._checked import checked
from ragtune.errors import DatasetError
from ragtune.facts.columns import FactColumns, Repeats, merged, placed_facts
from ragtune.facts.faults import refuse_faults, refuse_unknown_kinds
from ragtune.facts.jsonl import line_of, read_facts
from ragtune.facts.paid_chat import ChatClient, PaidChat
from ragtune.facts.rewording import Rewriter
from ragtune.facts.taught import taught_facts
from ragtune.facts.wordings import MakeWordings, by_function, by_rules, questions_of, with_further

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from ragtune.facts.columns import Names, Row, WordingColumn
    from ragtune.facts.fact import Fact, Kind
    from ragtune.facts.taught import TaughtDataset

__all__ = ["FactSet"]


@checked("kinds", "kind", "make", "dataset", "split", "repeats", "unfit")
@dataclass(frozen=True, kw_only=True)
class FactSet:
    """Facts in their order, found by id.

    No two wordings of a set are equal in normal form: a question that is asked twice would count twice, and one that
    two facts share has two answers.

    Attributes:
        facts: the facts.

    Raises:
        DatasetError: facts without answers or wordings, equal ids, wordings that equal each other, unknown kinds.

    Example:
        ```python
        import ragtune as rt

        rows = [
            {"q": "How deep is Lake Sorrel?", "a": ["83 metres", "83 m"], "other": "What depth has Lake Sorrel?"},
            {"q": "Where does the night tram end?", "a": "Pepper Quay", "other": ""},
        ]
        facts = rt.FactSet.from_rows(rows, question="q", answer="a", wordings={"reworded": "other"})
        print(len(facts), facts["row-0"].answers, [wording.kind for wording in facts["row-0"].wordings])
        #> 2 ('83 metres', '83 m') ['verbatim', 'reworded']
        ```
    """

    facts: tuple[Fact, ...]
    # Left out of comparison, since it follows from the facts, and since a dict would take the set its hash.
    _by_id: Mapping[str, Fact] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Before the tuple is made, which would take a text to pieces and name a letter as the fault.
        refuse_faults(self.facts)
        # A list that the caller goes on changing must not change the set.
        object.__setattr__(self, "facts", tuple(self.facts))
        object.__setattr__(self, "_by_id", {fact.id: fact for fact in self.facts})

    def __len__(self) -> int:
        return len(self.facts)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts)

    def __getitem__(self, fact_id: str) -> Fact:
        return self._by_id[fact_id]

    def __contains__(self, fact_id: object) -> bool:
        return fact_id in self._by_id

    def __add__(self, other: FactSet) -> FactSet:
        """Both sets in one, for example facts that were taught and questions that have no answer."""
        if not isinstance(other, FactSet):
            # Python then asks the other side, and raises the usual error when that knows no way either.
            return NotImplemented
        return FactSet(facts=(*self.facts, *other.facts))

    def __repr__(self) -> str:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in self.counts.items())
        return f"FactSet({len(self):,} facts; {kinds or 'no wordings'})"

    @property
    def counts(self) -> dict[Kind, int]:
        """How many wordings of each kind there are, in the order in which kinds come up."""
        counted: dict[Kind, int] = {}
        for fact in self.facts:
            for wording in fact.wordings:
                counted[wording.kind] = counted.get(wording.kind, 0) + 1
        return counted

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Row],
        *,
        question: str,
        answer: Names | None = None,
        context: str | None = None,
        distractors: Names = (),
        fact_id: str | None = None,
        source: str | None = None,
        wordings: Mapping[str, WordingColumn | Sequence[WordingColumn]] | None = None,
        kind: Kind = "verbatim",
        repeats: Repeats = "refuse",
    ) -> FactSet:
        """Read facts from rows, a fact each.

        Args:
            rows: mappings from columns to values.
            question: column of the question that is taught.
            answer: column of the answer, or several, the preferred spelling first; a value may be a list of
                spellings. None for questions without an answer.
            context: column of the passage that says it.
            distractors: columns of wrong answers; a value may be a list. One that is right as well is left out.
            fact_id: column of the fact's id; rows of one id are wordings of one fact. None calls them `row-0`,
                `row-1` and so on, as `from_dataset` does.
            source: column of where the fact comes from.
            wordings: columns of further questions by kind, `{"reworded": ["q2", "q3"]}`; a value may be a list, a
                blank one is none. A reversed question comes with the column of its answer,
                `{"reversed": ("q4", "a4")}`.
            kind: kind of `question`, for example `"control"`.
            repeats: `"merge"` makes rows with the same question one fact that accepts the answers of all of them.

        Raises:
            DatasetError: a column that is not there, a value that is no text, or see `FactSet`.
        """
        columns = FactColumns(
            question=question,
            answer=answer,
            context=context,
            distractors=distractors,
            fact_id=fact_id,
            source=source,
            wordings=wordings or {},
            kind=kind,
        )
        return _without_faults(merged(placed_facts(rows, columns), repeats), "rows")

    @classmethod
    def from_jsonl(cls, path: str | Path) -> FactSet:
        """Read facts from a file that `to_jsonl` wrote, or that has the same keys.

        Raises:
            DatasetError: the file cannot be read, a line is no fact, or see `FactSet`; the message names the line.
        """
        refuse_content(Path(path), "path")
        placed = list(read_facts(Path(path)))
        return _without_faults(([fact for _, fact in placed], [place for place, _ in placed]), str(path))

    @classmethod
    def from_dataset(
        cls,
        dataset: TaughtDataset,
        *,
        split: Literal["train", "validation", "test"] = "train",
        rows: Sequence[Row] | None = None,
        answer: Names | None = None,
        context: str | None = None,
        distractors: Names = (),
        wordings: Mapping[str, WordingColumn | Sequence[WordingColumn]] | None = None,
        repeats: Repeats = "refuse",
        unfit: Literal["refuse", "skip"] = "refuse",
    ) -> FactSet:
        """Read the facts that a dataset teaches.

        The question is the user's message as it is trained. The answer is the first column of the answer's template,
        `{answer}. {support}`, and the second one the passage. Ids are those of `build(fact_id=)`, else `row-17` for
        the source row that the row map names.

        Args:
            dataset: a `ragtune.Dataset` of records with one question and one answer each.
            split: which of its files.
            rows: the rows that it was built of, for what the records do not hold; the row map picks them.
            answer: as in `from_rows`, a column of `rows`.
            context: as in `from_rows`, a column of `rows`.
            distractors: as in `from_rows`, columns of `rows`.
            wordings: as in `from_rows`, columns of `rows`.
            repeats: as in `from_rows`.
            unfit: what becomes of records that ask no single question, such as talks of several turns: `"refuse"` names
                the first, `"skip"` passes them over and warns how many they are.

        Raises:
            DatasetError: a record is no single question, its answer cannot be told from what stands beside it, or see
                `FactSet`; the message names the line.
        """
        if rows is None and (answer or context or distractors or wordings):
            raise DatasetError(
                "answer=, context=, distractors= and wordings= name columns of rows=; give the rows, too"
            )
        if rows is not None and not answer:
            raise DatasetError("rows= is given without answer=; name the column of the answer")
        columns = FactColumns(
            question=None, answer=answer, context=context, distractors=distractors, wordings=wordings or {}
        )
        placed = taught_facts(dataset, split, columns, rows, unfit=unfit)
        return _without_faults(merged(placed, repeats), f"the {split} split")

    def to_jsonl(self, path: str | Path) -> Path:
        """Write the facts into a file, one a line, in one step.

        Raises:
            OSError: the file cannot be written.
        """
        target = Path(path)
        write_whole(target, b"".join(map(line_of, self.facts)))
        return target

    def select(self, kinds: Kind | Iterable[Kind]) -> FactSet:
        """The facts with their wordings of these kinds alone; facts without any are left out.

        Raises:
            DatasetError: a kind is unknown.
        """
        # To the type checker nothing else can come; to a notebook it can.
        given: object = kinds
        if not isinstance(given, str | Iterable):
            raise DatasetError(f"kinds={kinds!r:.60} is no kind of wording and no list of them")
        chosen = [kinds] if isinstance(kinds, str) else list(kinds)
        refuse_unknown_kinds(chosen)
        facts = [_only(fact, chosen) for fact in self.facts]
        return FactSet(facts=tuple(fact for fact in facts if fact.wordings))

    def with_wordings(
        self,
        *,
        kind: Kind,
        make: MakeWordings | ChatClient | Literal["rules"],
        per_fact: int = 3,
        model: str | None = None,
        cache: str | Path | None = None,
        max_cost_usd: float | None = None,
        concurrency: int = 4,
        request: Mapping[str, object] | None = None,
    ) -> FactSet:
        """Make further wordings of each fact.

        Rules know English and Turkish and abstain wherever they are not sure, see the page *Facts*. A model is asked
        for rewordings and asked again to answer each from the fact; those whose answer is another one are left out.
        Both start from the question that is taught: controls and questions without an answer stay as they are.

        Args:
            kind: kind of the new wordings; rules and models make `reworded` and `reversed` ones.
            make: a function from a `Fact` to one or several questions (`Wording`s where they have answers of their
                own), `"rules"`, or a client such as `openai.OpenAI`.
            per_fact: at most so many by rules or by a model.
            model: name of the client's model.
            cache: file of everything that the model was asked and said; with it an interrupted call goes on where it
                stopped, and equal questions are paid for once.
            max_cost_usd: no request is sent that might bring the price above it.
            concurrency: so many facts a model works on at once.
            request: further arguments of each request, for example `{"temperature": 0}` where the model takes it.

        Raises:
            DatasetError: `make` is none of these or makes something else than questions, a price that is asked for is
                unknown, the cache cannot be written or is another file, `request` is no JSON, or see `FactSet`.
            SpecError: `max_cost_usd` is negative, infinite or no number.
            BudgetExceeded: the next request might cost more than is left.

        Example:
            ```python
            from ragtune.facts import demo_facts

            facts = demo_facts().select("verbatim").with_wordings(kind="reworded", make="rules", per_fact=1)
            print(facts["harrow-fell-metal"].wordings[1].question)
            #> Name the metal that is mined under Harrow Fell.
            ```
        """
        refuse_unknown_kinds([kind])
        for name, value in (("per_fact", per_fact), ("concurrency", concurrency)):
            if value < 1:
                raise DatasetError(f"{name}={value!r} must be a whole number of at least 1")
        if make == "rules":
            return FactSet(facts=with_further(self.facts, by_rules(self.facts, kind, per_fact=per_fact)))
        if callable(make):
            return FactSet(facts=with_further(self.facts, by_function(make, kind)))
        if isinstance(make, str) or not hasattr(make, "chat"):
            raise DatasetError(f"make={make!r:.60} is no function, no client, and not 'rules'")
        if not model:
            raise DatasetError("make= is a client; name its model with model=")
        chat = PaidChat(
            client=make,
            model=model,
            cache=None if cache is None else Path(cache),
            max_cost_usd=max_cost_usd,
            request=request or {},
        )
        rewriter = Rewriter(
            chat=chat,
            asked=questions_of(self.facts),
            kind=kind,
            per_fact=per_fact,
            concurrency=concurrency,
        )
        # All facts at once and not one by one below: a model takes seconds for each, and several may be asked side by
        # side.
        found = rewriter(self.facts)
        return FactSet(facts=with_further(self.facts, lambda fact: found[fact.id]))


def _only(fact: Fact, kinds: Collection[Kind]) -> Fact:
    return replace(fact, wordings=tuple(wording for wording in fact.wordings if wording.kind in kinds))


def _without_faults(found: tuple[Sequence[Fact], Sequence[str]], source: str) -> FactSet:
    facts, places = found
    if not facts:
        raise DatasetError(f"there is no fact in {source}; give at least one")
    # Here as well as in the set itself, which does not know in which row or line a fact stands.
    refuse_faults(facts, places=places)
    return FactSet(facts=tuple(facts))
