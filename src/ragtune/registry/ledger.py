"""The ledger: from a passage to its facts, to the rows that teach them, to the jobs and models that learned them.

Nothing of it is stored: manifests and row maps, the journal, the registry and the logs of evaluations tell all of it.
"""

from __future__ import annotations

from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Literal

from ragtune._checked import checked
from ragtune.dataset import Dataset
from ragtune.dataset.sources.feedback_rows import digest_of_line
from ragtune.errors import DatasetError, EvaluationError, RegistryError
from ragtune.evaluation.scorers.words import found_in
from ragtune.facts.taught import row_map
from ragtune.journal import USERS
from ragtune.journal.file import journal_of
from ragtune.registry.lineage import (
    Coverage,
    CoverageTable,
    LedgerFact,
    LedgerTable,
    Removal,
    TaughtRow,
    Training,
)
from ragtune.registry.scores import card_again
from ragtune.registry.teaching import taught_by
from ragtune.text import normalise, unspaced

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from ragtune.evaluation import Scorecard
    from ragtune.facts import Fact, FactSet
    from ragtune.feedback import FeedbackStore
    from ragtune.journal import JournalArgument
    from ragtune.registry.lineage import Knowledge
    from ragtune.registry.registry import Registry
    from ragtune.registry.teaching import Taught
    from ragtune.registry.version import ModelVersion

__all__ = ["Ledger"]

# A fact's score is the mean over its wordings: known is what is right in at least half of them.
_RIGHT = 0.5
_CHECKPOINT = ":ckpt-step-"


@checked()
class Ledger:
    """What is taught, where, and which models know it.

    Args:
        facts: the facts, with the document that each comes from as its `source`.
        datasets: the datasets that teach them, or their folders; None takes those of the registry that are there.
            Rows that name no fact of these, as without `build(fact_id=)`, are found by the facts' questions alone.
        registry: the registry; without it no aliases and no measurements are known.
        journal: as in `FineTuneJob.create`: which jobs learned from which dataset.
        documents: what the documents say now, by the facts' sources; "" for one that is gone.
        model: the model, or alias, whose measurements count; None takes the model that was registered last with a card.

    Raises:
        RegistryError: the registry cannot be read, or knows no such model.
        DatasetError: a folder holds no dataset.

    Example:
        ```python
        import ragtune as rt
        from ragtune.facts import Fact, FactSet, Wording
        from ragtune.registry import Ledger

        rows = [{"id": f"sum-{n}", "q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)]
        builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
        dataset = builder.build("sums", fact_id="id", overwrite=True)
        facts = rt.FactSet.from_rows(
            [row | {"doc": "odd.md" if n % 2 else "even.md"} for n, row in enumerate(rows)],
            question="q", answer="a", fact_id="id", source="doc",
        )
        ledger = Ledger(facts, datasets=[dataset])
        print(str(ledger.removal(source="odd.md")).splitlines()[1])
        #>   sums train: lines 2, 4, 6, 8, 10, 12
        ```
    """

    def __init__(
        self,
        facts: FactSet,
        *,
        datasets: Iterable[Dataset | str | os.PathLike[str]] | None = None,
        registry: Registry | None = None,
        journal: JournalArgument = USERS,
        documents: Mapping[str, str] | None = None,
        model: str | None = None,
    ) -> None:
        self._facts = facts
        # Read once: all tables of one ledger tell of the same moment.
        self._versions: tuple[ModelVersion, ...] = () if registry is None else tuple(registry.models())
        self._aliases = {} if registry is None else registry.aliases()
        self._model = _looked_at(registry, self._versions, model=model)
        self._journal = journal_of(journal)
        self._texts = dict(documents or {})
        given_texts: Mapping[str, object] = self._texts
        for source, text in given_texts.items():
            if not isinstance(text, str):
                kind = type(text).__name__
                raise RegistryError(f"documents[{source!r:.80}] is {kind}, not a text; give '' for one that is gone")
        given = None if datasets is None else [one if isinstance(one, Dataset) else _loaded(one) for one in datasets]
        self.missing: tuple[str, ...] = ()
        if given is None:
            found = {version.dataset: _there(version) for version in self._versions if version.dataset is not None}
            given = [dataset for dataset in found.values() if dataset is not None]
            # A folder that was moved or deleted since is told and stops nothing: the registry outlives its datasets.
            self.missing = tuple(folder for folder, dataset in found.items() if dataset is None)
        self._closed: dict[frozenset[str], tuple[Training, ...]] = {}
        # One dataset in two folders is one dataset: its rows would count twice.
        self._datasets = tuple({dataset.fingerprint: dataset for dataset in given}.values())

    @property
    def model(self) -> str | None:
        """The model whose measurements count, None where there is none."""
        return None if self._model is None else self._model.name

    @cached_property
    def facts(self) -> LedgerTable:
        """All facts, in their order."""
        return LedgerTable(rows=tuple(map(self._fact, self._facts)))

    @cached_property
    def trainings(self) -> tuple[Training, ...]:
        """What learned from the datasets, by journal and registry."""
        return self._learned({dataset.fingerprint for dataset in self._datasets})

    def coverage(self) -> CoverageTable:
        """Return how much of each document is taught and known."""
        groups: dict[str | None, list[LedgerFact]] = {}
        for fact in self.facts:
            groups.setdefault(fact.source, []).append(fact)
        return CoverageTable(rows=tuple(_covered(source, facts) for source, facts in groups.items()))

    def removal(self, *, source: str | None = None, facts: Iterable[str] = ()) -> Removal:
        """Return what has to go with a document, or with some facts.

        Args:
            source: the document, as the facts name it.
            facts: ids of facts.

        Raises:
            RegistryError: neither is given, or no fact is of that document or has that id.
        """
        wanted = set(facts)
        known = {fact.id: fact for fact in self.facts}
        if unknown := sorted(wanted - known.keys()):
            raise RegistryError(f"facts: there is no fact {unknown[0]!r} in this ledger; it has {len(known)}")
        if source is not None:
            wanted |= {fact.id for fact in self.facts if fact.source == source}
        if not wanted:
            sources = sorted({fact.source for fact in self.facts if fact.source is not None})
            told = f"no fact comes from {source!r}" if source is not None else "give source= or facts="
            raise RegistryError(f"removal: {told}; the documents are {', '.join(sources[:5]) or 'not named'}")
        chosen = [fact for fact in known.values() if fact.id in wanted]
        what = source or ", ".join(fact.id for fact in chosen[:3])
        return self._removal(
            what, [fact.id for fact in chosen], list(chain.from_iterable(fact.rows for fact in chosen))
        )

    def removal_of(self, person: str, store: FeedbackStore) -> Removal:
        """Return what has to go with somebody whose words a feedback store gave to these datasets.

        Args:
            person: as `by` or `asked_by` of the store.
            store: the store; `store.withdraw(by=person)` takes the words out of it.

        Raises:
            FeedbackError: the store cannot be read.
        """
        rows = [row for dataset in self._datasets for row in _rows_of(person, dataset, store)]
        return self._removal(person, [], rows)

    def _removal(self, what: str, facts: Collection[str], rows: Collection[TaughtRow]) -> Removal:
        # Held-out lines taught no model anything.
        learned = {row.fingerprint for row in rows if row.split == "train"}
        return Removal(
            what=what,
            facts=tuple(facts),
            rows=tuple(rows),
            trainings=self._learned(learned),
            missing=self.missing,
            by_question=self._taught.by_question if facts else (),
        )

    def _learned(self, fingerprints: Collection[str]) -> tuple[Training, ...]:
        """What learned from these datasets, then what was trained further from that."""
        wanted = frozenset(fingerprints)
        if wanted in self._closed:
            return self._closed[wanted]
        found = [training for _, training in self._known if training.fingerprint in wanted]
        names: set[str] = set()
        # Until nothing is added: a model may have been trained further from one that was itself trained further.
        while grown := {_whole(training.model) for training in found if training.model} - names:
            names |= grown
            found += [training for parent, training in self._known if training not in found and parent in names]
        # Thousands of facts stand in a handful of datasets.
        return self._closed.setdefault(wanted, tuple(found))

    @cached_property
    def _known(self) -> tuple[tuple[str | None, Training], ...]:
        """Every training of journal and registry, behind the model that it began with or is a checkpoint of."""
        runs = [] if self._journal is None else [run for run in self._journal.runs() if run.state == "created"]
        found: dict[tuple[str | None, str | None], tuple[str | None, Training]] = {}
        for run in runs:
            made = Training(
                fingerprint=run.fingerprint,
                job_id=run.job_id,
                model=run.fine_tuned_model,
                aliases=self._led(run.fine_tuned_model),
                lives=run.model_deleted_at is None,
            )
            # A job without a model, as one that failed, is told by its id.
            found[run.fingerprint, run.fine_tuned_model or run.job_id] = _whole(run.model), made
        by_name = {training.model: key for key, (_, training) in found.items()}
        for version in self._versions:
            key = version.fingerprint, version.name
            # It was added by its name alone; the journal may know what it learned from.
            if version.fingerprint is None:
                key = by_name.get(version.name, key)  # type: ignore[assignment]  # a training with a model has its name
            parent, known = found.get(key, (None, None))
            whole = _whole(version.name)
            made = Training(
                fingerprint=key[0],
                job_id=version.job_id or (known.job_id if known else None),
                model=version.name,
                aliases=self._led(version.name),
                # Either of the two may have been the one that saw it deleted.
                lives=version.lives and (known is None or known.lives),
            )
            found[key] = whole if whole != version.name else parent or _whole(version.base), made
        return tuple(found.values())

    def _led(self, model: str | None) -> tuple[str, ...]:
        return tuple(sorted(alias for alias, leads in self._aliases.items() if leads == model))

    def _fact(self, fact: Fact) -> LedgerFact:
        rows = self._taught.rows.get(fact.id, ())
        learned = {row.fingerprint for row in rows if row.split == "train"}
        models = [training.model for training in self._learned(learned) if training.model]
        return LedgerFact(
            id=fact.id,
            source=fact.source,
            rows=rows,
            models=tuple(dict.fromkeys(models)),
            knowledge=self._measured.get(fact.id),
            stale=self._stale(fact),
        )

    def _stale(self, fact: Fact) -> bool | None:
        # The passage says more than the answer: a number or a name may stand in a text for another reason.
        said = (fact.support,) if fact.support else fact.answers
        if fact.source is None or fact.source not in self._texts or not said:
            return None
        text = self._texts[fact.source]
        # Where no spaces part words, a word has no bounds to look at.
        whole = any(unspaced().search(answer) and normalise(answer) in normalise(text) for answer in said)
        return not whole and not found_in(text, said)

    @cached_property
    def _taught(self) -> Taught:
        return taught_by(self._datasets, self._facts)

    @cached_property
    def _measured(self) -> dict[str, Knowledge]:
        if self._model is None or (scores := self._model.scores) is None:
            return {}
        try:
            card = card_again(scores, model=self._model.name)
        # Without its log a fact is not measured, which is something else than not known.
        except EvaluationError:
            return {}
        kinds = {kind: dict(_right(card, scores.arm, kind)) for kind in ("verbatim", "reworded")}
        measured: dict[str, Knowledge] = {}
        for fact_id in kinds["verbatim"].keys() | kinds["reworded"].keys():
            if kinds["reworded"].get(fact_id):
                measured[fact_id] = "generalised"
            elif not kinds["verbatim"].get(fact_id):
                measured[fact_id] = "unknown"
            else:
                measured[fact_id] = "memorised" if fact_id in kinds["reworded"] else "not asked in other words"
        return measured

    def __repr__(self) -> str:
        return f"Ledger({len(self._facts)} facts, {len(self._datasets)} datasets, model {self.model!r})"


def _whole(model: str) -> str:
    """The model that a checkpoint is of; any other model is its own."""
    return model.partition(_CHECKPOINT)[0]


def _looked_at(
    registry: Registry | None, versions: tuple[ModelVersion, ...], *, model: str | None
) -> ModelVersion | None:
    if model is not None:
        if registry is None:
            raise RegistryError(f"model={model!r} is looked up in a registry; give registry=, too")
        return registry.version(model)
    return next((version for version in reversed(versions) if version.scores is not None and version.lives), None)


def _loaded(folder: object) -> Dataset:
    try:
        return Dataset.load(folder)  # type: ignore[arg-type]  # it names a wrong kind itself
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}") from error


def _there(version: ModelVersion) -> Dataset | None:
    try:
        dataset = Dataset.load(version.dataset or "")
    except (DatasetError, OSError):
        return None
    # Another dataset may have been built into the folder since, and that one taught this model nothing.
    return dataset if dataset.fingerprint == version.fingerprint else None


def _right(card: Scorecard, arm: str, kind: Literal["verbatim", "reworded"]) -> Iterator[tuple[str, bool]]:
    if card.scorer not in card.scores.columns or arm not in card.arms:
        return
    for fact_id, value in zip(card.scores.fact_ids, card.scores.per_fact(card.scorer, arm, kind), strict=True):
        if value == value:  # NaN: the fact was not asked so
            yield fact_id, bool(value >= _RIGHT)


def _rows_of(person: str, dataset: Dataset, store: FeedbackStore) -> Iterator[TaughtRow]:
    people = store.people_of(dataset.fingerprint)
    lines = {digest for digest, names in people.items() if person in names}
    # Every line is read and hashed: not for a dataset that holds none of this person's words.
    for split in dataset.splits if lines else ():
        numbers = row_map(dataset, split.name)
        for line, (_, content) in enumerate(split.lines(), 1):
            if digest_of_line(content) in lines:
                row = numbers[line - 1][0] if numbers else None
                folder = str(dataset.folder)
                yield TaughtRow(fingerprint=dataset.fingerprint, folder=folder, split=split.name, line=line, row=row)


def _covered(source: str | None, facts: list[LedgerFact]) -> Coverage:
    known = [fact.knowledge for fact in facts]
    return Coverage(
        source=source,
        facts=len(facts),
        taught=sum(any(row.split == "train" for row in fact.rows) for fact in facts),
        measured=sum(one is not None for one in known),
        generalised=known.count("generalised"),
        memorised=known.count("memorised"),
        not_reworded=known.count("not asked in other words"),
        unknown=known.count("unknown"),
        stale=sum(fact.state == "stale" for fact in facts),
    )
