"""Files that hold no text, by how they begin."""

from __future__ import annotations

PACKED = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\x00"}
_UNPACK = {"gzip": "gunzip", "bzip2": "bunzip2", "xz": "unxz"}
_OTHERS = {
    b"\x28\xb5\x2f\xfd": ("packed with zstd", "unpack it first, with unzstd"),
    b"PK\x03\x04": (
        "an Excel workbook or another zip archive",
        "read a workbook with ragtune.DatasetBuilder.from_excel(...), unpack an archive",
    ),
    b"PAR1": ("a Parquet file", "read it with ragtune.DatasetBuilder.from_parquet"),
    b"ARROW1": ("an Arrow file", "read it with datasets.Dataset.from_file and ragtune.DatasetBuilder.from_dataset"),
    # Word and PowerPoint of that age begin so as well; where rows are expected, a workbook is the likely one.
    b"\xd0\xcf\x11\xe0": (
        "an old Excel workbook",
        "read it with ragtune.DatasetBuilder.from_excel(...)",
    ),
    b"SQLite format 3": (
        "an SQLite database",
        "read it with pandas.read_sql and ragtune.DatasetBuilder.from_pandas",
    ),
}


def packed_with(start: bytes) -> str | None:
    """What a file is packed with that begins with these bytes, of what Python unpacks; else None."""
    return next((name for name, magic in PACKED.items() if start.startswith(magic)), None)


def binary_kind(start: bytes) -> tuple[str, str] | None:
    """What a file is that begins with these bytes, and what to do with it; None where it may be text."""
    if (name := packed_with(start)) is not None:
        return f"packed with {name}", f"unpack it first, with {_UNPACK[name]}"
    return next((said for magic, said in _OTHERS.items() if start.startswith(magic)), None)
