"""The table in docs/how-to/errors.md is the one that the library speaks from.

`python -m tests.docs.test_error_table` writes it anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ragtune._api.error_table import TROUBLES, Trouble

PAGE = Path(__file__).parents[2] / "docs/how-to/errors.md"
BEGIN, END = "<!-- the table: begin -->\n", "<!-- the table: end -->"
CLASSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    501: "InternalServerError",
    503: "InternalServerError",
    "5xx": "InternalServerError",
    "timeout": "APITimeoutError",
    "no answer": "APIConnectionError",
}


def line(row: Trouble) -> str:
    """One row of the table."""
    raised = f"`ragtune.{row.becomes.__name__}`" if row.becomes else f"`{CLASSES.get(row.status, 'APIStatusError')}`"
    status = "other 5xx" if row.status == "5xx" else "any other" if row.status == "other" else str(row.status)
    calls = row.calls or ""
    call = "models.delete" if calls.startswith("models") else "files.retrieve" if "retrieve" in calls else "CALL"
    words = {"call": call, "subject": "NAME", "base_url": "URL"}
    cells = [
        status + (f"<br>`{row.code}`" if row.code else ""),
        raised,
        f"“{row.example}”" if row.example else "",
        row.text(says=row.example, **words).replace("'NAME'", "NAME"),
        "yes" if row.waiting_helps else "no",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table() -> str:
    head = [
        "answer",
        "raises",
        "the server says, for example",
        "the note: what happened, and what to do",
        "waiting helps",
    ]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *map(line, TROUBLES)]) + "\n"


def test_the_page_shows_the_table_that_the_library_speaks_from() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition(BEGIN)[2].partition(END)[0]
    assert shown == table(), "write it anew: python -m tests.docs.test_error_table"


@pytest.mark.parametrize(("page", "number"), [(PAGE, 23), (PAGE.parents[1] / "rooms/wire.md", 11)])
def test_the_tests_that_a_page_names_are_there(page: Path, number: int) -> None:
    written = "".join(file.read_text(encoding="utf-8") for file in PAGE.parents[2].glob("tests/*/test_*.py"))
    named = re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))
    assert len(named) == number
    assert [name for name in named if f"def {name}(" not in written] == []


if __name__ == "__main__":
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2], encoding="utf-8")
