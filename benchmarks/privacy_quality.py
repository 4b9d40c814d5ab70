"""How much of a labelled set the privacy scanner finds, how often it is wrong, and how fast it is.

The set (tests/unit/privacy_set.jsonl) was written before the rules were. The mistakes in its 1st, 3rd, 5th ... row were
looked at while the rules were tuned, those in the others only counted, so the second table is the honest one.

    python benchmarks/privacy_quality.py
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ragtune.privacy import KINDS, Finding, Scanner

SET = Path(__file__).parent.parent / "tests/unit/privacy_set.jsonl"
_CLASS = re.compile(r"\[([^\]]+)\]\{(\d+)\}")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One labelled text; `labels` are kind, start and end."""

    about: str
    text: str
    region: str | None
    labels: tuple[tuple[str, int, int], ...]


def expand(shape: str, dice: random.Random) -> str:
    """Fill `[A-Z]{5}` in a shape with random characters: the set's file holds no text that looks like a leaked key."""

    def fill(match: re.Match[str]) -> str:
        letters = re.sub(r"(.)-(.)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))), match[1])
        return "".join(dice.choice(letters) for _ in range(int(match[2])))

    return _CLASS.sub(fill, shape)


def load(path: Path = SET) -> list[Case]:
    """The set, with its secrets made up from a seed per row."""
    cases = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        row, dice = json.loads(line), random.Random(number)
        text, labels = "", []
        for part in row["parts"]:
            piece = part if isinstance(part, str) else expand(part["shape"], dice)
            if isinstance(part, dict) and part["kind"]:
                labels.append((part["kind"], len(text), len(text) + len(piece)))
            text += piece
        cases.append(Case(about=row["about"], text=text, region=row.get("region"), labels=tuple(labels)))
    return cases


def is_found(label: tuple[str, int, int], findings: tuple[Finding, ...]) -> bool:
    """Whether findings of the label's kind cover every character of it."""
    kind, start, end = label
    covered = {place for f in findings if f.kind == kind for place in range(f.start, f.end)}
    return covered.issuperset(range(start, end))


def is_right(finding: Finding, labels: tuple[tuple[str, int, int], ...]) -> bool:
    """Whether a finding touches a label of its kind."""
    return any(kind == finding.kind and finding.start < end and start < finding.end for kind, start, end in labels)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Counts of one part of the set, by kind."""

    labelled: Counter[str]
    found: Counter[str]
    reported: Counter[str]
    right: Counter[str]
    mistakes: tuple[str, ...]

    def recall(self, kind: str) -> float | None:
        """Share of labels that are covered whole."""
        return self.found[kind] / self.labelled[kind] if self.labelled[kind] else None

    def precision(self, kind: str) -> float | None:
        """Share of findings that are right."""
        return self.right[kind] / self.reported[kind] if self.reported[kind] else None


def measure(cases: list[Case]) -> Quality:
    """Scan every case with its region and count; the kind `all` sums up."""
    labelled, found, reported, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    mistakes = []
    for case in cases:
        findings = Scanner(phone_region=case.region).scan(case.text)
        for label in case.labels:
            hit = is_found(label, findings)
            labelled.update([label[0], "all"])
            found.update([label[0], "all"] * hit)
            mistakes += [] if hit else [f"missed {label[0]}: {case.about}"]
        for finding in findings:
            hit = is_right(finding, case.labels)
            reported.update([finding.kind, "all"])
            right.update([finding.kind, "all"] * hit)
            mistakes += [] if hit else [f"false {finding.kind} ({finding.rule}): {case.about}"]
    return Quality(labelled=labelled, found=found, reported=reported, right=right, mistakes=tuple(mistakes))


def table(title: str, cases: list[Case]) -> Quality:
    """Print one part's figures."""
    quality = measure(cases)
    clean = sum(not case.labels for case in cases)
    print(f"\n{title}: {len(cases)} texts, {clean} of them clean")
    print(f"{'kind':<12} {'labels':>6} {'recall':>7} {'findings':>8} {'precision':>9}")
    for kind in (*KINDS, "all"):
        recall, precision = quality.recall(kind), quality.precision(kind)
        shown = ["-" if value is None else f"{value:.3f}" for value in (recall, precision)]
        print(f"{kind:<12} {quality.labelled[kind]:>6} {shown[0]:>7} {quality.reported[kind]:>8} {shown[1]:>9}")
    return quality


def speed(cases: list[Case], rounds: int = 20) -> None:
    """Print the cost of texts as they are in a dataset, clean and loaded."""
    clean = "Mesophiles grow best in moderate temperature, typically between 25 and 40 degrees. " * 6
    loaded = " ".join(case.text for case in cases if case.labels)[: len(clean)]
    scanner = Scanner()
    for name, text in (("clean", clean), ("loaded with findings", loaded)):
        scanner.scan(text)
        best = min(_seconds(scanner, text) for _ in range(rounds))
        print(f"{name}: {best * 1e6:.0f} µs for {len(text)} characters, {1 / best:,.0f} texts/s, one thread")


def _seconds(scanner: Scanner, text: str, times: int = 100) -> float:
    started = time.perf_counter()
    for _ in range(times):
        scanner.scan(text)
    return (time.perf_counter() - started) / times


def main() -> None:
    """Print both tables and the speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mistakes", choices=("tuned", "held-out"), help="list what one part got wrong")
    wanted = parser.parse_args().mistakes
    cases = load()
    tuned = table("tuned on", cases[::2])
    held_out = table("held out", cases[1::2])
    if wanted:
        print("", *(tuned if wanted == "tuned" else held_out).mistakes, sep="\n")
    print()
    speed(cases)


if __name__ == "__main__":
    main()
