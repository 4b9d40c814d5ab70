"""The whole ring without a line of Python: five commands, and one file that is killed wherever it is."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RAGTUNE = [sys.executable, "-c", "from ragtune.cli import main; main()"]
QUESTIONS = 12

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.e2e]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with rows that no model knows."""
    lines = [f"How deep is lake number {n}?,{n * 7 + 3} metres,2026-01-{n + 1:02d}" for n in range(QUESTIONS)]
    (tmp_path / "faq.csv").write_text("\n".join(["Question,Answer,UpdatedAt", *lines]) + "\n")
    return tmp_path


def run(*args: object, cwd: Path) -> str:
    done = subprocess.run([*RAGTUNE, *map(str, args)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{args}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_five_commands_lead_from_a_csv_to_an_evaluated_model(desk: Path) -> None:
    templates = ("--user", "{Question}", "--assistant", "{Answer}", "--newest-by", "UpdatedAt", "--out", "data")
    run("build", "faq.csv", *templates, cwd=desk)
    assert "tiny-random" in run("cost", "data", "--model", "tiny-random", "--epochs", 1, cwd=desk)
    on = ("--folder", "be")
    job = json.loads(run("tune", "data", "--model", "tiny-random", "--epochs", 1, *on, "--wait", "--json", cwd=desk))
    assert job["status"] == "succeeded"
    run("ask", job["fine_tuned_model"], "How deep is lake number 2?", *on, "--max-tokens", 8, cwd=desk)
    asked = ("--base", "tiny-random", "--dataset", "data", "--max-tokens", 8, "--report", "card.html")
    card = json.loads(run("evaluate", job["fine_tuned_model"], *asked, *on, "--json", cwd=desk))
    asked_for = {(cell["arm"], cell["kind"]): cell["estimate"]["n"] for cell in card["cells"]}
    assert (asked_for["base", "verbatim"], asked_for["tuned", "verbatim"]) == (QUESTIONS, QUESTIONS)
    assert (desk / "card.html").is_file()


def test_a_recipe_that_is_killed_again_and_again_ends_and_makes_one_job(desk: Path) -> None:
    """Five kills without a warning, each at a random moment; then the run ends, and the next one has nothing to do."""
    given = ("--rows", "faq.csv", "--user", "Question", "--assistant", "Answer", "--model", "tiny-random")
    run("init", "ragtune.toml", *given, cwd=desk)
    recipe = (desk / "ragtune.toml").read_text()
    assert 'n_epochs = "auto"' in recipe
    (desk / "ragtune.toml").write_text(recipe.replace('n_epochs = "auto"', "n_epochs = 2\nseed = 7"))
    moments = random.Random(int(os.environ.get("RAGTUNE_KILL_SEED", "17")))
    for _ in range(5):
        with subprocess.Popen(
            [*RAGTUNE, "run"], cwd=desk, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as running:
            assert running.stderr is not None
            # By what it told, not by the clock: on a busy machine seconds would all fall into the start.
            for _ in range(moments.randint(0, 14)):
                running.stderr.readline()
            time.sleep(moments.uniform(0, 1))
            running.send_signal(signal.SIGKILL)
    told = [json.loads(line) for line in run("run", "--json", cwd=desk).splitlines()]
    assert [stage["stage"] for stage in told] == ["build", "tune", "evaluate"]
    again = [json.loads(line) for line in run("run", "--json", cwd=desk).splitlines()]
    assert [stage["anew"] for stage in again] == [False, False, False]
    jobs = json.loads(run("jobs", "--folder", "ragtune-out/local/backend", "--json", cwd=desk))
    assert [job["status"] for job in jobs] == ["succeeded"]
    assert re.search(r'"type": ?"answer"', next((desk / "ragtune-out/local").glob("evaluation-*.jsonl")).read_text())
