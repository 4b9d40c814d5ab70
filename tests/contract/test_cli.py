"""The command `ragtune`, as a program of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt

if TYPE_CHECKING:
    from pathlib import Path

RAGTUNE = [sys.executable, "-c", "from ragtune.cli import main; main()"]
LINE = json.dumps({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]})


def run(*args: str | Path, key: str | None = None, base_url: str | None = None) -> tuple[int, str, str]:
    """Run the command and return exit code, output and errors."""
    given = {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": base_url}
    env = {k: v for k, v in os.environ.items() if k not in given} | {k: v for k, v in given.items() if v}
    done = subprocess.run([*RAGTUNE, *map(str, args)], env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_version_is_the_packages() -> None:
    assert run("--version") == (0, f"ragtune {rt.__version__}\n", "")


@pytest.mark.slow
def test_a_command_line_that_makes_no_sense_is_exit_code_2() -> None:
    assert run("nonsense")[0] == 2
    assert run("check")[0] == 2
    assert run("check", "x.jsonl", "--format", "poetry")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--memory", "0", "give a number of bytes above 0"),
        ("--webhook", "x", "is no http:// or https:// URL"),
        ("--device", "gpu", "'gpu' is not one of cuda"),
        ("--dtype", "int8", "'int8' is not one of float32"),
        ("--launcher", "torchrun '", "is no command line"),
        ("--launcher", "", "give a command such as 'accelerate launch' "),
        ("--launcher", "ray --workers 0", "--workers is 1 or more"),
        ("--launcher", "ray --nope 3", "unrecognized arguments: --nope 3"),
        ("--launcher", "ray --workers x", "invalid int value: 'x'"),
        ("--origin", "tunes.example.com", "is no scheme and host"),
        ("--max-batch", "0", "greater than or equal to 1"),
    ],
)
def test_an_option_of_serve_that_makes_no_sense_is_exit_code_2(
    tmp_path: Path, option: str, value: str, says: str
) -> None:
    code, _, err = run("serve", tmp_path / "backend", option, value)
    assert (code, says in re.sub(r"[\s│]+", " ", err)) == (2, True), err
    assert not (tmp_path / "backend").exists()


@pytest.mark.slow
def test_an_address_of_checkpoints_that_no_store_takes_is_exit_code_1(tmp_path: Path) -> None:
    code, _, err = run("serve", tmp_path / "backend", "--checkpoints", "nope://x")
    assert code == 1
    assert "nope://x" in err
    assert "Protocol not known: nope" in err
    assert not (tmp_path / "backend").exists()


@pytest.mark.slow
def test_a_repair_that_is_none_is_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(f"{LINE}\n" * 12)
    code, _, err = run("check", "--fix=nope", tmp_path / "x.jsonl")
    assert (code, "'nope' is not one of" in err) == (2, True)


def test_the_help_names_every_command() -> None:
    code, out, _ = run("--help")
    assert code == 0
    verbs = "build check cost plan tune watch ask evaluate init run schema demo jobs models files delete runs"
    verbs += " serve mock doctor fetch export"
    assert [verb for verb in re.findall(r"^  ([a-z]+) ", out, re.MULTILINE) if verb in verbs.split()] == verbs.split()


@pytest.mark.slow
def test_output_that_has_no_letter_for_a_text_goes_on_without_it(tmp_path: Path) -> None:
    """As a pipe on Windows, which is cp1252."""
    path = tmp_path / "\U0001f98a İzmir…jsonl"
    path.write_text(f"{LINE}\n" * 12, encoding="utf-8")
    env = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run([*RAGTUNE, "check", str(path)], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "? ?zmir…jsonl: chat, 12 examples" in done.stdout.decode("cp1252")


@pytest.mark.slow
def test_an_output_that_was_closed_ends_no_command(tmp_path: Path) -> None:
    """`>&-` gives a command no output at all; the next file that it opens would take its number."""
    shell = ["sh", "-c", '"$@" >&-', "sh", *RAGTUNE, "schema"]
    done = subprocess.run(shell, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "ragtune", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"ragtune {rt.__version__}\n"


# Sends Ctrl-C at the moment at which Python begins to load a module: the same moment on every machine.
INTERRUPTED = """
import os, runpy, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

module = sys.argv.pop(1)
sys.meta_path.insert(0, Interrupting())
runpy.run_module("ragtune", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("ragtune.cli.application", "jobs"),
        ("typer", "jobs"),
        ("ragtune.cli.verbs.account", "jobs"),
        ("ragtune.cli.verbs.machine", "--help"),
        ("ragtune.journal", "runs"),
        ("openai", "jobs"),
    ],
)
def test_ctrl_c_while_python_loads_what_a_command_needs_ends_it_in_a_word(module: str, words: str) -> None:
    """Whatever is loaded at that moment: the application, a verb, what the verb needs."""
    command = [sys.executable, "-c", INTERRUPTED, module, words]
    env = os.environ | {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", [".", ".."])
def test_a_folder_is_no_name_on_a_server(name: str) -> None:
    """The client refuses such a path with an error of its own, which names no argument."""
    code, out, err = run("jobs", "show", name, key="sk-test", base_url="http://127.0.0.1:9/v1")
    assert (code, out) == (1, "")
    assert err == f"error: fine_tuning_job_id: {name!r} means a folder and is no name on a server; nothing was sent\n"


@pytest.mark.slow
def test_a_folder_of_a_server_that_is_a_file_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("serve", tmp_path / "file")
    assert (code, "Errno" in err) == (1, False)
    assert err.endswith("cannot be used as a backend's folder (File exists); choose one that can be written\n")


@pytest.mark.slow
def test_check_tells_good_files_from_bad_ones(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text(f"{LINE}\n" * 12)
    bad.write_text(f"{LINE}\n" * 11 + '{"messages": []}\n')
    assert run("check", good)[0] == 0
    code, out, err = run("check", good, bad)
    assert (code, err) == (1, "")
    assert "bad.jsonl:12" in out
    assert "good.jsonl: chat, 12 examples" in out


@pytest.mark.slow
def test_a_file_that_is_not_there_is_told_without_a_traceback(tmp_path: Path) -> None:
    code, _, err = run("check", tmp_path / "absent.jsonl")
    assert code == 1
    assert err.startswith("error: ")
    assert "Traceback" not in err


@pytest.mark.slow
def test_jobs_without_a_key_is_exit_code_3_and_names_the_ways() -> None:
    code, out, err = run("jobs")
    assert (code, out) == (3, "")
    for way in ("OPENAI_API_KEY", "--key-file", "ragtune serve"):
        assert way in err
    assert "openai.OpenAI(" not in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_status_that_nobody_knows_is_warned_of(stub: Any, wire: Any) -> None:
    """Other servers may have it, so that the list is asked for all the same."""
    stub.on("GET", "/fine_tuning/jobs", wire.page(wire.job("ftjob-1", "failed")))
    code, out, err = run("jobs", "--status", "faild", key="k", base_url=stub.base_url)
    assert (code, out) == (0, "no jobs\n")
    assert "'faild' is no status" in err
    assert "validating_files, queued, running, paused, succeeded, failed, cancelled" in err


@pytest.mark.parametrize("option", ["--beta", "--learning-rate", "--learning-rate-multiplier"])
def test_a_setting_that_is_no_number_of_a_job_is_exit_code_2(tmp_path: Path, option: str) -> None:
    code, _, err = run("tune", tmp_path, "--model", "m", option, "nan", key="k", base_url="http://127.0.0.1:9/v1")
    assert (code, f"{option} nan: input should be a finite number" in err, "Traceback" in err) == (2, True, False), err


def test_a_file_of_questions_that_is_no_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_bytes(b"Why?\nWarum \xe4?\n")
    code, out, err = run("ask", "m", "--file", tmp_path / "questions.txt", key="k", base_url="http://127.0.0.1:9/v1")
    assert (code, out) == (1, "")
    assert "questions.txt line 2: is not UTF-8" in err
    assert "Traceback" not in err


def test_a_job_is_shown_with_events_whose_time_the_server_does_not_say(stub: Any, wire: Any) -> None:
    stub.on("GET", "/fine_tuning/jobs/ftjob-1", wire.job("ftjob-1", "running"))
    events = wire.page(wire.event(2), wire.event(1, created_at=None))
    stub.on("GET", "/fine_tuning/jobs/ftjob-1/events", events)
    code, out, err = run("jobs", "show", "ftjob-1", key="k", base_url=stub.base_url)
    assert (code, err) == (0, "")
    assert out.splitlines()[-2:] == ["  event 1", "  08:00:02 event 2"]


@pytest.mark.slow
def test_serving_other_machines_without_a_key_names_the_option(tmp_path: Path) -> None:
    code, _, err = run("serve", tmp_path / "backend", "--host", "0.0.0.0")
    assert code == 2
    assert "--key-file" in err
    assert not (tmp_path / "backend").exists()


@pytest.mark.slow
def test_jobs_are_listed_and_filtered(stub: Any, wire: Any, tmp_path: Path) -> None:
    stub.on("GET", "/fine_tuning/jobs", wire.page(wire.job("ftjob-1", "failed"), wire.job("ftjob-2", "running")))
    (tmp_path / "key.txt").write_text("sk-cli-secret-key-1\n")
    code, out, err = run("jobs", "--key-file", tmp_path / "key.txt", "--base-url", stub.base_url)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("Job ID")
    assert "ftjob-1" in out
    assert "ftjob-2" in out
    _, out, _ = run("jobs", "--status", "failed", key="k", base_url=stub.base_url)
    assert "ftjob-2" not in out
    assert run("jobs", "--key", "abc", key="k", base_url=stub.base_url)[1] == "no jobs\n"
    assert stub.requests[-1].query["metadata[ragtune_key]"] == ["abc"]


@pytest.mark.slow
def test_a_refusal_and_an_unreachable_server_are_told_in_words(stub: Any, wire: Any) -> None:
    secret = "sk-cli-secret-key-1"
    stub.on("GET", "/fine_tuning/jobs", (401, wire.error(f"Incorrect API key provided: {secret}")))
    code, _, err = run("jobs", key=secret, base_url=stub.base_url)
    assert code == 1
    assert "refused the key" in err
    assert secret not in err
    code, _, err = run("jobs", key=secret, base_url="http://127.0.0.1:9/v1")
    assert code == 1
    assert "no answer from http://127.0.0.1:9/v1" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_fetching_an_unknown_base_names_the_known_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, err = run("fetch", "no-such-base", "--cache-dir", tmp_path)
    assert code == 1
    assert err.startswith("error: ")
    assert "Traceback" not in err
    code, out, _ = run("fetch", "tiny-random", "--cache-dir", tmp_path)
    assert code == 0
    assert str(tmp_path) in out


@pytest.mark.slow
def test_serve_answers_until_it_is_stopped_and_keeps_its_key_private(tmp_path: Path) -> None:
    command = [*RAGTUNE, "serve", str(tmp_path / "backend"), "--port", "0", "--alias", "gpt-4o-mini=tiny-random"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        line, exports = serving.stdout.readline(), [serving.stdout.readline() for _ in range(2)]
        found = re.search(r"at (http://127\.0\.0\.1:\d+/v1); the API key is in (\S+);", line)
        assert found is not None, line + serving.stderr.read()
        key_file = tmp_path / "backend" / "api_key.txt"
        assert found[2] == str(key_file.resolve())
        assert exports == [
            f"export OPENAI_BASE_URL={found[1]}\n",
            f'export OPENAI_API_KEY="$(cat {key_file.resolve()})"\n',
        ]
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        with rt.client_from_key_file(key_file, base_url=found[1], timeout=10) as client:
            assert {"tiny-random", "gpt-4o-mini"} <= {model.id for model in rt.Maintenance(client).models()}
            with client.with_options(api_key="wrong") as stranger, pytest.raises(openai.AuthenticationError) as refusal:
                rt.list_jobs(stranger)
            [note] = refusal.value.__notes__
            assert note.startswith("the embedded backend at")
            assert "scopes" not in note
        serving.send_signal(signal.SIGINT)
        out, err = serving.communicate(timeout=30)
    assert (serving.returncode, out) == (0, "")
    assert [line.split(" WARNING ")[1] for line in err.splitlines()] == ["a wrong key from 127.0.0.1 was refused (API)"]
    assert key_file.read_text().strip() not in line


@pytest.mark.slow
def test_a_memory_that_is_no_size_is_refused_in_words(tmp_path: Path) -> None:
    code, _, err = run("serve", tmp_path / "backend", "--port", "0", "--memory", "80%")
    assert code == 2
    assert "memory '80%': give a number of bytes above 0, for example 4GB" in re.sub(r"[\s│]+", " ", err)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--alias=foo=bar", "'foo' -> 'bar'.*there are smollm2-135m-instruct, tiny-random"),
        ("--base=m=/nonexistent", "base 'm'.*no folder '/nonexistent'"),
        ("--base=m=./nonexistent", "base 'm'.*no folder './nonexistent'"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_at_the_start(tmp_path: Path, option: str, words: str) -> None:
    code, _, err = run("serve", tmp_path / "backend", "--port", "0", option)
    assert code == 2
    assert re.search(words, re.sub(r"[\s│]+", " ", err)), err
    assert not (tmp_path / "backend").exists()


@pytest.mark.slow
def test_serve_says_at_once_which_jobs_go_on_later(tmp_path: Path) -> None:
    command = [*RAGTUNE, "serve", str(tmp_path), "--port", "0", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        assert serving.stderr is not None
        found = re.search(r"at (http://\S+/v1);", serving.stdout.readline())
        assert found is not None
        with rt.client_from_key_file(tmp_path / "api_key.txt", base_url=found[1], timeout=10) as client:
            file = client.files.create(file=("train.jsonl", (LINE + "\n").encode() * 40), purpose="fine-tune")
            job = client.fine_tuning.jobs.create(
                model="tiny-random", training_file=file.id, hyperparameters={"n_epochs": 50}
            )
        serving.send_signal(signal.SIGINT)
        _, told = serving.communicate(timeout=60)
    assert f"stopping; {job.id} goes on at the next start" in told
    assert serving.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("alias", ["tiny-random", "=tiny-random", "gpt-4o-mini="])
def test_an_alias_that_names_no_base_makes_no_sense(tmp_path: Path, alias: str) -> None:
    code, _, err = run("serve", tmp_path / "backend", "--port", "0", "--alias", alias)
    assert code == 2
    assert "NAME=BASE" in err
