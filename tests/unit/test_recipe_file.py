"""Recipe files: what is wrong in one is told with its place, and a stage is done once for the same inputs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

import ragtune as rt
from ragtune.cli import app
from ragtune.recipe_file import RecipeFile, Stages
from ragtune.recipe_file.starter import proposed

TOML = """\
[data]
rows = "faq.csv"
user = "{Question}"
assistant = "{Answer}"

[model]
base = "tiny-random"

[job]
n_epochs = 1
"""
YAML = """\
data:
  rows: faq.csv
  user: "{Question}"
  assistant: "{Answer}"
model:
  base: tiny-random
job:
  n_epochs: 1
"""


# Nine lists of nine aliases each: 3 billion values when they are walked.
LAUGHS = "a: &a [x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij"))


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with rows."""
    lines = [f"How deep is lake {n}?,{n} metres" for n in range(12)]
    (tmp_path / "faq.csv").write_text("\n".join(["Question,Answer", *lines]) + "\n")
    return tmp_path


def written(desk: Path, text: str, name: str = "ragtune.toml") -> Path:
    path = desk / name
    path.write_text(text, encoding="utf-8")
    return path


def test_both_ways_of_writing_say_the_same(desk: Path) -> None:
    read = [RecipeFile.load(written(desk, TOML)), RecipeFile.load(written(desk, YAML, "ragtune.yaml"))]
    assert read[0].model_dump() == read[1].model_dump()
    assert read[0].job.spec("tiny-random") == rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=1))


def test_kto_is_a_method_of_a_job(desk: Path) -> None:
    file = RecipeFile.load(written(desk, TOML + 'method = "kto"\nundesirable_weight = 2.5\n'))
    assert file.job.spec("tiny-random").method == rt.KTO(n_epochs=1, undesirable_weight=2.5)


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (TOML.replace("n_epochs", "epochs"), "r.toml", "line 10, column 1: there is no key 'job.epochs'; did you mean"),
        (YAML.replace("n_epochs", "n_epoch"), "r.yaml", "line 8, column 3: there is no key 'job.n_epoch'; did you"),
        (TOML.replace("[model]", "[modle]"), "r.toml", "line 6, column 2: there is no key 'modle'; did you mean 'mod"),
        (TOML.replace("[model]", "[modle]"), "r.toml", "r.toml: model is missing"),
        (TOML.replace('base = "tiny-random"', ""), "r.toml", "r.toml line 6, column 2: model.base is missing"),
        (TOML.replace("n_epochs = 1", "n_epochs = 51"), "r.toml", "r.toml line 10, column 1: job.n_epochs = 51: "),
        (TOML.replace("n_epochs = 1", "n_epochs = true"), "r.toml", "r.toml line 10, column 1: job.n_epochs = True: "),
        (TOML + "out = 3\n", "r.toml", "r.toml line 11, column 1: there is no key 'job.out'"),
        (TOML.replace('"{Answer}"', '"{Answer}'), "r.toml", "r.toml is no TOML: "),
        (YAML.replace("{Question}\"", "{Question}"), "r.yaml", "r.yaml line "),
        ("- data\n", "r.yaml", "a recipe file is a table of settings"),
        ("", "r.toml", "data is missing"),
        (TOML + "# sk-proj-abcdefghijklmnop\n", "r.toml", "r.toml line 11 holds what looks like an API key"),
        (TOML + 'suffix = """sk-pr\\\noj-abcdefghijklmnop"""', "r.toml", "line 11, column 1 holds what looks like an "),
        (YAML + '  suffix: "sk-pr\\\n    oj-abcdefghijklmnop"', "r.yaml", "line 9, column 3 holds what looks like an "),
        (LAUGHS, "r.yaml", "r.yaml line 2, column 40 cannot be read as YAML: there are 81 aliases, and at most 8"),
        ("a: &a [*a]\n", "r.yaml", "r.yaml is nested too deeply, or holds itself"),
        ("[" * 999 + "]" * 999, "r.yaml", "r.yaml is nested too deeply"),
        ("a = " + "[" * 9000, "r.toml", "r.toml is nested too deeply"),
        ("a = " + "1" * 9000, "r.toml", "r.toml is no TOML"),
        (YAML + "# " + "x" * 250_000, "r.yaml", "r.yaml is larger than 250,000 bytes"),
        (TOML + "# " + "x" * 250_000, "r.toml", "r.toml is larger than 250,000 bytes"),
        ("data: 2026-13-01\n", "r.yaml", "r.yaml cannot be read as YAML: month"),
        (YAML + "1: 2\n", "r.yaml", "r.yaml line 9, column 1 cannot be read as YAML: the key '1' is no text"),
        (YAML + "  n_epochs: 2\n", "r.yaml", "line 9, column 3 cannot be read as YAML: the key 'n_epochs' stands"),
        (YAML.replace("n_epochs", "n_epoch"), "r.YAML", "line 8, column 3: there is no key 'job.n_epoch'"),
        (YAML.replace("n_epochs", "n_epoch"), "r.YML", "line 8, column 3: there is no key 'job.n_epoch'"),
        (TOML + "learning_rate = nan\n", "r.toml", "line 11, column 1: job.learning_rate = nan: input should be a fin"),
        (TOML + "beta = nan\n", "r.toml", "line 11, column 1: job.beta = nan: input should be a finite number"),
        (TOML + "[budget]\ntraining_usd = inf\n", "r.toml", "line 12, column 1: budget.training_usd = inf: input sh"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place_and_way_out(desk: Path, text: str, name: str, says: str) -> None:
    with pytest.raises(rt.SpecError) as refusal:
        RecipeFile.load(written(desk, text, name))
    assert says in str(refusal.value).replace(f"{desk}/", "")
    assert "abcdefghijklmnop" not in str(refusal.value)


def test_all_that_is_wrong_is_told_at_once(desk: Path) -> None:
    text = TOML.replace("n_epochs", "epochs").replace("rows", "row")
    with pytest.raises(rt.SpecError) as refusal:
        RecipeFile.load(written(desk, text))
    assert len(str(refusal.value).splitlines()) == 3  # no such key twice, and data.rows is missing


def test_a_file_that_is_not_there_names_the_command_that_writes_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["run", str(tmp_path / "ragtune.toml")])
    assert (done.exit_code, "`ragtune init` writes a recipe file" in done.stderr) == (1, True)


def test_the_schema_takes_what_the_class_takes_and_refuses_what_it_refuses(desk: Path) -> None:
    import tomllib

    schema: dict[str, Any] = json.loads(CliRunner().invoke(app, ["schema"]).stdout)
    jsonschema.validate(tomllib.loads(TOML), schema)
    for wrong in (TOML.replace("n_epochs", "epochs"), TOML.replace("n_epochs = 1", "n_epochs = 51")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tomllib.loads(wrong), schema)


def test_the_schema_says_what_every_key_means(desk: Path) -> None:
    schema = RecipeFile.schema_of()
    tables = {name: table["properties"] for name, table in schema["$defs"].items()}
    silent = [
        f"{table}.{key}" for table, keys in tables.items() for key, told in keys.items() if "description" not in told
    ]
    assert silent == []


@pytest.mark.parametrize("name", ["ragtune.toml", "ragtune.yaml"])
def test_init_writes_a_file_that_can_be_run(desk: Path, name: str) -> None:
    given = ("--rows", "faq.csv", "--user", "Question", "--assistant", "{Answer}.", "--model", "tiny-random")
    done = CliRunner().invoke(app, ["init", str(desk / name), *given, "--system", 'Say "depth" only.'])
    assert done.exit_code == 0, done.output
    file = RecipeFile.load(desk / name)
    assert (file.data.user, file.data.assistant, file.data.system) == ("{Question}", "{Answer}.", 'Say "depth" only.')
    again = CliRunner().invoke(app, ["init", str(desk / name), *given])
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)


def test_init_asks_nobody_where_nobody_is(desk: Path) -> None:
    done = CliRunner().invoke(app, ["init", str(desk / "ragtune.toml"), "--rows", "faq.csv"])
    assert done.exit_code == 2
    said = re.sub(r"[\s│]+", " ", done.stderr)
    assert "give --user, --assistant, --model; the columns of faq.csv are 'Question', 'Answer', so perhaps" in said
    assert "--rows faq.csv --user Question --assistant Answer" in said
    (desk / "faq.csv").unlink()
    done = CliRunner().invoke(app, ["init", str(desk / "ragtune.toml")])
    assert "give --rows, --user, --assistant, --model" in re.sub(r"[\s│]+", " ", done.stderr)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of its own is POSIX")
def test_init_proposes_what_lies_there_and_asks_for_the_job(desk: Path) -> None:
    """Enter takes the proposal each time; only the epochs are typed, the first time wrongly."""
    import pty

    (desk / "faq.csv").write_text("Id;Reply;Question;Level\n1;3 metres;How deep is it?;2\n", encoding="utf-8")
    terminal, stdin = pty.openpty()
    command = [sys.executable, "-c", "from ragtune.cli import main; main()", "init"]
    with subprocess.Popen(command, cwd=desk, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as asked:
        os.write(terminal, b"\n\n\n\ntiny-random\n99\n3\n")
        said = asked.communicate(timeout=200)[0].decode()
    assert asked.returncode == 0, said
    assert "Its columns are Id, Reply, Question, Level." in said
    assert "'99' is neither auto nor a number from 1 to 50" in said
    file = RecipeFile.load(desk / "ragtune.toml")
    assert (file.data.rows, file.data.delimiter) == ("faq.csv", ";")
    assert (file.data.user, file.data.assistant, file.data.system) == ("{Question}", "{Reply}", None)
    assert (file.model.base, file.job.n_epochs) == ("tiny-random", 3)


@pytest.mark.parametrize(
    ("columns", "question", "answer"),
    [
        (("id", "Soru", "Cevap"), "Soru", "Cevap"),
        (("prompt", "completion", "question"), "question", "completion"),
        (("Frage ", "Text"), "Frage ", "Text"),
        (("left", "right"), "left", "right"),
        (("text",), "text", None),
        (("answer", "word"), "word", "answer"),
    ],
)
def test_columns_are_proposed_by_name_and_else_by_place(
    columns: tuple[str, ...], question: str, answer: str | None
) -> None:
    assert proposed(columns) == (question, answer)


def test_init_lists_the_columns_when_one_is_not_there(desk: Path) -> None:
    given = ("--rows", "faq.csv", "--user", "Frage", "--assistant", "Answer", "--model", "tiny-random")
    done = CliRunner().invoke(app, ["init", str(desk / "ragtune.toml"), *given])
    assert (done.exit_code, "the columns are 'Question', 'Answer'" in done.stderr) == (1, True)


def built(path: Path) -> list[tuple[str, bool]]:
    return [(done.stage, done.anew) for done in Stages(file=RecipeFile.load(path)).run(until="build")]


def test_a_stage_is_done_once_for_the_same_inputs_and_anew_for_others(desk: Path) -> None:
    """Other jobs' settings leave the dataset alone; other rows, or another system prompt, do not."""
    path = written(desk, TOML)
    assert [built(path), built(path)] == [[("build", True)], [("build", False)]]
    written(desk, TOML.replace("n_epochs = 1", "n_epochs = 2"))
    assert built(path) == [("build", False)]
    with (desk / "faq.csv").open("a") as rows:
        rows.write("How deep is lake 12?,12 metres\n")
    assert [built(path), built(path)] == [[("build", True)], [("build", False)]]
    written(desk, TOML.replace("[model]", 'system = "Be short."\n[model]'))
    assert built(path) == [("build", True)]
    assert rt.Dataset.load(desk / "ragtune-out/data").system == "Be short."


def test_a_dry_run_says_what_is_due_and_writes_nothing(desk: Path) -> None:
    path = written(desk, TOML)
    done = CliRunner().invoke(app, ["run", str(path), "--dry-run"])
    assert (done.exit_code, done.stdout) == (0, "build: due\ntune: due\n")
    assert not (desk / "ragtune-out").exists()
    built(path)
    assert CliRunner().invoke(app, ["run", str(path), "--dry-run"]).stdout == "build: done before\ntune: due\n"


def test_a_stage_that_the_file_does_not_speak_of_is_refused(desk: Path) -> None:
    path = written(desk, TOML)
    for until, code, says in (("evaluate", 1, "has no table [evaluation]"), ("train", 2, "'train' is not one of")):
        done = CliRunner().invoke(app, ["run", str(path), "--until", until])
        assert (done.exit_code, says in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ('{"ragtune": 1, "stages": []}', r"is damaged \(stages = \[\]\)"),
        ('{"ragtune": 1}', r"is damaged \(stages = None\)"),
        ('{"ragtune": 1, "stages": {"build": 5}}', r"is damaged \(build = 5\)"),
        ('{"ragtune": 1, "stages": {"build": {"inputs": "x", "result": {"data": 5}}}}', r"is damaged \(build = "),
        ('{"data": 5}', "is of version None and this ragtune reads 1"),
        ('{"ragtune": 2, "stages": {}}', "is of version 2 and this ragtune reads 1"),
    ],
)  # fmt: skip
def test_a_damaged_state_says_what_to_do(desk: Path, text: str, says: str) -> None:
    path = written(desk, TOML)
    (desk / "ragtune-out").mkdir()
    (desk / "ragtune-out/state.json").write_text(text)
    with pytest.raises(rt.RagtuneError, match=rf"state\.json {says}.*delete it to begin anew") as refusal:
        built(path)
    assert "a job is found again by its key" in str(refusal.value)
