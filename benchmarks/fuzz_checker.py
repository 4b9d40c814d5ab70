"""Throw broken files at the checker: every one must end in a report.

    python benchmarks/fuzz_checker.py [--inputs 100000] [--seed 1]

One input is a file: random bytes, or valid records with bytes flipped, cut, doubled or swapped.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import tempfile
import time
from pathlib import Path

from ragtune.checks import check_file

VALID = [
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello", "weight": 1}]},
    {"prompt": "Who?", "completion": " Ada"},
    {
        "input": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        "preferred_output": [{"role": "assistant", "content": "a"}],
        "non_preferred_output": [{"role": "assistant", "content": "b"}],
    },
    {
        "messages": [
            {"role": "user", "content": "Land"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "done"},
            {"role": "assistant", "content": "Done"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    },
    {"messages": [{"role": "user", "content": "7 + 5?"}], "answer": "12"},
]
LINES = [json.dumps(record).encode() for record in VALID]
PIECES = [b"null", b"1e999", b"-1", b"[]", b"{}", b'""', b"\\ud800", b"\xe2\x80\xa8", b"\xff", b"\x00", b"true", b'":']


def broken(chance: random.Random) -> bytes:
    """One broken file."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(200))
    data = bytearray(b"\n".join(chance.choices(LINES, k=chance.randrange(1, 4))) + b"\n")
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0 and place < len(data):
            data[place] = chance.randrange(256)
        elif kind == 1:
            del data[place : place + chance.randrange(30)]
        elif kind == 2:
            data[place:place] = chance.choice(PIECES)
        else:
            other = chance.choice(LINES)
            data[place:place] = other[: chance.randrange(len(other))]
    return bytes(data)


def main() -> None:
    """Run, and print how many inputs there were and which rules spoke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    spoken: collections.Counter[str] = collections.Counter()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzz.jsonl"
        for number in range(args.inputs):
            data = broken(chance)
            path.write_bytes(data)
            try:
                report = check_file(path)
            except Exception:
                print(f"input {number} crashed the checker: {data!r}")
                raise
            str(report)
            spoken.update(code for _, code in report.counts)
    print(f"{args.inputs:,} inputs, no crash, {time.perf_counter() - started:.0f} s; {len(spoken)} rules spoke:")
    print(", ".join(f"{code} {number:,}" for code, number in spoken.most_common()))


if __name__ == "__main__":
    main()
