"""Documents cut into chunks that end where a thought does, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ragtune._checked import checked
from ragtune._extras import require
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    from ragtune.documents.document import Document

__all__ = ["Chunk", "chunks_of"]

# CommonMark: what follows three backticks holds no further one, else they are code within a line.
_headings = re.compile(
    r"^(?:(#{1,6})[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*| {0,3}(`{3,}(?!.*`)|~{3,})(.*))$", re.MULTILINE
).finditer
# The splitter is written in Rust and counts in 64 bits; a larger number fails there without a word about the option.
_MOST = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of a document.

    Attributes:
        id: names it: `guide.pdf#p3.2` is the second chunk of page 3.
        text: the piece.
        source: of the document.
        title: of the document.
        heading: the headings above it, from the first level down, joined by ` > `.
        page: from 1, in documents that have pages.
        start: place of its first character in the text of the document, or of the page.
        end: place behind its last character.

    Example:
        ```python
        from ragtune.documents import Document, chunks_of

        page = Document(text="# Ferries, which leave at noon.", source="guide.md", markdown=True)
        chunk = next(chunks_of(page, characters=200))
        print(chunk.id, chunk.start, chunk.end)
        #> guide.md#1 0 31
        ```
    """

    id: str
    text: str
    source: str
    title: str | None
    heading: str | None
    page: int | None
    start: int
    end: int


@checked("characters", "overlap")
def chunks_of(document: Document, *, characters: int = 1_000, overlap: int = 0, first: int = 1) -> Iterator[Chunk]:
    """Cut a document where it is parted itself: between sections, else paragraphs, sentences, words.

    Args:
        document: what to cut.
        characters: most characters of a chunk.
        overlap: characters of the chunk before that a chunk may repeat.
        first: number of the first chunk, where another document has the same source and page.

    Raises:
        DatasetError: the numbers do not fit each other.
        MissingExtraError: the extra `documents` is not installed.
    """
    if isinstance(characters, bool) or not isinstance(characters, int) or not 1 <= characters <= _MOST:
        raise DatasetError(
            f"chunk_characters={characters!r:.40} must be a whole number, 1 or more, at most {_MOST:,}, say 1000"
        )
    if isinstance(overlap, bool) or not isinstance(overlap, int) or not 0 <= overlap < characters:
        raise DatasetError(f"overlap={overlap!r:.40} must be a whole number from 0 to below {characters:,}")
    if not isinstance(document.text, str):
        raise DatasetError(f"Document(text={document.text!r:.40}) of {document.source!r:.80}: give a text")
    try:
        # The splitter would raise this as well, but it does not know the document.
        document.text.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"{document.source!r:.80}, character {error.start:,}: half of a surrogate pair is no text; decode the "
            "document with errors='replace'"
        ) from None
    place = document.source if document.page is None else f"{document.source}#p{document.page}"
    mark = "#" if document.page is None else "."
    headings = list(_headings_of(document.text)) if document.markdown else []
    splitter = _splitter(markdown=document.markdown, characters=characters, overlap=overlap)
    for number, (start, text) in enumerate(splitter.chunk_indices(document.text), first):
        yield Chunk(
            id=f"{place}{mark}{number}",
            text=text,
            source=document.source,
            title=document.title,
            heading=_above(headings, start),
            page=document.page,
            start=start,
            end=start + len(text),
        )


@lru_cache(8)
def _splitter(*, markdown: bool, characters: int, overlap: int) -> MarkdownSplitter | TextSplitter:
    require("documents", "semantic_text_splitter", reason="cutting documents into chunks")
    import semantic_text_splitter

    kind = semantic_text_splitter.MarkdownSplitter if markdown else semantic_text_splitter.TextSplitter
    return kind(characters, overlap)


def _headings_of(text: str) -> Iterator[tuple[int, int, str]]:
    """Place, level and words of each heading; what stands in a block of code is none."""
    fence = ""
    for found in _headings(text):
        if found[3] is not None and not fence:
            fence = found[3]
        elif found[3] is not None:
            # What closes a block is as long as what opened it, or longer, and stands alone.
            fence = "" if found[3].startswith(fence) and not found[4].strip() else fence
        elif not fence:
            yield found.start(), len(found[1]), found[2]


def _above(headings: list[tuple[int, int, str]], start: int) -> str | None:
    """The headings that stand above a place, or at it."""
    path: list[tuple[int, str]] = []
    for place, level, words in headings:
        if place > start:
            break
        path = [(known, above) for known, above in path if known < level]
        path.append((level, words))
    return " > ".join(words for _, words in path) or None
