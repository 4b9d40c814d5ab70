"""What a store tells about itself: which method its verdicts are enough for, and what somebody's leaving removed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Suggestion", "Withdrawal", "suggestion"]

# So many pairs are what OpenAI's guides begin with; below it single thumbs say more in all.
_ENOUGH_PAIRS = 50


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


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """What one person's leaving removed, and which datasets were built with it before.

    Attributes:
        person: who left.
        verdicts: verdicts that were removed.
        answers: answers that were removed with the questions that this person asked.
        datasets: (fingerprint, folder) of each dataset that holds rows of this person. `ragtune.runs()` tells by the
            fingerprint which jobs and models learned from it.

    Example:
        ```python
        import ragtune as rt

        store = rt.FeedbackStore("feedback.sqlite3")
        store.add("12 metres", question="How deep is Lake Sorrel?", verdict=-1, by="anna")
        print(store.withdraw(by="anna"))
        #> anna: 1 verdict and 0 answers removed; no dataset was built with them
        ```
    """

    person: str
    verdicts: int
    answers: int
    datasets: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        removed = f"{count(self.verdicts, 'verdict')} and {count(self.answers, 'answer')} removed"
        held = "".join(f"\n  {fingerprint[:12]}  {folder}" for fingerprint, folder in self.datasets)
        rest = f"datasets that hold them:{held}" if held else "no dataset was built with them"
        return f"{self.person}: {removed}; {rest}"


def suggestion(*, corrections: int, pairs: int, good: int, bad: int) -> Suggestion:
    """The method that the counts speak for."""
    method, why = _method(corrections, pairs, good, bad)
    return Suggestion(method=method, why=why, corrections=corrections, pairs=pairs, good=good, bad=bad)


def _method(corrections: int, pairs: int, good: int, bad: int) -> tuple[str | None, str]:
    if pairs >= _ENOUGH_PAIRS:
        return "preference", f"{pairs} answers have a better one beside them, enough to learn the difference"
    if corrections or good:
        why = f"{count(corrections, 'correction')} and {count(good, 'good answer')} can be learned as they are"
        return "supervised", f"{why}; {_ENOUGH_PAIRS} pairs, of which there are {pairs}, would be enough for preference"
    if bad:
        return "kto", f"{count(bad, 'bad answer')}, and no better one beside them: only single thumbs can be learned"
    return None, "nobody has judged an answer yet"


def count(number: int, word: str) -> str:
    """`1 verdict`, `2 verdicts`."""
    return f"{number} {word}{'' if number == 1 else 's'}"
