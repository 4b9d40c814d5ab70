"""The wheel that people install, in a venv that knows nothing of this checkout."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

USE = """
import sys, ragtune as rt
assert "site-packages" in rt.__file__, rt.__file__
builder = rt.DatasetBuilder.from_jsonl(rt.demo_file()).chat(user="{question}", assistant="{correct_answer}")
dataset = builder.build(sys.argv[1])
print(len(dataset.train), dataset.cost("gpt-4o-mini-2024-07-18", n_epochs=1).tokens)
"""


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_venv(tmp_path: Path) -> None:
    """Core dependencies suffice, package data is inside, the command stands."""
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if "Could not find a version" in done.stdout + done.stderr:
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stdout + done.stderr
    wheel = next(tmp_path.glob("ragtune-*.whl"))
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel]
    subprocess.run(pip, check=True, cwd=tmp_path)
    run: list[str | Path] = [python, "-I", "-c", USE, str(tmp_path / "dataset")]
    rows, tokens = subprocess.run(run, check=True, cwd=tmp_path, capture_output=True, text=True).stdout.split()
    assert int(rows) >= 50
    assert int(tokens) > int(rows) * 10
    command: list[str | Path] = [tmp_path / "venv/bin/ragtune", "--version"]
    assert "0." in subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    missing = subprocess.run(
        [python, "-I", "-c", "from ragtune.local import LocalBackend; LocalBackend('x').start()"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "ragtune[local]" in missing.stderr.splitlines()[-1]
