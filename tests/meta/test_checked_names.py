"""Arguments are held to their annotations by name, so a name that hides a union would refuse right values."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ragtune
from ragtune._checked import _UNIONS, words_of

MODULES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in Path(ragtune.__file__).parent.rglob("*.py")}


def hidden_unions() -> dict[str, str]:
    """Names of the package that stand for a union or a choice of words."""
    found: dict[str, str] = {}
    for tree in MODULES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp | ast.Subscript):
                value = ast.unparse(node.value)
                if isinstance(node.value, ast.BinOp) or value.startswith("Literal["):
                    found |= {target.id: value for target in node.targets if isinstance(target, ast.Name)}
    return found


def checked_arguments() -> Iterator[tuple[str, str]]:
    """The annotation of each argument that is checked, with its place."""
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            for gate in node.decorator_list:
                if isinstance(gate, ast.Call) and ast.unparse(gate.func) == "checked":
                    own = {str(ast.literal_eval(name)) for name in gate.args}
                    functions = node.body if isinstance(node, ast.ClassDef) else [node]
                    for function in functions:
                        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                            for argument in (*function.args.args, *function.args.kwonlyargs):
                                if argument.annotation is not None and argument.arg not in own:
                                    yield f"{path.name}: {argument.arg}", ast.unparse(argument.annotation)


@pytest.mark.slow
def test_no_checked_argument_is_annotated_by_a_name_that_hides_a_union() -> None:
    unions = {name for name in hidden_unions() if name[:1].isupper() and not name.isupper()} - set(_UNIONS)
    arguments = list(checked_arguments())
    assert len(arguments) > 200
    assert [(place, wanted) for place, wanted in arguments if unions & {*words_of(wanted)}] == []
