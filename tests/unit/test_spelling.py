"""What the library says to a program is said in flags on the command line."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

import ragtune
from ragtune.cli import app
from ragtune.cli.spelling import IN_PYTHON, spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(ragtune.__file__).parent
# A text that holds none of these has nothing to be said otherwise.
PYTHON = re.compile(r"[a-z]=|\b(?:rt|ragtune|openai)\.|\w\(")
# Markup of pages.
MARKUP = re.compile(r"</\w|/>")
# Rooms whose texts no command can show: of tests' servers, of workers, of pages and of exported models.
ELSEWHERE = tuple(
    "cli testing train data local/page local/models/card.py recipes/generation _html.py webhooks.py".split()
)
# What only a program can give: functions, clients, values of classes, and settings that no command has.
ONLY_A_PROGRAM = set(
    "Fact Maintenance OpenAI Price Supervised answerers api_key cache chunk_characters client_from_key_file counter"
    " date from_files history id kind kinds load loss make metadata notice_days overlap patience_s poll_s prices"
    " reasoning request retriever right source spec stop template today unfit unreadable upload watch_many what".split()
)
# What a recipe file, and a recipe on the command line, say as Python does.
OF_RECIPES = set("context distractors path repeats version wordings".split())


@cache
def commands() -> dict[str, Any]:
    top: Any = typer.main.get_command(app)
    verbs = {verb: top.get_command(None, verb) for verb in top.list_commands(None)}
    inner = {
        f"{verb} {name}": one for verb, group in verbs.items() for name, one in getattr(group, "commands", {}).items()
    }
    return verbs | inner


def said_by(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module; values that are put into them are quoted, as errors quote them."""
    tree, seen = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            seen.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            seen |= {id(part) for part in node.values}
            parts = [part.value if isinstance(part, ast.Constant) else "'x'" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in seen:
            yield node.lineno, node.value


@pytest.mark.slow
def test_every_argument_that_a_text_of_the_library_names_is_a_flag_of_some_command() -> None:
    """Whoever writes `price=` into an error gives some command a `--price`, or another way out in `cli/spelling.py`."""
    unsaid: dict[str, str] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        where = path.relative_to(SOURCE).as_posix()
        if not where.startswith(ELSEWHERE):
            for line, text in said_by(path):
                if " " in text and PYTHON.search(text) and not MARKUP.search(text):
                    unsaid |= dict.fromkeys(_unsaid(text), f"{where}:{line}")
    assert {name: place for name, place in unsaid.items() if name not in ONLY_A_PROGRAM | OF_RECIPES} == {}
    assert set(unsaid) == ONLY_A_PROGRAM | OF_RECIPES


@pytest.mark.parametrize(
    ("command", "text", "said"),
    [
        ("build", "pass overwrite=True", "pass --overwrite"),
        ("build", "pass delimiter=';'", "pass --delimiter ';'"),
        ("build", "pass ignore=['a b', 'c'] if", "pass --ignore 'a b' --ignore c if"),
        ("run", "pass delimiter=';'", 'pass delimiter = ";" in [data]'),
        ("run", "name another one with sheet=", "name another one with sheet of [data]"),
        ("run", "wordings=99 must be a whole number", "wordings=99 must be a whole number"),
        ("tune", "or a higher max_cost_usd", "or a higher --max-cost-usd"),
        ("tune", "n_epochs=99 must be", "--epochs 99 must be"),
        ("watch", "rt.JobMonitor(rt.FineTuneJob.get(client, 'ftjob-1')).wait()", "`ragtune watch ftjob-1`"),
        ("models delete", "force=True deletes it", "--force deletes it"),
        ("run", "or pass force=True", "or pass `ragtune tune --force`"),
        ("registry promote", "reworded_at_least: 0.4 (n=12)", "--reworded-at-least: 0.4 (n=12)"),
        ("check", "read it with ragtune.DatasetBuilder.from_csv('x').chat(user='{a}').build(...), with", None),
        ("tune", "give a limit, for suffix=None names nothing", "give a limit, for no --suffix names nothing"),
        ("run", "suffix=None names nothing", "no suffix in [job] names nothing"),
        ("build", "what to do: print(dataset.report.checks['train']), or .to_html()", "what to do: `ragtune check`"),
        ("ask", "stop=[it]", f"stop=[it]{IN_PYTHON}"),
    ],
)
def test_an_argument_is_said_as_the_commands_own_flag(command: str, text: str, said: str | None) -> None:
    assert spelled(text, commands()[command]) == (said or "read it with `ragtune build`, with")


@pytest.mark.parametrize(
    "text",
    [
        "the column 'overwrite=True' is not there",
        "/tmp/seed=7/overwrite=True.csv: it holds 'rt.evaluate(x)'",
        "say `ragtune tune seed=7`, or --fix=seed",
        "OpenAI's own, Intel(R) and ragtune.toml line 3",
        "https://x.example.org/?seed=7",
        "seed=7.csv line 3: it is empty",
        "year=2026.jsonl, overwrite=True.csv and C:\\data\\seed=7.csv do not exist",
        "validation=0.1.csv: no row",
        "Fehler(" * 3000,
    ],
)
def test_a_text_of_somebody_else_stays_as_it_is(text: str) -> None:
    assert spelled(text, commands()["build"]) == text


def _unsaid(text: str) -> set[str]:
    """What no command says otherwise; those that take options of recipes leave all that may be one."""
    told = (spelled(text, one) for name, one in commands().items() if name not in ("run", "demo", "recipes preview"))
    return set.intersection(*(set(re.findall(rf"(\w+)(?:=\S*)?{re.escape(IN_PYTHON)}", words)) for words in told))


def run(*args: object) -> Any:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_errors_of_commands_name_flags(tmp_path: Path) -> None:
    rows, data = tmp_path / "rows.csv", tmp_path / "data"
    rows.write_text("Q;A\n" + "".join(f"What is {n}?;{n}\n" for n in range(12)))
    build = ("build", rows, "--user", "{Q}", "--assistant", "{A}", "--out", data)
    assert "pass --delimiter ';'" in run(*build).output
    assert run(*build, "--delimiter", ";").exit_code == 0
    assert "choose another folder or pass --overwrite" in run(*build, "--delimiter", ";").output
    registry = ("--registry", tmp_path / "r.sqlite3")
    assert run("registry", "add", "m", "--offline", *registry).exit_code == 0
    assert "--force is kept on record with who and why; give --by and --why" in (
        run("registry", "promote", "prod", "m", "--force", *registry).output
    )
    (tmp_path / "ragtune.toml").write_text(
        f"[data]\nrows = {str(rows)!r}\nuser = '{{Q}}'\nassistant = '{{A}}'\n[model]\nbase = 'tiny-random'\n"
    )
    assert 'pass delimiter = ";" in [data]' in run("run", tmp_path / "ragtune.toml", "--until", "build").output


def test_keys_that_a_layout_does_not_know_are_left_out_by_a_flag(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Hi", "input": "", "output": "Hello", "mark": 1}\n' * 12)
    build = ("build", rows, "--layout", "alpaca", "--out", tmp_path / "data")
    assert "pass --ignore mark" in run(*build).output
    assert run(*build, "--ignore", "mark").exit_code == 0
    assert "there is no layout" in run("build", rows, "--user", "{instruction}", "--ignore", "mark").output
