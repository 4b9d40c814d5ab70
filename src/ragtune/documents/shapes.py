"""Documents of other libraries, told by their shape, so that none of them need be installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ragtune._checked import checked
from ragtune.documents.document import Document
from ragtune.errors import DatasetError

__all__ = ["document_of"]

# LangChain's and LlamaIndex's names of where a document comes from, the more telling first.
_SOURCES = ("source", "file_path", "file_name", "filename", "url")
# Python refuses to read a number of more than 4,300 digits, and no document has a thousand million pages.
_DIGITS = 9


@checked()
def document_of(item: object, number: int) -> Document:
    """One document from what a library made of it.

    Args:
        item: a text, a mapping with `text`, or an object with `page_content` (LangChain) or `text` (LlamaIndex), both
            with `metadata`; or a `Document`.
        number: its place among the others, from 0, for those that say nothing of where they come from.

    Raises:
        DatasetError: it is none of these.

    Example:
        ```python
        from ragtune.documents import document_of

        page = document_of({"text": "Ferries leave at noon.", "source": "guide.pdf", "page": 3}, 0)
        print(page.source, page.page)
        #> guide.pdf 3
        ```
    """
    if isinstance(item, Document):
        return item
    if isinstance(item, str):
        return Document(text=item, source=f"document-{number}")
    if isinstance(item, Mapping):
        text, known = item.get("text", item.get("page_content")), item
        inner = item.get("metadata")
        known = {**item, **inner} if isinstance(inner, Mapping) else item
    else:
        text = getattr(item, "page_content", getattr(item, "text", None))
        found = getattr(item, "metadata", None)
        known = found if isinstance(found, Mapping) else {}
    if isinstance(item, Path) or not isinstance(text, str):
        raise DatasetError(
            f"document {number}: {item!r:.80} is no document; give texts, mappings with 'text', or the documents of "
            "LangChain or LlamaIndex; files are read by the path of their folder"
        )
    source = next((str(known[name]) for name in _SOURCES if known.get(name)), f"document-{number}")
    title = known.get("title")
    langchain = "page_content" in item if isinstance(item, Mapping) else hasattr(item, "page_content")
    return Document(
        text=text,
        source=source,
        title=title if isinstance(title, str) and title.strip() else None,
        page=_page(known, from_zero=langchain),
    )


def _page(known: Mapping[str, object], *, from_zero: bool) -> int | None:
    """The page from 1; LangChain's loaders count `page` from 0, and some write beside it how the document calls it."""
    page = _whole(known.get("page"))
    if page is not None:
        return page + 1 if from_zero or "page_label" in known else page or None
    # How a document calls its pages says less: "3" may come after "iii".
    return _whole(known.get("page_label")) or _whole(known.get("page_number")) or None


def _whole(value: object) -> int | None:
    # A raised "²" is a digit to `isdigit`, but not to `int`.
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
