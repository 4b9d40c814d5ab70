"""Files of several kinds as documents: text, Markdown, HTML, PDF and Word, by their endings."""

from __future__ import annotations

import logging
import re
from codecs import BOM_UTF8
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._arguments import refuse_content
from ragtune._checked import checked
from ragtune._extras import require
from ragtune.documents.document import Document, UnreadableDocument
from ragtune.errors import DatasetError, RagtuneError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from docx.text.paragraph import Paragraph

__all__ = ["ENDINGS", "document_files", "read_file"]

_heading = re.compile(r"^#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$", re.MULTILINE).search
_begins_as_markup = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:[A-Za-z]|!--)").match
_word_level = re.compile(r"Heading ([1-6])").fullmatch
# Not the body itself, which pages hide until their scripts ran, nor what is `hidden`: tabs of manuals are.
_HIDDEN = "//body//*[contains(translate(@style, 'DISPLAYNOE ', 'displaynoe'), 'display:none')]"


@checked()
def document_files(source: str | Path) -> tuple[Path, ...]:
    """The files of a folder that can be read, in the order of their names, or the one that is meant.

    Hidden files and folders, links that lead out of the folder, and endings that nobody here reads, are passed over.

    Raises:
        DatasetError: it does not exist, holds nothing that can be read, or the one file has an unknown ending.
    """
    path = Path(source)
    refuse_content(path, "source")
    if not path.exists():
        raise DatasetError(f"{path} does not exist; give a folder of documents, or one of them")
    known = ", ".join(sorted(ENDINGS))
    if path.is_file():
        if path.suffix.lower() not in ENDINGS:
            raise DatasetError(f"{path}: nothing here reads {path.suffix or 'files without an ending'}; known: {known}")
        return (path,)
    inside = (item for item in path.rglob("*") if item.suffix.lower() in ENDINGS and item.is_file())
    seen = (item for item in inside if not _is_hidden(item.relative_to(path)))
    # A link may lead out of the folder, to what nobody meant to show.
    home = path.resolve()
    # Sorted, because a file system lists in an order of its own: one folder gives the same rows everywhere.
    found = tuple(sorted(item for item in seen if item.resolve().is_relative_to(home)))
    if not found:
        raise DatasetError(f"{path} holds no document; known endings: {known}")
    return found


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_file(path: Path, source: str) -> Iterator[Document]:
    """The documents of one file: one for each page of a PDF, one for any other file.

    Args:
        path: the file.
        source: what its documents are to be called.

    Raises:
        UnreadableDocument: it holds no text that can be read.
        MissingExtraError: the extra `documents` is not installed, which PDF, Word and HTML need.
    """
    try:
        yield from ENDINGS[path.suffix.lower()](path, source)
    except OSError as error:
        raise UnreadableDocument(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def _parsing(path: Path, what: str) -> Iterator[None]:
    """Tell whatever a parsing library raises as a file that gives no text."""
    try:
        yield
    except (RagtuneError, OSError):
        raise
    # The libraries let through what their own parts raise, and no list of that was ever complete.
    except Exception as error:
        told = str(error).rstrip(".") or type(error).__name__
        way = "save it again, or leave it out"
        # pypdf reads RC4 by itself, which older PDFs have, and asks for that package only where it meets AES.
        if "cryptography" in told:
            told = "it is encrypted with AES"
            way = "`pip install cryptography` reads it where the password is empty; else save it without its password"
        raise UnreadableDocument(f"{path} is {what}: {told}; {way}") from error


def _read_text(path: Path, source: str) -> Iterator[Document]:
    # The stem of `source` and not of the path, whose name may be bytes that are no text.
    yield Document(text=_decoded(path), source=source, title=_stem(source))


def _read_markdown(path: Path, source: str) -> Iterator[Document]:
    text = _decoded(path)
    heading = _heading(text)
    yield Document(text=text, source=source, title=heading[1] if heading else _stem(source), markdown=True)


def _stem(source: str) -> str:
    return Path(source).stem


def _decoded(path: Path) -> str:
    try:
        # The line ends of Windows would be no paragraphs to anybody.
        # And Windows' Notepad may write a mark before the first line.
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UnreadableDocument(
            f"{path} is not UTF-8 (byte {error.start:,}); save it as UTF-8, or leave it out"
        ) from error


def _read_html(path: Path, source: str) -> Iterator[Document]:
    require("documents", "trafilatura", reason=f"reading {path.name}")
    import trafilatura

    # Bytes: a page says itself, within, in which encoding it is written.
    data = path.read_bytes()
    if _begins_as_markup(data):
        # A page may leave out its <html> or begin with a comment; trafilatura looks for the word at the very beginning.
        data = b"<!doctype html>\n" + data.removeprefix(BOM_UTF8)
    with _parsing(path, "damaged or no HTML"):
        tree = trafilatura.load_html(data)
        if tree is None:
            raise UnreadableDocument(f"{path} is no HTML; save the page again")
        # Before the text is taken, which changes the tree.
        named = tree.findtext(".//title")
        # Its own option for this spares the tree to which it falls back.
        for node in tree.xpath(_HIDDEN):
            node.drop_tree()
        # The comments are those that visitors left below an article.
        text = trafilatura.extract(tree, output_format="markdown", include_comments=False, include_tables=True)
    if not text:
        raise UnreadableDocument(f"{path} holds no text beside menus and scripts; leave it out")
    title = " ".join((named or "").split())
    heading = _heading(text)
    yield Document(text=text, source=source, title=title or (heading[1] if heading else _stem(source)), markdown=True)


def _read_pdf(path: Path, source: str) -> Iterator[Document]:
    require("documents", "pypdf", reason=f"reading {path.name}")
    from pypdf import PasswordType, PdfReader

    # It writes what it mended into every program that logs nothing itself; what it cannot mend is said by our error.
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    broken = "damaged or no PDF, or made in a way that cannot be read"
    with _parsing(path, broken):
        reader = PdfReader(path)
    with reader:
        with _parsing(path, broken):
            # Many PDFs are encrypted with an empty password, only to forbid printing or copying.
            if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
                raise UnreadableDocument(f"{path} is encrypted; save it without its password, or leave it out")
            named = reader.metadata.title if reader.metadata is not None else None
            title = " ".join((named or "").split()) or _stem(source)
            pages = len(reader.pages)
        some = False
        for number in range(pages):
            # Page by page, and named: of a book with one damaged page one knows which it is.
            with _parsing(path, f"{broken} (page {number + 1})"):
                text = reader.pages[number].extract_text()
            some = some or bool(text.strip())
            yield Document(text=text, source=source, title=title, page=number + 1)
    if not some:
        raise UnreadableDocument(
            f"{path} holds no text: its pages are pictures; recognise the text first (OCR, for example with ocrmypdf)"
        )


def _read_word(path: Path, source: str) -> Iterator[Document]:
    require("documents", "docx", reason=f"reading {path.name}")
    import docx
    from docx.table import Table

    with _parsing(path, "damaged, encrypted or no .docx"):
        document = docx.Document(str(path))
        # In the order of the document: `document.paragraphs` and `document.tables` are two lists, without each other's
        # places.
        parts = [
            _table(part) if isinstance(part, Table) else _paragraph(part) for part in document.iter_inner_content()
        ]
        named = document.core_properties.title
    text = "\n\n".join(part for part in parts if part)
    if not text:
        raise UnreadableDocument(f"{path} holds no text; leave it out")
    heading = _heading(text)
    title = " ".join((named or "").split())
    yield Document(text=text, source=source, title=title or (heading[1] if heading else _stem(source)), markdown=True)


def _paragraph(paragraph: Paragraph) -> str:
    text = " ".join(paragraph.text.split())
    style = (paragraph.style.name if paragraph.style is not None else None) or ""
    # In every language of Word the file keeps the English names of its own styles.
    found = _word_level(style)
    level = 1 if style == "Title" else int(found[1]) if found else 0
    return f"{'#' * level} {text}" if text and level else text


def _table_line(cells: Iterable[str]) -> str:
    texts = [" ".join(cell.split()).replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(texts)} |"


def _table(table: object) -> str:
    rows = [_table_line(cell.text for cell in row.cells) for row in getattr(table, "rows", ())]
    if not rows:
        return ""
    columns = rows[0].replace("\\|", "").count("|") - 1
    return "\n".join([rows[0], "|" + "---|" * columns, *rows[1:]])


ENDINGS: dict[str, Callable[[Path, str], Iterator[Document]]] = {
    ".txt": _read_text,
    ".text": _read_text,
    ".rst": _read_text,
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_pdf,
    ".docx": _read_word,
}
"""What reads a file, by its ending."""
