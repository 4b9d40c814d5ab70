"""What all pages keep: a length that is read, code that is not cut, pictures that load quickly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# The command line is looked up, not read.
USE = sorted(
    {*DOCS.glob("rooms/*.md"), *DOCS.glob("how-to/*.md"), DOCS / "index.md", DOCS / "tutorial.md"}
    - {DOCS / "how-to/command-line.md"}
)
# The plan of the house is for those who build on it, and reports stand as their programs print them.
PAGES = [ROOT / "README.md", *sorted({*DOCS.rglob("*.md")} - {DOCS / "design/index.md", DOCS / "measured.md"})]


def wide_code(text: str) -> list[str]:
    """Lines inside fences that are longer than 84 characters."""
    inside, found = False, []
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif inside and len(line) > 84:
            found.append(line)
    return found


@pytest.mark.parametrize("page", USE, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_use_page_has_at_most_150_lines(page: Path) -> None:
    """A longer one is two tasks, or holds figures that belong to `measured.md`."""
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_a_page_is_not_cut_at_the_right(page: Path) -> None:
    assert wide_code(page.read_text(encoding="utf-8")) == []


def test_pictures_are_small() -> None:
    pictures = [*DOCS.rglob("*.png"), *DOCS.rglob("*.svg")]
    assert len(pictures) > 4
    assert [picture.name for picture in pictures if picture.stat().st_size > 100_000] == []


def test_the_readme_links_to_files_that_are_there() -> None:
    """A page that moves takes the readme along; the links of the site are held by its build."""
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if "://" not in link and not (ROOT / link).is_file()] == []


def test_each_figure_has_its_day_and_its_command() -> None:
    """Also the sections that somebody adds tomorrow."""
    _, *sections = re.split(r"^## ", (DOCS / "measured.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(sections) > 15
    command = re.compile(r"benchmarks/\w+|make demo|ragtune doctor|pytest tests/")
    silent = [
        part.splitlines()[0] for part in sections if not (re.search(r"20\d\d-\d\d", part) and command.search(part))
    ]
    assert silent == []
