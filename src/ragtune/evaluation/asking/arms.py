"""The five arms: base and tuned, each alone and with passages, and tuned with a retrieval that fails."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from ragtune._checked import checked
from ragtune._keys import redact
from ragtune.errors import DatasetError, EvaluationError
from ragtune.evaluation.asking.question import Shown
from ragtune.evaluation.scorers.choice import LETTERS
from ragtune.retrieval import PROMPT, OpenBook, nothing_found
from ragtune.retrieval.failing import false_passage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.evaluation.asking.answerers import Answerer
    from ragtune.evaluation.asking.calls import Calls
    from ragtune.evaluation.asking.question import Question
    from ragtune.retrieval import Retriever

__all__ = ["ByLetter", "ByLikelihood", "FalsePassage", "WithPassages", "arms"]

BASE, TUNED, BASE_RAG, TUNED_RAG = "base", "tuned", "base+RAG", "tuned+RAG"
TUNED_NOTHING, TUNED_FALSE = "tuned, nothing found", "tuned, false passage"
_LONGEST = 100


@dataclass(frozen=True, kw_only=True)
class WithPassages:
    """An answerer that is shown passages before the question: retrieval-augmented generation.

    Args:
        answerer: who is asked.
        retriever: a function of the question that returns passages, see `ragtune.retrieval.passages_of`; synchronous or
            not. Where it finds nothing the prompt says so. One with a text as its `fingerprint`, as `rt.BM25` has, is
            told in the log from another of its class, and a `functools.partial` from one with other arguments; what
            else a function or an object of yours looks at is not.
        k: at most so many passages.
        max_tokens: budget of the passages together; what does not fit is left out, see `ragtune.retrieval.OpenBook`.
        template: what is sent, with `{passages}` and `{question}`.

    Raises:
        EvaluationError: a template without these, `k` or `max_tokens` below 1.

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
    k: int = 5
    max_tokens: int = 1_000
    template: str = PROMPT

    def __post_init__(self) -> None:
        given: object = self.retriever
        if not isinstance(given, FalsePassage) and not callable(given):
            message = f"retriever={self.retriever!r:.60} is no function of a question that returns passages"
            raise EvaluationError(message)
        try:
            # The book checks number, length and template itself: now, and not at the first question.
            self._book(())
        except DatasetError as error:
            raise EvaluationError(str(error)) from error

    def _book(self, found: object) -> OpenBook:
        return OpenBook(retriever=lambda _: found, k=self.k, max_tokens=self.max_tokens, prompt=self.template)

    @property
    def identity(self) -> dict[str, str]:
        """What tells its prompts from others."""
        shown = f"{self.k} passages, {self.max_tokens} tokens"
        # What it would find is not known; its name is all that tells it from another one.
        retriever = getattr(self.retriever, "__qualname__", type(self.retriever).__name__)
        told = {"template": self.template, "retriever": retriever, "shown": shown}
        found = _finds(self.retriever)
        return told | ({} if found is None else {"finds": found})

    async def show(self, shown: Shown, question: Question, call: Calls) -> Shown:
        """Put the passages before the question.

        Raises:
            DatasetError: the retriever returned something else than passages.
        """
        planted = shown.planted
        if isinstance(self.retriever, FalsePassage):
            found, planted = self.retriever.passages(question)
        else:
            found = await call(self.retriever, question.wording.question)
        text = self._book(found)(shown.text).text
        return Shown(text=text, options=shown.options, planted=planted)


def _finds(retriever: object) -> str | None:
    """What tells a retriever from another of its name, None where nothing does."""
    if not isinstance(retriever, partial):
        found: object = getattr(retriever, "fingerprint", None)
        return found if isinstance(found, str) else None
    named = sorted(retriever.keywords.items())
    given = [*map(_given, retriever.args), *(f"{name}={_given(value)}" for name, value in named)]
    name = getattr(retriever.func, "__qualname__", type(retriever.func).__name__)
    return redact(f"{_finds(retriever.func) or name}({', '.join(given)})")


def _given(value: object) -> str:
    if isinstance(value, list | tuple):
        told = f"[{', '.join(map(_given, value))}]"
    elif isinstance(value, str | int | float | None):
        told = repr(value)
    else:
        # Not its repr, which may say where it lies in memory.
        told = _finds(value) or type(value).__name__
    return told if len(told) <= _LONGEST else hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class FalsePassage:
    """A retrieval that finds a passage with a wrong answer, as `ragtune.retrieval.contradicting` does.

    Args:
        seed: chooses the wrong answers.
    """

    seed: int = 7

    @property
    def fingerprint(self) -> str:
        """What its wrong answers depend on."""
        return f"seed {self.seed}"

    def passages(self, question: Question) -> tuple[tuple[str, ...], str | None]:
        """Return the passage and the wrong answer in it; nothing for questions without an answer, and for controls."""
        made = false_passage(question.fact, question.wording, question.facts, seed=self.seed)
        return ((), None) if made is None else ((made[0],), made[1])


@dataclass(frozen=True, kw_only=True)
class ByLetter:
    """An answerer that is shown the answer among the fact's distractors and asked for a letter; score it by `choice`.

    Questions of facts without distractors are asked as they are.

    Args:
        answerer: who is asked.
        seed: shuffles the options, for each fact in its own way.
        template: what is sent, with `{question}` and `{options}`.

    Raises:
        EvaluationError: a template without these.
    """

    answerer: Answerer
    seed: int = 7
    template: str = "{question}\n\n{options}\n\nAnswer with the letter alone."

    def __post_init__(self) -> None:
        _check_template(self.template, "{question}", "{options}")

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
        # In one step: a question may hold braces of its own.
        text = re.sub(r"\{(?:options|question)\}", lambda part: parts[part[0]], self.template)
        return Shown(text=text, options=options, planted=shown.planted)


@dataclass(frozen=True, kw_only=True)
class ByLikelihood:
    """A model that chooses among answer and distractors by likelihood instead of by words; score it by `choice`.

    Each option is put behind the question and goes through legacy completions with `echo`, as it is and without a chat
    template; the one with the highest log-probability per byte is the answer. Only a server that gives
    log-probabilities of a prompt can be asked so, as the embedded backend is.

    Args:
        answerer: an `rt.TunedModel` or a pair (client, "model").
        seed: shuffles the options, for each fact in its own way.
        template: what stands before an option, with `{question}`; the option follows behind a space.

    Raises:
        EvaluationError: a template without it.
    """

    answerer: Answerer
    seed: int = 7
    template: str = "Question: {question}\nAnswer:"
    by_likelihood: ClassVar = True

    def __post_init__(self) -> None:
        _check_template(self.template, "{question}")

    @property
    def identity(self) -> dict[str, str]:
        """What tells its prompts from others."""
        return {"options": f"likelihood, seed {self.seed}", "options_template": self.template}

    async def show(self, shown: Shown, question: Question, call: Calls) -> Shown:
        """Return question and options."""
        text = self.template.replace("{question}", shown.text)
        return Shown(text=text, options=shuffled_options(question, self.seed), planted=shown.planted)


def _check_template(template: str, *parts: str) -> None:
    for part in parts:
        if not isinstance(template, str) or part not in template:
            raise EvaluationError(f"template={template!r:.60} must be text that holds {' and '.join(parts)}")


def shuffled_options(question: Question, seed: int) -> tuple[str, ...]:
    """The preferred answer among the distractors, in an order that depends on seed and fact; () without any."""
    answers = question.fact.answers_to(question.wording)
    # A reversed question has answers of its own, among which the fact's wrong ones would stand out.
    if not answers or not question.fact.distractors or question.wording.answers:
        return ()
    # One letter is the right answer's.
    options = [answers[0], *question.fact.distractors[: len(LETTERS) - 1]]
    # By the fact: all arms see one order, and so does a run that goes on later.
    random.Random(f"{seed} {question.fact.id}").shuffle(options)
    return tuple(options)


@dataclass(frozen=True, kw_only=True)
class _SystemOf:
    """An answerer that is asked with the system prompt of another."""

    answerer: Answerer
    system_of: object


@checked("base", "tuned")
def arms(
    *,
    base: Answerer | None = None,
    tuned: Answerer | None = None,
    retriever: Retriever | None = None,
    template: str = PROMPT,
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
        # A bare base knows no prompt. It is asked with that of the tuned model, so that the two differ in their
        # weights alone.
        made[BASE] = _SystemOf(answerer=base, system_of=tuned) if isinstance(base, tuple) else base  # type: ignore[assignment]
    if tuned is not None:
        made[TUNED] = tuned
    if retriever is None:
        return made
    for name, open_book in ((BASE, BASE_RAG), (TUNED, TUNED_RAG)):
        if name in made:
            made[open_book] = WithPassages(answerer=made[name], retriever=retriever, template=template)
    if tuned is not None:
        made[TUNED_NOTHING] = WithPassages(answerer=tuned, retriever=nothing_found, template=template)
        made[TUNED_FALSE] = WithPassages(answerer=tuned, retriever=FalsePassage(seed=seed), template=template)
    return made
