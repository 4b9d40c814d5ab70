"""What a store tells about itself: which method its verdicts are enough for, and what somebody's leaving removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["FeedbackCounts", "Learned", "Suggestion", "TrainedRun", "Withdrawal", "count", "suggestion"]

# So many pairs are what OpenAI's guides begin with; below it single thumbs say more in all.
_ENOUGH_PAIRS = 50
# Of fewer bad answers the other side of the loss has too little to hold on to.
_ENOUGH_BAD = 50


@dataclass(frozen=True, kw_only=True)
class FeedbackCounts:
    """How much a store holds.

    Attributes:
        answers: answers that are kept.
        unjudged: those that nobody has judged.
        good: verdicts that call one good.
        bad: verdicts that call one bad.
        corrections: verdicts with a correction.

    Example:
        ```python
        import ragtune as rt

        store = rt.FeedbackStore("feedback.sqlite3")
        store.log("12 metres", question="How deep is Lake Sorrel?")
        print(store.counts().unjudged)
        #> 1
        ```
    """

    answers: int
    unjudged: int
    good: int
    bad: int
    corrections: int


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Which method the verdicts of a store are enough for.

    Attributes:
        method: `supervised`, `preference`, `kto`, or None where nothing can be trained on yet.
        why: the counts behind it, in one sentence.
        corrections: questions with a correction.
        pairs: answers that can be compared with a better one to the same question.
        good: answers that are called good.
        bad: answers that are called bad.

    Example:
        ```python
        import ragtune as rt

        store = rt.FeedbackStore("feedback.sqlite3")
        store.add("12 metres", question="How deep is Lake Sorrel?", correction="83 metres")
        print(store.suggest().method)
        #> supervised
        ```
    """

    method: str | None
    why: str
    corrections: int
    pairs: int
    good: int
    bad: int

    def __str__(self) -> str:
        return f"{self.method or 'nothing yet'}: {self.why}"


# A protocol, so that this room need not know the journal.
class TrainedRun(Protocol):
    """A purchase that knows its dataset: `ragtune.Run` does."""

    @property
    def fingerprint(self) -> str | None:
        """The dataset's."""

    @property
    def job_id(self) -> str | None:
        """The job that learned from it."""

    @property
    def fine_tuned_model(self) -> str | None:
        """The model that came of it."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A job that learned from a dataset which holds somebody's words.

    Attributes:
        fingerprint: the dataset's.
        job: the job, None where it is not known.
        model: the model that it made, None while there is none.

    Example:
        ```python
        from ragtune.feedback import Learned

        print(Learned(fingerprint="f" * 64, job="ftjob-1", model="ft:tiny-random:me::1").model)
        #> ft:tiny-random:me::1
        ```
    """

    fingerprint: str
    job: str | None
    model: str | None


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """What one person's leaving removed, and what was built and trained with it before.

    Attributes:
        person: who left.
        verdicts: verdicts that were removed.
        answers: answers that were removed with the questions that this person asked.
        datasets: (fingerprint, folder) of each dataset that holds rows of this person.
        learned: the jobs and models that learned from these datasets, of the runs that were given.

    Example:
        ```python
        import ragtune as rt

        store = rt.FeedbackStore("feedback.sqlite3")
        store.add("12 metres", question="How deep is Lake Sorrel?", verdict=-1, by="anna")
        print(store.withdraw(by="anna", runs=rt.runs()))
        #> anna: 1 verdict and 0 answers removed; no dataset was built with them
        ```
    """

    person: str
    verdicts: int
    answers: int
    datasets: tuple[tuple[str, str], ...] = ()
    learned: tuple[Learned, ...] = ()

    def __str__(self) -> str:
        removed = f"{count(self.verdicts, 'verdict')} and {count(self.answers, 'answer')} removed"
        held = "".join(f"\n  {fingerprint[:12]}  {folder}" for fingerprint, folder in self.datasets)
        rest = f"datasets that hold them:{held}" if held else "no dataset was built with them"
        taught = "".join(
            f"\n  {one.job or 'a job that is not known'}  {one.model or 'no model yet'}  from {one.fingerprint[:12]}"
            for one in self.learned
        )
        return f"{self.person}: {removed}; {rest}" + (
            f"\njobs and models that learned from these:{taught}" if taught else ""
        )


def suggestion(*, corrections: int, pairs: int, good: int, bad: int) -> Suggestion:
    """The method that the counts speak for."""
    method, why = _method(corrections=corrections, pairs=pairs, good=good, bad=bad)
    return Suggestion(method=method, why=why, corrections=corrections, pairs=pairs, good=good, bad=bad)


def _method(*, corrections: int, pairs: int, good: int, bad: int) -> tuple[str | None, str]:
    # Pairs first: they say of one question which answer is better, and thumbs compare answers to different ones.
    if pairs >= _ENOUGH_PAIRS:
        return "preference", f"{pairs} answers have a better one beside them, enough to learn the difference"
    found = f"{count(corrections, 'correction')} and {count(good, 'good answer')}"
    if good and bad >= _ENOUGH_BAD:
        why = f"{good} good and {count(bad, 'bad answer')}, and {count(pairs, 'pair')} among them"
        return "kto", f"{why}: single thumbs say more than the few pairs do"
    if corrections or good:
        rest = f"{_ENOUGH_PAIRS} pairs, of which there are {pairs}, would be enough for preference"
        return "supervised", f"{found} can be learned as they are; {rest}"
    if bad:
        return "kto", f"{count(bad, 'bad answer')}, and no better one beside them: only single thumbs can be learned"
    return None, "nobody has judged an answer yet"


def count(number: int, word: str) -> str:
    """`1 verdict`, `2 verdicts`."""
    return f"{number} {word}{'' if number == 1 else 's'}"
