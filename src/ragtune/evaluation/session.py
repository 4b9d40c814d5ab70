"""What an evaluation asks, what it knows already, and what it writes down."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from ragtune.evaluation.asking.answerers import timed
from ragtune.evaluation.asking.question import Failure, Question, Returned, Shown
from ragtune.evaluation.log import read_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    """

    arms: Mapping[str, Arm]
    facts: FactSet
    kinds: tuple[Kind, ...]
    log: AnswerLog
    purse: Purse
    call: Calls
    proof: str | None = None
    _done: set[tuple[str, str, int]] = field(default_factory=set)
    _cache: dict[bytes, int] = field(default_factory=dict)
    _pending: dict[bytes, Question] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _end: int = 0

    def remember(self) -> None:
        """Take in what the log holds already; what was not answered is asked again."""
        for offset, line in read_log(self.log.path):
            if line["type"] == "probe":
                self.proof = line["by"]
            if line["type"] == "answer" and line.get("text") is not None:
                self._done.add((line["arm"], line["fact"], line["wording"]))
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

    async def ask(self, question: Question) -> bool:
        """Ask and write down what comes; False where its money is reserved by others, or others ask the same now."""
        arm = self.arms[question.arm]
        shown, prompt, key = Shown(text=question.wording.question), None, b""
        try:
            shown = await arm.shown(question, self.call)
            prompt = await arm.respondent.prompt(shown)
            key = _content_key(arm, prompt, shown)
            known = self._claim(key, question)
            if known is not None:
                return known
            reserved = self._at_most(arm, prompt)
            if not self.purse.reserve(reserved):
                self._release(key)
                return False
        except Exception as error:
            reply = Returned(text=None, fault=_fault(error))
        else:
            reply = await self._answered(arm, prompt, shown, reserved, key)
        self._write(question, shown, prompt, reply, key)
        return True

    async def _answered(self, arm: Arm, prompt: Prompt, shown: Shown, reserved: float, key: bytes) -> Returned:
        spent = 0.0
        try:
            reply = await timed(arm.respondent, prompt, shown)
            # Where the server counts no tokens, it may have been the most that it could be.
            spent = reserved if reply.cost_usd is None else reply.cost_usd
            return reply
        except Exception as error:
            return Returned(text=None, fault=_fault(error))
        finally:
            self.purse.settle(reserved, spent)
            self._release(key)

    def _at_most(self, arm: Arm, prompt: Prompt) -> float:
        price = arm.respondent.price
        if price is None or self.purse.limit_usd is None:
            return 0.0
        return price.at_most(prompt, arm.respondent.max_tokens) or 0.0

    def _claim(self, key: bytes, question: Question) -> bool | None:
        """Answer from the log, True; False where others ask just this now; None where it is free to be asked."""
        with self._lock:
            if (offset := self._cache.get(key)) is None:
                if key in self._pending:
                    return False
                self._pending[key] = question
                return None
        _, line = next(read_log(self.log.path, start=offset))
        copied = line | _place(question) | {"cached": True, "cost_usd": 0.0}
        self._append(question, copied, key)
        return True

    def _release(self, key: bytes) -> None:
        with self._lock:
            self._pending.pop(key, None)

    def late(self, question: Question, timeout_s: float) -> None:
        """Write down that a question hangs."""
        with self._lock:
            for key in [key for key, asked in self._pending.items() if asked is question]:
                del self._pending[key]
        fault = Failure(type="TimeoutError", message=f"no answer within timeout_s={timeout_s:g} seconds")
        self._write(question, Shown(text=question.wording.question), None, Returned(text=None, fault=fault), b"")

    def _write(self, question: Question, shown: Shown, prompt: Prompt | None, reply: Returned, key: bytes) -> None:
        line = _place(question) | {
            "prompt": prompt,
            "text": reply.text,
            "fault": None if reply.fault is None else {"type": reply.fault.type, "message": reply.fault.message},
            "refused": reply.refused,
            "finish_reason": reply.finish_reason,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "latency_s": reply.latency_s,
            "cost_usd": reply.cost_usd,
            "key": key.hex(),
            "options": shown.options,
            "planted": shown.planted,
            **reply.details,
        }
        kept = {name: value for name, value in line.items() if not (value is None or value is False or value == ())}
        self._append(question, kept, key)

    def _append(self, question: Question, line: Line, key: bytes) -> None:
        with self._lock:
            written = self.log.append(line)
            if written and "text" in line:
                self._done.add((question.arm, question.fact.id, question.number))
                self._cache.setdefault(key, self._end)
            self._end += written


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
    said = orjson.dumps(
        [arm.respondent.identity, parameters, prompt, shown.options], default=repr, option=orjson.OPT_SORT_KEYS
    )
    return hashlib.blake2b(said, digest_size=16).digest()


def _fault(error: Exception) -> Failure:
    return Failure(type=type(error).__name__, message=str(error)[:2000])
