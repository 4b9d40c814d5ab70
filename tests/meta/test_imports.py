"""Who may import whom: the walls of the house, which `.importlinter` describes with the reason for each."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ragtune

PACKAGE = Path(ragtune.__file__).parent
WALLS = PACKAGE.parents[1] / ".importlinter"


def test_every_wall_stands() -> None:
    """All imports count, those for types and those inside functions too; the output names the line that broke one."""
    # In a process of its own, since it silences all loggers of the one that it runs in.
    code = f"from importlinter.cli import lint_imports; raise SystemExit(lint_imports({str(WALLS)!r}, no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_are_written_in_full() -> None:
    """So that a search for a module finds everybody who needs it."""
    for _, path in rooms():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: write imports in full"
# room -> rooms it may import while the program runs. `TYPE_CHECKING` imports are free: they bind nothing.
MAY: dict[str, set[str]] = {
    "errors": set(),
    "_extras": {"errors"},
    "data": {"errors"},
    "limits": set(),
    "catalog": {"errors"},
    "dialects": {"errors", "limits"},
    "_sqlite": {"errors"},
    "_version": set(),
    "_atomic": set(),
    "_html": set(),
    "_table": {"_html"},
    "journal": {"errors", "_sqlite", "_table"},
    "records": {"errors", "limits"},
    "tokens": {"errors", "catalog", "data"},
    # A row of a known layout is told the way in instead of a list of its faults.
    "checks": {"errors", "limits", "_atomic", "_html", "_extras", "records", "layouts", "catalog", "tokens", "privacy"},
    "layouts": {"errors", "records"},
    "privacy": {"errors", "_extras"},
    "cost": {"errors", "limits", "catalog", "modelling"},
    "text": set(),
    "dataset": RECORDS | {"_warn", "_html", "_version", "cost", "layouts", "privacy", "text"},
    "spec": {"errors", "limits", "catalog", "dialects"},
    "plan": {"errors", "_api.calls", "cost"},
    "_sync": {"errors"},
    "_keys": {"errors"},
    "_warn": set(),
    "_api": {"errors", "limits", "_sync", "_keys", "dialects"},
    "_retry": {"errors", "_sync", "_api"},
    "_saved": {"errors", "_atomic"},
    "files": DATA | PORTS | {"dataset", "plan", "journal"},
    "job": DATA | PORTS | {"cost", "dataset", "plan", "files", "journal", "_table"},
    "plots": {"errors", "_extras"},
    "monitor": DATA | PORTS | {"plan", "files", "job", "model", "plots", "_table"},
    "model": DATA | PORTS | {"plan", "job", "journal"},
    "maintenance": DATA | PORTS | {"plan", "files", "job", "model", "monitor", "_table"},
    "aio": DATA | PORTS | {"dataset", "plan", "journal", "files", "job", "model", "monitor", "maintenance"},
    # What trainer and server share: models, where they run and what they cost; loads no torch when it is imported.
    "modelling": {"errors", "limits", "_extras", "records", "data"},
    "train": {"errors", "limits", "_extras", "records", "modelling"},
    "local": {"errors", "limits", "_extras", "records", "checks", "catalog", "_sqlite", "data", "train", "modelling"},
    # Of the client's side only the names of its calls, which are those that a script speaks of.
    "testing": {"errors", "_extras", "catalog", "_api.calls", "local", "train.events", "modelling"},
    "webhooks": {"errors", "_api", "_sqlite"},
    # What this machine has: it asks the rooms that know, and trains nothing.
    "doctor": {"errors", "_extras", "catalog", "journal", "modelling"},
    "cli": {"*"},
    "__init__": {"*"},
}


def rooms() -> Iterator[tuple[str, Path]]:
    """Each source file with the name of its room."""
    for path in sorted(PACKAGE.rglob("*.py")):
        first = path.relative_to(PACKAGE).parts[0]
        yield first.removesuffix(".py"), path


@pytest.mark.parametrize("package", ["openai", "torch", "transformers", "datasets", "pandas", "pyarrow"])
def test_no_heavy_package_is_imported_at_the_top_of_a_light_room(package: str) -> None:
    """Records, checks, spec, plan and errors must stay importable without the heavy world."""
    light = {"errors", "records", "checks", "catalog", "dialects", "spec", "plan", "_sync", "_keys", "__init__", "cli"}
    for room, path in rooms():
        if room not in light:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == package for name in names), f"{path} imports {package}"
