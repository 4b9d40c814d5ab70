"""Every command line in the pages is one that the parser takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from ragtune.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_SHOWN = re.compile(r"^\$ (ragtune (?:\\\n|.)*)|`(ragtune [^`]*)`", re.MULTILINE)
# These two act while they are parsed: one writes into the home folder of whoever runs the tests.
_EAGER = ("--install-completion", "--show-completion", "--version", "--help")
COMMAND: Any = typer.main.get_command(app)
VERBS: dict[str, Any] = {name: COMMAND.get_command(None, name) for name in COMMAND.list_commands(None)}


def commands() -> list[tuple[str, str, bool]]:
    """Each command line with the page that shows it, and whether it is whole: in a sentence it may be a part."""
    found = []
    for page in PAGES:
        for match in _SHOWN.finditer(page.read_text(encoding="utf-8")):
            line = (match[1] or match[2]).replace("\\\n", " ").replace("[", "").replace("]", "").replace("...", "")
            shown = line.split(" | ")[0].split(" > ")[0]
            found.append((str(page.relative_to(ROOT)), shown, match[1] is not None))
    return found


def parse(line: str, *, whole: bool) -> None:
    """Let the parser read a command line; nothing is done."""
    words = shlex.split(line, comments=True)[1:]
    command = COMMAND
    while hasattr(command, "get_command") and words and not words[0].startswith("--"):
        # `add|list` stands for both.
        command, words = command.get_command(None, words[0].split("|")[0]), words[1:]
    options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {*_EAGER}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]
    assert unknown == [], line
    if whole and not {*words} & {*_EAGER}:
        command.make_context("ragtune", words)


def test_there_are_commands_in_the_pages() -> None:
    assert len(commands()) > 40


@pytest.mark.parametrize(("page", "line", "whole"), sorted(set(commands())))
def test_a_command_of_a_page_is_one_that_the_parser_takes(page: str, line: str, whole: bool) -> None:
    parse(line, whole=whole)


def test_every_verb_stands_on_the_page_of_the_command_line() -> None:
    text = (ROOT / "docs/how-to/command-line.md").read_text(encoding="utf-8")
    assert [name for name in VERBS if f"ragtune {name}" not in text] == []


def test_every_option_explains_itself() -> None:
    silent = [
        f"{name} {option.name}"
        for name, command in VERBS.items()
        for option in command.params
        if option.name != "help" and not getattr(option, "hidden", False) and not getattr(option, "help", None)
    ]
    assert silent == []


def verbs_of(command: Any) -> list[Any]:
    """The verb itself, or, where it does nothing alone, those below it."""
    below = getattr(command, "commands", {})
    return [*below.values()] if below and command.no_args_is_help else [command]


def tells_json(command: Any) -> bool:
    return any("--json" in option.opts for option in command.params)


def test_every_verb_that_tells_something_tells_it_as_json_too() -> None:
    """A recipe file, a schema, the guide and a server's lines are for programs already."""
    silent = [name for name, command in VERBS.items() if not all(map(tells_json, verbs_of(command)))]
    assert silent == ["init", "schema", "serve", "mock", "guide"]


@pytest.mark.parametrize("group", ["", "jobs", "models", "files", "runs", "registry", "feedback"])
def test_a_list_of_verbs_cuts_no_sentence(group: str) -> None:
    """What stands behind the cut, such as that a job is created exactly once, nobody reads."""
    told = CliRunner().invoke(app, [*group.split(), "--help"], env={"COLUMNS": "80"}, terminal_width=80).output
    listed = told.partition("Commands:")[2].splitlines()
    assert listed
    assert [line for line in listed if line.endswith("...")] == []
