"""The contract tests once more, with the lowest and the newest OpenAI client that the package says it works with."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Every call and every way to fail; what takes many processes says the same with any version.
FILES = [
    "test_creation.py",
    "test_watching.py",
    "test_error_table.py",
    "test_errors.py",
    "test_parts.py",
    "test_webhooks.py",
]


@pytest.fixture(scope="module")
def packages() -> Path:
    """A folder with `lowest` and `newest`, each what `pip install --target` makes of a version."""
    folder = Path(os.environ.get("RAGTUNE_OPENAI_VERSIONS") or ROOT / ".ci/openai")
    if not all((folder / name / "openai").is_dir() for name in ("lowest", "newest")):
        pytest.skip(f"needs the OpenAI client in two more versions: {folder} holds no lowest/ and newest/")
    return folder


def version(folder: Path) -> str:
    program = "import openai; print(openai.__version__, openai.__file__)"
    said = subprocess.run([sys.executable, "-c", program], env=environment(folder), capture_output=True, text=True)
    number, file = said.stdout.split()
    assert Path(file).is_relative_to(folder)
    return number


def environment(folder: Path) -> dict[str, str]:
    first = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": first}


def bound() -> str:
    """The lower bound that the package states."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [openai] = [one for one in stated if one.startswith("openai")]
    return openai.removeprefix("openai>=").partition(",")[0]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["lowest", "newest"])
def test_the_contract_holds_with_the_clients_that_the_package_names(packages: Path, which: str) -> None:
    found = version(packages / which)
    assert found.startswith("3.")
    if which == "lowest":
        assert found.removesuffix(".0") == bound()
    tests = [str(ROOT / "tests/contract" / name) for name in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]
    done = subprocess.run(command, cwd=ROOT, env=environment(packages / which), capture_output=True, text=True)
    assert done.returncode == 0, f"openai {found}\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
