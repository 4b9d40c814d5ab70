"""What an evaluation costs beyond its answers, and what scoring ten thousand facts costs.

    python benchmarks/evaluation.py [--facts 10000] [--questions 400] [--rounds 5] [--answer-ms 100]

Overhead: the same questions, eight at a time, through `ragtune.aio.evaluate` and through a bare asyncio loop over the
same `AsyncOpenAI`, against a scripted server in a process of its own whose answers take some milliseconds, as those of
real models do; alternating rounds, the ratio of their medians, goal <= 1.05. The work that is not waiting is shown
apart, in CPU-seconds per answer.
Scoring: a log of facts x 5 arms x 3 kinds is written, then read, scored (contains, f1), resampled and compared, in a
process of its own; goal <= 10 CPU-seconds. The same with passages of 4,000 characters in every prompt: the memory must
be the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai

from ragtune import aio
from ragtune.facts import Fact, FactSet, Wording
from ragtune.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AT_ONCE, MODEL = 8, "gpt-4.1-2025-04-14"
ARMS = ("base", "tuned", "base+RAG", "tuned+RAG", "tuned, nothing found")
KINDS = ("verbatim", "reworded", "control")


def facts(count: int) -> FactSet:
    """Facts with one wording."""
    return FactSet(
        facts=tuple(
            Fact(id=f"f{n}", answers=(f"{n} metres",), wordings=(Wording(question=f"How deep is lake {n}?"),))
            for n in range(count)
        )
    )


def serve(answer_ms: float) -> None:
    """Serve until the other end closes its pipe; prints address and key."""

    def answer(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        return f"{str(messages[-1]['content']).split()[-1]} metres"

    with ScriptedBackend(answer=answer) as backend:
        if answer_ms:
            backend.fail_next("chat.completions.create", delay_s=answer_ms / 1000, times=None)
        print(json.dumps([backend.base_url, backend.api_key]), flush=True)
        sys.stdin.read()


async def bare(client: openai.AsyncOpenAI, asked: FactSet) -> None:
    """The loop that one would write: eight at a time, the texts kept in a list."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(question: str) -> str:
        async with places:
            said = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": question}], temperature=0.0, max_tokens=256
            )
            return said.choices[0].message.content or ""

    await asyncio.gather(*[one(fact.wordings[0].question) for fact in asked])


async def evaluated(client: openai.AsyncOpenAI, asked: FactSet, folder: Path) -> None:
    """The same through an evaluation, its log and scoring included."""
    log = folder / f"{time.monotonic_ns()}.jsonl"
    await aio.evaluate({"model": (client, MODEL)}, asked, log=log, concurrency=AT_ONCE, progress=False)


async def rounds(url: str, key: str, count: int, asked: FactSet, folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Seconds by the clock and of this process's CPU, for both ways in turn."""
    times: dict[str, list[tuple[float, float]]] = {"bare": [], "evaluate": []}
    async with openai.AsyncOpenAI(base_url=url, api_key=key) as client:
        await bare(client, asked)
        for _ in range(count):
            for name in times:
                wall, cpu = time.perf_counter(), time.process_time()
                await (bare(client, asked) if name == "bare" else evaluated(client, asked, folder))
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def overhead(options: argparse.Namespace, folder: Path) -> None:
    """Print how much longer an evaluation takes than the bare loop."""
    command = [sys.executable, __file__, "--serve", str(options.answer_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url, key = json.loads(server.stdout.readline())
        times = asyncio.run(rounds(url, key, options.rounds, facts(options.questions), folder))
        server.communicate("")
    wall = {name: statistics.median(one[0] for one in taken) for name, taken in times.items()}
    cpu = {name: min(one[1] for one in taken) / options.questions for name, taken in times.items()}
    print(f"{options.questions} questions, {AT_ONCE} at a time, answers of {options.answer_ms:g} ms:")
    print(
        f"  bare loop {wall['bare']:.2f} s, evaluate {wall['evaluate']:.2f} s: {wall['evaluate'] / wall['bare']:.3f}x"
    )
    print(f"  CPU per answer: bare {1000 * cpu['bare']:.2f} ms, evaluate {1000 * cpu['evaluate']:.2f} ms")


def write_log(path: Path, count: int, passage: str) -> None:
    """A log as an evaluation writes it."""
    with path.open("w", encoding="utf-8") as file:
        print(json.dumps({"type": "evaluation", "version": 1, "ragtune": "bench", "facts": "0" * 64}), file=file)
        for arm in ARMS:
            print(json.dumps({"type": "arm", "arm": arm, "identity": {"model": arm}}), file=file)
        for n in range(count):
            for place, kind in enumerate(KINDS):
                for number, arm in enumerate(ARMS):
                    right = (n * 7919 + place * 31 + number * 17) % 10 < 2 + 2 * number
                    said = f"Lake {n} is {n if right else n + 1} metres deep, as far as anybody has measured it."
                    prompt = [{"role": "user", "content": f"{passage}How deep is lake {n}?"}]
                    line = {
                        "type": "answer", "arm": arm, "fact": f"f{n}", "kind": kind, "wording": place,
                        "question": f"How deep is lake {n}?", "answers": [f"{n} metres", f"{n} m"], "prompt": prompt,
                        "text": said, "finish_reason": "stop", "prompt_tokens": 20, "completion_tokens": 15,
                        "latency_s": 0.2, "key": "00" * 16,
                    }  # fmt: skip
                    print(json.dumps(line), file=file)


def score(path: Path) -> None:
    """Read, score, resample and compare; prints what it took as JSON."""
    from ragtune.evaluation import Scorecard

    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    card = Scorecard.load(path, scorers=("contains", "f1"))
    read = time.process_time() - begun
    text = str(card) + str(card.by("f1")) + card.to_json()
    taken, peak = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grew = (peak - before) / 1024
    print(json.dumps({"read_s": read, "all_s": taken, "grew_mb": grew, "peak_mb": peak / 1024, "said": len(text)}))


def scoring(options: argparse.Namespace, folder: Path) -> None:
    """Print what scoring takes, with short prompts and with long ones."""
    for name, passage in (("short prompts", ""), ("prompts of 4,000 characters", "It rained. " * 364)):
        log = folder / "score.jsonl"
        write_log(log, options.facts, passage)
        command = [sys.executable, __file__, "--score", str(log)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        took = json.loads(done.stdout)
        rows = options.facts * len(ARMS) * len(KINDS)
        print(
            f"{options.facts:,} facts x {len(ARMS)} arms x {len(KINDS)} kinds = {rows:,} answers, {name}, log of "
            f"{log.stat().st_size / 1e6:.0f} MB: read and scored in {took['read_s']:.1f} CPU-s, with both cards "
            f"{took['all_s']:.1f} CPU-s; grew by {took['grew_mb']:.0f} MB to {took['peak_mb']:.0f} MB"
        )


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser()
    options.add_argument("--facts", type=int, default=10_000)
    options.add_argument("--questions", type=int, default=400)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--answer-ms", type=float, default=100.0)
    options.add_argument("--only", choices=("overhead", "scoring"))
    options.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    options.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    asked = options.parse_args()
    os.environ.setdefault("RAGTUNE_JOURNAL", str(Path(tempfile.gettempdir(), "ragtune-benchmark-journal.sqlite3")))
    if asked.serve is not None:
        serve(asked.serve)
    elif asked.score is not None:
        score(asked.score)
    else:
        with tempfile.TemporaryDirectory() as folder:
            if asked.only != "scoring":
                overhead(asked, Path(folder))
            if asked.only != "overhead":
                scoring(asked, Path(folder))


if __name__ == "__main__":
    main()
