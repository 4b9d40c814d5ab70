"""Repair files at random: no copy may be worse than its file, and a copy of a copy is the copy.

    python benchmarks/fuzz_repair.py [--files 10000] [--seed 1]

Looked at from outside, with the checker and with JSON alone: without a name no text changes, no line is lost but empty
and doubled pairs, the file itself stays, the copy has no new problem, and repairing it again writes nothing.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune.checks import REPAIRS, CheckReport, check_file

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = "What is the capital of Brazil Belgium B NYC select Straße İstanbul 東京 은 ÅNGSTRÖM a ? ! . -> END".split()
STARTS = ("", "", "What is the capital of B", "Review number 3 ", "THE ", " ", "Answer: ", "東京は")
ENDS = ("", "", " ->", "\n\n###\n\n", "?", " END", "\n", ".", " ")
KEYS = (("prompt", "completion"), ("Prompt", "Completion"), (" prompt", "COMPLETION"))
LINES = ("", "  ", "{", '{"prompt": "a"}', '{"completion": "b", "Question": "who"}', '{"prompt": "a", "completion": 2}')
CHAT = {"messages": [{"role": "user", "content": "Hi\u2028"}, {"role": "assistant", "content": "Hello"}]}


def file_of(chance: random.Random) -> bytes:
    """One file: pairs with something in common, and whatever else stands in files."""
    if chance.random() < 0.1:
        lines = [json.dumps({**CHAT, "n": 2**70}) if chance.random() < 0.1 else json.dumps(CHAT) for _ in range(12)]
    else:
        lines = list(_pairs(chance))
    for _ in range(chance.choice((0, 0, 0, 1, 3))):
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(LINES))
    end = chance.choice((b"\n", b"\n", b"\r\n"))
    data = end.join(line.encode() for line in lines) + chance.choice((b"", end))
    if chance.random() < 0.05:
        place = chance.randrange(len(data))
        data = data[:place] + chance.randbytes(1) + data[place + 1 :]
    return chance.choice((b"", b"", b"\xef\xbb\xbf")) + data


def _pairs(chance: random.Random) -> list[str]:
    starts, ends = [chance.choice(STARTS) for _ in "pc"], [chance.choice(ENDS) for _ in "pc"]
    keys, is_loud = chance.choice(KEYS), chance.random() < 0.2
    most = chance.choice((2, 30))
    lines = []
    for _ in range(chance.choice((1, 9, 12, 14, 40))):
        said = [" ".join(chance.choices(WORDS, k=chance.randrange(most))) for _ in "pc"]
        texts = [start + text + end for start, text, end in zip(starts, said, ends, strict=True)]
        pair = {key: text.upper() if is_loud else text for key, text in zip(keys, texts, strict=True)}
        if chance.random() < 0.05:
            pair["id"] = "7"
        lines.append(json.dumps(pair, ensure_ascii=chance.random() < 0.5))
    if chance.random() < 0.3:
        lines += chance.choices(lines, k=2)
    return lines


def texts_of(data: bytes) -> list[tuple[str, ...]]:
    """Prompt and completion of each line that has two texts."""
    found: list[tuple[str, ...]] = []
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        try:
            value = {key.strip().lower(): text for key, text in json.loads(line).items()}
        except (ValueError, AttributeError):
            continue
        texts = (value.get("prompt", ""), value.get("completion", ""))
        if all(isinstance(text, str) for text in texts) and texts[1].strip():
            found.append(texts)
    return found


def broken_lines(data: bytes) -> Iterator[bytes]:
    """Lines that are no JSON."""
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        try:
            json.loads(line)
        except ValueError:
            if line.strip():
                yield line.rstrip(b"\r")


def fault_of(path: Path, names: list[str]) -> tuple[str | None, CheckReport]:
    """What is wrong with the copy that a repair writes, if anything."""
    data = path.read_bytes()
    report = check_file(path, fix=names or True)
    if path.read_bytes() != data:
        return "the file itself was changed", report
    if report.fixed is None:
        return None, report
    copy = report.fixed.read_bytes()
    same = [name for name in names if name not in report.left_out]
    again = check_file(report.fixed, fix=same or True, format=report.stats.format)
    report.fixed.unlink()
    if again.fixed is not None:
        again.fixed.unlink()
        return "a second repair changes the copy", report
    if again.count("error") > report.count("error"):
        return "the copy has more errors", report
    if not names and {*texts_of(data)} != {*texts_of(copy)}:
        return "texts were changed or lost", report
    if not {*broken_lines(data)} <= {*copy.split(b"\n")}:
        return "a line that is no record was changed or lost", report
    # Where every line is a record already, nothing hides a problem.
    if report.count("error") == 0 and any(number > report.counts.get(kind, 0) for kind, number in again.counts.items()):
        return "the copy has a new problem", report
    return None, report


def main() -> None:
    """Run, and print how many files there were, how many copies, and what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    faults: collections.Counter[str] = collections.Counter()
    left_out: collections.Counter[str] = collections.Counter()
    copies, started = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzz.jsonl"
        for number in range(args.files):
            path.write_bytes(file_of(chance))
            names = chance.sample([*REPAIRS], chance.choice((0, 0, 1, 3, len(REPAIRS))))
            fault, report = fault_of(path, names)
            copies += report.fixed is not None
            left_out.update(report.left_out)
            if fault is not None:
                faults[fault] += 1
                print(f"file {number}, {names}: {fault}\n{path.read_bytes()[:2000]!r}")
            if number % 1_000 == 999:
                print(f"{number + 1:,} files, {copies:,} copies, {faults.total()} faults", flush=True)
    seconds = time.perf_counter() - started
    print(f"{args.files:,} files, {copies:,} copies, faults: {dict(faults) or 'none'}, in {seconds:.0f} s")
    print(f"steps left out: {dict(left_out)}")


if __name__ == "__main__":
    main()
