"""Every request that the client side sends, judged by OpenAI's own schema.

The judge is prism, a mock that answers 422 to a request that breaks the schema. Each call of ours must come before it.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import suppress
from socket import socket
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

import ragtune as rt
from ragtune._api import Api
from ragtune._api.calls import CALLS, LocalFile
from ragtune._api.ports import AsyncPort, SyncPort
from ragtune._sync import run
from ragtune.files.parts import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The model in the mock's examples was shut down, of which every use of it warns.
pytestmark = pytest.mark.filterwarnings("ignore::ragtune.ExpiryWarning")

GRADER = {
    "type": "string_check",
    "name": "same",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
}
SPECS = [
    rt.TuneSpec(model="base"),
    rt.TuneSpec(
        model="base",
        method=rt.Supervised(n_epochs=50, batch_size=256, learning_rate=rt.Multiplier(1.8)),
        seed=2**31 - 1,
        suffix="x" * 64,
        metadata={"k" * 64: "v" * 512},
    ),
    rt.TuneSpec(model="base", method=rt.DPO(beta=2.0, n_epochs=1, learning_rate=rt.Multiplier(0.01)), seed=0),
    rt.TuneSpec(
        model="base",
        method=rt.Reinforcement(
            grader=GRADER,
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
            reasoning_effort="low",
            compute_multiplier=10,
            eval_interval=1,
            eval_samples=1,
        ),
    ),
]


@pytest.fixture(scope="module")
def prism(prism_command: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a running judge."""
    command, schema = prism_command
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("prism") / "log.txt"
    with log.open("wb") as out:
        judge = subprocess.Popen(
            [command, "mock", "-h", "127.0.0.1", "-p", str(port), "--errors", schema], stdout=out, stderr=out
        )
        try:
            deadline = time.monotonic() + 60
            while b"Prism is listening" not in log.read_bytes():
                assert judge.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            judge.terminate()
            judge.wait(timeout=10)


class Docket:
    """Writes down which calls came before the judge and what it said."""

    def __init__(self) -> None:
        self.calls: set[str] = set()
        self.verdicts: list[tuple[str, str, int]] = []

    def verdict(self, response: httpx2.Response) -> None:
        self.verdicts.append((response.request.method, response.request.url.path, response.status_code))

    async def verdict_async(self, response: httpx2.Response) -> None:
        self.verdict(response)

    def closed(self) -> None:
        """Every call was judged, and none was found wanting."""
        refused = [entry for entry in self.verdicts if entry[2] >= 400]
        assert refused == []
        # The cut of the schema has no responses; test_responses.py judges that request by the client's own types.
        judged = {name: call for name, call in CALLS.items() if name != "responses.create"}
        assert self.calls == judged.keys()
        assert {(call.method, call.path.count("/")) for call in judged.values()} <= {
            (method, path.removeprefix("/v1").count("/")) for method, path, _ in self.verdicts
        }


def noting(port: Any, docket: Docket) -> Api:
    """The calls over a port that names each one in the docket."""
    for verb in ("call", "items", "stream", "content"):
        inner = getattr(port, verb)

        def noted(name: str, /, *args: Any, inner: Any = inner, **kwargs: Any) -> Any:
            docket.calls.add(name)
            return inner(name, *args, **kwargs)

        setattr(port, verb, noted)
    return Api(port)


def test_every_request_is_valid_by_openais_schema(prism: str, dataset: rt.Dataset, tmp_path: Path) -> None:
    docket = Docket()
    transport = httpx2.Client(event_hooks={"response": [docket.verdict]}, timeout=10)
    with openai.OpenAI(base_url=prism, api_key="k", http_client=transport, timeout=10, max_retries=0) as client:
        api = noting(SyncPort(client), docket)
        jobs = [rt.FineTuneJob.create(api, dataset, SPECS[1], new=True, force=True)]
        jobs += [
            rt.FineTuneJob.create(api, "file-1", spec, validation="file-2", new=True, force=True) for spec in SPECS
        ]
        job = rt.FineTuneJob.load(api, jobs[0].save(tmp_path / "job.json"))
        job.refresh().cancel().pause().resume().checkpoints()
        monitor = rt.JobMonitor(job)
        assert next(iter(monitor.events())).id
        monitor.wait(timeout_s=5)
        monitor.metrics()
        rt.JobMonitor.table(api, limit=3)
        rt.list_jobs(api, limit=2, status="succeeded", metadata={"team": "a"})
        rt.upload(api, dataset, new=True)
        api_files = rt.Maintenance(api, enabled=True)
        api_files.files()
        api_files.models()
        api_files.events(job.id, limit=1)
        api_files.cancel(job.id)
        api_files.delete_file("file-1")
        api_files.delete_model("ft:base:org:suffix:abc123")
        use(rt.TunedModel(api, "ft:base:org:suffix:abc123:ckpt-step-88", system="Add up."))
        with suppress(openai.APIError):
            list(rt.TunedModel(api, "ft:x", system="").stream("Why?"))
        rt.FineTuneJob.plan(api, dataset, SPECS[0], probe=True, force=True)
        _ = api_files.job(job.id)
        run(api.file("file-1"))
        in_parts(api, dataset)
    docket.closed()


def in_parts(api: Api, dataset: rt.Dataset) -> None:
    """Send a file as large ones are sent."""
    path = dataset.train.path
    assert path
    file = LocalFile(path=path, name="train.jsonl", bytes=path.stat().st_size, sha256=None)
    upload = run(api.begin_upload(file))["id"]
    parts = [run(api.add_part(upload, part))["id"] for part in parts_of(file)]
    run(api.complete_upload(upload, parts))
    run(api.cancel_upload(upload))


def use(model: rt.TunedModel) -> None:
    """Ask in all ways."""
    model.ask("Why?", max_tokens=5, logprobs=True, top_logprobs=2, n=2, seed=7, stop=["."], temperature=2)
    model.ask("Why?", system="", temperature=None, presence_penalty=-2, frequency_penalty=2, top_p=0.5)
    assert all(isinstance(answer, rt.Answer) for answer in model.ask_many(["a", "b"]))
    model.chat(
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    )
    model.complete("Go on", max_tokens=3, temperature=0.5, stop="\n")
    model.expiry()


def test_the_asynchronous_requests_are_the_same(prism: str, dataset: rt.Dataset) -> None:
    async def walk() -> Docket:
        docket = Docket()
        transport = httpx2.AsyncClient(event_hooks={"response": [docket.verdict_async]}, timeout=10)
        async with openai.AsyncOpenAI(
            base_url=prism, api_key="k", http_client=transport, timeout=10, max_retries=0
        ) as client:
            api = noting(AsyncPort(client), docket)
            job = await rt.AsyncFineTuneJob.create(api, dataset, SPECS[1], new=True, force=True)
            await rt.AsyncJobMonitor(job).wait(timeout_s=5)
            model = rt.AsyncTunedModel(api, "ft:base:o::1", system="Add up.")
            assert (await model.ask("Why?", max_tokens=3)).choices
            await model.complete("Go on")
            await rt.AsyncMaintenance(api, enabled=True).delete_model("ft:base:o::1")
        return docket

    docket = asyncio.run(walk())
    assert {status for _, _, status in docket.verdicts} == {200}
    assert {"files.create", "fine_tuning.jobs.create", "chat.completions.create", "models.delete"} <= docket.calls


@pytest.mark.parametrize("body", [{"seed": -1}, {"suffix": ""}, {"method": {"type": "magic"}}])
def test_the_judge_refuses_what_breaks_the_schema(prism: str, body: dict[str, Any]) -> None:
    """Otherwise the tests above would prove nothing."""
    with (
        openai.OpenAI(base_url=prism, api_key="k", timeout=10, max_retries=0) as client,
        pytest.raises(openai.UnprocessableEntityError),
    ):
        client.fine_tuning.jobs.create(model="base", training_file="file-1", extra_body=body)
