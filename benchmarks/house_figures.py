"""What the house looks like in numbers: they show where it grows crooked, and nobody is failed by them.

Run: python benchmarks/house_figures.py [folder of a package] [folder of its tests]
"""

from __future__ import annotations

import ast
import statistics
import sys
import tokenize
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
SHOWN = 8
LONG_MODULE, LONG_FUNCTION = 400, 50
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
IGNORED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}


@dataclass(frozen=True, kw_only=True)
class Module:
    """One source file.

    Attributes:
        name: as it is imported.
        path: where it lies.
        tree: its syntax.
        lines: lines in all, blank ones and docstrings included.
        code: lines that hold code: neither blank, nor a comment, nor a docstring.
        comments: lines that hold a comment, alone or behind code.
    """

    name: str
    path: Path
    tree: ast.Module
    lines: int
    code: int
    comments: int


def read(folder: Path) -> list[Module]:
    """Every source file below a folder."""
    return [module(path, folder.parent) for path in sorted(folder.rglob("*.py"))]


def module(path: Path, above: Path) -> Module:
    """One source file, its lines told apart."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    comments = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    coded = {
        line
        for token in tokens
        if token.type not in IGNORED and token.type != tokenize.ENDMARKER
        for line in range(token.start[0], token.end[0] + 1)
    }
    parts = path.relative_to(above).with_suffix("").parts
    return Module(
        name=".".join(parts[:-1] if parts[-1] == "__init__" else parts),
        path=path,
        tree=tree,
        lines=len(text.splitlines()),
        code=len(coded - set(docstring_lines(tree))),
        comments=len(comments),
    )


def docstring_lines(tree: ast.AST) -> Iterator[int]:
    """The lines of all docstrings, and of texts that stand below an attribute to explain it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


def imported(module: Module, names: set[str], *, for_types: bool) -> set[str]:
    """Modules of the package that a module imports, at its top or inside a function."""
    hidden = {
        inner
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if node in hidden and not for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return (found & names) - {module.name}


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """The longest way along imports that passes no module twice; circles count once, through any of their members."""
    under_way: set[str] = set()
    end: tuple[str, ...] = ()

    @cache
    def below(name: str) -> tuple[str, ...]:
        under_way.add(name)
        ways = [below(other) for other in sorted(graph[name]) if other not in under_way]
        under_way.discard(name)
        return (name, *max(ways, key=len, default=end))

    longest: tuple[str, ...] = max(map(below, graph), key=len, default=end)
    return list(longest)


def nested_comprehensions(tree: ast.AST) -> int:
    """Comprehensions inside another one, and those with more than one `for`."""
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS):
            inside = any(isinstance(inner, COMPREHENSIONS) for inner in ast.walk(node) if inner is not node)
            count += inside or len(node.generators) > 1
    return count


def parameters(tree: ast.AST) -> tuple[int, int]:
    """How many parameters functions have, and how many of them take a keyword only; `self` and `cls` aside."""
    every = keyword_only = 0
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            plain = [one for one in (*node.args.posonlyargs, *node.args.args) if one.arg not in ("self", "cls")]
            every += len(plain) + len(node.args.kwonlyargs)
            keyword_only += len(node.args.kwonlyargs)
    return every, keyword_only


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its decorators and its docstring."""
    return (node.end_lineno or node.lineno) - node.lineno + 1 - len(set(docstring_lines(node)))


def show(title: str, value: object, *details: object) -> None:
    """One figure, and what stands behind it."""
    print(f"{title:52} {value}")
    for detail in details:
        print(f"    {detail}")


def main(package: Path, tests: Path) -> None:
    """Print all figures of a package."""
    house = read(package)
    by_name = {module.name: module for module in house}
    lines, code = sum(module.lines for module in house), sum(module.code for module in house)
    show("files, lines, lines of code", f"{len(house)}, {lines:,}, {code:,}")

    folders = Counter(str(module.path.parent.relative_to(package.parent)) for module in house)
    show("files side by side, fullest folders", "", *(f"{n:3} {name}" for name, n in folders.most_common(SHOWN)))
    for words, for_types in (("", False), (" with those for types", True)):
        chain = longest_chain({name: imported(by_name[name], {*by_name}, for_types=for_types) for name in by_name})
        show(f"longest chain of imports{words}", len(chain), " > ".join(name.split(".", 1)[-1] for name in chain))

    nodes = [(module, node) for module in house for node in ast.walk(module.tree)]
    anys = sum(isinstance(node, ast.Name) and node.id == "Any" for _, node in nodes)
    show("`Any` per 1,000 lines", f"{1000 * anys / lines:.1f} ({anys})")
    nested = sum(nested_comprehensions(module.tree) for module in house)
    show("nested comprehensions per 1,000 lines", f"{1000 * nested / lines:.2f} ({nested})")
    comments = sum(module.comments for module in house)
    show("share of lines with a comment", f"{100 * comments / lines:.1f} % ({comments})")
    every, keyword_only = map(sum, zip(*(parameters(module.tree) for module in house), strict=True))
    show("keyword-only share of parameters", f"{100 * keyword_only / every:.0f} % ({keyword_only} of {every})")
    tested = sum(module.lines for module in read(tests))
    show("lines of tests per line", f"{tested / lines:.2f} ({tested:,})")

    classes = [(node.name, module.name) for module, node in nodes if isinstance(node, ast.ClassDef)]
    twice = {name: where for name in dict(classes) if len(where := [m for n, m in classes if n == name]) > 1}
    public = {name: where for name, where in twice.items() if not name.startswith("_")}
    stand = (f"{name}: {', '.join(where)}" for name, where in sorted(public.items()))
    show("public class names that stand twice or more", len(public), *stand)
    unsaid = [m.name for m in house if not any(isinstance(n, ast.Name) and n.id == "__all__" for n in ast.walk(m.tree))]
    show("modules without `__all__`", len(unsaid))

    functions = [(length(node), f"{m.name}.{node.name}") for m, node in nodes if isinstance(node, FUNCTIONS)]
    sizes = sorted(size for size, _ in functions)
    show(
        "lines of a function, median and 95th percentile",
        f"{statistics.median(sizes):.0f}, {sizes[len(sizes) * 95 // 100]}",
    )
    long = sorted((f for f in functions if f[0] > LONG_FUNCTION), reverse=True)
    show(f"functions over {LONG_FUNCTION} lines", len(long), *(f"{size:4} {name}" for size, name in long[:SHOWN]))
    big = sorted(((m.lines, m.name) for m in house if m.lines > LONG_MODULE), reverse=True)
    show(f"modules over {LONG_MODULE} lines", len(big), *(f"{size:4} {name}" for size, name in big[:SHOWN]))


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    main(*given, *[ROOT / "src" / "ragtune", ROOT / "tests"][len(given) :])
