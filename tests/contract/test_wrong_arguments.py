"""Every public callable with each argument of the wrong kind: a sentence that names it, or a right answer."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

import ragtune as rt
import ragtune.webhooks
from ragtune.catalog import load
from ragtune.dialects import GENERIC
from ragtune.maintenance import CleanupPlan
from ragtune.registry import AsyncRegistry, Ledger
from tests.contract.test_foreign_bodies import answered, server, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ragtune._api import Api

__all__ = ["server"]

pytestmark = pytest.mark.filterwarnings("ignore")

WRONG: tuple[Any, ...] = (None, 3, "x", "", [], object())
# Rooms whose callables are not held to this yet; the list may only get shorter.
LEFT_OUT = {"checks", "dataset", "facts", "feedback", "layouts", "modelling", "privacy", "records", "retrieval", "text"}
# Of recipe files pydantic says what is wrong, in words of its own.
LEFT_OUT |= {"evaluation", "recipe_file", "tokens", "train"}
# A server in the foreground, whose `x` is a folder; and what runs for seconds whatever it is given.
BLOCKING = {"serve", "examine"}
SPEC = rt.TuneSpec(model="base", seed=7)
# What is given where nothing is said to be wrong, by the parameter's name.
GOOD: dict[str, Any] = {
    "about": "ftjob-1",
    "alias": "prod",
    "body": {"id": "ftjob-1", "choices": []},
    "change": lambda body: body,
    "counts": [1, 2],
    "file_id": "file-1",
    "headers": {},
    "job_id": "ftjob-1",
    "journal": None,
    "max_tokens": 4,
    "messages": [{"role": "user", "content": "x"}],
    "method": rt.Supervised(),
    "model": "base",
    "name": "ft:m",
    "now": 1_800_000_000.0,
    "path": "made.json",
    "payload": b"{}",
    "prompt": "x",
    "prompts": ["x", "y"],
    "run_id": 1,
    "source": "made.jsonl",
    "spec": SPEC,
    "timeout_s": 900,
    "url": "http://127.0.0.1:9/v1",
    "word": "done",
}
OF_ONE: dict[str, dict[str, Any]] = {
    "Absolute": {"value": 1e-4},
    "Multiplier": {"value": 1.8},
    "LocalBackend": {"folder": "backend"},
    "LocalBackend.export": {"folder": "out"},
    "Metrics.plot": {"path": "loss.png"},
    "ScriptedBackend.change_next": {"call": "files.create"},
    "ScriptedBackend.fail_next": {"call": "files.create", "status": 500},
    "dialect_named": {"name": "openai"},
    "dialect_of": {"base_url": "http://x/v1"},
}
PACKAGES = [package for package in pkgutil.iter_modules(rt.__path__) if not package.name.startswith(("_", "cli"))]


class Bench:
    """What the calls are made on."""

    def __init__(self, api: Api, async_api: Api, dataset: rt.Dataset) -> None:
        from ragtune.testing import ScriptedBackend

        rows = (rt.monitor.MetricRow(step=1, train_loss=1.0),)
        job = rt.FineTuneJob.get(api, "ftjob-1", journal=None)
        async_job = rt.AsyncFineTuneJob(job._state)
        registry = rt.Registry("models.sqlite3")
        version = registry.add("base")
        registry.promote("prod", "base", force=True, by="anna", why="first")
        facts = rt.FactSet.from_rows([{"q": "x", "a": "y"}], question="q", answer="a")
        plan = CleanupPlan(rows=(), server="none", made_at=datetime.now(UTC))
        self.client = {False: api, True: async_api}
        self.good = GOOD | {"dataset": dataset, "jobs": [job], "job": job, "state": job._state, "plan": plan}
        self.good |= {"version": version, "facts": facts, "person": "anna", "store": rt.FeedbackStore("fb.sqlite3")}
        self.made: dict[str, Any] = {
            "AsyncRegistry": AsyncRegistry("models.sqlite3"),
            "CleanupPlan": plan,
            "Gate": rt.Gate(reworded_at_least=0.7),
            "Ledger": Ledger(facts, datasets=[], journal=None),
            "Registry": registry,
            "Answer": rt.Answer.from_wire(answered("hi")),
            "Budget": rt.Budget(9.0),
            "Catalog": load(),
            "Dialect": GENERIC,
            "FineTuneJob": job,
            "AsyncFineTuneJob": async_job,
            "JobMonitor": rt.JobMonitor(job),
            "AsyncJobMonitor": rt.AsyncJobMonitor(async_job),
            "Journal": rt.Journal("journal.sqlite3"),
            "LocalBackend": importlib.import_module("ragtune.local").LocalBackend("backend"),
            "Maintenance": rt.Maintenance(api, enabled=True),
            "AsyncMaintenance": rt.AsyncMaintenance(async_api, enabled=True),
            "Metrics": rt.Metrics(rows=rows),
            "Recipe": rt.Recipe("qa_single"),
            "ScriptedBackend": ScriptedBackend("scripted"),
            "TunedModel": rt.TunedModel(api, "ft:m", system="", journal=None),
            "AsyncTunedModel": rt.AsyncTunedModel(async_api, "ft:m", system="", journal=None),
            "TuneSpec": SPEC,
            "Webhooks": ragtune.webhooks.Webhooks(openai.OpenAI(api_key="k"), secret="whsec_c2VjcmV0"),
        }


def callables() -> Iterator[tuple[str, str, str, str]]:
    """Room, module, name and method of everything that stands in an `__all__`, each once."""
    seen = set()
    for package in PACKAGES:
        module = importlib.import_module(f"ragtune.{package.name}")
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            home = getattr(value, "__module__", None) or ""
            if not callable(value) or not home.startswith("ragtune.") or value in seen:
                continue
            seen.add(value)
            room = home.split(".")[1]
            is_error = inspect.isclass(value) and issubclass(value, BaseException)
            if room in LEFT_OUT or is_error or name in BLOCKING:
                continue
            yield room, module.__name__, name, ""
            for method in vars(value) if inspect.isclass(value) else ():
                if not method.startswith("_") and callable(getattr(value, method)):
                    yield room, module.__name__, name, method


FOUND = sorted(set(callables()))


@pytest.fixture
def bench(
    api: Api, make_async_api: Any, server: Any, dataset: rt.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], tuple[Bench, openai.AsyncOpenAI]]:
    monkeypatch.chdir(tmp_path)
    Path("made.jsonl").write_bytes(Path(str(dataset.train.path)).read_bytes())

    def make() -> tuple[Bench, openai.AsyncOpenAI]:
        client, async_api = make_async_api()
        return Bench(api, async_api, dataset), client

    return make


def test_the_rooms_that_are_left_out_are_there() -> None:
    assert {package.name for package in PACKAGES} >= LEFT_OUT
    assert len(FOUND) > 100


@pytest.mark.slow
@pytest.mark.parametrize("room", sorted({room for room, *_ in FOUND}))
def test_an_argument_of_the_wrong_kind_gets_a_sentence(room: str, bench: Any) -> None:
    async def all_of_them() -> list[str]:
        own, client = bench()
        async with client:
            return [said for home, *call in FOUND if home == room for said in await faults(own, *call)]

    found = asyncio.run(all_of_them())
    assert not found, "\n".join(found)


async def faults(bench: Bench, module: str, name: str, method: str) -> list[str]:
    """What goes wrong with one callable, a line each."""
    kind = bench.made.get(name) if method else None
    kind = getattr(importlib.import_module(module), name) if kind is None else kind
    function = getattr(kind, method) if method else kind
    asynchronous = name.startswith("Async") or module == "ragtune.aio" or inspect.iscoroutinefunction(function)
    place = f"{name}.{method}" if method else name
    parameters = inspect.signature(function).parameters.values()
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) and one.name != "self"]
    good = bench.good | {"client": bench.client[asynchronous]} | OF_ONE.get(place, {})
    base = {one.name: good[one.name] for one in named if one.default is one.empty and one.name in good}
    base |= OF_ONE.get(place, {})
    told = [
        (one.name, wrong, await fault(function, base | {one.name: wrong}, one.name)) for one in named for wrong in WRONG
    ]
    return [f"{place}({parameter}={wrong!r}): {said}" for parameter, wrong, said in told if said]


async def fault(function: Any, arguments: dict[str, Any], name: str) -> str | None:
    """What is wrong with what came, None where it is an answer or a sentence."""
    try:
        await settled(function(**arguments))
    except (rt.RagtuneError, openai.OpenAIError):
        return None
    except (TypeError, ValueError) as error:
        if "missing" in str(error) and "required" in str(error):
            return None
        here = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        ours = Path(rt.__file__).parent in here.parents and (name in str(error) or "takes" in str(error))
        return None if ours else f"{type(error).__name__}: {error} ({here.name})"
    except OSError:
        return None  # the disk's own words, for a path of the right kind
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
