"""Rows from documents: a chunk each, with its place."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune.dataset.sources.readers import Source, batched_rows, fresh_rows
from ragtune.documents import Document, chunks_of, document_files, read_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ragtune.documents import Unreadable

__all__ = ["document_source"]


def document_source(
    documents: str | Path | Iterable[object], *, chunk_characters: int, overlap: int, unreadable: Unreadable
) -> Source:
    """Rows with the columns of a `ragtune.documents.Chunk`.

    Raises:
        DatasetError: see `DatasetBuilder.from_documents`.
    """
    # Wrong settings are told before the first document is looked for.
    next(chunks_of(Document(text="", source=""), characters=chunk_characters, overlap=overlap), None)
    read_documents((), unreadable=unreadable)
    is_path = isinstance(documents, str | Path)
    name = str(documents) if is_path else "documents"
    if isinstance(documents, str | Path):
        documents = Path(documents).absolute()
    else:
        read_documents(documents)
    # A one-way iterator is remembered, so that a preview costs nothing.
    start = (lambda: documents) if is_path else fresh_rows(documents, "from_documents takes documents")

    def rows() -> Iterator[dict[str, object]]:
        made = Counter[tuple[str, int | None]]()
        for document in read_documents(start(), unreadable=unreadable):
            place = document.source, document.page
            # Ids stay unique where a library gives a document in several pieces.
            for chunk in chunks_of(document, characters=chunk_characters, overlap=overlap, first=made[place] + 1):
                made[place] += 1
                yield asdict(chunk)

    return Source(
        name=name,
        details={"kind": "documents", "chunk_characters": chunk_characters, "overlap": overlap},
        read=lambda: batched_rows(rows(), name),
        paths=document_files(documents) if isinstance(documents, Path) else (),
        # Neighbours repeat each other's words, and too few of them for a split to see.
        together=("source",) if overlap else (),
    )
