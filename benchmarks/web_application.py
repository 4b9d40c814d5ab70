"""Clients that come and go against the web application of the docs: who is answered, what is left of those who leave.

python -m benchmarks.web_application --clients 50 --rounds 10
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2
import psutil
import uvicorn

from examples.web_application import application
from ragtune.local import LocalBackend


async def visit(browser: httpx2.AsyncClient, chance: random.Random, seen: Counter[str], waits: list[float]) -> None:
    """One question: read to its end, left in the middle, or given up before the first word."""
    way = chance.choice(["whole", "stream", "leave", "give up"])
    question = {"question": f"Why do winds turn, number {chance.randrange(1_000)}?"}
    begin = time.monotonic()
    try:
        if way in ("whole", "give up"):
            limit = 0.05 if way == "give up" else 120
            answer = await browser.post("/ask", json=question, timeout=limit)
            seen[f"{way}: {answer.status_code}"] += 1
            return
        async with browser.stream("POST", "/stream", json=question, timeout=120) as answer:
            events, ended = 0, False
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    events += 1
                    if events == 1:
                        waits.append(time.monotonic() - begin)
                    if way == "leave" and events == 3:
                        seen["leave: left"] += 1
                        return
                    ended = '"end"' in line
            seen[f"{way}: {answer.status_code}, {'with' if ended else 'without'} an end"] += 1
    except httpx2.TimeoutException:
        seen[f"{way}: gave up"] += 1
    except httpx2.HTTPError as error:
        seen[f"{way}: {type(error).__name__}"] += 1


async def client(address: str, number: int, rounds: int, seen: Counter[str], waits: list[float]) -> None:
    chance = random.Random(number)
    for _ in range(rounds):
        # A browser of its own each time, as people close their tabs.
        async with httpx2.AsyncClient(base_url=address) as browser:
            await visit(browser, chance, seen, waits)
        await asyncio.sleep(chance.random() * 0.2)


async def clients(address: str, number: int, rounds: int, seen: Counter[str], waits: list[float]) -> None:
    await asyncio.gather(*(client(address, n, rounds, seen, waits) for n in range(number)))


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--clients", type=int, default=50)
    options.add_argument("--rounds", type=int, default=10)
    asked = options.parse_args()
    seen: Counter[str] = Counter()
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as folder, LocalBackend(Path(folder) / "runs", warm=["tiny-random"]) as backend:
        app = application(lambda: backend.async_client(), "tiny-random")
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        asyncio.run(clients(address, 5, 2, Counter(), []))  # what is loaded on first use is no growth
        memory, begin = psutil.Process().memory_info().rss, time.monotonic()
        asyncio.run(clients(address, asked.clients, asked.rounds, seen, waits))
        seconds = time.monotonic() - begin
        assert backend._running is not None
        inference, left_at = backend._running.services.inference, time.monotonic()
        while inference._open and time.monotonic() - left_at < 30:
            time.sleep(0.01)
        after = time.monotonic() - left_at
        grown = (psutil.Process().memory_info().rss - memory) / 2**20
        connections = len(psutil.Process().net_connections("tcp"))
        server.should_exit = True
        thread.join(10)
    for what, number in sorted(seen.items()):
        print(f"{number:6,}  {what}")
    waits.sort()
    print(f"{asked.clients} clients, {sum(seen.values()):,} questions in {seconds:.1f} s")
    print(f"first word after {waits[len(waits) // 2]:.2f} s (median), {waits[-1]:.2f} s (longest)")
    print(
        f"answers still written at the end: {inference._open}, none after {after:.2f} s; {connections} connections open"
    )
    print(f"memory grew by {grown:.1f} MiB")


if __name__ == "__main__":
    main()
