"""`ragtune build` and `ragtune cost`: from a file of rows to a dataset, without a line of Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

import ragtune as rt
from ragtune.cli import app

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATES = ("--user", "{Question}", "--assistant", "{Answer}")


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def faq(tmp_path: Path) -> Path:
    """Twenty facts, one of them answered twice."""
    lines = [f"How deep is lake {n}?,{n} metres,2026-01-{n + 1:02d}" for n in range(20)]
    path = tmp_path / "faq.csv"
    path.write_text("\n".join(["Question,Answer,UpdatedAt", *lines, "How deep is lake 3?,99 metres,2026-03-01"]) + "\n")
    return path


def test_a_csv_becomes_a_dataset_of_its_newest_answers(faq: Path, tmp_path: Path) -> None:
    """20 questions: two are held out, and of the one that was answered twice the later answer is taught."""
    out, page = tmp_path / "data", tmp_path / "report.html"
    options = ("--system", "Be short.", "--validation", "0.1", "--newest-by", "UpdatedAt", "--report", page)
    done = run("build", faq, *TEMPLATES, *options, "--out", out)
    assert done.exit_code == 0, done.output
    dataset = rt.Dataset.load(out)
    assert (len(dataset.train), len(dataset.validation), dataset.system) == (18, 2, "Be short.")
    text = (out / "train.jsonl").read_text() + (out / "validation.jsonl").read_text()
    assert "99 metres" in text
    assert '"3 metres' not in text
    assert "<html" in page.read_text(encoding="utf-8")


def test_json_holds_the_report_and_the_folder(faq: Path, tmp_path: Path) -> None:
    done = run("build", faq, *TEMPLATES, "--out", tmp_path / "data", "--json")
    told = json.loads(done.stdout)
    assert (told["folder"], told["read"], told["kept"]) == (str(tmp_path / "data"), 21, 21)


def test_a_dry_run_shows_records_and_writes_nothing(faq: Path, tmp_path: Path) -> None:
    done = run("build", faq, *TEMPLATES, "--out", tmp_path / "data", "--dry-run")
    assert done.exit_code == 0
    assert "How deep is lake 0?" in done.stdout
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--user", "{Frage}", "--assistant", "{Answer}"),
        (*TEMPLATES, "--newest-by", "Changed"),
        (*TEMPLATES, "--require", "Source"),
    ],
)
def test_a_column_that_is_not_there_is_answered_with_those_that_are(
    faq: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    done = run("build", faq, *options, "--out", tmp_path / "data")
    assert done.exit_code == 1
    assert "'Question', 'Answer', 'UpdatedAt'" in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ((), 1, "what does a record look like?"),
        (("--user", "{Question}"), 1, "There is user"),
        ((*TEMPLATES, "--validation", "1"), 2, "1 is no share of the rows"),
        ((*TEMPLATES, "--layout", "alpaca"), 1, "layout and user are both given"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(
    faq: Path, tmp_path: Path, options: tuple[str, ...], code: int, says: str
) -> None:
    done = run("build", faq, *options, "--out", tmp_path / "data")
    assert (done.exit_code, says in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "data").exists()


def test_a_file_whose_name_says_no_kind_is_refused_with_the_kinds(tmp_path: Path) -> None:
    (tmp_path / "faq.rows").write_text("x")
    done = run("build", tmp_path / "faq.rows", *TEMPLATES)
    assert done.exit_code == 1
    assert ".csv, .tsv, .jsonl" in done.stderr


@pytest.mark.parametrize("ending", [".tsv", ".jsonl", ".json"])
def test_other_kinds_of_files_go_by_their_ending(tmp_path: Path, ending: str) -> None:
    rows = [{"Question": f"What is {n} + {n}?", "Answer": str(n + n)} for n in range(12)]
    text = {
        ".tsv": "Question\tAnswer\n" + "".join(f"{row['Question']}\t{row['Answer']}\n" for row in rows),
        ".jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        ".json": json.dumps(rows),
    }
    path = tmp_path / f"faq{ending}"
    path.write_text(text[ending])
    assert run("build", path, *TEMPLATES, "--out", tmp_path / "data").exit_code == 0
    assert len(rt.Dataset.load(tmp_path / "data").train) == 12


def test_a_dataset_in_the_way_is_replaced_when_that_is_asked_for(faq: Path, tmp_path: Path) -> None:
    build = ("build", faq, *TEMPLATES, "--out", tmp_path / "data")
    assert [run(*build).exit_code, run(*build).exit_code, run(*build, "--overwrite").exit_code] == [0, 1, 0]


def test_the_price_of_a_folder_and_of_a_file_is_the_same(faq: Path, tmp_path: Path) -> None:
    run("build", faq, *TEMPLATES, "--out", tmp_path / "data")
    model = ("--model", "gpt-4o-mini-2024-07-18", "--epochs", "3", "--json")
    told = [
        json.loads(run("cost", place, *model).stdout) for place in (tmp_path / "data", tmp_path / "data/train.jsonl")
    ]
    assert told[0] == told[1]
    assert (told[0]["epochs"], told[0]["usd"] > 0) == (3, True)


def test_the_price_of_rows_that_are_no_dataset_yet_is_answered_with_the_way_there(faq: Path, tmp_path: Path) -> None:
    told = run("cost", faq, "--model", "gpt-4o-mini-2024-07-18")
    assert (told.exit_code, f"`ragtune build {faq} --user" in told.stderr) == (1, True)
    told = run("plan", tmp_path / "lost", "--model", "gpt-4o-mini-2024-07-18")
    assert (told.exit_code, "there is no folder or file" in told.stderr) == (1, True)


@pytest.mark.slow
def test_a_plan_for_this_machine_tells_a_base_that_it_does_not_have(faq: Path, tmp_path: Path) -> None:
    assert run("build", faq, *TEMPLATES, "--out", tmp_path / "data").exit_code == 0
    told = run("plan", tmp_path / "data", "--model", "tiny-randm", "--folder", tmp_path / "be")
    assert (
        told.exit_code,
        "has smollm2-135m-instruct, tiny-random; another one is added with `ragtune serve --base" in told.stderr,
    ) == (1, True)


def test_a_preview_takes_a_file_of_facts(tmp_path: Path) -> None:
    rows = [{"question": f"How deep is lake {n}?", "answer": f"{n} metres"} for n in range(6)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    facts = rt.FactSet.from_rows(rows, question="question", answer="answer")
    facts.to_jsonl(tmp_path / "facts.jsonl")
    told = [
        json.loads(run("recipes", "preview", tmp_path / name, "--recipe", "qa_multi:wordings=2", "--json").stdout)
        for name in ("rows.jsonl", "facts.jsonl")
    ]
    assert (told[0]["rows"], told[0]["cost"]) == (told[1]["rows"], told[1]["cost"])
    assert told[1]["rows"] > 6


def test_verdicts_become_records_that_kto_learns_from(tmp_path: Path) -> None:
    rows = [{"q": f"What is {n} + {n}?", "a": str(n + n + n % 2), "good": n % 2 == 0} for n in range(12)]
    (tmp_path / "thumbs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    templates = ("--prompt", "{q}", "--completion", "{a}", "--label", "good")
    assert run("build", tmp_path / "thumbs.jsonl", *templates, "--out", tmp_path / "data").exit_code == 0
    records = rt.Dataset.load(tmp_path / "data").train
    assert [record.label for record in records if isinstance(record, rt.UnpairedRecord)] == [True, False] * 6
    method = ("--model", "tiny-random", "--method", "kto", "--undesirable-weight", "2", "--beta", "0.2")
    planned = run("plan", tmp_path / "data", *method, "--folder", tmp_path / "be", "--json")
    assert planned.exit_code == 0, planned.output
    sent = json.loads(planned.stdout)["calls"][-1]["body"]["method"]
    settings = {"beta": 0.2, "desirable_weight": 1.0, "undesirable_weight": 2.0}
    assert sent == {"type": "kto", "kto": {"hyperparameters": settings}}


def test_a_setting_of_another_method_is_refused(faq: Path, tmp_path: Path) -> None:
    run("build", faq, *TEMPLATES, "--out", tmp_path / "data")
    plan = ("plan", tmp_path / "data", "--model", "tiny-random", "--folder", tmp_path / "be")
    for option, says in (("--beta", "beta is a setting of kto and dpo"), ("--desirable-weight", "of kto; leave it")):
        done = run(*plan, option, "1.5")
        assert (done.exit_code, says in done.stderr) == (1, True), done.stderr


def test_a_folder_without_a_dataset_is_told_in_words(tmp_path: Path) -> None:
    done = run("cost", tmp_path, "--model", "tiny-random")
    assert (done.exit_code, "holds no dataset" in done.stderr) == (1, True)
