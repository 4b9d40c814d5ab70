"""The wire suite: one life of a fine-tune, check by check, through whatever openai package is installed.

It needs nothing but that package, so that old versions run it too: `python suite.py BASE_URL KEY [sync|async]`. Each
check prints `ok NAME` or `not ok NAME: REASON`; the exit status is 0 when all are ok.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import inspect
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openai

BASE = "tiny-random"
ROW = {"messages": [{"role": "user", "content": "Who keeps the lighthouse?"}, {"role": "assistant", "content": "Ada."}]}
ROWS = (json.dumps(ROW) + "\n").encode() * 12
TURNS = [{"role": "user", "content": "Hi"}]
METHOD = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 4, "batch_size": 4}}}

Call = Callable[..., Awaitable[Any]]


class Suite:
    """Runs the checks in order and remembers how each came out."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.outcomes: dict[str, str | None] = {}

    async def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the client by its dotted name, whichever kind of client it is."""
        target = self.client
        for part in name.split("."):
            target = getattr(target, part)
        found = target(*arguments, **options)
        return await found if inspect.isawaitable(found) else found

    async def all(self, page: Any) -> list[Any]:
        """Everything of a list or a stream, page after page."""
        if hasattr(page, "__aiter__"):
            return [item async for item in page]
        return list(page)

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """One named check."""
        assert name not in self.outcomes, name
        try:
            yield
            self.outcomes[name] = None
        except Exception as error:
            self.outcomes[name] = f"{type(error).__name__}: {error}"

    @contextmanager
    def refusal(self, name: str, kind: type[openai.APIStatusError], **expected: Any) -> Iterator[None]:
        """One named check that the server refuses with this status, and this `param` or `code`."""
        with self.check(name):
            told = None
            try:
                yield
            except kind as error:
                told = error
            assert told is not None, "it was not refused"
            assert {key: getattr(told, key) for key in expected} == expected, told
            assert told.response.headers["x-request-id"].startswith("req_")


async def run(client: Any, wrong: Any) -> dict[str, str | None]:
    """Run all checks with a client, and one with a client whose key is wrong."""
    suite = Suite(client)
    for part in (_files, _uploads, _jobs, _models, _chat, _completions):
        await part(suite)
    if hasattr(client, "responses"):  # clients before 2025 have no call for them
        await _responses(suite)
        await _kept(suite)
    suite.client = wrong
    with suite.refusal("a wrong key is 401", openai.AuthenticationError, code="invalid_api_key"):
        await suite.call("models.list")
    return suite.outcomes


async def _files(suite: Suite) -> None:
    call, check, refusal = suite.call, suite.check, suite.refusal
    made: list[Any] = []
    with check("files.create"):
        for number in range(3):
            made.append(await call("files.create", file=(f"{number}.jsonl", ROWS), purpose="fine-tune"))
        assert (made[0].object, made[0].bytes, made[0].filename) == ("file", len(ROWS), "0.jsonl")
        assert (made[0].purpose, made[0].status) == ("fine-tune", "processed")
    with check("files.retrieve"):
        assert (await call("files.retrieve", made[1].id)).id == made[1].id
    with check("files.content"):
        content = await call("files.content", made[0].id)
        assert (content.content if hasattr(content, "content") else content.read()) == ROWS
    with check("files.list is newest first and pages"):
        ids = [file.id for file in await suite.all(await call("files.list", extra_query={"limit": 2}))]
        assert ids == [file.id for file in reversed(made)]
    with check("files.list by order and after"):
        page = await call("files.list", extra_query={"order": "asc", "after": made[0].id})
        assert [file.id for file in page.data] == [made[1].id, made[2].id]
    with check("files.list by purpose"):
        assert (await call("files.list", purpose="evals")).data == []
    with check("files.create with expires_after"):
        more = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
        file = await call("files.create", file=("e.jsonl", ROWS), purpose="fine-tune", extra_body=more)
        assert file.expires_at == file.created_at + 3600
    with check("files.delete"):
        assert (await call("files.delete", made[2].id)).deleted is True
    with refusal("a deleted file is 404", openai.NotFoundError):
        await call("files.retrieve", made[2].id)
    with refusal("a wrong purpose is 400", openai.BadRequestError, param="purpose"):
        await call("files.create", file=("x.jsonl", ROWS), purpose="fun")
    with refusal("a wrong limit is 400", openai.BadRequestError, param="limit"):
        await call("files.list", extra_query={"limit": 0})


async def _uploads(suite: Suite) -> None:
    call, check, refusal = suite.call, suite.check, suite.refusal
    begin = {"bytes": len(ROWS), "filename": "u.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    upload, parts = None, []
    with check("uploads.create"):
        upload = await call("uploads.create", **begin)
        assert (upload.object, upload.status, upload.bytes) == ("upload", "pending", len(ROWS))
        assert upload.expires_at == upload.created_at + 3600
    with check("uploads.parts.create"):
        for data in (ROWS[300:], ROWS[:300]):
            parts.append((await call("uploads.parts.create", upload.id, data=data)).id)
    with refusal("parts of the wrong size are 400", openai.BadRequestError, param="part_ids"):
        await call("uploads.complete", upload.id, part_ids=parts[:1])
    with check("uploads.complete joins in the order asked for"):
        md5 = hashlib.md5(ROWS).hexdigest()
        done = await call("uploads.complete", upload.id, part_ids=parts[::-1], md5=md5)
        content = await call("files.content", done.file.id)
        assert (content.content if hasattr(content, "content") else content.read()) == ROWS
    with check("uploads.cancel"):
        upload = await call("uploads.create", **begin)
        assert (await call("uploads.cancel", upload.id)).status == "cancelled"
    with refusal("a cancelled upload takes no part", openai.BadRequestError, code="invalid_upload_state"):
        await call("uploads.parts.create", upload.id, data=b"x")


async def _jobs(suite: Suite) -> None:
    call, check, refusal = suite.call, suite.check, suite.refusal
    file = await call("files.create", file=("train.jsonl", ROWS), purpose="fine-tune")
    asked = {"model": BASE, "training_file": file.id, "extra_body": {"method": METHOD, "metadata": {"suite": "yes"}}}
    job = done = None
    with check("jobs.create"):
        job = await call("fine_tuning.jobs.create", **asked, suffix="suite", seed=7)
        assert (job.object, job.model, job.training_file) == ("fine_tuning.job", BASE, file.id)
        assert job.status == "validating_files"
        assert (job.fine_tuned_model, job.error, job.finished_at) == (None, None, None)
    with check("jobs.retrieve until it succeeded"):
        done = await _ended(suite, job.id)
        assert done.status == "succeeded", done.error
        assert done.fine_tuned_model.startswith(f"ft:{BASE}:local:suite:")
        assert done.trained_tokens > 0
        assert (done.seed, done.hyperparameters.n_epochs) == (7, 4)
    with check("jobs.list by metadata"):
        found = await call("fine_tuning.jobs.list", extra_query={"metadata[suite]": "yes"})
        assert [one.id for one in found.data] == [job.id]
        assert (await call("fine_tuning.jobs.list", extra_query={"metadata[suite]": "no"})).data == []
    with check("jobs.list_events is newest first and pages"):
        events = await suite.all(await call("fine_tuning.jobs.list_events", job.id, limit=3))
        assert events[0].message == "The job has successfully completed"
        assert len({event.id for event in events}) == len(events) > 12
    with check("metrics events tell each step"):
        steps = [event.data["step"] for event in events if event.type == "metrics"]
        assert steps == list(range(12, 0, -1))
    with check("checkpoints of the last three epochs"):
        kept = await suite.all(await call("fine_tuning.jobs.checkpoints.list", job.id, limit=2))
        assert [one.step_number for one in kept] == [12, 9, 6]
        assert kept[0].fine_tuned_model_checkpoint == f"{done.fine_tuned_model}:ckpt-step-12"
    with check("the result file is a table in base64"):
        content = await call("files.content", done.result_files[0])
        table = base64.b64decode(content.content if hasattr(content, "content") else content.read()).decode()
        assert table.startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,")
    with check("jobs.cancel"):
        other = await call("fine_tuning.jobs.create", **asked)
        assert (await call("fine_tuning.jobs.cancel", other.id)).status == "cancelled"
    with refusal("an ended job cannot be cancelled", openai.BadRequestError):
        await call("fine_tuning.jobs.cancel", other.id)
    with check("pause and resume"):
        other = await call("fine_tuning.jobs.create", **asked)
        for verb, status in (("pause", "paused"), ("resume", None), ("cancel", "cancelled")):
            moved = await _post(suite, f"/fine_tuning/jobs/{other.id}/{verb}")
            assert status is None or moved["status"] == status
    with check("too few examples fail the job"):
        short = await call("files.create", file=("short.jsonl", ROWS[: len(ROWS) // 4]), purpose="fine-tune")
        failed = await _ended(suite, (await call("fine_tuning.jobs.create", model=BASE, training_file=short.id)).id)
        assert (failed.status, failed.error.code) == ("failed", "invalid_n_examples")
    with refusal("an unknown base is 400", openai.BadRequestError, param="model"):
        await call("fine_tuning.jobs.create", model="gpt-none", training_file=file.id)
    with refusal("an unknown file is 400", openai.BadRequestError, param="training_file"):
        await call("fine_tuning.jobs.create", model=BASE, training_file="file-none")
    with refusal("an unserved parameter is 400", openai.BadRequestError, param="colour"):
        await call("fine_tuning.jobs.create", model=BASE, training_file=file.id, extra_body={"colour": "red"})
    with refusal("an unknown job is 404", openai.NotFoundError):
        await call("fine_tuning.jobs.retrieve", "ftjob-none")


async def _models(suite: Suite) -> None:
    call, check, refusal = suite.call, suite.check, suite.refusal
    tuned = next((model.id for model in await suite.all(await call("models.list")) if "ft:" in model.id), "")
    with check("models.list"):
        names = [model.id for model in await suite.all(await call("models.list"))]
        assert BASE in names
        assert sum(name.startswith("ft:") for name in names) == 4
    with check("models.retrieve"):
        model = await call("models.retrieve", tuned)
        assert (model.id, model.object) == (tuned, "model")
    with check("models.delete"):
        assert (await call("models.delete", tuned)).deleted is True
    with refusal("a deleted model is 404", openai.NotFoundError, code="model_not_found"):
        await call("models.retrieve", tuned)
    with refusal("a base cannot be deleted", openai.PermissionDeniedError, param="model"):
        await call("models.delete", BASE)


async def _chat(suite: Suite) -> None:
    call, check, refusal = suite.call, suite.check, suite.refusal
    ask = {"model": BASE, "messages": TURNS, "max_tokens": 6}
    with check("chat"):
        answer = await call("chat.completions.create", **ask, temperature=0)
        assert (answer.object, answer.choices[0].message.role) == ("chat.completion", "assistant")
        assert answer.usage.completion_tokens <= 6
        assert answer.choices[0].finish_reason in ("stop", "length")
    with check("chat, streamed, says the same"):
        chunks = await suite.all(await call("chat.completions.create", **ask, temperature=0, stream=True))
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert said == answer.choices[0].message.content
    with check("chat, streamed, tells the usage"):
        options = {"stream": True, "extra_body": {"stream_options": {"include_usage": True}}}
        chunks = await suite.all(await call("chat.completions.create", **ask, temperature=0, **options))
        assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], answer.usage.total_tokens)
    with check("chat with n"):
        several = await call("chat.completions.create", **ask, n=3)
        assert [choice.index for choice in several.choices] == [0, 1, 2]
    with check("chat with a seed repeats"):
        twice = [await call("chat.completions.create", **ask, temperature=1, seed=5) for _ in range(2)]
        assert twice[0].choices[0].message.content == twice[1].choices[0].message.content
    with check("chat with stop"):
        text = answer.choices[0].message.content
        cut = await call("chat.completions.create", **ask, temperature=0, stop=[text[1:3]])
        assert cut.choices[0].message.content == text[: text.index(text[1:3])]
    with check("chat with logprobs"):
        told = await call(
            "chat.completions.create", **ask, temperature=0, extra_body={"logprobs": True, "top_logprobs": 2}
        )
        assert len(told.choices[0].logprobs.content[0].top_logprobs) == 2
    with check("chat with max_completion_tokens"):
        brief = {"model": BASE, "messages": TURNS, "extra_body": {"max_completion_tokens": 2}}
        assert (await call("chat.completions.create", **brief)).usage.completion_tokens <= 2
    with refusal("a wrong temperature is 400", openai.BadRequestError, param="temperature"):
        await call("chat.completions.create", **ask, temperature=3)
    with refusal("an unknown model is 404", openai.NotFoundError, code="model_not_found"):
        await call("chat.completions.create", **{**ask, "model": "gpt-none"})


async def _completions(suite: Suite) -> None:
    call, check, refusal = suite.call, suite.check, suite.refusal
    ask = {"model": BASE, "prompt": "Once", "max_tokens": 6, "temperature": 0}
    with check("completion"):
        answer = await call("completions.create", **ask)
        assert (answer.object, answer.usage.completion_tokens <= 6) == ("text_completion", True)
    with check("completion, streamed, says the same"):
        chunks = await suite.all(await call("completions.create", **ask, stream=True))
        assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text
    with check("completions of several prompts"):
        both = await call("completions.create", **{**ask, "prompt": ["Once", "A house"]}, n=2)
        assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    with check("completion with logprobs"):
        told = (await call("completions.create", **ask, logprobs=2)).choices[0].logprobs
        assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs)
    with refusal("embeddings are not served", openai.NotFoundError, code="unknown_url"):
        await call("embeddings.create", model=BASE, input="x")


async def _responses(suite: Suite) -> None:
    call, check, refusal = suite.call, suite.check, suite.refusal
    ask: dict[str, Any] = {"model": BASE, "input": "Hi", "max_output_tokens": 6, "temperature": 0}
    first = second = None
    with check("responses.create"):
        first = await call("responses.create", **ask)
        assert (first.object, first.output[0].type, first.usage.output_tokens <= 6) == ("response", "message", True)
    with check("response, streamed, says the same"):
        events = await suite.all(await call("responses.create", **ask, stream=True))
        said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert said == first.output[0].content[0].text
        assert (events[0].type, events[-1].response.usage.total_tokens) == (
            "response.created",
            first.usage.total_tokens,
        )
    with check("responses go on from one another"):
        second = await call("responses.create", **{**ask, "input": "Go on."}, previous_response_id=first.id)
        assert second.usage.input_tokens > first.usage.input_tokens
    with check("responses.retrieve and input_items"):
        assert (await call("responses.retrieve", second.id)).previous_response_id == first.id
        items = await suite.all(await call("responses.input_items.list", second.id, limit=2))
        assert [item.role for item in items] == ["user", "assistant", "user"]
    with check("responses.delete"):
        await call("responses.delete", first.id)
    with refusal("a deleted response is 404", openai.NotFoundError):
        await call("responses.retrieve", first.id)
    with refusal("reasoning is 400", openai.BadRequestError, param="reasoning"):
        await call("responses.create", **ask, reasoning={"effort": "low"})
    with refusal("a tool that the server would run is 400", openai.BadRequestError, param="tools.[0]"):
        await call("responses.create", **ask, tools=[{"type": "web_search"}])


async def _kept(suite: Suite) -> None:
    call, check = suite.call, suite.check
    ask = {"model": BASE, "messages": TURNS, "max_tokens": 2, "store": True}
    made = []
    with check("chat with store is kept and listed"):
        made = [(await call("chat.completions.create", **ask)).id for _ in range(3)]
        assert [one.id for one in await suite.all(await call("chat.completions.list", limit=2))] == made
        told = await suite.all(await call("chat.completions.messages.list", made[0]))
        assert [message.content for message in told] == ["Hi"]
    with check("a kept chat is updated and deleted"):
        assert (await call("chat.completions.update", made[0], metadata={"a": "b"})).id == made[0]
        found = await call("chat.completions.list", extra_query={"metadata[a]": "b"})
        assert [one.id for one in found.data] == [made[0]]
        assert (await call("chat.completions.delete", made[0])).deleted is True


async def _ended(suite: Suite, job_id: str) -> Any:
    deadline = time.monotonic() + 120
    while (job := await suite.call("fine_tuning.jobs.retrieve", job_id)).status not in ("succeeded", "failed"):
        assert time.monotonic() < deadline, job.status
        await asyncio.sleep(0.05)
    return job


async def _post(suite: Suite, path: str) -> Any:
    """For what an old client has no method for."""
    return await suite.call("post", path, cast_to=object, body={})


def main() -> int:
    base_url, key, kind = [*sys.argv[1:], "sync"][:3]
    make = openai.OpenAI if kind == "sync" else openai.AsyncOpenAI
    shared: Any = {"base_url": base_url, "max_retries": 0}
    outcomes = asyncio.run(run(make(api_key=key, **shared), make(api_key="wrong", **shared)))
    for name, problem in outcomes.items():
        print(f"ok {name}" if problem is None else f"not ok {name}: {problem}")
    print(f"openai {openai.__version__} {kind}: {sum(p is None for p in outcomes.values())} of {len(outcomes)} checks")
    return int(any(outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
