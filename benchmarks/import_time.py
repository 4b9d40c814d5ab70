"""CPU time of `import ragtune` beside a bare interpreter and beside `import openai`, as ratios of one run.

Run: python benchmarks/import_time.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

ROUNDS = 9
CASES = {"python alone": "pass", "import ragtune": "import ragtune", "import openai": "import openai"}


def cpu_seconds(code: str) -> float:
    """User and system CPU seconds of one fresh interpreter that runs `code`."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def main() -> None:
    """Interleave the cases so that a busy machine is fair to all, print medians and ratios."""
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, code in CASES.items():
            seconds[name].append(cpu_seconds(code))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name:16} {value * 1000:7.0f} ms CPU   {value / medians['import openai']:.2f} x import openai")


if __name__ == "__main__":
    main()
