"""What a recipe file names is looked at before anything is done, and all that is not there is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ragtune.cli import app
from ragtune.errors import SpecError
from ragtune.recipe_file import RecipeFile, Stages

GOOD = """\
[data]
rows = "faq.csv"
user = "{Question}"
assistant = "{Answer}"
[model]
base = "tiny-random"
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f"How deep is lake {n}?,{n} metres,Lake {n} is {n} metres deep." for n in range(12)]
    Path("faq.csv").write_text("\n".join(["Question,Answer,Passage", *rows]) + "\n", encoding="utf-8")
    return tmp_path


def dry(text: str, *options: str) -> Result:
    Path("ragtune.toml").write_text(text, encoding="utf-8")
    return CliRunner().invoke(app, ["run", "--dry-run", *options])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            GOOD.replace("{Question}", "{Questoin}"),
            "line 3, column 1: data.user names column 'Questoin', which is not there; the columns are 'Question', "
            "'Answer', 'Passage'; did you mean 'Question'?",
        ),
        (GOOD.replace("[model]", "require = ['answer']\n[model]"), "data.require names column 'answer'"),
        (GOOD.replace("[model]", "group_by = ['Page']\n[model]"), "data.group_by names column 'Page'"),
        (GOOD + "[evaluation]\npassages = 'passage'\n", "line 8, column 1: evaluation.passages names column"),
        (GOOD + "[evaluation]\nfacts = 'lost.jsonl'\n", "line 8, column 1: lost.jsonl cannot be read"),
        (GOOD + "[evaluation]\nscorers = ['contain']\n", "line 8, column 1: scorers: there is no 'contain'"),
        (GOOD + "[recipe]\nname = 'replay'\npath = 'lost.jsonl'\nshare = 0.1\n", "there is no file lost.jsonl"),
        (GOOD + "[recipe]\nname = 'qa_multi'\n", "facts.question names column 'question'"),
        (GOOD.replace("tiny-random", "tiny-randm"), "line 6, column 1: 'tiny-randm' is no base model of this machine"),
        (GOOD.replace("faq.csv", "lost.csv"), "lost.csv does not exist"),
        (GOOD + "[job]\nmethod = 'dpo'\nbeta = -1.0\n", "line 7, column 2: beta"),
        (GOOD + "[evaluation]\n[gate]\nalias = 'prod'\nreworded_at_least = 70.0\n", "70 % is 0.7"),
        (GOOD + "[evaluation]\n[gate]\nalias = 'a b'\nreworded_at_least = 0.7\n", "gate.alias = 'a b'"),
    ],
)
def test_what_is_not_there_is_told_with_its_line(desk: Path, text: str, says: str) -> None:
    done = dry(text)
    assert (done.exit_code, done.stdout) == (1, "")
    assert says in done.stderr
    assert not Path("ragtune-out").exists()


def test_everything_wrong_is_told_at_once(desk: Path) -> None:
    wrong = GOOD.replace("{Answer}", "{Anser}").replace("tiny-random", "huge") + "[evaluation]\nfacts = 'lost.jsonl'\n"
    assert len(dry(wrong).stderr.splitlines()) == 3


def test_a_base_and_a_key_file_count_where_the_job_is_made(desk: Path) -> None:
    away = GOOD.replace("tiny-random", "their-own-base") + "[server]\nkey_file = 'lost.txt'\n"
    assert "'their-own-base' is no base model" in dry(away).stderr
    told = dry(away, "--to", "https://llm.example.org/v1").stderr
    assert told == "error: ragtune.toml line 8, column 1: there is no file lost.txt\n"


def test_a_good_file_says_what_is_due(desk: Path) -> None:
    assert dry(GOOD).stdout == "build: due\ntune: due\n"


def test_a_run_looks_before_it_begins(desk: Path) -> None:
    """A scorer that is none would be found after the training only."""
    Path("ragtune.toml").write_text(GOOD + "[evaluation]\nscorers = ['contain']\n", encoding="utf-8")
    with pytest.raises(SpecError, match="there is no 'contain'"):
        list(Stages(file=RecipeFile.load("ragtune.toml")).run(until="build"))
    assert not Path("ragtune-out").exists()
