"""A program that buys a job and may be killed at any point on the way; a process of its own, see `test_kill_points`.

Reads one JSON order per line: {base_url, key, name, lines, journal, die_at}. Each is carried out in a forked child;
`die_at` is the number of the point at which it ends without a word, as after kill -9. Answers with one JSON line:
{code, points, job, error}. With `--here` the one order is carried out in this process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import openai

import ragtune as rt
from ragtune._api import Api
from ragtune._api.ports import SyncPort

SPEC = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=1), seed=7)


class MortalPort(SyncPort):
    """Counts every step into the world, before and after it, and dies at one of them."""

    def __init__(self, client: openai.OpenAI, die_at: int) -> None:
        super().__init__(client)
        self.points: list[str] = []
        self._die_at = die_at

    def _reach(self, point: str) -> None:
        if len(self.points) == self._die_at:
            os._exit(9)
        self.points.append(point)

    async def work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        name = getattr(function, "func", function).__qualname__.replace(".<locals>.<lambda>", "")
        self._reach(f"before {name}")
        result = await super().work(function, *arguments)
        self._reach(f"after {name}")
        return result

    async def call(self, name: str, /, **arguments: Any) -> Any:
        self._reach(f"before {name}")
        result = await super().call(name, **arguments)
        self._reach(f"after {name}")
        return result

    async def items(self, name: str, /, **arguments: Any) -> AsyncGenerator[Any, None]:
        self._reach(f"before {name}")
        async for item in super().items(name, **arguments):
            yield item
        self._reach(f"after {name}")


def dataset(order: dict[str, Any]) -> rt.Dataset:
    """Twelve sums that no other order has."""
    path = Path(order["folder"]) / f"{order['name']}.jsonl"
    if not path.exists():
        told = [
            {
                "messages": [
                    {"role": "user", "content": f"{order['name']} {n}"},
                    {"role": "assistant", "content": "Yes."},
                ]
            }
            for n in range(12)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in told))
    return rt.Dataset.from_files(path)


def carry_out(order: dict[str, Any]) -> dict[str, Any]:
    client = openai.OpenAI(base_url=order["base_url"], api_key=order["api_key"], timeout=20)
    port = MortalPort(client, order.get("die_at", -1))
    options = {"key": order["key"]} if order.get("key") else {}
    try:
        job = rt.FineTuneJob.create(Api(port), dataset(order), SPEC, journal=order["journal"], **options)
    except Exception as error:
        return {"points": port.points, "job": None, "error": f"{type(error).__name__}: {error}"}
    return {"points": port.points, "job": job.id, "error": None}


def in_a_child(order: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, json.dumps(carry_out(order)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"code": code} | (json.loads(told) if told else {})


if __name__ == "__main__":
    act = carry_out if "--here" in sys.argv else in_a_child
    for line in sys.stdin:
        print(json.dumps(act(json.loads(line))), flush=True)
