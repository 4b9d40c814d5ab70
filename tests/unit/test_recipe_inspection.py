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


REPLAY = """\
[data]
rows = "faq.csv"
[model]
base = "tiny-random"
[facts]
question = "Question"
answer = "Answer"
[[recipe]]
name = "qa_single"
[[recipe]]
name = "replay"
share = 0.1
path = "replay.jsonl"
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [f"How deep is lake {n}?,{n} metres,Lake {n} is {n} metres deep." for n in range(12)]
    Path("faq.csv").write_text("\n".join(["Question,Answer,Passage", *rows]) + "\n", encoding="utf-8")
    Path("replay.jsonl").write_bytes(b'{"question": "Q?", "answer": "A"}\n{"question": "\xff?", "answer": "A"}\n')
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
        (GOOD.replace('"faq.csv"', "[]"), "line 2, column 1: data.rows names no file; give one"),
        (GOOD.replace("faq.csv", ""), "line 2, column 1: data.rows names no file; give one"),
        (REPLAY, "line 13, column 1: replay.jsonl line 2: is not UTF-8"),
        (REPLAY.replace("replay.jsonl", "lost.jsonl"), "line 13, column 1: there is no file lost.jsonl"),
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


@pytest.mark.parametrize("place", ["", "here", "ftp://llm.example.org/v1", "http://[::1/v1", "http://host:port/v1"])
def test_a_place_that_is_none_is_told_before_anything_is_done(desk: Path, place: str) -> None:
    told = dry(GOOD, "--to", place)
    assert (told.exit_code, told.output.startswith(f"error: to: {place!r} is neither local, openai nor")) == (1, True)


def test_a_password_in_the_address_is_refused_unread(desk: Path) -> None:
    """The folder of a server's run is called by its address, and so would be what lies in it."""
    told = dry(GOOD, "--to", "https://anna:hunter2@llm.example.org/v1")
    assert (told.exit_code, "a user or a password stands in the URL" in told.output) == (1, True)
    assert "hunter2" not in told.output
    assert not Path("ragtune-out").exists()


def test_a_stage_that_is_none_is_a_mistake_of_the_command_line(desk: Path) -> None:
    assert dry(GOOD, "--until", "bake").exit_code == 2


def test_a_run_without_a_key_names_what_a_recipe_file_has(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    Path("ragtune.toml").write_text(GOOD, encoding="utf-8")
    told = CliRunner().invoke(app, ["run", "--to", "http://127.0.0.1:9/v1"])
    assert told.exit_code == 3
    assert "key_file in [server] of the recipe file; or train on this machine with --to local" in told.output
    assert "--key-file" not in told.output


def init(*options: str) -> Result:
    return CliRunner().invoke(app, ["init", "--rows", "odd.csv", "--model", "tiny-random", *options])


@pytest.mark.parametrize("column", ["{Question}", "Ques}tion", "q.1", "q[1]", "q!r", "q:x"])
def test_a_column_that_no_template_can_name_is_told_before_a_file_is_written(desk: Path, column: str) -> None:
    Path("odd.csv").write_text(f"{column},Answer\nHow deep?,7 metres\n", encoding="utf-8")
    told = init("--user", column, "--assistant", "Answer")
    assert told.exit_code == 1
    assert f"error: user: column {column!r} cannot stand in a template" in told.output
    assert not Path("ragtune.toml").exists()


def test_a_template_that_cannot_be_read_is_told_before_a_file_is_written(desk: Path) -> None:
    Path("odd.csv").write_text("Question,Answer\nHow deep?,7 metres\n", encoding="utf-8")
    told = init("--user", "Question", "--assistant", "{Answer")
    assert (told.exit_code, "has unmatched braces" in told.output) == (1, True)
    assert not Path("ragtune.toml").exists()


def test_empty_options_ask_nobody_where_nobody_is(desk: Path) -> None:
    Path("odd.csv").write_text("Question,Answer\nHow deep?,7 metres\n", encoding="utf-8")
    told = init("--user", "", "--assistant", "Answer")
    assert (told.exit_code, "nobody is there to be asked; give --user;" in told.output) == (2, True)


def test_a_recipe_file_that_cannot_be_written_is_told_in_words(desk: Path) -> None:
    rows = desk / "faq.csv"
    columns = ("--user", "Question", "--assistant", "Answer", "--model", "tiny-random")
    told = CliRunner().invoke(app, ["init", str(rows / "x.toml"), "--rows", str(rows), *columns])
    assert (told.exit_code, "Errno" in told.output) == (1, False)
    assert f"{rows / 'x.toml'} cannot be written: " in told.output
