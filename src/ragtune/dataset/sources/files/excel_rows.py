"""Rows of spreadsheets: a header, and cells as text."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from ragtune.dataset.bad_rows import BadRows
from ragtune.dataset.sources.files.columns import refuse_doubled
from ragtune.dataset.sources.files.excel_faults import lost_cells
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from python_calamine import CalamineSheet, CalamineWorkbook

    Cell = int | float | str | bool | dt.time | dt.date | dt.datetime | dt.timedelta

# So many digits a spreadsheet keeps of a number; behind them stands what binary fractions add.
_DIGITS = 15


def excel_rows(
    path: Path, *, sheet: str | int | None, header: int | None, lines: list[int]
) -> Iterator[dict[str, str]]:
    """The rows of one sheet, without empty ones; `lines` gets the row of the sheet in which each stands.

    Raises:
        DatasetError: it is no workbook, has no such sheet, or the header does not name every column once.
    """
    with _opened(path) as workbook:
        chosen = _sheet(path, workbook, sheet)
        where = f"{path}, sheet {chosen.name!r}"
        cells = _filled(chosen)
    lost = lost_cells(path, chosen.name)
    # With the rows whose only content is lost: to the reader they look empty.
    filled = [number for number, row in enumerate(cells, 1) if number in lost or any(map(_text, row))]
    if not filled:
        raise DatasetError(f"{where} is empty; name another one with sheet=")
    top = filled[0] if header is None else header
    if top > len(cells):
        raise DatasetError(f"{where} has {len(cells):,} rows, so its header cannot be in row {top:,}")
    names = [_text(cell).strip() for cell in cells[top - 1]]
    refuse_doubled(
        [name for name in names if name], f"{where}, row {top}, taken for the header (header= names another)"
    )
    bad = BadRows()
    for number in filled:
        if number <= top:
            continue
        texts = [_text(cell) for cell in cells[number - 1]]
        if number in lost:
            bad.add(f"{where}, row {number}: {lost[number]}")
        elif nameless := [place for place, text in enumerate(texts) if text and not names[place]]:
            bad.add(
                f"{where}, row {number}: column {_letters(nameless[0])} has a value and no name in row {top}, taken "
                f"for the header; name it there, or pass header= with the row of the names"
            )
        elif not bad:
            lines.append(number)
            yield {name: text for name, text in zip(names, texts, strict=True) if name}
    bad.refuse()


def _opened(path: Path) -> CalamineWorkbook:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    try:
        return CalamineWorkbook.from_path(path)
    except PasswordError as error:
        raise DatasetError(f"{path} is locked by a password; save it without one") from error
    except (CalamineError, OSError) as error:
        raise DatasetError(f"{path} cannot be read as a workbook (.xlsx, .xls, .xlsb, .ods): {error}") from error


def _sheet(path: Path, workbook: CalamineWorkbook, sheet: str | int | None) -> CalamineSheet:
    """The sheet of this name or number, counted from 1; the first that is not hidden where none is named."""
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    # Charts and macros stand among the sheets of a workbook, too.
    tables = [about for about in workbook.sheets_metadata if about.typ == SheetTypeEnum.WorkSheet]
    known = ", ".join(repr(about.name) for about in tables) or "none"
    shown = [about.name for about in tables if about.visible == SheetVisibleEnum.Visible]
    if sheet is None and shown:
        name = shown[0]
    elif isinstance(sheet, int) and 1 <= sheet <= len(tables):
        name = tables[sheet - 1].name
    elif isinstance(sheet, str) and sheet in [about.name for about in tables]:
        name = sheet
    else:
        raise DatasetError(f"{path} has no sheet {sheet!r}; its sheets are {known}")
    return workbook.get_sheet_by_name(name)


def _filled(sheet: CalamineSheet) -> list[list[Cell]]:
    """All cells from the first row and column on; merged ones all have the value that is shown across them."""
    # With what is empty: rows and columns keep the numbers that people see.
    cells = sheet.to_python(skip_empty_area=False)
    for (first_row, first_column), (last_row, last_column) in sheet.merged_cell_ranges or ():
        for row in cells[first_row : last_row + 1]:
            width = len(row[first_column : last_column + 1])
            row[first_column : last_column + 1] = [cells[first_row][first_column]] * width
    return cells


def _text(cell: Cell) -> str:
    # Before the numbers, which a bool is as well.
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        # A spreadsheet knows no whole numbers: 2024 comes as 2024.0.
        return str(int(cell)) if cell.is_integer() else f"{cell:.{_DIGITS}g}"
    # A date is kept as a moment at midnight.
    if isinstance(cell, dt.datetime) and cell.time() == dt.time():
        return cell.date().isoformat()
    return str(cell)


def _letters(place: int) -> str:
    """What a spreadsheet calls a column: A for 0, AA for 26."""
    return (_letters(place // 26 - 1) if place >= 26 else "") + chr(ord("A") + place % 26)
