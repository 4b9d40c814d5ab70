"""The demo as a user runs it, with the real small model, and its notebook twin."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STEPS = ["Build", "Start", "Upload", "Train", "Did it learn", "One answer", "Jobs", "second job", "Delete", "Summary"]


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.e2e
def test_the_demo_teaches_the_model_facts_it_could_not_know(tmp_path: Path) -> None:
    """Recall of the tuned model is at least 0.80, of the base at most 0.40, on the same 30 questions or more."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "quickstart.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for step in STEPS:
        assert step in done.stdout
    found = re.search(r"recall on (\d+) trained questions: base ([\d.]+), tuned ([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    assert int(found[1]) >= 30
    assert float(found[2]) <= 0.40
    assert float(found[3]) >= 0.80
    # The manager's sentence, and the four arms with both kinds of wording.
    assert "On 30 facts asked in other words, tuned is right on " in done.stdout
    assert all(arm in done.stdout for arm in ("base+RAG", "tuned+RAG", "reworded"))
    assert "lantern heron" in (tmp_path / "runs/quickstart/card.html").read_text(encoding="utf-8")
    assert "refused, as it should" in done.stdout
    assert "cancelled" in done.stdout
    assert "tuned models now: []" in done.stdout
    assert (tmp_path / "runs/quickstart/loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_notebook_holds_the_same_cells_as_the_script() -> None:
    """One source, two faces; after a change run: jupytext --to ipynb examples/quickstart.py."""
    script = jupytext.read(EXAMPLES / "quickstart.py")
    notebook = jupytext.read(EXAMPLES / "quickstart.ipynb")
    assert [(c.cell_type, c.source) for c in notebook.cells] == [(c.cell_type, c.source) for c in script.cells]


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """In a real kernel; the tiny random base stands in for the small model, whose recall the script's test measures."""
    from nbclient import NotebookClient

    notebook = jupytext.read(EXAMPLES / "quickstart.ipynb")
    for cell in notebook.cells:
        cell.source = cell.source.replace('"smollm2-135m-instruct"', '"tiny-random"')
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    for step in STEPS:
        assert step in text
