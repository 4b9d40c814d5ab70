"""Workbooks as rows: what a reader of the sheet sees, as text, and the rows of the sheet in every message."""

from __future__ import annotations

import datetime as dt
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

import ragtune as rt
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("python_calamine", reason="needs the extra excel")
xlsxwriter = pytest.importorskip("xlsxwriter", reason="writes the workbooks")


def rows_of(builder: rt.DatasetBuilder) -> list[dict[str, Any]]:
    return [dict(row) for batch in builder._source.read() for row in batch.rows()]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A hidden sheet, a title above the header, an empty column, an empty row, merged cells, every kind of value."""
    path = tmp_path / "faq.xlsx"
    with xlsxwriter.Workbook(path) as book:
        book.add_worksheet("Lists").write(0, 0, "x")
        sheet = book.add_worksheet("FAQ")
        day = book.add_format({"num_format": "dd.mm.yyyy"})
        sheet.write(1, 1, "What people ask")
        sheet.write_row(2, 1, ["Frage", "Antwort", "", "Stand", "Thema"])
        for row, (question, answer) in enumerate(
            [("Wann?", "Um 8."), ("Wie viel?", 12.0), ("", ""), ("Offen?", True)], 3
        ):
            sheet.write_row(row, 1, [question, answer])
        sheet.write_datetime(3, 4, dt.datetime(2026, 1, 31), day)
        sheet.write_datetime(4, 4, dt.datetime(2026, 1, 31, 10, 5), day)
        sheet.write_formula(6, 4, "=0.1+0.2", None, 0.1 + 0.2)
        sheet.merge_range(3, 5, 4, 5, "Zeiten\nund Preise")
        book.worksheets()[0].hide()
        sheet.activate()
    return path


def test_a_sheet_gives_what_is_shown_as_text(book: Path, tmp_path: Path) -> None:
    builder = rt.DatasetBuilder.from_excel(book, header=3)
    topic = "Zeiten\nund Preise"
    assert rows_of(builder) == [
        {"Frage": "Wann?", "Antwort": "Um 8.", "Stand": "2026-01-31", "Thema": topic},
        {"Frage": "Wie viel?", "Antwort": "12", "Stand": "2026-01-31 10:05:00", "Thema": topic},
        {"Frage": "Offen?", "Antwort": "TRUE", "Stand": "0.3", "Thema": ""},
    ]
    built = builder.chat(user="{Frage}", assistant="{Antwort}").build(tmp_path / "out")
    source = built.manifest["source"]
    assert (source["kind"], source["file"], source["header"], len(source["sha256"])) == ("xlsx", "faq.xlsx", 3, 64)
    newest = builder.filter(lambda row: row["Thema"], reason="none").keep_newest(per="Thema", by="Stand")
    assert len(newest.chat(user="{Frage}", assistant="{Antwort}").preview()) == 1


def test_messages_name_the_row_of_the_sheet(book: Path) -> None:
    """With the header and the empty row counted, as the program beside it shows them."""
    builder = rt.DatasetBuilder.from_excel(book, header=3).chat(user="{Frage}", assistant="{Thema}")
    with pytest.raises(DatasetError, match=r"row 2 \(faq.xlsx row 7\): the assistant text"):
        builder.preview()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, r"sheet 'FAQ', row 3: column C has a value and no name in row 2, taken for the header; .* pass header="),
        ({"sheet": "faq"}, r"has no sheet 'faq'; its sheets are 'Lists', 'FAQ'"),
        ({"sheet": 3}, "has no sheet 3"),
        ({"sheet": 1}, "has no rows"),
        ({"header": 9}, "has 7 rows, so its header cannot be in row 9"),
    ],
)
def test_a_sheet_or_header_that_is_not_the_one_is_told(book: Path, options: Any, told: str) -> None:
    with pytest.raises(DatasetError, match=told):
        rt.DatasetBuilder.from_excel(book, **options).chat(user="{Frage}", assistant="x").preview()


def test_faults_and_formulas_without_a_value_are_no_empty_cells(tmp_path: Path) -> None:
    """The reader shows both as empty; the model would learn an answer without its number."""
    path = tmp_path / "sums.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet("Sums & more")
        sheet.write_row(0, 0, ["q", "a"])
        for row in range(1, 5):
            sheet.write(row, 0, f"Question {row}?")
            sheet.write(row, 1, "x")
        sheet.write_formula(2, 1, "=1/0", None, "#DIV/0!")
        sheet.write_formula(3, 1, '=""', None, "")
    uncomputed(path)
    builder = rt.DatasetBuilder.from_excel(path).chat(user="{q}", assistant="{a}")
    with pytest.raises(DatasetError) as caught:
        builder.preview()
    assert "2 rows make no record" in str(caught.value)
    assert "sheet 'Sums & more', row 3: cell B3 shows #DIV/0!" in str(caught.value)
    assert "row 4: cell B4 holds a formula without a value; open the workbook once in Excel" in str(caught.value)


def uncomputed(path: Path) -> None:
    """Take the value of B4 away, as libraries write formulas."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    start = parts[name].index(b'<c r="B4"')
    end = parts[name].index(b"</c>", start)
    parts[name] = parts[name][:start] + b'<c r="B4"><f>1+1</f><v></v>' + parts[name][end:]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def test_several_workbooks_are_one_source_and_what_is_none_is_named(tmp_path: Path) -> None:
    for name in "ab":
        with xlsxwriter.Workbook(tmp_path / f"{name}.xlsx") as book:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, ["q", "a"])
            sheet.write_row(1, 0, [f"In {name}?", "x"])
    builder = rt.DatasetBuilder.from_excel(str(tmp_path / "?.xlsx"))
    assert [row["q"] for row in rows_of(builder)] == ["In a?", "In b?"]
    (tmp_path / "c.xlsx").write_text("q,a\n")
    with pytest.raises(DatasetError, match=r"c\.xlsx cannot be read as a workbook"):
        rows_of(rt.DatasetBuilder.from_excel(tmp_path / "c.xlsx"))


def test_check_names_the_call_for_a_workbook(book: Path) -> None:
    """First, and alone."""
    report = rt.check_file(book)
    assert "from_excel" in report.problems[0].hint
    assert "not-text" in {code for _, code in report.counts}
