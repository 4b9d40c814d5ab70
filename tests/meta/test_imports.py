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


@pytest.mark.slow
def test_every_wall_stands() -> None:
    """All imports count, those for types and those inside functions too; the output names the line that broke one."""
    # In a process of its own, since it silences all loggers of the one that it runs in.
    code = f"from importlinter.cli import lint_imports; raise SystemExit(lint_imports({str(WALLS)!r}, no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_imports_are_written_in_full() -> None:
    """So that a search for a module finds everybody who needs it."""
    for _, path in rooms():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: write imports in full"


def rooms() -> Iterator[tuple[str, Path]]:
    """Each source file with the name of its room."""
    for path in sorted(PACKAGE.rglob("*.py")):
        first = path.relative_to(PACKAGE).parts[0]
        yield first.removesuffix(".py"), path


@pytest.mark.slow
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
