"""From verdicts to rows: who is right is never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ragtune.feedback.rows import Feedback

__all__ = ["Compiled", "Disagreement", "Doubt", "Method", "compile_rows"]

Method = Literal["supervised", "preference"]


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """People who disagree; what they said about it is left out until one of them gives in.

    Attributes:
        question: what was asked.
        answer: the answer that they disagree about, or None where their corrections differ.
        said: who said what.

    Example:
        ```python
        import ragtune as rt
        from ragtune.feedback import compile_rows

        store = rt.FeedbackStore("feedback.sqlite3")
        for person, verdict in (("anna", 1), ("ben", -1)):
            store.add("83 metres", verdict, question="How deep is Lake Sorrel?", by=person)
        print(compile_rows(store.rows()).disagreements[0].said)
        #> (('anna', 'good'), ('ben', 'bad'))
        ```
    """

    question: str
    answer: str | None
    said: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A correction that the passages do not hold while the answer that it corrects stands in them.

    Attributes:
        question: what was asked.
        answer: what the model said, which stands in a passage.
        correction: what somebody said instead, which stands in none.
        by: who, None when unknown.

    Example:
        ```python
        import ragtune as rt
        from ragtune.feedback import compile_rows

        store = rt.FeedbackStore("feedback.sqlite3")
        passages = ["Divers measured 83 metres."]
        store.add("83 metres", question="How deep is Lake Sorrel?", correction="90 metres", passages=passages)
        print(compile_rows(store.rows()).doubts[0].correction)
        #> 90 metres
        ```
    """

    question: str
    answer: str
    correction: str
    by: str | None


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """Rows for the next dataset, and what was left out.

    Attributes:
        rows: `question`, `answer` (for pairs also `rejected`), `system`, `context` (the passages, or ""), `source`
            (`feedback:` and the numbers of the answers) and `by` (the people behind it).
        disagreements: what people disagree about; in no row.
        doubts: corrections that their passages do not bear out; they are in the rows, for a person to look at.

    Example:
        ```python
        import ragtune as rt
        from ragtune.feedback import compile_rows

        store = rt.FeedbackStore("feedback.sqlite3")
        store.add("12 metres", question="How deep is Lake Sorrel?", correction="83 metres")
        print(compile_rows(store.rows()).rows[0]["answer"])
        #> 83 metres
        ```
    """

    rows: tuple[dict[str, object], ...]
    disagreements: tuple[Disagreement, ...] = ()
    doubts: tuple[Doubt, ...] = ()


def compile_rows(said: Iterable[Feedback], *, method: Method = "supervised") -> Compiled:
    """Make rows of verdicts.

    Questions are the same when their normal forms, system prompts and passages are; answers when their normal forms
    are. Of one question a correction wins over good answers; good answers are those that somebody called good and
    nobody bad. Where corrections differ, or an answer with a correction is called good by somebody, nothing of the
    question is used; of an answer that is called good and bad, nothing of the answer.

    Args:
        said: the verdicts.
        method: `supervised` rows have the right answer, `preference` rows a better and a worse one.
    """
    questions: dict[tuple[str, str | None, tuple[str, ...]], list[Feedback]] = {}
    for one in said:
        questions.setdefault((normalise(one.question), one.system, one.passages), []).append(one)
    rows: list[dict[str, object]] = []
    disagreements: list[Disagreement] = []
    doubts: list[Doubt] = []
    for verdicts in questions.values():
        doubts += _doubts(verdicts)
        found = list(_disagreements(verdicts))
        disagreements += found
        disputed = {normalise(one.answer) for one in found if one.answer is not None}
        agreed = [one for one in verdicts if normalise(one.answer) not in disputed]
        # A correction of an answer that others call good is part of the quarrel: no other answer is safe to teach.
        if any(one.answer is None for one in found) or any(one.correction for one in verdicts if one not in agreed):
            continue
        rows += _supervised(agreed) if method == "supervised" else _pairs(agreed)
    return Compiled(rows=tuple(rows), disagreements=tuple(disagreements), doubts=tuple(doubts))


def _supervised(verdicts: Sequence[Feedback]) -> Iterator[dict[str, object]]:
    corrected = [one for one in verdicts if one.correction is not None]
    if corrected:
        yield _row(corrected[-1].correction, corrected)
        return
    good: dict[str, list[Feedback]] = {}
    for one in verdicts:
        if one.verdict == 1:
            good.setdefault(normalise(one.answer), []).append(one)
    for same in good.values():
        yield _row(same[-1].answer, same)


def _pairs(verdicts: Sequence[Feedback]) -> Iterator[dict[str, object]]:
    corrected = [one for one in verdicts if one.correction is not None]
    better = [str(one.correction) for one in corrected[-1:]] or [one.answer for one in verdicts if one.verdict == 1]
    chosen = {normalise(text): text for text in better}
    worse: dict[str, list[Feedback]] = {}
    for one in verdicts:
        if (one.verdict == -1 or one.correction is not None) and normalise(one.answer) not in chosen:
            worse.setdefault(normalise(one.answer), []).append(one)
    for preferred in chosen.values():
        for same in worse.values():
            yield {**_row(preferred, [*corrected, *same]), "rejected": same[-1].answer}


def _row(answer: str | None, behind: Sequence[Feedback]) -> dict[str, object]:
    last = behind[-1]
    numbers = sorted({one.id for one in behind})
    people = {name for one in behind for name in (one.by, one.asked_by) if name is not None}
    return {
        "question": last.question,
        "answer": answer,
        "system": last.system,
        "context": "\n\n".join(last.passages),
        "source": "feedback:" + ",".join(map(str, numbers)),
        "by": sorted(people),
    }


def _disagreements(verdicts: Sequence[Feedback]) -> Iterator[Disagreement]:
    corrected = {one.by or "somebody": one for one in verdicts if one.correction is not None}
    if len({normalise(str(one.correction)) for one in corrected.values()}) > 1:
        said = tuple((person, str(one.correction)) for person, one in corrected.items())
        yield Disagreement(question=verdicts[0].question, answer=None, said=said)
    about: dict[str, list[Feedback]] = {}
    for one in verdicts:
        if one.verdict is not None:
            about.setdefault(normalise(one.answer), []).append(one)
    for judged in about.values():
        if len({one.verdict for one in judged}) > 1:
            said = tuple((one.by or "somebody", "good" if one.verdict == 1 else "bad") for one in judged)
            yield Disagreement(question=judged[0].question, answer=judged[0].answer, said=said)


def _doubts(verdicts: Sequence[Feedback]) -> Iterator[Doubt]:
    for one in verdicts:
        if one.correction is None or not one.passages:
            continue
        passages = " ".join(f" {normalise(passage)} " for passage in one.passages)
        if f" {normalise(one.answer)} " in passages and f" {normalise(one.correction)} " not in passages:
            yield Doubt(question=one.question, answer=one.answer, correction=one.correction, by=one.by)
