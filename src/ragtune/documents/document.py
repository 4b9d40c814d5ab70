"""A document's text, with where it stands."""

from __future__ import annotations

from dataclasses import dataclass

from ragtune.errors import DatasetError


class UnreadableDocument(DatasetError):
    """A document that gives no text: damaged, encrypted, a picture, or in an encoding that is not UTF-8."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """The text of a document, or of one page of it.

    Attributes:
        text: as it was read; of HTML the main part, in Markdown, without menus and footers.
        source: where it comes from: a path within the folder, or what the library called it.
        title: of the whole document; None where it has none.
        page: its number from 1, in documents that have pages.
        markdown: whether the text is marked up, so that headings can be told.

    Example:
        ```python
        from ragtune.documents import Document

        print(Document(text="Ferries leave at noon.", source="ferries.txt"))
        #> Document(text='Ferries leave at noon.', source='ferries.txt', title=None, page=None, markdown=False)
        ```
    """

    text: str
    source: str
    title: str | None = None
    page: int | None = None
    markdown: bool = False
