"""How fast the dataset room is, beside the way that tutorials show, in one run on one machine.

    python benchmarks/dataset_room.py PATH/TO/sciq/train.jsonl [--rounds 3] [--big 100]

Every case runs in a process of its own, imports and the loading of the source excluded; the table gives the best CPU
time of its rounds (other programs disturb it least), the speed, the highest resident memory while it ran, by how much
that is more than before, the ratio to the case it is compared with, and the goal. With `--big 100` a second table
follows, once through: the source written a hundred times over with distinct questions. The alternatives hold all rows
and are not run at that size; ratios there compare records per second with theirs in the first table. toktok is tried
where it is installed (`pip install toktok-rs`).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SYSTEM = "Given a science question, give the correct answer with a detailed explanation."
TUTORIAL, WHOLE_TUTORIAL = "tutorial build", "tutorial build, validation, count"
COOKBOOK, LOOP = "cookbook validation, no tokens", "bare tiktoken loop"
# Each case with what it is compared with and the goal. Every build refuses blank texts, values that are no text and
# broken Unicode; `content checks per record` looks for blanks and lengths in a filter besides.
COMPARED = {
    "build": (TUTORIAL, ">= 20x"),
    "build, content checks per record": (TUTORIAL, ">= 15x"),
    "build from Parquet": (TUTORIAL, ""),
    "build, check_file": (TUTORIAL, ""),
    "leak-free splits": (TUTORIAL, ">= 5x"),
    "build, count": (WHOLE_TUTORIAL, ">= 4x"),
    "build, count with toktok": (WHOLE_TUTORIAL, ">= 12x"),
    "build, count, check_file": (WHOLE_TUTORIAL, ""),
    "build, count with toktok, check_file": (WHOLE_TUTORIAL, ""),
    "check_file, schema gate only": (COOKBOOK, ">= 1.6x, 190,000 records/s, grew <= 50 MB"),
    "check_file, all rules": (COOKBOOK, ">= 80,000 records/s"),
    "count tokens of the same texts": (LOOP, ">= 0.95x"),
    "count tokens of a file": (LOOP, ""),
}
BIG = {
    "build": (TUTORIAL, ">= 20x, peak <= 250 MB"),
    "build from Parquet": (TUTORIAL, ""),
    "leak-free splits": (TUTORIAL, ""),
    "check_file, schema gate only": (COOKBOOK, ">= 190,000 records/s, grew <= 50 MB"),
    "check_file, all rules": (COOKBOOK, ">= 80,000 records/s"),
}


def tutorial_build(dataset: Any, folder: Path) -> int:
    """Filter with a lambda, take it into pandas, go row by row, write with jsonlines."""
    import jsonlines

    kept = dataset.filter(lambda row: row["support"] and row["correct_answer"], load_from_cache_file=False)
    records = []
    for _, row in kept.to_pandas().iterrows():
        answer = f"{row['correct_answer']} Explanation: {row['support']}"
        turns = [("system", SYSTEM), ("user", row["question"]), ("assistant", answer)]
        records.append({"messages": [{"role": role, "content": content} for role, content in turns]})
    with jsonlines.open(folder / "train.jsonl", "w") as file:
        file.write_all(records)
    return len(records)


def cookbook_validation(path: Path, *, tokens: bool) -> int:
    """The checks of OpenAI's cookbook: all rows in memory, counts per class of error, each text encoded."""
    from ragtune.tokens import encoding

    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    errors = 0
    for row in rows:
        messages = row.get("messages", None)
        if not isinstance(row, dict) or not messages:
            errors += 1
            continue
        for message in messages:
            errors += "role" not in message or "content" not in message
            errors += any(key not in ("role", "content", "name", "function_call", "weight") for key in message)
            errors += message.get("role", None) not in ("system", "user", "assistant", "function")
            content = message.get("content", None)
            errors += (not content and not message.get("function_call")) or not isinstance(content, str)
        errors += not any(message.get("role", None) == "assistant" for message in messages)
    assert not errors
    if tokens:
        encode = encoding("o200k_base").encode
        for row in rows:
            3 + sum(3 + sum(len(encode(value)) for value in message.values()) for message in row["messages"])
            sum(len(encode(message["content"])) for message in row["messages"] if message["role"] == "assistant")
    return len(rows)


class Toktok:
    """A faster exact counter, on one thread."""

    def __init__(self) -> None:
        self._count = importlib.import_module("toktok").batch_count

    def count_batch(self, texts: Sequence[str]) -> Sequence[int]:
        counts: list[int] = self._count(texts, "o200k_base", threads=1)
        return counts


def has_text(row: Any) -> object:
    return row["support"] and row["correct_answer"]


def is_sound(row: Any) -> object:
    """No blank text, and none of a length that nobody reads."""
    support, answer = row["support"], row["correct_answer"]
    return support.strip() and answer.strip() and len(support) <= 20_000 and len(answer) <= 1_000


def builder(source: Any, keep: Callable[[Any], object] = has_text) -> Any:
    import ragtune as rt

    rows = (
        rt.DatasetBuilder.from_parquet(source) if isinstance(source, Path) else rt.DatasetBuilder.from_dataset(source)
    )
    return (
        rows.filter(keep, reason="no support or answer")
        .drop_columns("distractor1", "distractor2", "distractor3")
        .chat(system=SYSTEM, user="{question}", assistant="{correct_answer} Explanation: {support}")
    )


def splits(dataset: Any, folder: Path) -> int:
    built = builder(dataset).build(folder / "out", validation=0.05, test=0.05, seed=7)
    return sum(len(split) for split in built.splits)


def gate_only(path: Path) -> int:
    from ragtune.checks.schema import gate

    plain = gate("chat")
    assert plain is not None
    with path.open("rb") as file:
        return sum(1 for line in file if plain(line))


def cases(dataset: Any, source: Path, ready: Path, folder: Path) -> dict[str, Callable[[], int]]:
    """Each case as a call that returns how many records it handled."""
    import ragtune as rt
    from ragtune.tokens import counter_for, encoding

    texts = [m["content"] for line in ready.open("rb") for m in json.loads(line)["messages"][1:]]
    encode = encoding("o200k_base").encode_ordinary
    finished = rt.Dataset.from_files(ready)

    def checked() -> int:
        made = builder(dataset).build(folder / "out")
        assert made.check().ok
        return len(made.train)

    def all_of_it(counter: Any) -> int:
        made = builder(dataset).build(folder / "out", count="o200k_base", counter=counter)
        assert made.check().ok
        return len(made.token_counts("o200k_base"))

    def counted(counter: Any) -> int:
        built = builder(dataset).build(folder / "out", count="o200k_base", counter=counter)
        return len(built.token_counts("o200k_base"))

    def tutorial(count: bool) -> int:
        tutorial_build(dataset, folder)
        return cookbook_validation(folder / "train.jsonl", tokens=count)

    return {
        "tutorial build": lambda: tutorial_build(dataset, folder),
        "build": lambda: len(builder(dataset).build(folder / "out").train),
        "build, content checks per record": lambda: len(builder(dataset, is_sound).build(folder / "out").train),
        "build from Parquet": lambda: len(builder(source).build(folder / "out").train),
        "build, check_file": checked,
        "leak-free splits": lambda: splits(dataset, folder),
        "tutorial build, validation, count": lambda: tutorial(True),
        "build, count": lambda: counted(None),
        "build, count with toktok": lambda: counted(Toktok()),
        "build, count, check_file": lambda: all_of_it(None),
        "build, count with toktok, check_file": lambda: all_of_it(Toktok()),
        "cookbook validation, no tokens": lambda: cookbook_validation(ready, tokens=False),
        "check_file, schema gate only": lambda: gate_only(ready),
        "check_file, all rules": lambda: rt.check_file(ready).stats.examples,
        "bare tiktoken loop": lambda: len(texts) // 2 if sum(len(encode(text)) for text in texts) else 0,
        "count tokens of the same texts": lambda: len(counter_for("o200k_base").count_batch(texts)) // 2,
        "count tokens of a file": lambda: len(finished.token_counts("o200k_base")),
    }


def memory_mb(field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (highest since the last `forget_peak`) of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def forget_peak() -> None:
    """Imports need more memory than most cases; Linux forgets the peak when 5 is written here."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def run_one(name: str, source: Path, ready: Path) -> None:
    """One case in this process; prints its figures as JSON."""
    import datasets
    import pyarrow.parquet  # noqa: F401

    if name.startswith("tutorial"):
        import jsonlines  # noqa: F401

    import ragtune.checks  # noqa: F401
    import ragtune.dataset  # noqa: F401
    from ragtune.tokens import counter_for

    dataset = datasets.Dataset.from_parquet(str(source), cache_dir=str(source.parent / "cache"))
    if "count" in name or "loop" in name:
        counter_for("o200k_base")
    if "toktok" in name:
        Toktok().count_batch(["loads the vocabulary"])
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        case = (
            cases(dataset, source, ready, Path(folder))[name]
            if ready.stat().st_size < 1 << 26
            else big_case(name, dataset, source, ready, Path(folder))
        )
        forget_peak()
        with Flatness() as memory:
            before, cpu, wall = memory_mb("VmRSS"), time.process_time(), time.perf_counter()
            records = case()
            figures = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "records": records}
        peak = memory_mb("VmHWM")
        print(json.dumps({**figures, "peak_mb": peak, "grew_mb": peak - before, "early_mb": memory.early() or peak}))


class Flatness:
    """Looks at the resident memory ten times a second, to tell whether it grows with the rows."""

    def __enter__(self) -> Flatness:
        self._seen: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            self._seen.append(memory_mb("VmRSS"))

    def early(self) -> float | None:
        """The most in the first quarter of the time; None where there was too little time."""
        return max(self._seen[: len(self._seen) // 4]) if len(self._seen) >= 8 else None


def big_case(name: str, dataset: Any, source: Path, ready: Path, folder: Path) -> Callable[[], int]:
    """The cases that make sense for a large file, without holding its texts."""
    import ragtune as rt

    return {
        "build": lambda: len(builder(dataset).build(folder / "out").train),
        "build from Parquet": lambda: len(builder(source).build(folder / "out").train),
        "leak-free splits": lambda: splits(dataset, folder),
        "check_file, schema gate only": lambda: gate_only(ready),
        "check_file, all rules": lambda: rt.check_file(ready).stats.examples,
    }[name]


def prepare(source: Path, times: int, folder: Path) -> tuple[Path, Path]:
    """The source as Parquet (`times` over) and the chat file built from it."""
    import datasets
    import orjson
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [orjson.loads(line) for line in source.read_bytes().split(b"\n") if line]
    parquet = folder / "rows.parquet"
    with pq.ParquetWriter(parquet, pa.Table.from_pylist(rows[:1]).schema) as writer:
        for number in range(times):
            writer.write_table(
                pa.Table.from_pylist([{**row, "question": f"{row['question']} ({number})"} for row in rows])
                if number
                else pa.Table.from_pylist(rows)
            )
    dataset = datasets.Dataset.from_parquet(str(parquet), cache_dir=str(folder / "cache"))
    built = builder(dataset).build(folder / "ready")
    assert built.train.path is not None
    return parquet, built.train.path


def measure(name: str, source: Path, ready: Path) -> dict[str, float]:
    """The figures of one case, from a process of its own."""
    command = [sys.executable, __file__, str(source), "--case", name, "--ready", str(ready)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def row_of(name: str, figures: dict[str, float], other: tuple[str, dict[str, float] | None], goal: str) -> str:
    """One line of a table; the ratio is that of records per second."""
    speed = figures["records"] / figures["cpu"]
    ratio = ""
    if other[1] is not None:
        times = speed / (other[1]["records"] / other[1]["cpu"])
        ratio = f"{times:.{1 if times >= 2 else 2}f}x {other[0]}"
    memory = f"{figures['early_mb']:.0f} | {figures['peak_mb']:.0f} | {figures['grew_mb']:.0f}"
    return f"| {name} | {figures['cpu']:.3f} | {speed:,.0f} | {memory} | {ratio} | {goal} |"


HEAD = (
    "| case | CPU s | records/s | MB in the first quarter | peak MB | grew by MB | ratio | goal |\n"
    "|---|---|---|---|---|---|---|---|"
)


def small(source: Path, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """The first table; returns the best figures of each case."""
    parquet, ready = prepare(source, 1, folder)
    names = [*COMPARED, *(other for other, _ in COMPARED.values())]
    if importlib.util.find_spec("toktok") is None:
        names = [name for name in names if "toktok" not in name]
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for name in dict.fromkeys(names):
            figures = measure(name, parquet, ready)
            if name not in best or figures["cpu"] < best[name]["cpu"]:
                best[name] = figures
    print(HEAD)
    for name, figures in best.items():
        other, goal = COMPARED.get(name, ("", ""))
        print(row_of(name, figures, (other, best.get(other)), goal))
    return best


def main() -> None:
    """Run all cases and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--big", type=int, default=0, help="a second table with the source this many times over")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--ready", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        run_one(args.case, args.source, args.ready)
        return
    with tempfile.TemporaryDirectory() as temporary:
        best = small(args.source, Path(temporary), args.rounds)
    if args.big:
        with tempfile.TemporaryDirectory() as temporary:
            parquet, ready = prepare(args.source, args.big, Path(temporary))
            print(f"\n{args.big} times as many rows:\n\n{HEAD}")
            for name, (other, goal) in BIG.items():
                print(row_of(name, measure(name, parquet, ready), (other, best.get(other)), goal), flush=True)


if __name__ == "__main__":
    main()
