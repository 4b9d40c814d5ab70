"""Notebooks as pages of the site, in the look of all others: what their cells say, and what they printed.

As a program it runs them anew and keeps what they print: `python docs/make/notebooks.py docs/learn/*.ipynb`.
"""

from __future__ import annotations

import base64
import sys
import tempfile
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import nbformat
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from nbformat import NotebookNode

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


@event_priority(100)
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The notebook itself stays beside its page, to be downloaded."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        place = PurePosixPath(file.src_uri)
        notebook = nbformat.reads(file.content_string, as_version=4)
        files.append(File.generated(config, str(place.with_suffix(".md")), content=page(notebook, place.stem)))
        for name, content in pictures(notebook, place.stem):
            files.append(File.generated(config, str(place.with_name(name)), content=content))
    return files


def page(notebook: NotebookNode, stem: str) -> str:
    """Return the Markdown of a notebook."""
    title, _, text = said(notebook.cells[0]).partition("\n")
    parts = [title, f"[Download this page as a notebook]({stem}.ipynb){{ download }}", text]
    for number, cell in enumerate(notebook.cells[1:], 1):
        if cell.cell_type == "markdown":
            parts.append(said(cell))
        else:
            parts += [fence(cell.source, "python"), *(shown(output, f"{stem}-{number}.png") for output in cell.outputs)]
    return "\n\n".join(parts)


def said(cell: NotebookNode) -> str:
    # From notebook to notebook on the disk, from page to page in the site.
    return str(cell.source).replace(".ipynb)", ".md)")


def shown(output: NotebookNode, picture: str) -> str:
    """One output of a cell, as its reader in a notebook sees it."""
    if output.output_type == "stream":
        return fence(output.text, "{ .text .output }")
    if "image/png" in output.data:
        return f"![]({picture})"
    if "text/html" in output.data:
        return f'<div class="output">\n{output.data["text/html"]}\n</div>'
    return fence(output.data["text/plain"], "{ .text .output }")


def fence(text: str, kind: str) -> str:
    return f"````{kind}\n{text.rstrip()}\n````"


def pictures(notebook: NotebookNode, stem: str) -> Iterator[tuple[str, bytes]]:
    """The pictures among the outputs, under the names by which the page calls them."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                yield f"{stem}-{number}.png", base64.b64decode(output.data["image/png"])


def run(notebook: NotebookNode, folder: str) -> NotebookNode:
    """Run all cells in a kernel of their own, in a folder, and leave nothing in them that changes from run to run."""
    from nbclient import NotebookClient

    NotebookClient(
        notebook, timeout=1200, resources={"metadata": {"path": folder}}, record_timing=False, coalesce_streams=True
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = None
            # Bars of progress and warnings of the kernel are for who waits.
            cell.outputs = [kept(output) for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata = nbformat.from_dict(KERNEL)
    return notebook


def kept(output: NotebookNode) -> NotebookNode:
    if output.output_type == "execute_result":
        output.execution_count = None
    return output


if __name__ == "__main__":
    for given in map(Path, sys.argv[1:]):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as desk:
            nbformat.write(run(nbformat.read(given, as_version=4), desk), given)
        print(f"{given}: {time.monotonic() - started:.0f} s")
