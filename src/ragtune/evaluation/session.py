"""What an evaluation asks, what it knows already, and what it writes down."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from ragtune.evaluation.asking.paying import fault_of, paid_answer
from ragtune.evaluation.asking.question import Question, Returned, Shown
from ragtune.evaluation.log import read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ragtune.evaluation.asking.answerers import Arm
    from ragtune.evaluation.asking.calls import Calls
    from ragtune.evaluation.asking.prices import Purse
    from ragtune.evaluation.asking.question import Prompt
    from ragtune.evaluation.log import AnswerLog, Line
    from ragtune.facts import FactSet, Kind


@dataclass
class Evaluation:
    """What is asked, what is known, what is written down.

    Attributes:
        arms: who is asked, by name.
        facts: what is asked for.
        kinds: of wording.
        log: takes every answer.
        purse: pays.
        call: how foreign functions are called.
        take: gets every line of the log with its offset: those that are there already, then what `hand_over` finds.
        proof: by what base and tuned were told apart, None where they were not.
    """

    arms: Mapping[str, Arm]
    facts: FactSet
    kinds: tuple[Kind, ...]
    log: AnswerLog
    purse: Purse
    call: Calls
    take: Callable[[Line, int], None]
    proof: str | None = None
    _written: deque[tuple[Line, int]] = field(default_factory=deque)
    _begun: set[tuple[str, str, int]] = field(default_factory=set)
    _done: set[tuple[str, str, int]] = field(default_factory=set)
    _cache: dict[bytes, int] = field(default_factory=dict)
    _pending: dict[bytes, Question] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _end: int = 0

    def remember(self) -> None:
        """Take in what the log holds already; what was not answered is asked again."""
        for offset, line in read_log(self.log.path):
            self.take(line, offset)
            if line["type"] == "probe":
                self.proof = line["by"]
                # A limit counts what was paid before a kill, too.
                self.purse.spent_usd += line.get("cost_usd") or 0.0
            if line["type"] != "answer":
                continue
            place = line["arm"], line["fact"], line["wording"]
            self._begun.add(place)
            # One without a text counts as wrong on the card and is asked again here: the server may be well now.
            if line.get("text") is not None:
                self._done.add(place)
                # Offsets, not answers: memory holds numbers alone, and the answer is read again where it is wanted.
                self._cache.setdefault(bytes.fromhex(line["key"]), offset)
                self.purse.spent_usd += line.get("cost_usd") or 0.0
        self._end = self.log.path.stat().st_size

    def places(self) -> Iterator[tuple[str, str, int]]:
        """Iterate arm, fact and number of wording of all questions."""
        for fact in self.facts:
            for number, wording in enumerate(fact.wordings):
                if wording.kind in self.kinds:
                    yield from ((name, fact.id, number) for name in self.arms)

    def questions(self) -> Iterator[Question]:
        """Iterate what is still to be asked: fact by fact, so that a part of it compares all arms."""
        for name, fact_id, number in self.places():
            if (name, fact_id, number) not in self._done:
                fact = self.facts[fact_id]
                wording = fact.wordings[number]
                yield Question(arm=name, facts=self.facts, fact=fact, wording=wording, number=number)

    @property
    def total(self) -> int:
        """How many questions there are."""
        return sum(1 for _ in self.places())

    @property
    def answered(self) -> int:
        """How many of them are answered."""
        return sum(place in self._done for place in self.places())

    @property
    def never_begun(self) -> int:
        """How many have no line in the log: one without an answer was asked."""
        return sum(place not in self._begun for place in self.places())

    async def ask(self, question: Question) -> bool:
        """Ask and write down what comes; False where its money is reserved by others, or others ask the same now."""
        arm = self.arms[question.arm]
        shown, prompt, key = Shown(text=question.wording.question), None, b""
        try:
            shown = await arm.shown(question, self.call)
            prompt = await arm.respondent.prompt(shown)
            key = _content_key(arm, prompt, shown)
            known = self._claim(key, question)
        # A retriever that fails costs one answer and must not end an evaluation that is paid.
        except Exception as error:
            self._write(question, shown, prompt=prompt, reply=Returned(text=None, fault=fault_of(error)), key=key)
            return True
        if known is not None:
            return known
        try:
            reply = await paid_answer(arm.respondent, prompt, shown, self.purse)
            if reply is not None:
                self._write(question, shown, prompt=prompt, reply=reply, key=key)
            return reply is not None
        finally:
            self._release(key)

    def _claim(self, key: bytes, question: Question) -> bool | None:
        """Answer from the log, True; False where others ask just this now; None where it is free to be asked."""
        with self._lock:
            if (offset := self._cache.get(key)) is None:
                # Sent twice it would be paid twice; this one comes again when the first is written.
                if key in self._pending:
                    return False
                self._pending[key] = question
                return None
        _, line = next(read_log(self.log.path, start=offset))
        # Free, so that the sum over the log is what was paid.
        copied = line | _place(question) | {"cached": True, "cost_usd": 0.0}
        self._append(question, copied, key)
        return True

    def _release(self, key: bytes) -> None:
        with self._lock:
            self._pending.pop(key, None)

    def hand_over(self) -> None:
        """Give away what was written since: by one thread, so that scorers need not be safe for several."""
        while self._written:
            self.take(*self._written.popleft())

    def prove(self, by: str, *, cost_usd: float) -> None:
        """Write down by what base and tuned were told apart, and what that cost."""
        self.proof = by
        with self._lock:
            self._added({"type": "probe", "by": by, "cost_usd": cost_usd})

    def late(self, question: Question, timeout_s: float) -> None:
        """Write down that a question hangs."""
        with self._lock:
            # Its thread hangs and will not release the key: equal questions of other arms would wait for it for ever.
            for key in [key for key, asked in self._pending.items() if asked is question]:
                del self._pending[key]
        self._write(
            question, Shown(text=question.wording.question), prompt=None, reply=Returned.late(timeout_s), key=b""
        )

    def _write(self, question: Question, shown: Shown, *, prompt: Prompt | None, reply: Returned, key: bytes) -> None:
        line = _place(question) | reply.line(prompt)
        line |= {"key": key.hex(), "options": shown.options, "planted": shown.planted}
        # Absent fields are read as these values anyhow, and a log has a line for each answer.
        kept = {name: value for name, value in line.items() if not (value is None or value is False or value == ())}
        self._append(question, kept, key)

    def _append(self, question: Question, line: Line, key: bytes) -> None:
        with self._lock:
            place, offset = (question.arm, question.fact.id, question.number), self._end
            if self._added(line):
                self._begun.add(place)
                if "text" in line:
                    self._done.add(place)
                    self._cache.setdefault(key, offset)

    def _added(self, line: Line) -> bool:
        """Append a line; False where the log is closed."""
        written = self.log.append(line)
        if written:
            self._written.append((line, self._end))
            self._end += written
        return written > 0


def _place(question: Question) -> Line:
    fact, wording = question.fact, question.wording
    line: Line = {
        "type": "answer",
        "arm": question.arm,
        "fact": fact.id,
        "kind": wording.kind,
        "wording": question.number,
        "question": wording.question,
    }
    if answers := fact.answers_to(wording):
        line["answers"] = answers
    if fact.distractors:
        line["distractors"] = fact.distractors
    return line


def _content_key(arm: Arm, prompt: Prompt, shown: Shown) -> bytes:
    """What makes answers equal: who is asked, how, and with which prompt."""
    parameters = getattr(arm.respondent, "parameters", {})
    # Parameters are the user's own and may hold anything, which is then told by its repr.
    said = orjson.dumps(
        [arm.respondent.identity, parameters, prompt, shown.options], default=repr, option=orjson.OPT_SORT_KEYS
    )
    # Sixteen bytes: that two of a thousand million questions are taken for one has a chance below 1e-20.
    return hashlib.blake2b(said, digest_size=16).digest()
