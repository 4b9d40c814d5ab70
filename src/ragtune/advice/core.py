"""`advise`: when knowledge should leave retrieval, with every assumption said."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from ragtune import catalog
from ragtune._checked import checked
from ragtune._table import Table
from ragtune.advice.assumptions import Assumptions, AssumptionTable, Prices, listed
from ragtune.advice.corpus import ColumnNames, Corpus, documents_near, measure
from ragtune.advice.group import GroupAdvice, judge_group
from ragtune.errors import DatasetError, EvaluationError, MissingExtraError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from ragtune.evaluation import Scorecard
    from ragtune.facts import Kind

__all__ = ["Advice", "GroupTable", "advise"]

# Of a mean month.
_MONTH_DAYS = 365.25 / 12
# Which arm's figure stands for which assumption.
_ARMS = {"retrieval_accuracy": "base+RAG", "tuned_accuracy": "tuned", "both_accuracy": "tuned+RAG"}


class GroupTable(Table[GroupAdvice]):
    """Groups of documents with what is advised for each."""

    def columns(self) -> dict[str, list[object]]:
        """Return the columns."""
        return {
            "group": [row.group for row in self.rows],
            "verdict": [row.verdict for row in self.rows],
            "documents": [row.documents for row in self.rows],
            "static": [_share(row.static_share) for row in self.rows],
            "changed a month": [_share(row.changed_per_month) for row in self.rows],
            "questions a month": [_number(row.questions_per_month) for row in self.rows],
            "keep $/month": [_number(row.keep_usd_per_month, digits=2) for row in self.rows],
            "tune $/month": [_number(row.tune_usd_per_month, digits=2) for row in self.rows],
            "both $/month": [_number(row.both_usd_per_month, digits=2) for row in self.rows],
            "break-even": [_number(row.break_even_questions) for row in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to do with each group of documents; prints as a table with its reasons.

    Attributes:
        groups: the groups, the one with the most questions first.
        assumptions: every number that the arithmetic took for granted, with its source.
        notes: what was measured in a rough way, or not at all.

    Example:
        ```python
        import ragtune as rt

        rows = [{"text": f"Rule {n}: the gate closes at {n} o'clock.", "updated": "2024-01-01"} for n in range(1, 13)]
        advice = rt.advise(rows, queries_per_month=10_000, updated="updated")
        print(advice.sentence)
        #> all (12 documents): do not tune.
        ```
    """

    groups: GroupTable
    assumptions: AssumptionTable
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The verdicts in words."""
        return " ".join(f"{row.group} ({row.documents:,} documents): {row.verdict}." for row in self.groups)

    def to_pandas(self) -> pd.DataFrame:
        """Return every figure, a row per group."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.groups], columns=[item.name for item in fields(GroupAdvice)])

    def to_json(self) -> str:
        """Return groups, assumptions and notes as JSON; what never comes is the text `never`, unknown is null."""
        told = {
            "groups": [{name: _plain(value) for name, value in asdict(row).items()} for row in self.groups],
            "assumptions": [{**asdict(row), "as_of": row.as_of and str(row.as_of)} for row in self.assumptions],
            "notes": list(self.notes),
        }
        # What is infinite says `never` by now; anything else that is no number would be no JSON.
        return json.dumps(told, ensure_ascii=False, allow_nan=False, indent=2)

    def __str__(self) -> str:
        lines = [str(self.groups), ""]
        for row in self.groups:
            lines.append(f"{row.group}: {row.verdict}. {row.why}.")
            lines.extend(f"  - {text}" for text in row.sensitivity)
        lines.extend(f"note: {text}" for text in self.notes)
        lines.append("every number taken for granted, with its source: advice.assumptions")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return self.groups._repr_html_() + self.assumptions._repr_html_()


@checked("corpus", "queries")
def advise(
    corpus: Iterable[object],
    queries: Sequence[str] | None = None,
    *,
    queries_per_month: float,
    text: str = "text",
    id: str | None = "id",
    group: str | None = None,
    updated: str | None = None,
    scorecard: Scorecard | None = None,
    prices: Prices | None = None,
    assumptions: Assumptions | None = None,
    tuned_model: str | None = None,
    today: dt.date | None = None,
) -> Advice:
    """Say for each group of documents whether it should stay in retrieval or leave it for a model's weights.

    Pure arithmetic over what the documents tell and what you assume; nobody is asked and nothing is spent. The sums are
    written out on the page *When to tune*.

    Args:
        corpus: rows with a text, or texts; or `ragtune.advice.Snapshot`s of several days, from whose differences
            follows what changes. Read once, one document at a time.
        queries: real questions, from which follows how many touch each group. Without them each group gets the share
            that its documents have.
        queries_per_month: how many questions a month there are.
        text: column of the text.
        id: column that tells documents apart from snapshot to snapshot.
        group: column of the group, such as a product or a folder; None makes one group.
        updated: column with the day of the last change, for a corpus without snapshots. None, NaT and days in the
            future are unknown days, which a note counts.
        scorecard: of `rt.evaluate`, whose arms say how often each way is right; published figures stand in for it.
        prices: `ragtune.advice.Prices`; list prices unless given.
        assumptions: `ragtune.advice.Assumptions`.
        tuned_model: whose shutdown counts, when the catalogue knows it; None for a model that is yours.
        today: the day from which ages and months are counted.

    Raises:
        DatasetError: no documents, a column that is not there, a value of the wrong kind, or snapshots out of order.
        SpecError: a number that cannot be one.
        EvaluationError: a scorecard without the arms `tuned` and `base+RAG`.

    Example:
        ```python
        import ragtune as rt
        from ragtune.advice import Assumptions

        manual = "Chapter on valves. " * 2_000
        rows = [{"id": str(n), "text": f"{n} {manual}", "updated": "2019-05-01"} for n in range(20)]
        cheap_errors = Assumptions(wrong_answer_usd=0.0)
        advice = rt.advise(rows, queries_per_month=2_000_000, updated="updated", assumptions=cheap_errors)
        print(advice.groups[0].verdict, f"{advice.groups[0].context_at_par:.0f}")
        #> tune 356
        ```
    """
    try:
        asked = -1.0 if isinstance(queries_per_month, bool) else float(queries_per_month)
    except OverflowError:
        raise SpecError("queries_per_month is too large to count with; give a number, 0 or more") from None
    if not 0 <= asked < math.inf:
        raise SpecError(f"queries_per_month={queries_per_month!r:.60}: give a number, 0 or more")
    prices, assumed = prices or Prices(), assumptions or Assumptions()
    today = today or dt.datetime.now(dt.UTC).date()
    found = measure(
        corpus,
        ColumnNames(text=text, id=id, group=group, updated=updated),
        today=today,
        static_after_months=assumed.static_after_months,
    )
    notes = [*_look_for_near(found), *_without_days(found)]
    shares, how = _shares(found, queries)
    notes.append(how)
    measured = _measured(scorecard)
    # What was measured goes before what was published, and before what was given by hand.
    assumed = replace(assumed, **{name: value for name, (value, _) in measured.items()})
    left, told = _months_left(tuned_model, today)
    notes.append(told)
    groups = [
        judge_group(
            name, facts, questions=asked * shares[name], prices=prices, assumed=assumed, months_to_shutdown=left
        )
        for name, facts in found.groups.items()
    ]
    ordered = sorted(groups, key=lambda row: -row.questions_per_month)
    return Advice(
        groups=GroupTable(rows=tuple(ordered)),
        assumptions=listed(prices, assumed, measured),
        notes=tuple(notes),
    )


def _without_days(found: Corpus) -> list[str]:
    """How many documents say nothing of when they last changed."""
    groups = found.groups.values()
    undated, future = sum(facts.undated for facts in groups), sum(facts.future for facts in groups)
    if not undated + future:
        return []
    total = sum(facts.documents for facts in groups)
    return [
        f"of {total:,} documents {undated:,} have no date and {future:,} one in the future: where change is told by "
        "dates, it and the static share are those of the other documents"
    ]


def _look_for_near(found: Corpus) -> list[str]:
    if not found.complete:
        return ["there are too many documents to look for nearly equal ones; equal ones are counted"]
    try:
        near = Counter(found.text_groups[place] for place in documents_near(found.texts))
    except MissingExtraError as error:
        # Told and not raised: no verdict rests on it.
        return [f"nearly equal documents were not looked for: {error}"]
    for name, facts in found.groups.items():
        facts.near = near[name]
    return []


def _shares(found: Corpus, queries: Sequence[str] | None) -> tuple[dict[str, float], str]:
    """Of the questions, how many touch each group; beside it, how that was found out."""
    if queries is None:
        total = sum(facts.documents for facts in found.groups.values())
        shares = {name: facts.documents / total for name, facts in found.groups.items()}
        return shares, "no questions were given: each group is taken to get questions as it has documents"
    if isinstance(queries, str) or not queries or not all(isinstance(query, str) for query in queries):
        raise DatasetError(f"queries={queries!r:.60}: give a list of questions, or None")
    from ragtune.retrieval import BM25

    group_of = dict(zip(found.texts, found.text_groups, strict=True))
    # One passage: a question counts for the group of the document that fits it best.
    index = BM25(found.texts, k=1)
    first = [index(query) for query in queries]
    touched = Counter(group_of[passages[0].text] for passages in first if passages)
    nothing = sum(not passages for passages in first)
    shares = {name: touched[name] / len(queries) for name in found.groups}
    looked = "" if found.complete else f" among the first {len(found.texts):,} documents"
    return shares, f"BM25 found the group of each question{looked}; {nothing:,} of {len(queries):,} touch none"


def _measured(scorecard: Scorecard | None) -> dict[str, tuple[float, str]]:
    if scorecard is None:
        return {}
    # People do not ask in the words of the training, so other words decide where they were asked.
    kind: Kind = "reworded" if "reworded" in scorecard.kinds else "verbatim"
    found: dict[str, tuple[float, str]] = {}
    for name, arm in _ARMS.items():
        if arm in scorecard.arms and kind in scorecard[arm]:
            cell = scorecard[arm][kind]
            if cell.mean is not None and math.isfinite(cell.mean):
                found[name] = (float(cell.mean), f"measured: {arm}, {kind}, {cell.low:.0%} to {cell.high:.0%}")
    # Before both are compared with passages: that asks for the arm of the base.
    if "tuned_accuracy" not in found or "retrieval_accuracy" not in found:
        raise EvaluationError(
            f"the scorecard has the arms {', '.join(scorecard.arms)}; the advisor needs 'tuned' and 'base+RAG', as "
            "rt.arms(base=, tuned=, retriever=) makes them"
        )
    if "both_accuracy" in found and not scorecard.difference("tuned+RAG", "base+RAG", kind=kind).told:
        # What cannot be told from chance is no reason to train.
        same = f"measured: tuned+RAG, {kind}, not told apart from base+RAG and taken to be the same"
        found["both_accuracy"] = (found["retrieval_accuracy"][0], same)
    return found


def _months_left(tuned_model: str | None, today: dt.date) -> tuple[float | None, str]:
    if tuned_model is None:
        return None, "no tuned_model was named: no shutdown counts"
    info = catalog.load().find(tuned_model)
    if info is None or info.shutdown is None:
        return None, f"when {tuned_model} stops answering is unknown"
    left = max((info.shutdown - today).days, 0) / _MONTH_DAYS
    return left, f"{info.name} stops answering on {info.shutdown} ({info.source}, {info.as_of})"


def _plain(value: object) -> object:
    return "never" if value == math.inf else value


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _number(value: float | None, *, digits: int = 0) -> str:
    if value is None:
        return "unknown"
    return "never" if value == math.inf else f"{value:,.{digits}f}"
