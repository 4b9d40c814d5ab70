"""Cells of a workbook that its reader shows as empty though they are not: faults, and formulas nobody has computed."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from pathlib import Path

# By a pattern and not as a tree, which would hold every cell of a large sheet for a handful of faults.
_CELL = re.compile(rb'<c r="([A-Z]+)([0-9]+)"([^>]*)>(.*?)</c>', re.DOTALL)
_VALUE = re.compile(rb"<v>([^<]+)</v>")
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def lost_cells(path: Path, sheet: str) -> dict[int, str]:
    """What is wrong with them, by row; empty for workbooks in other formats than Excel's of today."""
    # The older binary formats keep faults otherwise.
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        part = _part_of(archive, sheet)
        data = archive.read(part) if part is not None else b""
    found: dict[int, str] = {}
    for column, row, attributes, inside in _CELL.findall(data) if b't="e"' in data or b"<f" in data else ():
        value = _VALUE.search(inside)
        place = f"cell {column.decode()}{row.decode()}"
        if b't="e"' in attributes:
            shown = value[1].decode() if value else "a fault"
            found.setdefault(int(row), f"{place} shows {shown}; correct its formula, or empty the cell")
        elif b"<f" in inside and value is None and b't="str"' not in attributes:
            found.setdefault(
                int(row), f"{place} holds a formula without a value; open the workbook once in Excel and save it"
            )
    return found


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """The file inside the workbook that holds a sheet."""
    if "xl/workbook.xml" not in archive.namelist():
        return None
    book = ElementTree.fromstring(archive.read("xl/workbook.xml"))
    sheets = [item for item in book.iter() if _RELATION in item.attrib and item.get("name") == sheet]
    relation = sheets[0].get(_RELATION) if sheets else None
    targets = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    target = next((item.get("Target") for item in targets if item.get("Id") == relation), None)
    if target is None:
        return None
    # Excel names the parts from its own folder on, openpyxl from the root.
    part = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
    return part if part in archive.namelist() else None
