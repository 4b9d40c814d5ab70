"""What the tests of this room share: training files, jobs, and waiting for them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai

WORKER = Path(__file__).with_name("scripted_worker.py")
ROW = {"messages": [{"role": "user", "content": "Who keeps the lighthouse?"}, {"role": "assistant", "content": "Ada."}]}


def trainer(*options: str) -> list[str]:
    """The scripted trainer's command line."""
    return [sys.executable, str(WORKER), *options]


def rows(n: int = 12) -> bytes:
    """A training file with `n` chat examples."""
    return b"".join(json.dumps(ROW).encode() + b"\n" for _ in range(n))


def pairs(n: int = 12) -> bytes:
    """A training file with `n` preference records."""
    record = {
        "input": {"messages": ROW["messages"][:1]},
        "preferred_output": ROW["messages"][1:],
        "non_preferred_output": [{"role": "assistant", "content": "Nobody knows."}],
    }
    return b"".join(json.dumps(record).encode() + b"\n" for _ in range(n))


def verdicts(n: int = 12) -> bytes:
    """A training file with `n` judged answers, good and bad by turns."""
    record = {"prompt": ROW["messages"][:1], "completion": ROW["messages"][1:]}
    return b"".join(json.dumps({**record, "label": n % 2 == 0}).encode() + b"\n" for n in range(n))


def upload(client: openai.OpenAI, content: bytes | None = None, name: str = "train.jsonl") -> str:
    """Upload a training file and give its id."""
    return client.files.create(file=(name, rows() if content is None else content), purpose="fine-tune").id


def create(client: openai.OpenAI, *, n_epochs: int = 3, batch_size: int = 4, **options: Any) -> Any:
    """Create a job on `tiny-random`: nine steps unless told otherwise."""
    hyperparameters: Any = {"n_epochs": n_epochs, "batch_size": batch_size}
    body: dict[str, Any] = {
        "model": "tiny-random",
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        **options,
    }
    if "training_file" not in body:
        body["training_file"] = upload(client)
    return client.fine_tuning.jobs.create(**body)


def wait_for(client: openai.OpenAI, job_id: str, *states: str, timeout_s: float = 60.0) -> Any:
    """Poll a job until it is in one of some states, by default a terminal one."""
    wanted = states or ("succeeded", "failed", "cancelled")
    return until(lambda: job if (job := client.fine_tuning.jobs.retrieve(job_id)).status in wanted else None, timeout_s)


def until(look: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """Call `look` until it gives something."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.02)
    return found


def messages(client: openai.OpenAI, job_id: str) -> list[str]:
    """The messages of a job's events, oldest first."""
    return [event.message for event in client.fine_tuning.jobs.list_events(job_id)][::-1]
