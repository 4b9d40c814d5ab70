"""Wordings by a model: asked once per fact, checked by a second question, remembered by content."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune.errors import DatasetError
from ragtune.facts.fact import Wording
from ragtune.facts.faults import is_cut
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.facts.fact import Fact, Kind
    from ragtune.facts.paid_chat import PaidChat

__all__ = ["Rewriter"]

REWORDED = """Write {count} questions that ask for exactly the same as the question below, in other words and built in \
another way. Keep every name, number and unit. Never tell the answer. One question a line, nothing else.

Question: {question}
Answer: {answer}"""
REVERSED = """Write one question that tells the answer below and asks for what the question below is about, so that it \
turns round. Write it in one line, then a line with the answer to it, nothing else.

Question: {question}
Answer: {answer}"""
CHECK = """A fact, as question and answer:
Question: {question}
Answer: {answer}

Another question: {asked}

Answer the other question from this fact alone, in as few words as you can. If the fact does not answer it, write NO."""
_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Rewriter:
    """Asks a model for wordings, and asks it again whether each still fits its answer.

    Attributes:
        chat: asks the model, within its budget.
        asked: normal forms of the questions that are there already; new ones join them.
        kind: `reworded` or `reversed`.
        per_fact: how many rewordings are asked for.
        concurrency: so many facts are worked on at once.
    """

    chat: PaidChat
    asked: set[str]
    kind: Kind
    per_fact: int = 3
    concurrency: int = 4

    def __post_init__(self) -> None:
        if self.kind not in ("reworded", "reversed"):
            raise DatasetError(f"a model makes reworded and reversed questions, not {self.kind!r:.40} ones")

    def __call__(self, facts: Sequence[Fact]) -> dict[str, list[Wording]]:
        """The wordings that passed the check, by the id of their fact.

        Raises:
            BudgetExceeded: the next call might cost more than is left.
            DatasetError: the client answers later, or what it gives is no chat completion.
        """
        with ThreadPoolExecutor(self.concurrency) as pool:
            try:
                checked = list(pool.map(self._of, facts))
            except BaseException:
                # What is under way is paid for and goes into the cache; the rest is not begun.
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        # In the order of the facts, so that the same answers make the same set however fast they come.
        return {fact.id: list(self._new(found)) for fact, found in zip(facts, checked, strict=True)}

    def _new(self, found: Sequence[Wording]) -> Iterator[Wording]:
        for wording in found:
            # Joined here, in one thread: while the models are asked the set is only read.
            if (form := normalise(wording.question)) not in self.asked:
                self.asked.add(form)
                yield wording

    def _of(self, fact: Fact) -> list[Wording]:
        if fact.taught is None:
            return []
        told = {"question": fact.taught.question, "answer": fact.answers[0], "count": self.per_fact}
        reply = self.chat.ask((REWORDED if self.kind == "reworded" else REVERSED).format(**told))
        # Models number their lines or begin them with dashes, whatever they were asked for.
        lines = [line.strip(" -*\t").lstrip("0123456789.) ") for line in reply.splitlines() if line.strip(" -*\t")]
        kept = []
        for wording in self._wordings(lines):
            form = normalise(wording.question)
            whole = not any(map(is_cut, (wording.question, *wording.answers)))
            if whole and form and form not in self.asked and self._fits(fact, fact.taught.question, wording):
                kept.append(wording)
            else:
                _log.info("fact %r: the wording %r was left out", fact.id, wording.question)
        return kept

    def _wordings(self, lines: list[str]) -> Iterator[Wording]:
        if self.kind == "reworded":
            # Models write more lines than they were asked for, each of which would cost a check.
            yield from (Wording(question=line, kind=self.kind) for line in lines[: self.per_fact])
        elif len(lines) >= 2:
            answer = lines[1].removeprefix("Answer:").strip()
            yield Wording(question=lines[0].removeprefix("Question:").strip(), kind=self.kind, answers=(answer,))

    def _fits(self, fact: Fact, taught: str, wording: Wording) -> bool:
        """Whether the question does not tell its answer, and the fact answers it so."""
        right = [f" {normalise(answer)} " for answer in fact.answers_to(wording) if normalise(answer)]
        # Before the model is asked: what tells its answer is out, and that costs nothing.
        if not right or any(answer in f" {normalise(wording.question)} " for answer in right):
            return False
        asked = CHECK.format(question=taught, answer=fact.answers[0], asked=wording.question)
        # Between blanks, so that 18 is not found in 1871.
        reply = f" {normalise(self.chat.ask(asked))} "
        return any(answer in reply for answer in right)
