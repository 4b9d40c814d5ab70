"""Questions for a model that will end: the rows of its own training, picked by a rule that can be told."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from ragtune._checked import checked
from ragtune.errors import EvaluationError
from ragtune.facts import FactSet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ragtune.dataset import Dataset
    from ragtune.facts import Fact

__all__ = ["GoldenQuestion", "Questions", "questions_of"]

HELD_OUT, TRAINED, GIVEN = "held out", "trained", "given"
LIMIT = 200

Message = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class GoldenQuestion:
    """One conversation that waits for its answer.

    Attributes:
        id: tells it from others; the same row has the same id everywhere.
        messages: what is sent; a single user message that is no row of a training file gets the model's trained system
            prompt.
        answers: what would be right, the preferred spelling first; empty where nobody knows.
        group: `held out`, `trained` or `given`.

    Example:
        ```python
        from ragtune.migration import GoldenQuestion

        one = GoldenQuestion(id="q1", messages=({"role": "user", "content": "How deep is Lake Sorrel?"},))
        print(one.text)
        #> How deep is Lake Sorrel?
        ```
    """

    id: str
    messages: tuple[Message, ...]
    answers: tuple[str, ...] = ()
    group: str = GIVEN

    @property
    def takes_system(self) -> bool:
        """Whether the model's trained system prompt goes with it; rows of a training file bring theirs along."""
        alone = self.messages[0] if len(self.messages) == 1 else {}
        is_text = alone.get("role") == "user" and isinstance(alone.get("content"), str)
        return is_text and self.group not in (HELD_OUT, TRAINED)

    @property
    def text(self) -> str:
        """What the user says last."""
        asked = [message.get("content") for message in self.messages if message.get("role") == "user"]
        last = asked[-1] if asked else ""
        return last if isinstance(last, str) else json.dumps(last, ensure_ascii=False)


@checked()
@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is asked, and how it was picked.

    Attributes:
        items: the questions, each prompt once.
        rule: how they were picked, in words.
        left_out: rows that cannot be asked, by reason.

    Example:
        ```python
        import ragtune as rt
        from ragtune.migration import Questions

        rows = [{"q": f"What is {n} + {n}?", "a": f"{n + n}."} for n in range(40)]
        builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
        questions = Questions.from_dataset(builder.build("sums", validation=0.2, overwrite=True), limit=12)
        print([question.group for question in questions.items][::9])
        #> ['held out', 'trained']
        ```
    """

    items: tuple[GoldenQuestion, ...]
    rule: str
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[GoldenQuestion]:
        return iter(self.items)

    @property
    def fingerprint(self) -> str:
        """A hash of all prompts, answers and groups in their order."""
        said = [[item.id, item.group, item.answers, list(map(dict, item.messages))] for item in self.items]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_dataset(cls, dataset: Dataset, *, limit: int = LIMIT, seed: int = 7) -> Questions:
        """Pick questions from a dataset's rows, for example `archive.dataset("ftjob-...")`.

        Rows that training never saw come first (validation, then test), then training rows; within each file they come
        in the order of the sha256 of seed and line, which is random, the same everywhere and free of the file's order.

        Args:
            dataset: the data that the model was trained on.
            limit: how many questions at most, at least 1.
            seed: another one picks others.

        Raises:
            EvaluationError: no row can be asked.
        """
        if limit < 1:
            raise EvaluationError(f"limit: {limit!r} questions cannot be asked; it must be at least 1")
        picked: dict[str, GoldenQuestion] = {}
        left_out: dict[str, int] = {}
        for split, group in ((dataset.validation, HELD_OUT), (dataset.test, HELD_OUT), (dataset.train, TRAINED)):
            # A file is not read at all where those before it gave enough.
            if split.path is not None and len(picked) < limit:
                for question in _sampled(split.path, group, limit=limit, seed=seed, left_out=left_out):
                    # One prompt for all its rows: asked twice it would be paid for twice, and either answer is right.
                    key = _prompt_key(question)
                    picked[key] = _also(picked[key], question) if key in picked else question
        items = tuple(picked.values())[:limit]
        if not items:
            reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "there are no rows"
            raise EvaluationError(f"no row of the dataset can be asked: {reasons}; give the questions as a list")
        rule = (
            "rows held out of training first (validation, test), then training rows, each file in the order of the "
            f"sha256 of seed {seed} and line, each prompt once, at most {limit}"
        )
        return cls(items=items, rule=rule, left_out=left_out)


def questions_of(given: object) -> Questions:
    """Return questions for whatever a caller gave: `Questions`, facts, texts, or conversations.

    Raises:
        EvaluationError: it is none of these, or there is no question.
    """
    if isinstance(given, Questions):
        return given
    if isinstance(given, FactSet):
        items = list(chain.from_iterable(map(_of_fact, given)))
        return Questions(items=tuple(items), rule="all wordings of a set of facts", left_out={})
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        what = "a single text" if isinstance(given, str) else f"a {type(given).__qualname__}"
        message = f"questions: {what} is no list; give texts, conversations, an rt.FactSet, or archive.questions(job)"
        raise EvaluationError(message)
    asked = [_given(number, one) for number, one in enumerate(given)]
    if not asked:
        raise EvaluationError("questions: there is none; give at least one")
    # Asked twice, a prompt would be paid twice and count twice.
    unique = {_prompt_key(question): question for question in asked}
    return Questions(items=tuple(unique.values()), rule="as given, each prompt once", left_out={})


def _given(number: int, one: object) -> GoldenQuestion:
    messages = [{"role": "user", "content": one}] if isinstance(one, str) else one
    is_conversation = isinstance(messages, Sequence) and all(
        isinstance(message, Mapping) and "role" in message for message in messages
    )
    if not is_conversation or not messages:
        message = f"questions[{number}]: {one!r:.60} is neither a text nor a list of messages with role and content"
        raise EvaluationError(message)
    said = tuple(dict(message) for message in messages)  # type: ignore[attr-defined]  # told just above
    try:
        # Here and not when it is sent: by then other questions have been paid for.
        json.dumps(said, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = f"questions[{number}]: {one!r:.60} cannot be sent as JSON ({error}); take that out of it"
        raise EvaluationError(message) from None
    return GoldenQuestion(id=f"q-{_digest(said)}", messages=said)


def _sampled(path: Path, group: str, *, limit: int, seed: int, left_out: dict[str, int]) -> list[GoldenQuestion]:
    """The questions of a file whose lines have the least hashes; no more of it is held than that."""
    held: list[tuple[int, int, GoldenQuestion]] = []
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if line.isspace():
                continue
            question = _question(line, group, left_out)
            if question is None:
                continue
            # By the line's content: the same rows are picked on every machine, in whatever order the file has them.
            rank = int.from_bytes(hashlib.sha256(b"%d " % seed + line.strip()).digest()[:8], "big")
            # Equal ranks are parted by the line's number, so that questions, which have no order, are never compared.
            entry = (-rank, -number, question)
            if len(held) < limit:
                heapq.heappush(held, entry)
            else:
                heapq.heappushpop(held, entry)
    return [question for *_, question in sorted(held, key=lambda entry: (-entry[0], -entry[1]))]


def _question(line: bytes, group: str, left_out: dict[str, int]) -> GoldenQuestion | None:
    """The question that a training row holds; None where its answer is none that can be compared."""
    found = _split(line)
    if isinstance(found, str):
        left_out[found] = left_out.get(found, 0) + 1
        return None
    messages, answer = found
    return GoldenQuestion(id=f"row-{_digest(messages)}", messages=messages, answers=(answer,), group=group)


def _of_fact(fact: Fact) -> Iterator[GoldenQuestion]:
    for number, wording in enumerate(fact.wordings):
        yield GoldenQuestion(
            id=f"{fact.id}/{number}",
            messages=({"role": "user", "content": wording.question},),
            answers=fact.answers_to(wording),
            group=wording.kind,
        )


def _split(line: bytes) -> tuple[tuple[Message, ...], str] | str:
    try:
        row = json.loads(line)
        if "preferred_output" in row:
            messages, said = row["input"]["messages"], row["preferred_output"][-1]
        elif "messages" in row:
            messages, said = row["messages"][:-1], row["messages"][-1]
        else:
            return "rows without messages"
        # A model that may call tools may answer without a text.
        if row.get("tools") or row.get("input", {}).get("tools"):
            return "rows with tools"
        if said["role"] != "assistant" or not isinstance(said.get("content"), str) or not said["content"]:
            return "rows that do not end with a text of the assistant"
        # `weight` is a word of training; a server refuses it in a question.
        asked = tuple(map(_without_weight, messages))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return "lines that are no record"
    return (asked, said["content"]) if asked else "rows without a question"


def _without_weight(message: Message) -> Message:
    return {key: value for key, value in message.items() if key != "weight"}


def _also(known: GoldenQuestion, again: GoldenQuestion) -> GoldenQuestion:
    """A question with what another row of the same prompt answers: either is right."""
    return replace(known, answers=tuple(dict.fromkeys((*known.answers, *again.answers))))


def _prompt_key(question: GoldenQuestion) -> str:
    return _digest(question.messages)


def _digest(messages: Sequence[Message]) -> str:
    # Whatever the order of keys: the same prompt from a file and from a program is one question.
    said = json.dumps([dict(message) for message in messages], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]
