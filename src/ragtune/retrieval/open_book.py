"""A question with the passages that were found for it, within a budget of tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ragtune._checked import fits
from ragtune.errors import DatasetError
from ragtune.retrieval.passage import passages_of
from ragtune.tokens import encoding

if TYPE_CHECKING:
    from ragtune.retrieval.passage import Passage, Retriever

__all__ = ["NOTHING", "PROMPT", "OpenBook", "OpenQuestion"]

PROMPT = "Answer the question with the help of these passages.\n\n{passages}\n\nQuestion: {question}"
NOTHING = "(no passage was found)"
# No token of ordinary text is longer, so what lies behind this many characters need not be counted: a retriever that
# gives ten megabytes costs no more than one that gives a page.
_SIGNS_PER_TOKEN = 16


@dataclass(frozen=True, kw_only=True)
class OpenQuestion:
    """A question as a model gets it.

    Attributes:
        text: the prompt, passages and question in their places.
        passages: the passages in it, the last one cut where the budget ended.
        tokens: tokens of the passages, as o200k_base counts.
        left_out: how many passages were found and had no place.
    """

    text: str
    passages: tuple[Passage, ...]
    tokens: int
    left_out: int


@dataclass(frozen=True, kw_only=True)
class OpenBook:
    """Makes questions with passages: `open_book(question)`.

    Passages are taken whole, in the order in which they were found, while they fit the budget. One that does not fit
    is left out, but for the first: that is cut at its last whole word. Where nothing is found the prompt says so.

    Attributes:
        retriever: any callable from a question to passages.
        k: at most so many passages.
        max_tokens: budget of the passages together, as o200k_base counts.
        prompt: holds `{passages}` and `{question}`.

    Raises:
        DatasetError: a prompt without these, `k` or `max_tokens` below 1.

    Example:
        ```python
        from ragtune.retrieval import OpenBook

        open_book = OpenBook(retriever=lambda question: ["Divers measured 83 metres."], max_tokens=100)
        print(open_book("How deep is Lake Sorrel?").text)
        '''
        Answer the question with the help of these passages.

        [1] Divers measured 83 metres.

        Question: How deep is Lake Sorrel?
        '''
        ```
    """

    retriever: Retriever
    k: int = 5
    max_tokens: int = 1_000
    prompt: str = PROMPT

    def __post_init__(self) -> None:
        if not callable(self.retriever):
            raise DatasetError(f"retriever={self.retriever!r:.60} is no function of a question that gives passages")
        for name in ("{passages}", "{question}"):
            if not isinstance(self.prompt, str) or self.prompt.count(name) != 1:
                raise DatasetError(f"the prompt {self.prompt!r:.80} must hold {name} once; the default is PROMPT")
        for option, value in (("k", self.k), ("max_tokens", self.max_tokens)):
            if not fits(value, ("int",)) or value < 1:
                raise DatasetError(f"{option}={value!r:.20} must be at least 1, a whole number")

    def __call__(self, question: str) -> OpenQuestion:
        """The question with its passages.

        Raises:
            DatasetError: the retriever gives no passages.
        """
        found = passages_of(self.retriever, question, k=self.k)
        left = self.max_tokens
        taken: list[Passage] = []
        for passage in found:
            cut, tokens = _fitting(passage.text, left)
            # Only the first is cut. A later one that is too long is passed over, and a shorter one behind it may fit.
            if not cut or (taken and cut != passage.text):
                continue
            taken.append(replace(passage, text=cut))
            left -= tokens
        shown = "\n\n".join(f"[{number}] {passage.text}" for number, passage in enumerate(taken, 1)) or NOTHING
        head, _, tail = self.prompt.partition("{passages}")
        # One after the other, so that braces in a passage or a question stay what they are.
        text = f"{head.replace('{question}', question)}{shown}{tail.replace('{question}', question)}"
        return OpenQuestion(
            text=text, passages=tuple(taken), tokens=self.max_tokens - left, left_out=len(found) - len(taken)
        )


def _fitting(text: str, most: int) -> tuple[str, int]:
    """As much of a text as the tokens allow, and how many it takes."""
    vocabulary = encoding("o200k_base")
    tokens = vocabulary.encode_ordinary(text[: most * _SIGNS_PER_TOKEN])
    if len(tokens) <= most and len(text) <= most * _SIGNS_PER_TOKEN:
        return text, len(tokens)
    # Half a character at the end decodes to a sign that stands for none.
    piece = vocabulary.decode(tokens[:most]).rstrip("\ufffd")
    whole, _, _ = piece.rpartition(" ")
    # Scripts without blanks, and one endless word, are cut where the budget ends.
    return whole or piece, min(len(tokens), most)
