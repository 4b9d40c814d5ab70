"""All documents of a folder, or of whatever other libraries give, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from ragtune._checked import checked
from ragtune._encodings import name_as_text
from ragtune._warn import warn
from ragtune.documents.document import Document, UnreadableDocument
from ragtune.documents.files import document_files, read_file
from ragtune.documents.shapes import document_of
from ragtune.errors import DatasetError

__all__ = ["Unreadable", "read_documents"]

Unreadable = Literal["refuse", "skip"]
_TOLD = 100


@checked("unreadable", "source")
def read_documents(source: str | Path | Iterable[object], *, unreadable: Unreadable = "refuse") -> Iterator[Document]:
    """Read documents one file at a time; a PDF gives one for each page.

    Args:
        source: a folder (text, Markdown, HTML, PDF and Word files, with its own folders), one file, or documents:
            texts, mappings with `text`, or what LangChain and LlamaIndex make of files.
        unreadable: what becomes of files without a text (encrypted, damaged, scanned): `"refuse"` names all of them
            when the last file was read, `"skip"` warns of each.

    Raises:
        DatasetError: there are no documents, or some give no text.
        MissingExtraError: the extra `documents` is not installed, which PDF, Word and HTML need.

    Example:
        ```python
        from ragtune.documents import chunks_of, read_documents

        for document in read_documents(["Ferries leave at noon."]):
            print([chunk.text for chunk in chunks_of(document, characters=12)])
            #> ['Ferries', 'leave at', 'noon.']
        ```
    """
    if unreadable not in ("refuse", "skip"):
        raise DatasetError(f"unreadable={unreadable!r:.40} must be 'refuse' or 'skip'")
    if isinstance(source, str | Path):
        return _of_files(document_files(source), Path(source), unreadable=unreadable)
    # Both can be looped over, and give names or numbers: one document that was not put into a list.
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable):
        raise DatasetError(f"documents are a folder, a file, or a list of documents, not {type(source).__name__}")
    return (document_of(item, number) for number, item in enumerate(source))


def _of_files(paths: tuple[Path, ...], folder: Path, *, unreadable: Unreadable) -> Iterator[Document]:
    bad: list[str] = []
    for path in paths:
        source = name_as_text(path.relative_to(folder).as_posix() if path != folder else path.name)
        try:
            yield from read_file(path, source)
        except UnreadableDocument as error:
            if unreadable == "skip":
                warn(f"left out: {error}")
            else:
                bad.append(str(error))
    if bad:
        # All at once: who repairs a folder of scans wants the list, not the next one each time.
        more = [f"and {len(bad) - _TOLD:,} more"] if len(bad) > _TOLD else []
        told = "\n  ".join([*bad[:_TOLD], *more])
        count = "" if len(bad) == 1 else f"{len(bad):,} documents give no text:\n  "
        raise DatasetError(f"{count}{told}\nunreadable='skip' passes over such files")
