"""What a folder of PDFs costs: CPU-seconds, memory over time, and how many documents are held at a time.

    python benchmarks/documents.py [--pdfs 100 1000] [--pages 6]

Makes folders of PDFs, of which one in a hundred is a picture, encrypted or broken, and draws every row of
`DatasetBuilder.from_documents(folder, unreadable="skip")`. Each figure comes from a process of its own:

- CPU-seconds for all rows, and resident memory (MB) before the first row and after each tenth of the files;
- in a second run, which is slower, `ragtune.documents.read_documents` beneath it: what Python's own objects take at
  most (`tracemalloc`), and how many PDFs have their bytes in memory and how many texts of pages there are at a time.

The goal: nothing but the seconds grows with the number of PDFs, and never is more than one of them held.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter

import ragtune as rt
from ragtune.documents import Document, read_documents

if TYPE_CHECKING:
    from collections.abc import Iterator

UNREADABLE = ("picture", "encrypted", "broken")


def make_folder(folder: Path, count: int, pages: int) -> None:
    """Write the PDFs; the last of each hundred gives no text."""
    folder.mkdir()
    for number in range(count):
        last = number % 100 == 99
        make_pdf(folder / f"report-{number:05}.pdf", number, pages, UNREADABLE[number // 100 % 3] if last else None)


def make_pdf(path: Path, number: int, pages: int, fault: str | None) -> None:
    """Write one PDF."""
    document = FPDF()
    document.set_font("helvetica", size=11)
    for page in range(pages):
        document.add_page()
        if fault == "picture":
            document.rect(20, 20, 100, 100, style="F")
        else:
            lines = [f"Ferry {number} reaches pier {page}-{line} in {number % 7 + line} minutes." for line in range(40)]
            document.multi_cell(0, text=" ".join(lines))
    document.output(str(path))
    if fault == "encrypted":
        writer = PdfWriter(clone_from=PdfReader(path))
        writer.encrypt(user_password="secret", algorithm="RC4-128")
        writer.write(path)
    elif fault == "broken":
        path.write_bytes(path.read_bytes()[:600])


def files_of(folder: Path) -> Iterator[int]:
    """How many rows each file gives, one file after the other."""
    rows = rt.DatasetBuilder.from_documents(folder, unreadable="skip").rows()
    for _, group in groupby(rows, key=itemgetter("source")):
        yield sum(1 for _ in group)


def resident_mb() -> float:
    """Resident memory now."""
    return psutil.Process().memory_info().rss / 2**20


def timed(folder: Path) -> dict[str, object]:
    """CPU-seconds, and memory after each tenth."""
    tenth = max(len(list(folder.iterdir())) // 10, 1)
    warnings.simplefilter("ignore")
    memory, rows, start = [resident_mb()], 0, time.process_time()
    for number, found in enumerate(files_of(folder), 1):
        rows += found
        if number % tenth == 0:
            memory.append(resident_mb())
    return {"rows": rows, "cpu": time.process_time() - start, "memory": [*memory, resident_mb()]}


def held() -> tuple[int, int]:
    """How many PDFs have their bytes in memory, and how many texts of pages there are."""
    found = gc.get_objects()
    readers = sum(type(item) is PdfReader and not item.stream.closed for item in found)
    return readers, sum(type(item) is Document for item in found)


def looked_at(folder: Path) -> dict[str, object]:
    """What is held at a time, seen at the second page of each file."""
    warnings.simplefilter("ignore")
    readers = texts = 0
    tracemalloc.start()
    for document in read_documents(folder, unreadable="skip"):
        if document.page == 2:
            now = held()
            readers, texts = max(readers, now[0]), max(texts, now[1])
    return {"readers": readers, "texts": texts, "python_mb": tracemalloc.get_traced_memory()[1] / 2**20}


def main() -> None:
    """Make the folders, run the processes, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pdfs", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--pages", type=int, default=6)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps({"timed": timed, "looked_at": looked_at}[options.one[0]](Path(options.one[1]))))
        return
    with tempfile.TemporaryDirectory() as place:
        for count in options.pdfs:
            folder = Path(place, str(count))
            make_folder(folder, count, options.pages)
            told: dict[str, Any] = {}
            for how in ("timed", "looked_at"):
                command = [sys.executable, __file__, "--one", how, str(folder)]
                told |= json.loads(subprocess.check_output(command))
            size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            memory = " ".join(f"{value:.0f}" for value in told["memory"])
            print(f"{count:,} PDFs of {options.pages} pages, {size:.1f} MB: {told['rows']:,} rows")
            print(f"  {told['cpu']:.1f} CPU-seconds")
            print(f"  resident MB before, after each tenth, at the end: {memory}")
            print(f"  Python's objects at most: {told['python_mb']:.1f} MB")
            print(f"  held at a time: {told['readers']} PDFs, {told['texts']} texts of a page")


if __name__ == "__main__":
    main()
