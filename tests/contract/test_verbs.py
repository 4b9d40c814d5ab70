"""The verbs that speak to a server, against a real one whose jobs go by script."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import ragtune as rt
from ragtune.cli import app
from ragtune.testing import ScriptedBackend

RAGTUNE = [sys.executable, "-c", "from ragtune.cli import main; main()"]
MODEL = "gpt-4o-mini-2024-07-18"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedBackend]:
    """A server that the environment names, as a user's would."""
    with ScriptedBackend() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", running.api_key)
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [{"q": f"What is {n} + {n}?", "a": f"{n + n}"} for n in range(12)]
    rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}", system="Be short.").build(tmp_path / "data")
    return tmp_path / "data"


def run(*args: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)


def told(*args: object) -> Any:
    done = run(*args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def tuned(backend: ScriptedBackend, data: Path) -> Any:
    """The details of a job that has ended well."""
    return told("tune", data, "--model", MODEL, "--epochs", 1, "--wait", "--seed", 7)


def test_tune_tells_the_job_and_finds_it_again(backend: ScriptedBackend, data: Path, tuned: Any) -> None:
    assert (tuned["status"], tuned["model"], tuned["n_epochs"], tuned["error"]) == ("succeeded", MODEL, 1, None)
    assert tuned["fine_tuned_model"].startswith(f"ft:{MODEL}")
    assert "raw" not in tuned
    again = run("tune", data, "--model", MODEL, "--epochs", 1, "--seed", 7, "--json")
    assert json.loads(again.stdout)["id"] == tuned["id"]
    assert f"found {tuned['id']}; ragtune watch {tuned['id']}" in again.stderr
    assert len([seen for seen in backend.requests if seen.call == "fine_tuning.jobs.create"]) == 1


def test_a_plan_and_a_dry_run_buy_nothing(backend: ScriptedBackend, data: Path) -> None:
    options = (data, "--model", MODEL)
    assert told("plan", *options) == told("tune", *options, "--dry-run")
    assert told("plan", *options)["calls"][-1]["name"] == "fine_tuning.jobs.create"
    assert told("jobs") == []


def test_a_plan_that_sends_nothing_needs_no_key(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks at the account does, and so does a key file that was named and is not there."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.chdir(data.parent)
    done = run("plan", data, "--model", MODEL, "--json")
    assert (done.exit_code, json.loads(done.stdout)["calls"][-1]["name"]) == (0, "fine_tuning.jobs.create")
    assert run("plan", data, "--model", MODEL, "--probe").exit_code == 3
    assert run("plan", data, "--model", MODEL, "--key-file", "nowhere.txt").exit_code != 0
    assert run("tune", data, "--model", MODEL).exit_code == 3


def test_a_price_above_the_limit_is_exit_code_1(backend: ScriptedBackend, data: Path) -> None:
    """Priced as at OpenAI: the scripted server stands for it."""
    done = run("tune", data, "--model", MODEL, "--epochs", 99)
    assert done.exit_code == 2
    done = run("tune", data, "--model", "nobody-knows-it", "--max-cost-usd", "0.01")
    assert done.exit_code == 1, done.output


def test_a_job_that_fails_is_exit_code_1_with_its_reason(backend: ScriptedBackend, data: Path) -> None:
    backend.next_job(end="failed", message="The disk of the trainer is full")
    done = run("tune", data, "--model", MODEL, "--wait")
    assert (done.exit_code, "The disk of the trainer is full" in done.stderr) == (1, True)


@pytest.mark.slow
def test_what_there_is_can_be_listed_and_shown(tuned: Any, backend: ScriptedBackend) -> None:
    model, file = tuned["fine_tuned_model"], tuned["training_file"]
    assert [job["id"] for job in told("jobs")] == [tuned["id"]]
    assert told("jobs", "show", tuned["id"]) == tuned
    assert model in [entry["id"] for entry in told("models", "--tuned")]
    assert (told("models", "show", model)["system"], told("models", "show", model)["base"]) == ("Be short.", MODEL)
    assert file in [entry["id"] for entry in told("files")]
    assert told("files", "show", file)["purpose"] == "fine-tune"
    assert [entry["job_id"] for entry in told("runs")] == [tuned["id"]]
    assert told("runs", "show", 1)["fine_tuned_model"] == model
    for verb in ("jobs", "models", "files", "runs"):
        assert run(verb).exit_code == 0
    assert "system: Be short.\n" in run("models", "show", model).stdout


@pytest.mark.slow
@pytest.mark.parametrize("verb", [("models", "delete"), ("delete",)])
def test_a_model_is_deleted_only_when_that_is_said_twice(tuned: Any, verb: tuple[str, ...]) -> None:
    model = tuned["fine_tuned_model"]
    plan = run(*verb, model)
    assert (plan.exit_code, "models.delete" in plan.stdout, "--yes does it" in plan.stderr) == (1, True, True)
    assert run(*verb, model, "--dry-run").exit_code == 0
    assert run(*verb, model, "--dry-run", "--yes").exit_code == 0
    assert model in [entry["id"] for entry in told("models")]
    assert told(*verb, model, "--yes")["deleted"] is True
    assert told("models", "--tuned") == []
    assert run(*verb, model, "--yes").exit_code == 1


def test_a_file_is_deleted_by_its_id(tuned: Any) -> None:
    assert told("delete", tuned["training_file"], "--yes")["deleted"] is True
    gone = run("files", "show", tuned["training_file"])
    assert (gone.exit_code, "`ragtune files` lists them" in gone.stderr) == (1, True)


@pytest.mark.slow
def test_a_job_is_cancelled_only_when_that_is_said_twice(backend: ScriptedBackend, data: Path) -> None:
    backend.next_job(end="running")
    job = told("tune", data, "--model", MODEL)["id"]
    assert run("jobs", "cancel", job).exit_code == 1
    assert told("jobs", "show", job)["status"] == "running"
    assert told("jobs", "cancel", job, "--yes")["status"] == "cancelled"


@pytest.mark.slow
def test_watch_prints_the_events_of_the_newest_job_and_then_the_job(tuned: Any) -> None:
    lines = [json.loads(line) for line in run("watch", "--json").stdout.splitlines()]
    assert lines[-1] == tuned
    assert "The job has successfully completed" in [line["message"] for line in lines[:-1]]
    assert run("watch", tuned["id"]).stdout.splitlines()[-1] == f"{tuned['id']} succeeded: {tuned['fine_tuned_model']}"


def test_watching_where_there_is_no_job_names_the_way(backend: ScriptedBackend) -> None:
    done = run("watch")
    assert (done.exit_code, "`ragtune tune` makes one" in done.stderr) == (1, True)


@pytest.mark.slow
def test_one_question_is_answered_in_text_in_pieces_and_in_json(tuned: Any) -> None:
    model, question = tuned["fine_tuned_model"], "What is 3 + 3?"
    assert run("ask", model, question).stdout == "6\n"
    assert run("ask", model, question, "--stream").stdout == "6\n"
    answer = told("ask", model, question)
    assert (answer["question"], answer["answer"], answer["finish_reason"]) == (question, "6", "stop")
    assert answer["usage"]["completion_tokens"] > 0
    assert told("ask", "latest", question)["answer"] == "6"
    assert told("ask", model, question, "--dry-run")["calls"][-1]["name"] == "chat.completions.create"


@pytest.mark.slow
def test_the_questions_of_a_file_are_answered_in_its_order(tuned: Any, tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_text("What is 3 + 3?\n\nWhat is 2 + 2?\n")
    (tmp_path / "questions.jsonl").write_text('{"question": "What is 3 + 3?"}\n{"question": "What is 2 + 2?"}\n')
    for name in ("questions.txt", "questions.jsonl"):
        done = run("ask", tuned["fine_tuned_model"], "--file", tmp_path / name, "--json")
        assert [json.loads(line)["answer"] for line in done.stdout.splitlines()] == ["6", "4"]
        assert (done.exit_code, done.stderr) == (0, "")
    (tmp_path / "questions.jsonl").write_text('{"ask": 3}\n')
    done = run("ask", tuned["fine_tuned_model"], "--file", tmp_path / "questions.jsonl")
    assert (done.exit_code, "line 1 has no text under 'question'" in done.stderr) == (1, True)


def test_a_question_that_is_refused_is_told_beside_the_answers_of_the_others(
    tuned: Any, backend: ScriptedBackend, tmp_path: Path
) -> None:
    (tmp_path / "questions.txt").write_text("What is 3 + 3?\nWhat is 2 + 2?\n")
    backend.fail_next("chat.completions.create", status=400, message="No sums on Fridays.")
    done = run("ask", tuned["fine_tuned_model"], "--file", tmp_path / "questions.txt")
    assert done.exit_code == 1
    assert "No sums on Fridays." in done.stderr
    assert "1 of 2 questions have no answer" in done.stderr
    assert ("A: 6" in done.stdout) != ("A: 4" in done.stdout)


def test_a_chat_goes_on_with_what_was_said_until_it_is_told_to_forget(tuned: Any, backend: ScriptedBackend) -> None:
    done = run("ask", tuned["fine_tuned_model"], stdin="What is 3 + 3?\nWhat is 2 + 2?\n/new\nWhat is 1 + 1?\n")
    assert (done.exit_code, done.stdout) == (0, "6\n4\n2\n")
    bodies = [seen.body for seen in backend.requests if seen.call == "chat.completions.create"]
    roles = [[message["role"] for message in body["messages"]] for body in bodies]
    assert roles == [["system", "user"], ["system", "user", "assistant", "user"], ["system", "user"]]


@pytest.mark.slow
def test_evaluate_tells_what_the_tuned_model_knows_and_the_base_does_not(
    tuned: Any, data: Path, tmp_path: Path
) -> None:
    log, page = tmp_path / "eval.jsonl", tmp_path / "card.html"
    command = ("evaluate", tuned["fine_tuned_model"], "--base", MODEL, "--dataset", data, "--reword", 0, "--log", log)
    card = told(*command, "--report", page)
    means = {cell["arm"]: cell["estimate"]["mean"] for cell in card["cells"] if cell["scorer"] == "contains"}
    assert means == {"base": 0.0, "tuned": 1.0}
    assert "<html" in page.read_text(encoding="utf-8")
    assert card["sentence"] in run(*command).stdout.replace("\n", " ") or run(*command).exit_code == 0


@pytest.mark.slow
def test_a_saved_model_is_asked_by_its_file(backend: ScriptedBackend, data: Path, tmp_path: Path) -> None:
    run("tune", data, "--model", MODEL, "--wait", "--save", tmp_path / "model.json")
    assert run("ask", tmp_path / "model.json", "What is 3 + 3?").stdout == "6\n"


@pytest.mark.parametrize("command", [("jobs",), ("models",), ("files",), ("ask", "m", "q"), ("watch",)])
def test_a_folder_that_is_not_there_is_no_server(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run(*command, "--folder", tmp_path / "typo")
    makes = f"`ragtune tune --folder {tmp_path / 'typo'}` makes it"
    assert (done.exit_code, makes in " ".join(done.stderr.split())) == (2, True)
    assert not (tmp_path / "typo").exists()


def test_two_servers_at_once_are_refused(tmp_path: Path) -> None:
    done = run("jobs", "--folder", tmp_path, "--base-url", "http://127.0.0.1:9/v1")
    assert (done.exit_code, "leave --base-url and --key-file out" in " ".join(done.stderr.split())) == (2, True)


def test_no_key_is_exit_code_3_for_every_verb_that_needs_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    commands: list[tuple[object, ...]] = [("tune", data, "--model", MODEL), ("ask", "m", "q"), ("models",), ("files",)]
    for command in commands:
        done = run(*command)
        assert (done.exit_code, "--folder DIR" in done.stderr) == (3, True)


@pytest.mark.slow
def test_output_that_nobody_reads_any_more_is_exit_code_141_without_a_word(tuned: Any) -> None:
    """As `ragtune models | head -0` would be."""
    with subprocess.Popen([*RAGTUNE, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        command.stdout.close()
        assert command.stderr is not None
        assert command.stderr.read() == b""
    assert command.returncode == 141


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full: a disk that is always full")
def test_output_that_finds_no_room_is_told(tuned: Any) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run([*RAGTUNE, "models"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_commands_that_are_proposed_ask_the_same_server(
    backend: ScriptedBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL")
    (tmp_path / "key").write_text(backend.api_key)
    here = ("--base-url", backend.base_url, "--key-file", tmp_path / "key")
    shown = run("files", "show", "file-nope", *here)
    assert f"`ragtune files --base-url {backend.base_url} --key-file {tmp_path / 'key'}` lists them" in shown.stderr
    lost = run("ask", "ft:nope", "Hi", "--no-system", *here)
    assert f"`ragtune models --base-url {backend.base_url} --key-file {tmp_path / 'key'}`" in lost.stderr


def test_records_that_are_no_single_question_are_passed_over_and_counted(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    """The rest is asked."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rows = [
        {"messages": [{"role": "user", "content": f"What is {n} + {n}?"}, {"role": "assistant", "content": f"{n + n}"}]}
        for n in range(11)
    ]
    rows.insert(3, {"messages": [*turns, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "Bye"}]})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = ("--dataset", tmp_path / "train.jsonl", "--reword", 0, "--log", tmp_path / "eval.jsonl")
    counted = "passed over 1 of 12 records that ask no single question: train line 4 holds 2 messages of the user"
    with pytest.warns(UserWarning, match=counted):
        shown = run("evaluate", MODEL, *options, "--dry-run")
    assert shown.stdout.startswith("11 facts (11 verbatim); nothing was asked")
    with pytest.warns(UserWarning, match=counted):
        assert run("evaluate", MODEL, *options).exit_code == 0


def test_a_log_of_other_settings_is_refused_with_the_option_that_names_another(
    backend: ScriptedBackend, data: Path, tmp_path: Path
) -> None:
    command = ("evaluate", MODEL, "--dataset", data, "--questions", 2, "--log", tmp_path / "eval.jsonl")
    assert run(*command).exit_code == 0
    other = run(*command, "--max-tokens", 9)
    assert other.exit_code == 1
    assert other.stderr.rstrip().endswith("now; give another file with --log")


@pytest.mark.slow
def test_ctrl_c_while_waiting_names_the_command_that_comes_back(backend: ScriptedBackend, data: Path) -> None:
    backend.next_job(end="running")
    command = [*RAGTUNE, "tune", str(data), "--model", MODEL, "--wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        job = waiting.stderr.readline().split()[1].rstrip(";")
        time.sleep(1)
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    assert f"waiting ended; ragtune watch {job} " in err
    assert "Traceback" not in err


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    lines = [f"What is {n} + {n}?,{n + n}" for n in range(12)]
    (tmp_path / "sums.csv").write_text("\n".join(["Question,Answer", *lines]) + "\n")
    given = ("--rows", "sums.csv", "--user", "Question", "--assistant", "Answer", "--model", MODEL)
    assert run("init", tmp_path / "ragtune.toml", *given).exit_code == 0
    return tmp_path / "ragtune.toml"


def stages(*args: object) -> list[tuple[str, bool]]:
    done = run("run", *args, "--json")
    assert done.exit_code == 0, done.output
    return [(told["stage"], told["anew"]) for told in map(json.loads, done.stdout.splitlines())]


@pytest.mark.slow
def test_a_recipe_is_run_on_whatever_server_is_named_and_on_each_once(recipe: Path, backend: ScriptedBackend) -> None:
    """The dataset is shared, job and evaluation belong to the server."""
    assert stages(recipe, "--to", backend.base_url) == [("build", True), ("tune", True), ("evaluate", True)]
    assert stages(recipe, "--to", backend.base_url) == [("build", False), ("tune", False), ("evaluate", False)]
    assert stages(recipe, "--to", "openai") == [("build", False), ("tune", True), ("evaluate", True)]
    # The key of a job knows no recipe: what is "openai" here is the same server, so the same job is found.
    assert len(told("jobs")) == 1


@pytest.mark.slow
def test_a_job_that_went_missing_between_two_runs_is_found_again(recipe: Path, backend: ScriptedBackend) -> None:
    assert stages(recipe, "--to", backend.base_url)[1] == ("tune", True)
    (recipe.parent / "ragtune-out/state.json").unlink()
    again = run("run", recipe, "--to", backend.base_url, "--json")
    assert [json.loads(line)["anew"] for line in again.stdout.splitlines()] == [True, True, True]
    assert len(told("jobs")) == 1
    # What the job said was told when it was made.
    job = told("jobs")[0]["id"]
    assert [line for line in again.stderr.splitlines() if "asking" not in line] == [f"{job} ended before"]


@pytest.mark.slow
def test_an_evaluation_that_the_server_did_not_answer_is_no_result(recipe: Path, backend: ScriptedBackend) -> None:
    """Neither for the next run nor for a gate: the questions without an answer are asked again, and only they."""
    gate = '[gate]\nalias = "sums"\nregistry = "models.sqlite3"\nby = "ci"\nverbatim_at_least = 0.7\n'
    # A base beside it would be told apart from it first, by a question that must be answered.
    asked = recipe.read_text(encoding="utf-8").replace("[evaluation]", "[evaluation]\nbase = false")
    recipe.write_text(asked + gate, encoding="utf-8")
    backend.fail_next("chat.completions.create", status=503, message="Overloaded.", times=None)
    ended = run("run", recipe, "--to", backend.base_url, "--json")
    assert ended.exit_code == 1
    assert [json.loads(line)["stage"] for line in ended.stdout.splitlines()] == ["build", "tune"]
    assert re.search(
        r"\d+ questions have no answer, the last because of InternalServerError: .*Overloaded", ended.stderr
    )
    assert "goes on" in ended.stderr
    backend.reset()
    assert stages(recipe, "--to", backend.base_url)[2:] == [("evaluate", True), ("promote", True)]


@pytest.mark.slow
def test_a_question_that_is_refused_for_what_it_says_counts_as_wrong(recipe: Path, backend: ScriptedBackend) -> None:
    """It would be refused each time: a run that waited for its answer would never end."""
    assert stages(recipe, "--to", backend.base_url, "--until", "tune")[1] == ("tune", True)
    backend.fail_next("chat.completions.create", status=400, message="That is not to be asked.")
    assert stages(recipe, "--to", backend.base_url)[2] == ("evaluate", True)


@pytest.mark.slow
def test_other_passages_are_asked_with_anew(recipe: Path, backend: ScriptedBackend) -> None:
    asked = recipe.read_text(encoding="utf-8").replace("[evaluation]", '[evaluation]\npassages = "Passage"')
    recipe.write_text(asked, encoding="utf-8")
    for passage in ("a sum", "no sum"):
        lines = [f"What is {n} + {n}?,{n + n},{passage} {n}" for n in range(12)]
        (recipe.parent / "sums.csv").write_text("\n".join(["Question,Answer,Passage", *lines]) + "\n")
        told = dict(stages(recipe, "--to", backend.base_url))
        assert (told["tune"], told["evaluate"]) == (passage == "a sum", True)


@pytest.mark.slow
def test_ctrl_c_in_a_run_says_how_it_goes_on(recipe: Path, backend: ScriptedBackend) -> None:
    backend.next_job(end="running")
    command = [*RAGTUNE, "run", str(recipe), "--to", backend.base_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert "is made" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    on = f"`ragtune run {recipe} --to {backend.base_url}` goes on"
    assert err.splitlines()[-2:] == ["stopped", f"what is done stays in {recipe.parent / 'ragtune-out'}; {on}"]


def test_a_server_that_is_away_is_told_and_what_is_done_stays(recipe: Path, backend: ScriptedBackend) -> None:
    done = run("run", recipe, "--to", "http://127.0.0.1:9/v1")
    assert (done.exit_code, "no answer from http://127.0.0.1:9/v1" in done.stderr) == (1, True)
    assert f"what is done stays in {recipe.parent / 'ragtune-out'}" in done.stderr
    assert stages(recipe, "--until", "build") == [("build", False)]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_verbs(shell: str) -> None:
    name = "_RAGTUNE_COMPLETE"
    asked = {"bash": "complete_bash", "zsh": "complete_zsh", "fish": "complete_fish"}[shell]
    words = {"COMP_WORDS": "ragtune ev", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "ragtune ev"}
    env = os.environ | words | {name: asked, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    program = [sys.executable, "-c", "import sys; sys.argv[0] = 'ragtune'; from ragtune.cli import main; main()"]
    done = subprocess.run(program, env=env, capture_output=True, text=True, check=False)
    assert "evaluate" in done.stdout, done.stderr
