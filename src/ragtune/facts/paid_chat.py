"""Questions to a model that cost money: each is paid for once, within a budget, and kept."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import orjson

from ragtune import catalog
from ragtune._ranges import require_limits
from ragtune.errors import BudgetExceeded, DatasetError
from ragtune.facts.faults import CUT, is_cut

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ragtune.catalog import Catalog

__all__ = ["ChatClient", "PaidChat"]

# How each line of ours begins: half a line of it is told from a line of some other file.
_BEGINNING = b'{"key":'


class ChatClient(Protocol):
    """A client with `client.chat.completions.create(...)`, such as `openai.OpenAI`."""

    @property
    def chat(self) -> object:
        """Its chat API."""


@dataclass(kw_only=True)
class PaidChat:
    """Asks a model; may be used by several threads.

    Attributes:
        client: speaks with the server.
        model: name of the model.
        cache: file of all questions and answers so far; a call that is in it is not made again.
        max_cost_usd: no call is made that might bring the sum above it; None sets no limit.
        max_tokens: the same for the tokens of questions and answers together.
        answer_tokens: the longest answer.
        catalogue: prices; None takes those that ship.
        request: further arguments of each request, for example `{"temperature": 0}`.
        what: what is paid for, for messages.
        spent_usd: what the calls of this run have cost; None while a price is unknown.
        spent_tokens: tokens of this run's questions and answers, as the server counts them.
        calls: how many calls this run has made.
        remembered: how many it took from the cache.
    """

    client: ChatClient
    model: str
    cache: Path | None = None
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    answer_tokens: int = 300
    catalogue: Catalog | None = None
    request: Mapping[str, object] = field(default_factory=dict)
    what: str = "wordings"
    spent_usd: float | None = field(init=False, default=0.0)
    spent_tokens: int = field(init=False, default=0)
    calls: int = field(init=False, default=0)
    remembered: int = field(init=False, default=0)
    _known: dict[str, str] = field(init=False, default_factory=dict, repr=False)
    _prices: tuple[float, float] | None = field(init=False, default=None, repr=False)
    _lock: Lock = field(init=False, default_factory=Lock, repr=False)

    def __post_init__(self) -> None:
        require_limits(self.max_cost_usd, self.max_tokens)
        _refuse_faults(self.model, self.request)
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
        self._known = {} if self.cache is None else _opened(self.cache)

    def ask(self, prompt: str) -> str:
        """What the model says to a prompt, now or at an earlier time.

        Raises:
            BudgetExceeded: the call might cost more than is left.
            DatasetError: the client answers later, or what it gives is no chat completion.
        """
        request = orjson.dumps(self.request, option=orjson.OPT_SORT_KEYS) if self.request else b""
        # The request is in it: another temperature asks anew.
        key = hashlib.sha256(b"\0".join([self.model.encode(), prompt.encode(), request])).hexdigest()
        if key in self._known:
            with self._lock:
                self.remembered += 1
            return self._known[key]
        # And a hundred for what the server's template puts around the prompt.
        # No token is shorter than a byte.
        asked, answered = len(prompt.encode()) + 100, self.answer_tokens
        self._reserve(asked, answered)
        try:
            text, used = self._call(prompt)
        # Ctrl-C as well: what was set aside for the call would count as spent.
        except BaseException:
            self._settle((asked, answered), (0, 0))
            raise
        self._settle((asked, answered), used)
        self._remember(key, prompt, text)
        return text

    def _reserve(self, asked: int, answered: int) -> None:
        """Set the most that a call may cost aside before it is made."""
        most = self._cost(asked, answered)
        with self._lock:
            kept = f"{self.cache} keeps" if self.cache else "give cache= to keep"
            if self.max_cost_usd is not None and (self.spent_usd or 0.0) + most > self.max_cost_usd:
                raise BudgetExceeded(
                    f"{self.what} cost {self.spent_usd:.4f} USD so far, and one more call might cost {most:.4f}, above "
                    f"max_cost_usd={self.max_cost_usd}; {kept} what was paid for; raise it and call again"
                )
            if self.max_tokens is not None and self.spent_tokens + asked + answered > self.max_tokens:
                raise BudgetExceeded(
                    f"{self.what} took {self.spent_tokens:,} tokens so far, and one more call might take "
                    f"{asked + answered:,}, above max_tokens={self.max_tokens:,}; {kept} what was paid for; raise it "
                    f"and call again"
                )
            self._add(asked, answered)

    def _settle(self, reserved: tuple[int, int], used: tuple[int, int] | None) -> None:
        """Take what was set aside back for what was used; a server that counts no tokens leaves it."""
        with self._lock:
            if used is not None:
                self._add(used[0] - reserved[0], used[1] - reserved[1])

    def _add(self, asked: int, answered: int) -> None:
        self.spent_tokens += asked + answered
        if self.spent_usd is not None:
            self.spent_usd += self._cost(asked, answered)

    def _remember(self, key: str, prompt: str, text: str) -> None:
        with self._lock:
            self.calls += 1
            self._known[key] = text
            # Within the lock, so that lines of two threads do not run into each other.
            if self.cache is not None:
                _append(self.cache, {"key": key, "model": self.model, "prompt": prompt, "answer": text})

    def _call(self, prompt: str) -> tuple[str, tuple[int, int] | None]:
        """What the model says, and the tokens of question and answer; None from a server that counts none."""
        messages = [{"role": "user", "content": prompt}]
        create = attrgetter("chat.completions.create")(self.client)
        # Not `max_tokens`, which OpenAI's reasoning models refuse.
        fixed = {"model": self.model, "messages": messages, "max_completion_tokens": self.answer_tokens}
        reply = create(**{**self.request, **fixed})
        if inspect.iscoroutine(reply):
            # Else Python warns later of a coroutine that nobody waited for.
            reply.close()
            raise DatasetError("the client is an asynchronous one; give a synchronous one, such as openai.OpenAI")
        try:
            text = reply.choices[0].message.content
            used = (reply.usage.prompt_tokens, reply.usage.completion_tokens) if reply.usage else None
        except (AttributeError, IndexError, TypeError):
            raise DatasetError(f"the client gave {reply!r:.80}, which is no chat completion") from None
        if not isinstance(text, str | None):
            raise DatasetError(f"the client gave the answer {text!r:.80}, which is no text")
        # A refusal has no text.
        return text or "", used

    def _cost(self, asked: int, answered: int) -> float:
        return 0.0 if self._prices is None else (asked * self._prices[0] + answered * self._prices[1]) / 1e6


_OWN = frozenset({"max_completion_tokens", "max_tokens", "messages", "model", "stream"})


def _refuse_faults(model: str, request: Mapping[str, object]) -> None:
    if is_cut(model):
        raise DatasetError(f"model={model!r:.60}: {CUT}")
    try:
        orjson.dumps(request)
    except orjson.JSONEncodeError as error:
        raise DatasetError(
            f"request= with {', '.join(map(repr, request))} is no JSON: {error}; give plain values"
        ) from None
    # OpenAI's client lays `extra_body` over what the call says, so the same could be said there.
    for told in (request, request.get("extra_body")):
        if isinstance(told, Mapping) and told.get("n") not in (None, 1):
            raise DatasetError(
                f"request= has n={told['n']!r:.20}: one answer is read, and each is paid for; leave n out"
            )
        # What the price is set aside for is said by the call: another length would be paid beyond the budget.
        if isinstance(told, Mapping) and (own := _OWN.intersection(told)):
            raise DatasetError(f"request= has {min(own)!r}: that is said by the call itself; leave it out")


def _opened(cache: Path) -> dict[str, str]:
    """The answers that a file holds, which can take further ones: what is paid for must have its place before.

    Raises:
        DatasetError: it cannot, or holds something else.
    """
    if cache.is_dir():
        raise DatasetError(
            f"cache={str(cache)!r} is a folder; name a file, for example {str(cache / 'answers.jsonl')!r}"
        )
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        # Opened as for writing although it is read: what cannot be written is told before the first answer is paid for.
        with cache.open("ab+") as file:
            file.seek(0)
            lines = file.read().split(b"\n")
    # ValueError for a name with a zero byte in it.
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DatasetError(f"cache={str(cache)!r} cannot be written: {why}; name another file") from None
    return dict(
        kept for number, line in enumerate(lines, 1) for kept in _kept(f"cache={str(cache)!r} line {number}", line)
    )


def _kept(place: str, line: bytes) -> Iterator[tuple[str, str]]:
    told = _decoded(line)
    if isinstance(told, dict) and isinstance(told.get("key"), str) and isinstance(told.get("answer"), str):
        yield told["key"], told["answer"]
    # A process that was killed leaves half a line; its question is asked again.
    elif told is not None or not (line.startswith(_BEGINNING) or _BEGINNING.startswith(line.strip())):
        raise DatasetError(
            f"{place}: {line.decode(errors='replace')!r:.60} is no answer of a model with its key; name another file, "
            f"or take this line out"
        )


def _decoded(line: bytes) -> object:
    """What a line says; None where it is half a line or no JSON."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            # It reads halves of surrogate pairs, which `_append` writes and orjson refuses.
            return json.loads(line)
        except (ValueError, RecursionError):
            return None


def _append(cache: Path, told: dict[str, str]) -> None:
    try:
        line = orjson.dumps(told)
    except orjson.JSONEncodeError:
        # Half a surrogate pair in an answer, which is no UTF-8.
        line = json.dumps(told).encode("ascii")
    try:
        # Opened and closed for each answer: one that was paid for outlasts a process that is killed before the next.
        with cache.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            # What a killed process left of a line would take the next answer's line with it.
            if size and (file.seek(size - 1), file.read(1))[1] != b"\n":
                line = b"\n" + line
            file.write(line + b"\n")
    except OSError as error:
        raise DatasetError(
            f"cache={str(cache)!r} cannot be written any more: {error.strerror or error}; what it holds is kept, make "
            f"room and go on"
        ) from error
