"""Wordings by a model: asked once per fact, checked by a second question, remembered by content."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import attrgetter
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import orjson

from ragtune import catalog
from ragtune.errors import BudgetExceeded, DatasetError
from ragtune.facts.fact import Wording
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ragtune.catalog import Catalog
    from ragtune.facts.fact import Fact, Kind

__all__ = ["ChatClient", "Rewriter"]

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
_MOST_TOKENS = 300
_log = logging.getLogger(__name__)


class ChatClient(Protocol):
    """A client with `client.chat.completions.create(...)`, such as `openai.OpenAI`."""

    @property
    def chat(self) -> object:
        """Its chat API."""


@dataclass(kw_only=True)
class Rewriter:
    """Asks a model for wordings, and asks it again whether each still fits its answer.

    Attributes:
        client: speaks with the server.
        model: name of the model.
        asked: normal forms of the questions that are there already; new ones join them.
        kind: `reworded` or `reversed`.
        per_fact: how many rewordings are asked for.
        cache: file of all questions and answers so far; a call that is in it is not made again.
        max_cost_usd: no call is made that might bring the sum above it; None sets no limit.
        catalogue: prices; None takes those that ship.
        concurrency: so many facts are worked on at once.
        request: further arguments of each request, for example `{"temperature": 0}`.
        spent_usd: what the calls of this run have cost; None while a price is unknown.
    """

    client: ChatClient
    model: str
    asked: set[str]
    kind: Kind
    per_fact: int = 3
    cache: Path | None = None
    max_cost_usd: float | None = None
    catalogue: Catalog | None = None
    concurrency: int = 4
    request: Mapping[str, object] = field(default_factory=dict)
    spent_usd: float | None = field(init=False, default=0.0)
    _known: dict[str, str] = field(init=False, default_factory=dict, repr=False)
    _prices: tuple[float, float] | None = field(init=False, default=None, repr=False)
    _lock: Lock = field(init=False, default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in ("reworded", "reversed"):
            raise DatasetError(f"a model makes reworded and reversed questions, not {self.kind!r:.40} ones")
        info = (self.catalogue or catalog.load()).find(self.model)
        if info and info.input_usd_per_million is not None and info.output_usd_per_million is not None:
            self._prices = info.input_usd_per_million, info.output_usd_per_million
        elif self.max_cost_usd is not None:
            raise DatasetError(
                f"max_cost_usd={self.max_cost_usd}: no price of {self.model!r} is known, so no budget can be kept; "
                f"leave it out, or give a model of the catalogue"
            )
        else:
            self.spent_usd = None
        self._known = dict(_remembered(self.cache)) if self.cache else {}

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
            if (form := normalise(wording.question)) not in self.asked:
                self.asked.add(form)
                yield wording

    def _of(self, fact: Fact) -> list[Wording]:
        if fact.taught is None:
            return []
        told = {"question": fact.taught.question, "answer": fact.answers[0], "count": self.per_fact}
        reply = self._ask((REWORDED if self.kind == "reworded" else REVERSED).format(**told))
        lines = [line.strip(" -*\t").lstrip("0123456789.) ") for line in reply.splitlines() if line.strip(" -*\t")]
        kept = []
        for wording in self._wordings(lines):
            form = normalise(wording.question)
            if form and form not in self.asked and self._fits(fact, fact.taught.question, wording):
                kept.append(wording)
            else:
                _log.info("fact %r: the wording %r was left out", fact.id, wording.question)
        return kept

    def _wordings(self, lines: list[str]) -> Iterator[Wording]:
        if self.kind == "reworded":
            yield from (Wording(question=line, kind=self.kind) for line in lines[: self.per_fact])
        elif len(lines) >= 2:
            answer = lines[1].removeprefix("Answer:").strip()
            yield Wording(question=lines[0].removeprefix("Question:").strip(), kind=self.kind, answers=(answer,))

    def _fits(self, fact: Fact, taught: str, wording: Wording) -> bool:
        """Whether the question does not tell its answer, and the fact answers it so."""
        right = [f" {normalise(answer)} " for answer in fact.answers_to(wording) if normalise(answer)]
        if not right or any(answer in f" {normalise(wording.question)} " for answer in right):
            return False
        asked = CHECK.format(question=taught, answer=fact.answers[0], asked=wording.question)
        reply = f" {normalise(self._ask(asked))} "
        return any(answer in reply for answer in right)

    def _ask(self, prompt: str) -> str:
        request = orjson.dumps(self.request, option=orjson.OPT_SORT_KEYS) if self.request else b""
        key = hashlib.sha256(b"\0".join([self.model.encode(), prompt.encode(), request])).hexdigest()
        if key not in self._known:
            most = self._reserved(prompt)
            try:
                text, cost = self._call(prompt)
            except BaseException:
                self._settle(most, 0.0)
                raise
            self._settle(most, cost)
            self._remember(key, prompt, text)
        return self._known[key]

    def _reserved(self, prompt: str) -> float:
        """The most that a call may cost, set aside before it is made."""
        # No token is shorter than a byte.
        most = self._cost(len(prompt.encode()) + 100, _MOST_TOKENS)
        with self._lock:
            if self.spent_usd is None or most is None:
                return 0.0
            if self.max_cost_usd is not None and self.spent_usd + most > self.max_cost_usd:
                kept = f"{self.cache} keeps" if self.cache else "give cache= to keep"
                raise BudgetExceeded(
                    f"wordings cost {self.spent_usd:.4f} USD so far, and one more call might cost {most:.4f}, above "
                    f"max_cost_usd={self.max_cost_usd}; {kept} what was paid for; raise it and call again"
                )
            self.spent_usd += most
        return most

    def _settle(self, most: float, cost: float | None) -> None:
        with self._lock:
            if self.spent_usd is not None and cost is not None:
                self.spent_usd += cost - most

    def _remember(self, key: str, prompt: str, text: str) -> None:
        with self._lock:
            self._known[key] = text
            if self.cache is not None:
                _append(self.cache, {"key": key, "model": self.model, "prompt": prompt, "answer": text})

    def _call(self, prompt: str) -> tuple[str, float | None]:
        """What the model says, and what it cost; a server that counts no tokens leaves what was set aside."""
        messages = [{"role": "user", "content": prompt}]
        create = attrgetter("chat.completions.create")(self.client)
        fixed = {"model": self.model, "messages": messages, "max_completion_tokens": _MOST_TOKENS}
        reply = create(**{**self.request, **fixed})
        if inspect.iscoroutine(reply):
            reply.close()
            raise DatasetError("make= is an asynchronous client; give a synchronous one, such as openai.OpenAI")
        try:
            text = reply.choices[0].message.content
            cost = self._cost(reply.usage.prompt_tokens, reply.usage.completion_tokens) if reply.usage else None
        except (AttributeError, IndexError, TypeError):
            raise DatasetError(f"the client gave {reply!r:.80}, which is no chat completion") from None
        return text or "", cost

    def _cost(self, asked: int, answered: int) -> float | None:
        return None if self._prices is None else (asked * self._prices[0] + answered * self._prices[1]) / 1e6


def _remembered(cache: Path) -> Iterator[tuple[str, str]]:
    if not cache.exists():
        return
    for line in cache.read_bytes().split(b"\n"):
        try:
            told = orjson.loads(line)
            yield told["key"], told["answer"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            # A process that was killed leaves half a line; its question is asked again.
            continue


def _append(cache: Path, told: dict[str, str]) -> None:
    line = orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
    with cache.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size and (file.seek(size - 1), file.read(1))[1] != b"\n":
            line = b"\n" + line
        file.write(line)
