"""A passage, and what any callable that finds passages may give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from ragtune._checked import checked
from ragtune.errors import DatasetError

__all__ = ["Passage", "Retriever", "passages_of"]

# A question in, passages out: see `passages_of` for what they may be.
Retriever = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A text that may hold the answer.

    Attributes:
        text: the passage.
        id: where it comes from: an id, `row-17`, `guide.md#3`; None where the retriever does not say.
        score: how well it fits, higher is better; None where the retriever does not say.

    Example:
        ```python
        from ragtune.retrieval import Passage

        print(Passage(text="Divers measured 83 metres.", id="row-4").id)
        #> row-4
        ```
    """

    text: str
    id: str | None = None
    score: float | None = None


@checked()
def passages_of(retriever: Retriever, question: str, *, k: int) -> tuple[Passage, ...]:
    """The first `k` passages that a retriever finds, blank ones left out.

    It may give None or nothing, one text, or texts, `Passage`s, mappings with `text`, or objects with `text` or
    `page_content`, the best first.

    Raises:
        DatasetError: it gives something else.

    Example:
        ```python
        from ragtune.retrieval import passages_of

        print(passages_of(lambda question: ["Divers measured 83 metres.", " "], "How deep is the lake?", k=3))
        #> (Passage(text='Divers measured 83 metres.', id=None, score=None),)
        ```
    """
    found = retriever(question)
    if found is None:
        return ()
    # One passage instead of a list: a loop would take a text letter by letter.
    items = (found,) if isinstance(found, str | Passage | Mapping) or not isinstance(found, Iterable) else found
    # Cut before they are read: a retriever may give a stream that never ends.
    passages = (_passage(item, question) for item in islice(items, k))
    return tuple(passage for passage in passages if passage.text.strip())


def _passage(item: object, question: str) -> Passage:
    if isinstance(item, Passage):
        return item
    if isinstance(item, str):
        return Passage(text=item)
    told = item if isinstance(item, Mapping) else {}
    text = told.get("text", getattr(item, "text", getattr(item, "page_content", None)))
    if not isinstance(text, str):
        raise DatasetError(
            f"the retriever gave {item!r:.80} ({type(item).__name__}) for the question {question!r:.80}; give texts, "
            f"Passages, mappings with 'text' or objects with .text or .page_content, or nothing"
        )
    name = told.get("id", getattr(item, "id", None))
    score = told.get("score", getattr(item, "score", None))
    return Passage(
        text=text, id=None if name is None else str(name), score=score if isinstance(score, int | float) else None
    )
