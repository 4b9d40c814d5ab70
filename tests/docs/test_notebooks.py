"""The notebooks that stand as pages: they run, print what they show, and their Turkish words stand in the glossary."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "docs/learn").glob("*.ipynb"))
BASE = 'BASE = "smollm2-135m-instruct"'


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_of(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: NotebookNode) -> str:
    """What a cell printed and showed as text."""
    return "".join(output.get("text", "") or output.data["text/plain"] for output in cell.outputs)


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_its_page_shows(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tiny base; what hangs on base or machine carries the tag `varies` and must show something of its kind.

    After a change: `python docs/make/notebooks.py docs/learn/*.ipynb`.
    """
    monkeypatch.syspath_prepend(str(ROOT / "docs/make"))
    run = import_module("notebooks").run
    shown, again = read(path), read(path)
    switch = code_of(again)[0]
    assert switch.source.startswith(BASE)
    switch.source = switch.source.replace("smollm2-135m-instruct", "tiny-random", 1)
    run(again, str(tmp_path))
    for kept, came in zip(code_of(shown), code_of(again), strict=True):
        if "varies" in kept.metadata.get("tags", ()):
            assert [output.output_type for output in came.outputs] == [output.output_type for output in kept.outputs]
        else:
            assert printed(came) == printed(kept), kept.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_its_outputs_and_without_traces_of_a_machine(path: Path) -> None:
    notebook = read(path)
    showing = [cell for cell in code_of(notebook) if cell.outputs]
    assert len(showing) > len(code_of(notebook)) / 2
    assert [output for cell in showing for output in cell.outputs if output.output_type == "error"] == []
    assert not re.search(r"/(home|root|tmp|work)/", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_of_a_notebook_is_not_cut_at_the_right(path: Path) -> None:
    lines = [line for cell in code_of(read(path)) for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > 84] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_turkish_word_of_a_notebook_stands_in_the_glossary(path: Path) -> None:
    """Once in the notebook, as *word* (Turkish), and in the glossary with the same Turkish word."""
    text = " ".join(" ".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown").split())
    rows = (ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8").splitlines()
    glossary = {row.split(" | ")[0].strip("| "): row.rpartition(" | ")[2].strip("| ") for row in rows if "|" in row}
    said = [(word.casefold(), turkish) for word, turkish in re.findall(r"\*([^*]+)\* \((?:[A-Z]+; )?([^)]+)\)", text)]
    assert len(said) > 10
    assert [pair for pair in said if glossary.get(pair[0].removesuffix("s"), glossary.get(pair[0])) != pair[1]] == []
    assert len(said) == len({word for word, _ in said})
