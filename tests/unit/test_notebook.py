"""What a notebook shows of a builder, a preview, a dataset and its reports."""

from __future__ import annotations

import re

import pytest

CELLS = [
    """
import ragtune as rt

rows = [
    {"question": f"What is <b>{n}</b> + {n}?", "answer": f"{2 * n}", "note": "" if n % 10 == 0 else f"{n} doubled"}
    for n in range(60)
]
builder = (
    rt.DatasetBuilder.from_rows(rows, query="SELECT * FROM sums")
    .filter(lambda row: row["note"], reason="no note")
    .chat(system="You are good at sums.", user="{question}", assistant="{answer} ({note})")
)
builder
""",
    "builder.preview(2)",
    "dataset = builder.build('out', validation=0.1, seed=7)\ndataset",
    "dataset.report",
    "dataset.check()",
]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The HTML that each cell of a real notebook shows, run in a kernel of its own."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    folder = tmp_path_factory.mktemp("notebook")
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    client.execute()
    outputs = [cell.outputs[-1]["data"] for cell in notebook.cells]
    pages = [output.get("text/html", "") for output in outputs]
    (folder / "shown.html").write_text("<meta charset='utf-8'>" + "<hr>".join(pages), encoding="utf-8")
    return pages


pytestmark = [
    pytest.mark.slow,
    # The kernel's client, not our code: zmq on the default event loop of a test.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq"),
]


def test_every_value_shows_itself_as_a_table(shown: list[str]) -> None:
    """With what one wants to know at a glance."""
    builder, preview, dataset, report, check = shown
    assert "SELECT * FROM sums" in builder
    assert "no note" in builder
    assert preview.count("You are good at sums.") == 2
    assert [number in dataset for number in ("train", "49", "validation", "5")] == [True] * 4
    assert re.search(r"dropped: no note</td><td>6<", report)
    assert "no problems" in check
    assert "gpt-4o-mini" in report


def test_what_is_shown_needs_nothing_from_outside_and_escapes_texts(shown: list[str]) -> None:
    """No script, no address to fetch, and text of the rows stays text."""
    for page in shown:
        assert not re.search(r"<script|<link|<iframe|<img|src=|href=|url\(|@import", page), page
        assert "<b>0</b>" not in page
    assert "&lt;b&gt;" in shown[1]
