"""Who may import whom: the walls of the house, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ragtune

PACKAGE = Path(ragtune.__file__).parent

DATA = {"errors", "_extras", "limits", "catalog", "dialects", "spec"}
PORTS = {"_sync", "_api", "_retry", "_keys", "_warn", "_saved"}
RECORDS = {"limits", "records", "checks", "tokens", "data", "catalog", "errors", "_extras"}

# What the server uses of the training room: loads no torch when it is imported.
TORCH_FREE = {
    "train",
    "train.data",
    "train.events",
    "train.checkpoints",
    "train.placement",
    "train.spec",
}

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
    "checks": {"errors", "limits", "_atomic", "_html", "_extras", "records", "catalog", "tokens", "privacy"},
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
    "modelling": {"errors", "limits", "_atomic", "_extras", "records", "data"},
    "train": {"errors", "limits", "_atomic", "_extras", "records", "modelling"},
    "local": {
        "errors",
        "limits",
        "_atomic",
        "_extras",
        "records",
        "checks",
        "catalog",
        "_sqlite",
        "data",
        "train",
        "modelling",
    },
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


def imports(path: Path) -> Iterator[str]:
    """Modules below `ragtune` that a file imports when it runs, at the top or inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    quiet = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in quiet:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            if node.module == "ragtune":
                yield from (alias.name for alias in node.names)
            elif node.module and node.module.startswith("ragtune."):
                yield node.module.removeprefix("ragtune.")
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("ragtune.") for a in node.names if a.name.startswith("ragtune."))


@pytest.mark.parametrize(("room", "path"), [pytest.param(r, p, id=str(p.relative_to(PACKAGE))) for r, p in rooms()])
def test_a_room_imports_only_what_it_may(room: str, path: Path) -> None:
    """The table above is the architecture; a new wall or door is a change of the table with a reason."""
    assert room in MAY, f"{path.name} is a new room: give it a line in the table"
    if "*" in MAY[room]:
        return
    allowed = MAY[room] | {room}
    for module in imports(path):
        assert any(module == a or module.startswith(f"{a}.") for a in allowed), f"{path} imports ragtune.{module}"


def test_the_server_reaches_only_the_torch_free_part_of_training() -> None:
    """A server that imported the trainer would load torch into every user's process."""
    for room, path in rooms():
        if room == "local":
            for module in imports(path):
                if module.startswith("train"):
                    assert module in TORCH_FREE, f"{path}: {module}"


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
