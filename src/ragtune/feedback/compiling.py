"""From verdicts to rows: who is right is never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ragtune.errors import FeedbackError
from ragtune.feedback.talk import form_of, same_form
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set

    from ragtune.feedback.rows import Feedback

__all__ = ["Compiled", "Disagreement", "Doubt", "Method", "compile_rows"]

Method = Literal["supervised", "preference", "kto"]


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
        rows: `question`, `answer` (for pairs also `rejected`, for single thumbs `label`), `system`, `history` (the
            turns before the question), `context` (the passages, or ""), `source` (`feedback:` and the numbers of the
            answers) and `by` (the people behind it).
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

    Questions are the same when their normal forms, the turns before them, system prompts and passages are; answers when
    their normal forms are. Of one question a correction wins over good answers; good answers are those that somebody
    called good and nobody bad. Who corrects an answer calls their correction good, and the answer bad unless they
    called it good. Where corrections differ, or one is part of a quarrel, nothing of the question is used; of an answer
    that is called good and bad, nothing of the answer.

    Args:
        said: the verdicts.
        method: `supervised` rows have the right answer, `preference` rows a better and a worse one, `kto` rows an
            answer and in `label` whether it is good.

    Raises:
        FeedbackError: there is no such method.
    """
    # In a tuple one may look for what has no hash.
    if method not in tuple(_MAKERS):
        raise FeedbackError(f"method={method!r:.40} must be 'supervised', 'preference' or 'kto'")
    rows: list[dict[str, object]] = []
    disagreements: list[Disagreement] = []
    doubts: list[Doubt] = []
    for question in _questions(said):
        doubts += question.doubts()
        disagreements += question.quarrels()
        if question.is_usable:
            rows += _MAKERS[method](question)
    return Compiled(rows=tuple(rows), disagreements=tuple(disagreements), doubts=tuple(doubts))


@dataclass(frozen=True, kw_only=True)
class _Opinion:
    """What one verdict says of one text."""

    text: str
    is_good: bool
    said: Feedback


@dataclass(frozen=True, kw_only=True)
class _Question:
    """All that was said about the answers to one question.

    Attributes:
        verdicts: the verdicts, oldest first.
        opinions: what people think of each text; texts are in normal form.
        corrections: the corrections, with those who gave them.
        corrected: the answers that somebody corrected.
        disputed: the texts that people call good and bad.
    """

    verdicts: Sequence[Feedback]
    opinions: Mapping[str, Sequence[_Opinion]]
    corrections: Mapping[str, Sequence[Feedback]]
    corrected: Set[str]
    disputed: Set[str]

    @property
    def is_usable(self) -> bool:
        """Whether no correction is part of a quarrel; else no answer is safe to teach."""
        # A quarrel about the corrected answer is one about its correction: who calls that answer good says that it
        # needs none.
        return len(self.corrections) < 2 and not self.disputed & {*self.corrections, *self.corrected}

    def agreed(self, *, good: bool) -> dict[str, Sequence[_Opinion]]:
        """The texts that all who judged them call good, or bad."""
        found = self.opinions.items()
        # The first speaks for all: where two differ, the text is disputed.
        return {text: said for text, said in found if said[0].is_good == good and text not in self.disputed}

    def quarrels(self) -> Iterator[Disagreement]:
        """What people disagree about."""
        asked = self.verdicts[0].question
        if len(self.corrections) > 1:
            given = [(_person(one), str(one.correction)) for one in self.verdicts if one.correction is not None]
            # Each once: a person may have said the same of two answers.
            yield Disagreement(question=asked, answer=None, said=tuple(dict.fromkeys(given)))
        for text, found in self.opinions.items():
            if text in self.disputed:
                words = [(_person(one.said), "good" if one.is_good else "bad") for one in found]
                yield Disagreement(question=asked, answer=found[0].text, said=tuple(dict.fromkeys(words)))

    def doubts(self) -> Iterator[Doubt]:
        """Corrections that their passages do not hold while they hold the answer."""
        for one in self.verdicts:
            if one.correction is None or not one.passages:
                continue
            # With two blanks between them, so that nothing is found which begins in one and ends in the next.
            passages = " ".join(f" {normalise(passage)} " for passage in one.passages)
            if f" {normalise(one.answer)} " in passages and f" {normalise(one.correction)} " not in passages:
                yield Doubt(question=one.question, answer=one.answer, correction=one.correction, by=one.by)


def _questions(said: Iterable[Feedback]) -> Iterator[_Question]:
    asked: dict[Hashable, list[Feedback]] = {}
    for one in said:
        talk = form_of(one.history) if one.history else ()
        asked.setdefault((same_form(one.question), talk, one.system, one.passages), []).append(one)
    return map(_question, asked.values())


def _question(verdicts: Sequence[Feedback]) -> _Question:
    opinions: dict[str, list[_Opinion]] = {}
    corrections: dict[str, list[Feedback]] = {}
    corrected: set[str] = set()
    called: dict[bool, set[str]] = {True: set(), False: set()}

    def note(normal: str, text: str, is_good: bool, said: Feedback) -> None:
        opinions.setdefault(normal, []).append(_Opinion(text=text, is_good=is_good, said=said))
        called[is_good].add(normal)

    for one in verdicts:
        answer = same_form(one.answer)
        is_good = None if one.verdict is None else one.verdict == 1
        if one.correction is not None:
            right = same_form(one.correction)
            corrections.setdefault(right, []).append(one)
            corrected.add(answer)
            note(right, one.correction, True, one)
            # A correction that mends a comma or a capital says in normal form what the answer says.
            is_good = is_good or right == answer
        if is_good is not None:
            note(answer, one.answer, is_good, one)
    disputed = called[True] & called[False]
    return _Question(
        verdicts=verdicts, opinions=opinions, corrections=corrections, corrected=corrected, disputed=disputed
    )


def _better(question: _Question) -> dict[str, tuple[str, Sequence[Feedback]]]:
    """The texts to teach, in normal form, as they were last written, and those behind them."""
    # There is one at most: with two, nothing of the question is used.
    for right, behind in question.corrections.items():
        return {right: (str(behind[-1].correction), behind)}
    return _spelled(question.agreed(good=True))


def _spelled(agreed: Mapping[str, Sequence[_Opinion]]) -> dict[str, tuple[str, Sequence[Feedback]]]:
    return {text: (found[-1].text, [one.said for one in found]) for text, found in agreed.items()}


def _supervised(question: _Question) -> Iterator[dict[str, object]]:
    for text, behind in _better(question).values():
        yield _row(text, behind)


def _pairs(question: _Question) -> Iterator[dict[str, object]]:
    worse = _spelled(question.agreed(good=False))
    for preferred, for_it in _better(question).values():
        for rejected, against_it in worse.values():
            yield {**_row(preferred, [*for_it, *against_it]), "rejected": rejected}


def _thumbs(question: _Question) -> Iterator[dict[str, object]]:
    for is_good in (True, False):
        for text, behind in _spelled(question.agreed(good=is_good)).values():
            yield {**_row(text, behind), "label": is_good}


_MAKERS: Mapping[Method, Callable[[_Question], Iterator[dict[str, object]]]] = {
    "supervised": _supervised,
    "preference": _pairs,
    "kto": _thumbs,
}


def _row(answer: str, behind: Sequence[Feedback]) -> dict[str, object]:
    # Verdicts come oldest first, so this is how it was written last.
    last = behind[-1]
    numbers = sorted({one.id for one in behind})
    # Who asked, too: the question is in their words, and goes with them when they leave.
    people = {name for one in behind for name in (one.by, one.asked_by) if name is not None}
    return {
        "question": last.question,
        "answer": answer,
        "system": last.system,
        "history": last.history,
        "context": "\n\n".join(last.passages),
        "source": "feedback:" + ",".join(map(str, numbers)),
        "by": sorted(people),
    }


def _person(one: Feedback) -> str:
    return one.by or "somebody"
