"""Small changes to the code, sampled over the whole house: does a test notice each of them?

Run: python benchmarks/mutants.py [--count 200] [--seed 1] [--minutes 60] [--state runs/mutants] [--rooms ROOM ...]

A change turns a comparison, moves a number, misspells a key, drops a statement and the like; cosmic-ray makes the
changes and keeps the list of them. Each is tried in a copy of the project with the tests that reach its line, those
that reach least first. All that is known lies in the folder of the state: run the command again and it goes on where
it was stopped. The copy stays as it was made; a new folder is a new copy and a new sample.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import unified_diff
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult
from coverage import CoverageData

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("unit", "contract", "local", "testing", "train")
QUICK = ["-q", "-m", "not slow", "-p", "no:xdist", "-W", "ignore"]
SETTINGS = """[run]
source_pkgs = ragtune
parallel = true
context = ${{PYTEST_CURRENT_TEST-}}
data_file = {data}
"""
FIRST = 25
"""Tests that are tried at once, before all others that reach the line."""
LONGEST_S = 600.0
"""A change after which the tests take longer counts as noticed: they hang."""
TURNED = "Eq_NotEq NotEq_Eq Lt_LtE LtE_Lt Gt_GtE GtE_Gt Is_IsNot IsNot_Is".split()
REPLACED = "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul".split()
OTHERS = (
    "AddNot ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd ReplaceBreakWithContinue "
    "ReplaceContinueWithBreak NumberReplacer ZeroIterationForLoop ExceptionReplacer ReplaceUnaryOperator_Delete_Not"
).split()


class MisspeltKey(Operator):  # type: ignore[misc]
    """A word in quotes gets another letter: keys of objects, names of states, codes of errors."""

    word = re.compile(r"""(["'])[a-z][a-z_]+\1""")

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where such words stand, types and `__all__` aside."""
        if node.type == "string" and self.word.fullmatch(node.value) and not _is_for_types(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The word with an x at its end."""
        node.value = f"{node.value[:-1]}x{node.value[-1]}"
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None: they are for cosmic-ray's own tests."""
        return ()


class DroppedStatement(Operator):  # type: ignore[misc]
    """A call that stands alone, or an addition to a variable, is left out."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where a statement can go without taking a name along."""
        if node.type == "simple_stmt" and _can_go(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """`pass` in its place."""
        replaced = node.children[0].get_first_leaf()
        passing = get_ast("pass\n").children[0].children[0]
        passing.prefix = replaced.prefix
        node.children[0] = passing
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None: they are for cosmic-ray's own tests."""
        return ()


def _is_for_types(node: Any) -> bool:
    while node is not None and node.type != "file_input":
        start = node.get_first_leaf().value
        if node.type in ("annassign", "tfpdef", "param") or start in ("Literal", "__all__", "Annotated"):
            return True
        node = node.parent
    return False


def _can_go(statement: Any) -> bool:
    if statement.type == "expr_stmt":
        return str(statement.children[1].get_first_leaf().value) in ("+=", "-=", "|=", "*=")
    return statement.type in ("atom_expr", "power", "await") and statement.get_last_leaf().value == ")"


OURS: dict[str, type[Operator]] = {"MisspeltKey": MisspeltKey, "DroppedStatement": DroppedStatement}
NAMES = [
    *OURS,
    *OTHERS,
    *(f"ReplaceComparisonOperator_{name}" for name in TURNED),
    *(f"ReplaceBinaryOperator_{name}" for name in REPLACED),
]


def operator(name: str) -> Operator:
    """What makes a change of this name."""
    made: Operator = OURS[name]() if name in OURS else get_operator(f"core/{name}")()
    return made


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folder of a state.

    Attributes:
        state: with the copy, the list of changes and what reaches which line.
    """

    state: Path

    @property
    def house(self) -> Path:
        """The copy in which changes are made."""
        return self.state / "house"

    def copy(self) -> None:
        """Copy what git knows of, and link the data that lies beside the project."""
        if self.house.exists():
            return
        half = self.state / "half"
        shutil.rmtree(half, ignore_errors=True)
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (half / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, half / name)
        if (ROOT.parent / "shared").exists() and not (self.state / "shared").exists():
            (self.state / "shared").symlink_to(ROOT.parent / "shared")
        half.rename(self.house)

    @contextmanager
    def changed(self, path: Path, text: str) -> Iterator[None]:
        """Put another text into a file of the copy for a while."""
        self._kept.write_text(json.dumps([str(path), path.read_text(encoding="utf-8")]), encoding="utf-8")
        try:
            path.write_text(text, encoding="utf-8")
            yield
        finally:
            self.put_back()

    def put_back(self) -> None:
        """Undo a change, also one of a program that was killed."""
        if self._kept.exists():
            path, text = json.loads(self._kept.read_text(encoding="utf-8"))
            Path(path).write_text(text, encoding="utf-8")
            self._kept.unlink()

    @property
    def _kept(self) -> Path:
        return self.state / "unchanged.json"

    def pytest(self, *words: str, timeout_s: float | None = None) -> int | None:
        """The exit code of pytest in the copy; None where it took too long."""
        environment = {**os.environ, "PYTHONPATH": str(self.house / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={self.state / 'cache'}", *QUICK, *words]
        with (self.state / "pytest.log").open("wb") as log:
            started = subprocess.Popen(
                command, cwd=self.house, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                return started.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return None
            finally:
                if started.poll() is None:
                    os.killpg(started.pid, signal.SIGKILL)
                    started.wait()

    def failed(self) -> list[str]:
        """The tests that failed last."""
        noted = self.state / "cache" / "v" / "cache" / "lastfailed"
        return list(json.loads(noted.read_text())) if noted.exists() else []


class Reach:
    """Which tests reach which line, measured once for each folder of tests."""

    def __init__(self, place: Place, folders: tuple[str, ...]) -> None:
        self._place = place
        self._lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._reached: Counter[str] = Counter()
        for folder in folders:
            self._read(self._measured(folder))

    def _measured(self, folder: str) -> Path:
        file = self._place.state / f"reach-{folder}"
        if not file.exists():
            print(f"measuring what tests/{folder} reaches", flush=True)
            half = file.with_suffix(".half")
            half.unlink(missing_ok=True)
            settings = self._place.state / "coverage.ini"
            settings.write_text(SETTINGS.format(data=half), encoding="utf-8")
            # What a test runs in processes of its own belongs to it, too.
            os.environ["COVERAGE_PROCESS_START"] = str(settings)
            options = (f"--cov-config={settings}", "--cov", "--cov-context=test", "--cov-report=")
            code = self._place.pytest(*options, f"tests/{folder}")
            del os.environ["COVERAGE_PROCESS_START"]
            if code != 0:
                print(
                    f"  some of its tests fail unchanged ({', '.join(self._place.failed()[:3])}); they decide nothing"
                )
            half.rename(file)
        return file

    def _read(self, file: Path) -> None:
        data = CoverageData(basename=str(file))
        data.read()
        for path in data.measured_files():
            if not Path(path).is_relative_to(self._place.house):
                continue  # a process of its own environment took the installed package
            name = str(Path(path).relative_to(self._place.house))
            for line, contexts in data.contexts_by_lineno(path).items():
                # "the test|run" from the measuring process, "the test (call)|" from one that the test started.
                tests = {re.sub(r"( \(\w+\))?\|\w*$| \(\w+\)$", "", context) for context in contexts} - {""}
                self._lines[name][line] |= tests
                self._reached.update(tests)

    def of(self, name: str, first: int, last: int) -> list[str]:
        """The tests that reach these lines, those that reach least of the house first.

        What runs on import belongs to no test: then all that reach its file, or else a file beside it.
        """
        lines = self._lines[name]
        found = {test for line in range(first, last + 1) for test in lines.get(line, ())}
        # Whoever imports a file first seems to reach its constants; whoever uses them does not.
        if not found or not _is_in_function(self._place.house / name, first):
            found = {test for tests in lines.values() for test in tests}
        if not found:
            beside = [lines for other, lines in self._lines.items() if Path(other).parent == Path(name).parent]
            found = {test for lines in beside for tests in lines.values() for test in tests}
        return sorted(found, key=lambda test: (self._reached[test], test))


@cache
def _functions(path: Path) -> list[range]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1) for node in functions]


def _is_in_function(path: Path, line: int) -> bool:
    return any(line in lines for lines in _functions(path))


def changes(house: Path, rooms: Sequence[str]) -> dict[tuple[str, int], list[MutationSpec]]:
    """Every change that can be made below some rooms (none: everywhere), by the line where it begins."""
    found: dict[tuple[str, int], list[MutationSpec]] = defaultdict(list)
    operators = {name: operator(name) for name in NAMES}
    package = house / "src" / "ragtune"
    for path in sorted(package.rglob("*.py")):
        if rooms and not any(path.is_relative_to(package / room) for room in rooms):
            continue
        text = path.read_text(encoding="utf-8")
        lines, nodes = text.splitlines(), list(ast_nodes(get_ast(text)))
        name = str(path.relative_to(house))
        for kind, made in operators.items():
            positions = (position for node in nodes for position in made.mutation_positions(node))
            for occurrence, (start, end) in enumerate(positions):
                spec = MutationSpec(
                    module_path=name, operator_name=kind, occurrence=occurrence, start_pos=start, end_pos=end
                )
                # A lone star among parameters is no product.
                if "TYPE_CHECKING" not in lines[start[0] - 1] and lines[start[0] - 1].strip() != "*,":
                    found[name, start[0]].append(spec)
    return found


def sample(place: Place, db: WorkDB, count: int, seed: int, rooms: Sequence[str] = ()) -> None:
    """Draw lines, and of each one change, until there are `count`; a longer sample begins with the shorter one."""
    known = db.num_work_items
    if known >= count:
        return
    every = changes(place.house, rooms)
    chance = random.Random(seed)
    lines = chance.sample(sorted(every), len(every))
    drawn = [chance.choice(every[line]) for line in lines][:count]
    db.add_work_items([WorkItem.single(job_id=uuid.uuid4().hex, mutation=spec) for spec in drawn[known:]])
    print(f"{count} of {len(every):,} lines that can be changed are drawn")


def attempt(place: Place, spec: MutationSpec, tests: list[str]) -> WorkResult:
    """Make one change and see whether a test notices."""
    path = place.house / spec.module_path
    before = path.read_text(encoding="utf-8")
    after = mutate_code(before, operator(spec.operator_name), spec.occurrence)
    diff = "\n".join(_diff(before, after))
    if not tests:
        return WorkResult(worker_outcome=WorkerOutcome.NO_TEST, diff=diff, output="slow tests aside")
    with place.changed(path, after):
        code = _run(place, tests)
    noticed = place.failed()
    if code == 0:
        outcome, said = TestOutcome.SURVIVED, f"{len(tests)} tests"
    elif code is None:
        outcome, said = TestOutcome.KILLED, f"longer than {LONGEST_S:.0f} s"
    elif noticed and _run(place, noticed) != 0:
        outcome, said = TestOutcome.INCOMPETENT, f"fails unchanged, too: {', '.join(place.failed()[:3])}"
    else:
        outcome, said = TestOutcome.KILLED, ", ".join(noticed[:3]) or "nothing can be imported"
    return WorkResult(worker_outcome=WorkerOutcome.NORMAL, test_outcome=outcome, diff=diff, output=said)


def _run(place: Place, tests: list[str]) -> int | None:
    shutil.rmtree(place.state / "cache", ignore_errors=True)
    for some in (tests[:FIRST], tests[FIRST:]):
        words = place.state / "tests.txt"
        words.write_text("\n".join(some) + "\n", encoding="utf-8")
        code = place.pytest("-x", f"@{words}", timeout_s=LONGEST_S) if some else 0
        if code != 0:
            return code
    return 0


def _diff(before: str, after: str) -> list[str]:
    return list(unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=0))[2:]


def report(db: WorkDB) -> None:
    """How many changes were noticed, and each that was not."""
    found: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    for item, result in db.completed_work_items:
        found[str(result.test_outcome.value if result.test_outcome else "unreached")].append((item, result))
    words = {
        "killed": "noticed",
        "survived": "NOT noticed",
        "unreached": "reached by no test",
        "incompetent": "undecided",
    }
    for kind, meaning in words.items():
        if kind != "killed":
            for item, result in found[kind]:
                spec = item.mutations[0]
                print(f"\n{spec.module_path}:{spec.start_pos[0]} {meaning} ({spec.operator_name}; {result.output})")
                print(f"{result.diff}")
    print("\n" + ", ".join(f"{len(found[kind])} {meaning}" for kind, meaning in words.items()))
    decided = len(found["killed"]) + len(found["survived"]) + len(found["unreached"])
    if decided:
        print(f"{100 * len(found['killed']) / decided:.0f} % of {decided} decided changes were noticed")


def main() -> None:
    """Draw the sample, go on with what is pending, report."""
    options = argparse.ArgumentParser(description="Change the code a little, many times: does a test notice?")
    options.add_argument("--count", type=int, default=200, help="how many changes (default 200)")
    options.add_argument("--seed", type=int, default=1, help="which sample (default 1)")
    options.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time; run again to go on")
    options.add_argument("--state", type=Path, default=ROOT / "runs" / "mutants", help="folder of all that is known")
    options.add_argument(
        "--rooms", nargs="+", default=(), help="folders and modules of ragtune that are changed (default all)"
    )
    options.add_argument("--folders", nargs="+", default=FOLDERS, help="folders of tests that are asked")
    asked = options.parse_args()
    # A shell starts what runs in the background with Ctrl-C ignored, which the tests of Ctrl-C would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked.state.mkdir(parents=True, exist_ok=True)
    place = Place(state=asked.state.resolve())
    place.copy()
    place.put_back()
    db = WorkDB(place.state / "changes.sqlite3", WorkDB.Mode.create)
    sample(place, db, asked.count, asked.seed, asked.rooms)
    pending = db.pending_work_items
    if pending:
        reach = Reach(place, tuple(asked.folders))
        end = time.monotonic() + 60 * asked.minutes
        for item in pending:
            if time.monotonic() > end:
                break
            spec = item.mutations[0]
            tests = reach.of(str(spec.module_path), spec.start_pos[0], spec.end_pos[0])
            result = attempt(place, spec, tests)
            db.set_result(item.job_id, result)
            print(f"{spec.module_path}:{spec.start_pos[0]} {spec.operator_name}: {result.output}", flush=True)
    report(db)
    db.close()


if __name__ == "__main__":
    main()
