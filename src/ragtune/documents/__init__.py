"""Documents: files of several kinds and the documents of other libraries, read one at a time and cut into chunks."""

from ragtune.documents.chunks import Chunk, chunks_of
from ragtune.documents.document import Document, UnreadableDocument
from ragtune.documents.files import ENDINGS, document_files
from ragtune.documents.reading import Unreadable, read_documents
from ragtune.documents.shapes import document_of

__all__ = [
    "ENDINGS",
    "Chunk",
    "Document",
    "Unreadable",
    "UnreadableDocument",
    "chunks_of",
    "document_files",
    "document_of",
    "read_documents",
]
