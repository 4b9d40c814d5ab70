"""What is searched: rows, texts, or the documents of a folder, cut into passages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune.documents import read_documents
from ragtune.errors import DatasetError
from ragtune.retrieval.passage import Passage
from ragtune.text import count_words, normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ragtune.documents import Unreadable

__all__ = ["read_passages"]

_PASSAGE_WORDS = 200
_paragraphs = re.compile(r"\n[ \t]*\n").split
_sentences = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])").split


def read_passages(
    source: str | Path | Iterable[object], *, text: str, id: str | None, unreadable: Unreadable
) -> list[Passage]:
    """The different passages of a source, in order; blank ones and repetitions are left out.

    Raises:
        DatasetError: a path that is not there, a row without the column, a value that is no text, or no passage at all.
    """
    if isinstance(source, str | Path):
        found = _passages_of_files(source, unreadable)
    elif isinstance(source, Mapping) or hasattr(source, "iterrows"):
        # Of both, a loop gives the names of columns.
        kind = "a mapping" if isinstance(source, Mapping) else "a data frame"
        raise DatasetError(f"the source is {kind}; give a list of rows, of a frame frame.to_dict('records')")
    else:
        found = (_passage(item, number, text=text, id=id) for number, item in enumerate(source))
    # A repeated passage would take several of the k places in each prompt.
    different: dict[str, Passage] = {}
    for passage in found:
        if passage.text.strip():
            different.setdefault(passage.text, passage)
    if not different:
        raise DatasetError(f"there is no passage in {source!r:.80}; give rows with a text, texts, or a folder of them")
    return list(different.values())


def _passage(item: object, number: int, *, text: str, id: str | None) -> Passage:
    if isinstance(item, Passage):
        return item
    if isinstance(item, str):
        return Passage(text=item, id=f"row-{number}")
    if not isinstance(item, Mapping):
        raise DatasetError(f"row {number}: {item!r:.60} is neither a row nor a text nor a Passage")
    for name in (text, id):
        if name is not None and name not in item:
            listed = ", ".join(map(repr, item)) or "none"
            raise DatasetError(f"row {number} has no column {name!r}; its columns are {listed}; name one with text=")
    value = item[text]
    if value is not None and not isinstance(value, str):
        raise DatasetError(f"row {number}, column {text!r}: {value!r:.60} is {type(value).__name__}, not text")
    return Passage(text=value or "", id=f"row-{number}" if id is None else str(item[id]))


def _passages_of_files(path: str | Path, unreadable: Unreadable) -> Iterator[Passage]:
    # False as well for what no disk could have as a name, such as a whole text.
    if not os.path.exists(path):
        raise DatasetError(
            f"{str(path)!r:.80} does not exist; give a folder of documents, one of them, rows, or texts in a list"
        )
    for document in read_documents(path, unreadable=unreadable):
        place = document.source if document.page is None else f"{document.source}#p{document.page}"
        mark = "#" if document.page is None else "."
        # In words and not by the splitter of `documents`: it is an extra, which plain text does without.
        for number, passage in enumerate(_cut(document.text), 1):
            yield Passage(text=passage, id=f"{place}{mark}{number}")


def _cut(text: str) -> Iterator[str]:
    """Paragraphs of at most `_PASSAGE_WORDS` words, short ones joined, long ones cut between sentences."""

    def pieces() -> Iterator[str]:
        for paragraph in filter(None, map(str.strip, _paragraphs(text))):
            if _words(paragraph) <= _PASSAGE_WORDS:
                yield paragraph
            else:
                yield from _packed(filter(str.strip, _sentences(paragraph)), " ")

    yield from _packed(pieces(), "\n\n")


def _packed(pieces: Iterable[str], glue: str) -> Iterator[str]:
    waiting: list[str] = []
    count = 0
    for piece in pieces:
        words = _words(piece)
        if waiting and count + words > _PASSAGE_WORDS:
            yield glue.join(waiting)
            waiting, count = [], 0
        waiting.append(piece)
        count += words
    if waiting:
        yield glue.join(waiting)


def _words(text: str) -> int:
    return count_words(normalise(text))
