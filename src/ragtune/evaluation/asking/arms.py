"""The five arms: base and tuned, each alone and with passages, and tuned with a retrieval that fails."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune.errors import EvaluationError
from ragtune.evaluation.asking.question import Shown
from ragtune.evaluation.scorers.choice import LETTERS
from ragtune.text import normalise

if TYPE_CHECKING:
    from ragtune.evaluation.asking.answerers import Answerer
    from ragtune.evaluation.asking.calls import Calls
    from ragtune.evaluation.asking.question import Question
    from ragtune.facts import Fact

__all__ = ["ByLetter", "FalsePassage", "NothingFound", "Retriever", "WithPassages", "arms"]

BASE, TUNED, BASE_RAG, TUNED_RAG = "base", "tuned", "base+RAG", "tuned+RAG"
TUNED_NOTHING, TUNED_FALSE = "tuned, nothing found", "tuned, false passage"

TEMPLATE = "Answer the question from these passages.\n\n{passages}\n\nQuestion: {question}"
NO_PASSAGE = "(No passage was found.)"
MAX_CONTEXT_CHARS = 100_000


# A question in; out come texts or objects with `.text`, the best first, or nothing.
Retriever = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class WithPassages:
    """An answerer that is shown passages before the question: retrieval-augmented generation.

    Args:
        answerer: who is asked.
        retriever: a function of the question that returns passages, best first, each a text or an object with `.text`;
            synchronous or not. Nothing found is an empty list.
        template: what is sent, with `{passages}` and `{question}`.
        max_chars: most characters that the passages may have together; more counts as an error of the question.

    Example:
        ```python
        from ragtune.evaluation import WithPassages

        def search(question: str) -> list[str]:
            return ["Lake Sorrel is 83 metres deep."]

        def echo(prompt: str) -> str:
            return prompt

        open_book = WithPassages(answerer=echo, retriever=search, template="{passages} {question}")
        print(open_book.identity["template"])
        #> {passages} {question}
        ```
    """

    answerer: Answerer
    retriever: Retriever | FalsePassage
    template: str = TEMPLATE
    max_chars: int = MAX_CONTEXT_CHARS

    def __post_init__(self) -> None:
        if "{passages}" not in self.template or "{question}" not in self.template:
            message = f"template={self.template!r} must hold {{passages}} and {{question}}"
            raise EvaluationError(message)

    @property
    def identity(self) -> dict[str, str]:
        """What tells its prompts from others."""
        return {"template": self.template, "retriever": type(self.retriever).__name__}

    async def show(self, shown: Shown, question: Question, call: Calls) -> Shown:
        """Put the passages before the question.

        Raises:
            TypeError: the retriever returned something else than passages.
            ValueError: the passages are too long.
        """
        planted = shown.planted
        if isinstance(self.retriever, FalsePassage):
            passage, planted = self.retriever.passage(question.fact)
            found: object = [passage]
        else:
            found = await call(self.retriever, question.wording.question)
        texts = _texts(found)
        if (length := sum(map(len, texts))) > self.max_chars:
            message = (
                f"the retriever returned {length:,} characters in {len(texts)} passages, more than max_chars="
                f"{self.max_chars:,}; let it return fewer, or raise the limit"
            )
            raise ValueError(message)
        passages = "\n\n".join(f"[{number}] {text}" for number, text in enumerate(texts, start=1))
        # Not by `format`, nor one after the other: a passage may hold braces, and even "{question}".
        parts = {"{passages}": passages or NO_PASSAGE, "{question}": shown.text}
        filled = re.sub(r"\{(?:passages|question)\}", lambda part: parts[part[0]], self.template)
        return Shown(text=filled, options=shown.options, planted=planted)


def _texts(found: object) -> list[str]:
    """The texts of whatever a retriever returned."""
    if found is None:
        return []
    passages = [found] if isinstance(found, str | Mapping) else found
    if not isinstance(passages, Iterable):
        message = f"the retriever returned {type(found).__name__}; passages are a list of texts, empty without any"
        raise TypeError(message)
    return [_text(passage) for passage in passages]


def _text(passage: object) -> str:
    told = passage if isinstance(passage, Mapping) else {}
    text = passage if isinstance(passage, str) else told.get("text", getattr(passage, "text", None))
    if not isinstance(text, str):
        message = f"the retriever returned the passage {passage!r:.80}, neither a text nor an object with .text"
        raise TypeError(message)
    return text


class NothingFound:
    """A retriever that never finds anything."""

    def __call__(self, question: str) -> list[str]:
        """Return nothing."""
        return []


@dataclass(frozen=True, kw_only=True)
class FalsePassage:
    """A retrieval that finds a passage with a wrong answer: a distractor of the fact stands where its answer stood.

    Args:
        seed: chooses among the distractors.
    """

    seed: int = 7

    def passage(self, fact: Fact) -> tuple[str, str | None]:
        """Return a passage and the wrong answer in it, None where there is no right one to replace."""
        if not fact.answers:
            return NO_PASSAGE, None
        right = {normalise(answer) for answer in fact.answers}
        wrong = [text for text in fact.distractors if normalise(text) not in right]
        planted = random.Random(f"{self.seed} {fact.id}").choice(wrong) if wrong else _changed(fact.answers[0])
        support, spellings = fact.support or "", sorted(fact.answers, key=len, reverse=True)
        pattern = "|".join(rf"(?<!\w){re.escape(answer)}(?!\w)" for answer in spellings)
        said, count = re.subn(pattern, lambda _: planted, support, flags=re.IGNORECASE)
        if count:
            return said, planted
        return f"{fact.wordings[0].question} The answer is {planted}.", planted


def _changed(answer: str) -> str:
    """Another answer of the same kind, where there are no distractors: other digits, or a name that nobody has."""
    if any(sign.isdigit() for sign in answer):
        return re.sub(r"\d", lambda digit: str((int(digit[0]) + 3) % 10 or 1), answer)
    return "Quenlow" if answer[:1].isupper() else "quenlow"


@dataclass(frozen=True, kw_only=True)
class ByLetter:
    """An answerer that is shown the answer among the fact's distractors and asked for a letter; score it by `choice`.

    Questions of facts without distractors are asked as they are.

    Args:
        answerer: who is asked.
        seed: shuffles the options, for each fact in its own way.
        template: what is sent, with `{question}` and `{options}`.
    """

    answerer: Answerer
    seed: int = 7
    template: str = "{question}\n\n{options}\n\nAnswer with the letter alone."

    @property
    def identity(self) -> dict[str, str]:
        """What tells its prompts from others."""
        return {"options": f"letters, seed {self.seed}", "options_template": self.template}

    async def show(self, shown: Shown, question: Question, call: Calls) -> Shown:
        """Put the options below the question."""
        options = shuffled_options(question, self.seed)
        if not options:
            return shown
        lines = "\n".join(f"{LETTERS[place]}) {option}" for place, option in enumerate(options))
        parts = {"{options}": lines, "{question}": shown.text}
        text = re.sub(r"\{(?:options|question)\}", lambda part: parts[part[0]], self.template)
        return Shown(text=text, options=options, planted=shown.planted)


def shuffled_options(question: Question, seed: int) -> tuple[str, ...]:
    """The preferred answer among the distractors, in an order that depends on seed and fact; () without any."""
    answers = question.fact.answers_to(question.wording)
    if not answers or not question.fact.distractors or question.wording.answers:
        return ()
    options = [answers[0], *question.fact.distractors[: len(LETTERS) - 1]]
    random.Random(f"{seed} {question.fact.id}").shuffle(options)
    return tuple(options)


@dataclass(frozen=True, kw_only=True)
class _SystemOf:
    """An answerer that is asked with the system prompt of another."""

    answerer: Answerer
    system_of: object


def arms(
    *,
    base: Answerer | None = None,
    tuned: Answerer | None = None,
    retriever: Retriever | None = None,
    template: str = TEMPLATE,
    seed: int = 7,
) -> Mapping[str, Answerer]:
    """Return the arms that tell what was learned and what it is worth beside retrieval.

    Args:
        base: the model before training, None to leave it out. A pair (client, model) is asked with the system prompt
            that `tuned` was trained with, so that nothing but the training differs.
        tuned: the model after training, None to leave it out.
        retriever: finds passages for a question, see `WithPassages`. Without it there are no arms with passages.
        template: what is sent with passages, with `{passages}` and `{question}`.
        seed: chooses the wrong answers of the false passages.

    Returns:
        `base`, `tuned`, `base+RAG`, `tuned+RAG`, and tuned with a retrieval that fails: `tuned, nothing found` and
        `tuned, false passage`.

    Raises:
        EvaluationError: there is neither base nor tuned.

    Example:
        ```python
        import ragtune as rt

        def model(prompt: str) -> str:
            return "83 metres" if "83" in prompt else "I do not know."

        print(*rt.arms(base=model, tuned=model, retriever=lambda question: ["83 metres"]), sep=" | ")
        #> base | tuned | base+RAG | tuned+RAG | tuned, nothing found | tuned, false passage
        ```
    """
    if base is None and tuned is None:
        raise EvaluationError("arms: give base=, tuned= or both")
    made: dict[str, Answerer] = {}
    if base is not None:
        made[BASE] = _SystemOf(answerer=base, system_of=tuned) if isinstance(base, tuple) else base  # type: ignore[assignment]
    if tuned is not None:
        made[TUNED] = tuned
    if retriever is None:
        return made
    for name, open_book in ((BASE, BASE_RAG), (TUNED, TUNED_RAG)):
        if name in made:
            made[open_book] = WithPassages(answerer=made[name], retriever=retriever, template=template)
    if tuned is not None:
        made[TUNED_NOTHING] = WithPassages(answerer=tuned, retriever=NothingFound(), template=template)
        made[TUNED_FALSE] = WithPassages(answerer=tuned, retriever=FalsePassage(seed=seed), template=template)
    return made
