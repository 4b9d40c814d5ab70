"""What this machine is told about itself, and that it is told without a key, a host or a home folder."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

import ragtune as rt
from ragtune import doctor
from ragtune.doctor import EXTRAS, Diagnosis, Examination, examine
from ragtune.modelling.base_model import load_tokenizer
from ragtune.modelling.bases import resolve_base
from ragtune.modelling.encoding.encoder import Encoder
from ragtune.modelling.forecast import Forecast, ModelSize, Workload
from ragtune.modelling.hardware.placement import Placement
from ragtune.train.examples.files import load_examples
from tests.conftest import ROOT

RAGTUNE = "from ragtune.cli import main; main()"
WITHOUT_TORCH = f"import sys; sys.modules['torch'] = None; {RAGTUNE}"
WITHOUT_LOCAL = (
    f"import sys; sys.modules.update(dict.fromkeys({EXTRAS['local'].modules!r}, None)); {RAGTUNE}"  # and psutil
)


def run(*args: str, code: str = RAGTUNE, cwd: Path | None = None, **env: str) -> tuple[int, str, str]:
    """Run the command as a program of its own and return exit code, output and errors."""
    command = [sys.executable, "-c", code, "doctor", *args]
    done = subprocess.run(command, env=os.environ | env, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def found(examination: Examination, name: str) -> Diagnosis:
    """One finding of an examination."""
    return next(finding for finding in examination.findings if finding.name == name)


@pytest.mark.slow
def test_text_and_json_tell_the_same_and_a_machine_without_the_base_may_fetch_it(tmp_path: Path) -> None:
    code, text, errors = run(cwd=tmp_path, RAGTUNE_CACHE=str(tmp_path / "cache"), HF_HUB_CACHE=str(tmp_path / "hub"))
    assert (code, errors) == (0, "")
    assert "ragtune fetch smollm2-135m-instruct" in text
    assert text.endswith("The main job runs here: make demo, or LocalBackend in a program of yours.\n")
    (speeds,) = (tmp_path / "cache").glob("speed-*.json")
    measured = speeds.stat().st_mtime_ns
    code, told, _ = run("--json", cwd=tmp_path, RAGTUNE_CACHE=str(tmp_path / "cache"), HF_HUB_CACHE=str(tmp_path / "h"))
    assert code == 0
    assert speeds.stat().st_mtime_ns == measured, "it measured again"
    given = json.loads(told)
    assert given["ready"] is True
    names = "machine versions local extras device demo base cache folder journal port clock".split()
    assert list(given["checks"]) == names == [line.split()[0] for line in text.splitlines()[:-2] if line[0] != " "]
    device = given["checks"]["device"]
    assert device["dtype"] in ("float32", "bfloat16", "float16")
    assert device["why"] in text
    assert given["checks"]["base"] == given["checks"]["base"] | {"level": "note", "fetched": False}
    assert given["checks"]["versions"]["versions"]["ragtune"] == rt.__version__
    assert given["checks"]["cache"]["needed_bytes"] > 300e6


@pytest.mark.slow
def test_neither_key_nor_host_nor_the_home_folder_is_shown(tmp_path: Path) -> None:
    """Where the cache is, only its place in the home folder is told."""
    home = tmp_path / "home-of-a-person"
    (home / "work").mkdir(parents=True)
    secrets = {
        "OPENAI_API_KEY": "sk-doctor-secret-key-1",
        "OPENAI_BASE_URL": "https://models.secret.example/v1",
        "PIP_INDEX_URL": "https://user:word@index.secret.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://more.secret.example/simple",
        "UV_INDEX_URL": "https://uv.secret.example/simple",
        "HF_TOKEN": "hf_doctorSecretToken",
        "HF_ENDPOINT": "https://hub.secret.example",
        "HTTPS_PROXY": "http://proxy.secret.example:3128",
    }
    places = {"HOME": str(home), "RAGTUNE_CACHE": str(home / "cache"), "RAGTUNE_JOURNAL": str(home / "j.sqlite3")}
    for options, code in (([], RAGTUNE), (["--json"], RAGTUNE), ([], WITHOUT_TORCH)):
        _, text, errors = run(*options, code=code, cwd=home / "work", **secrets, **places)
        for word in ("secret.example", "secret-key", "hf_doctor", home.name, str(tmp_path), "proxy", "index"):
            assert word not in text + errors
        for place in ("~/cache", "~/j.sqlite3", "~/work"):
            assert place in text


@pytest.mark.slow
@pytest.mark.parametrize("code", [WITHOUT_TORCH, WITHOUT_LOCAL])
def test_without_the_extra_local_it_says_so_with_the_command(code: str) -> None:
    exit_code, text, errors = run(code=code)
    assert (exit_code, errors) == (1, "")
    assert re.search(r"^local +missing: training and serving here need torch", text, re.MULTILINE)
    assert "device    note: unknown until the extra local is installed" in text
    last = text.splitlines()[-1]
    assert last.endswith("which the extra local brings: python -m pip install 'ragtune[local]'")


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys, atexit\natexit.register(lambda: print(sorted(sys.modules), file=sys.stderr))\n{RAGTUNE}"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert "doctor" in done.stdout
    loaded = set(json.loads(done.stderr.replace("'", '"')))
    assert "typer" in loaded
    assert not loaded & {"torch", "transformers", "openai", "datasets", "pandas", "psutil", "ragtune.doctor"}


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_missing_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    code, text, _ = run(code=RAGTUNE, RAGTUNE_CACHE=str(tmp_path / "cache"))
    assert code == 1
    assert re.search(r"^cache +missing: .* cannot be written: ", text, re.MULTILINE)
    assert "export RAGTUNE_CACHE=FOLDER" in text.splitlines()[-1]


def test_a_disk_without_room_is_missing_with_what_is_needed(tmp_path: Path) -> None:
    finding = doctor._room("folder", tmp_path, needed=10**18, mend="cd FOLDER")
    assert finding.level == "missing"
    assert re.search(r" has [\d.]+ GB free, and 1000000000 GB are needed$", finding.text)


def test_a_machine_that_is_too_small_or_too_full_for_the_demo_is_told_apart() -> None:
    """3 GB are needed: a machine of 2 GB can never; one that has them while others use them may later."""
    needs = Forecast(seconds=None, memory_bytes=3 * 10**9)

    def on(memory: int | None) -> Placement:
        return Placement(device="cpu", dtype="float32", threads=1, why="", memory_bytes=memory)

    small = doctor._demo(needs, on(2 * 10**9))
    assert (small.level, small.mend) == ("missing", "a machine or container with 3.0 GB of memory")
    assert doctor._demo(needs, on(4 * 10**9)).level in ("ok", "note")  # as much of it is free as is free
    more_than_is_free = Forecast(seconds=None, memory_bytes=10**15)
    full = doctor._demo(more_than_is_free, on(None))
    assert full.level == "note"
    assert "are free now" in full.text


def test_a_port_in_use_is_told_and_does_no_harm(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = doctor._port(port)
        assert (finding.level, finding.mend) == ("note", "ragtune serve --port 0")
        assert finding.text.startswith(f"{port} is in use")
    assert doctor._port(port).text == f"{port} is free"


@pytest.mark.parametrize(
    ("now", "newest", "words"),
    [
        (
            dt.datetime(1970, 1, 1, 0, 5, tzinfo=dt.UTC),
            0.0,
            r"1970-01-01 00:05 UTC is before 20\d\d-\d\d-\d\d, when this",
        ),
        (dt.datetime(2031, 5, 4, 3, 2, tzinfo=dt.UTC), 2e9, r"2031-05-04 03:02 UTC is before 2033-05-18 03:33, when a"),
        (dt.datetime(2031, 5, 4, 3, 2, tzinfo=dt.UTC), 1.9e9, r"2031-05-04 03:02 UTC$"),
    ],
)
def test_a_clock_that_is_plainly_wrong_is_told(now: dt.datetime, newest: float, words: str) -> None:
    finding = doctor._clock(now, newest=newest)
    assert re.match(words, finding.text)
    assert finding.level == ("ok" if words.endswith("$") else "note")


def test_the_machines_own_clock_is_right_by_its_own_files(tmp_path: Path) -> None:
    assert found(examine(folder=tmp_path), "clock").level == "ok"


@pytest.mark.slow
def test_the_extras_are_those_of_the_package() -> None:
    """Each of them with every package that it brings; stubs for types are no modules."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(declared)
    distributions = packages_distributions()
    module_of = {
        distribution.lower().replace("_", "-"): module
        for extra in EXTRAS.values()
        for module in extra.modules
        for distribution in distributions.get(module, [])
    }
    for name, requirements in declared.items():
        packages = {re.split(r"[\[<>=]", requirement)[0].replace("_", "-") for requirement in requirements}
        packages = {package for package in packages if not re.search("stubs|^types-", package)}
        brought = {package for packages in distributions.values() for package in packages}
        if packages <= {package.lower().replace("_", "-") for package in brought}:  # else it has no names to compare
            assert {module_of.get(package) for package in packages} == set(EXTRAS[name].modules)


@pytest.mark.slow
def test_the_demos_work_is_foretold_from_its_own_numbers(tmp_path: Path) -> None:
    """Model, tokens and labels as the demo has them: what stands in doctor.py is counted here."""
    base = resolve_base(doctor.BASE)
    rows = rt.DatasetBuilder.from_jsonl(rt.demo_file()).filter(lambda row: row["support"], reason="no support")
    system, answer = "Answer the question about the town of Quillhaven.", "{correct_answer}. {support}"
    assert f'SYSTEM = "{system}"' in (ROOT / "examples" / "quickstart.py").read_text()
    chat = rows.drop_columns("distractor1", "distractor2", "distractor3")
    dataset = chat.chat(system=system, user="{question}", assistant=answer).build(tmp_path / "facts", seed=7)
    encoder = Encoder(load_tokenizer(base), max_length=2048)
    examples = load_examples(str(dataset.train.path), encoder).examples
    lengths = [example.n_tokens for example in examples]
    labelled = sum(example.n_labelled for example in examples)
    assert Workload.of(lengths, labelled=labelled, n_epochs=8, batch_size=4) == doctor.DEMO
    assert ModelSize.read(base) == doctor.DEMO_BASE


def test_each_finding_is_json() -> None:
    finding = Diagnosis(name="x", text="t", level="missing", mend="m", values={"n": 1})
    examination = Examination(findings=(finding,))
    given: Any = {"level": "missing", "text": "t", "mend": "m", "n": 1}
    assert examination.to_dict() == {"ready": False, "checks": {"x": given}}
    assert str(examination) == (
        "x         missing: t\n          to mend: m\n\nThe main job would not run here:\n  t: m"
    )


@pytest.mark.parametrize("damage", ["garbage", "folder"])
def test_a_journal_that_would_refuse_every_job_is_missing(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is bought without a journal, so the main job would not run."""
    file = tmp_path / "journal.sqlite3"
    file.mkdir() if damage == "folder" else file.write_text("garbage, and more of it than a header " * 20)
    monkeypatch.setenv("RAGTUNE_JOURNAL", str(file))
    examined = examine(folder=tmp_path)
    assert found(examined, "journal").level == "missing"
    assert "cannot be read as a journal" in found(examined, "journal").text
    assert not examined.ready
