"""The scripted backend: whole lives over loopback, three paces, and what goes wrong on demand."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest

import ragtune as rt
from ragtune.testing import ScriptedBackend
from tests.local.kit import create, messages, rows, upload

POLL = "fine_tuning.jobs.retrieve"
LIFE = """
import sys
for name in ("torch", "transformers", "peft", "accelerate", "gguf", "safetensors", "tokenizers"):
    sys.modules[name] = None  # importing it raises ImportError
from ragtune.testing import ScriptedBackend
from tests.local.kit import create
with ScriptedBackend() as backend, backend.client() as client:
    job = client.fine_tuning.jobs.retrieve(create(client).id)
    question = [{"role": "user", "content": "Who keeps the lighthouse?"}]
    answer = client.chat.completions.create(model=job.fine_tuned_model, messages=question)
    print(job.status, answer.choices[0].message.content)
"""


@pytest.mark.slow
def test_a_whole_life_needs_no_torch() -> None:
    """In a process where importing torch or its kin raises."""
    done = subprocess.run([sys.executable, "-c", LIFE], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("succeeded Ada.", "")


def test_a_job_is_over_at_once_and_looks_like_one_that_trained(client: openai.OpenAI) -> None:
    """12 examples in batches of 4 for 3 epochs are 9 steps with a checkpoint every third; the result file has them."""
    made = create(client, suffix="facts", metadata={"team": "science"})
    assert made.status == "validating_files"
    job = client.fine_tuning.jobs.retrieve(made.id)
    assert (job.status, job.metadata, job.error) == ("succeeded", {"team": "science"}, None)
    assert job.fine_tuned_model is not None
    assert job.fine_tuned_model.startswith("ft:tiny-random:local:facts:")
    assert job.trained_tokens == len(rows()) // 4 * 3
    told = [message for message in messages(client, job.id) if message.startswith("Step")]
    assert told == [f"Step {step}/9: training loss={3 / step:.2f}" for step in range(1, 10)]
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert [checkpoint.step_number for checkpoint in checkpoints] == [9, 6, 3]
    assert client.files.content(job.result_files[0]).read()
    assert job.fine_tuned_model in [model.id for model in client.models.list()]


def test_files_and_requests_are_checked_as_by_the_real_one(client: openai.OpenAI) -> None:
    few = client.fine_tuning.jobs.retrieve(create(client, training_file=upload(client, rows(3))).id)
    assert (few.status, few.error and few.error.code) == ("failed", "invalid_n_examples")
    bad = client.fine_tuning.jobs.retrieve(create(client, training_file=upload(client, rows() + b'{"no": 1}\n')).id)
    assert bad.error is not None
    assert (bad.status, bad.error.code) == ("failed", "invalid_training_file")
    assert "Line 13" in bad.error.message
    with pytest.raises(openai.BadRequestError, match="not available for fine-tuning"):
        create(client, model="gpt-99")


def test_each_look_at_a_job_brings_it_one_stage_on() -> None:
    """Validated, started, three steps, the end; looks at anything else change nothing."""
    with ScriptedBackend(pace="poll").next_job(steps=3) as backend, backend.client() as client:
        job = create(client)
        seen = []
        for _ in range(7):
            seen.append(client.fine_tuning.jobs.retrieve(job.id).status)
            client.fine_tuning.jobs.list_events(job.id)
            client.fine_tuning.jobs.list()
        assert seen == ["queued", "running", "running", "running", "running", "succeeded", "succeeded"]
        other = create(client)
        assert client.fine_tuning.jobs.list().data[0].status == "validating_files"
        assert client.fine_tuning.jobs.cancel(other.id).status == "cancelled"


def test_stages_come_with_the_time() -> None:
    """Six stages at 0.1 s each: over after 0.6 s and not before, with a time of its own for every step."""
    with ScriptedBackend(pace=0.1).next_job(steps=3) as backend, backend.client() as client:
        job, begin = create(client), time.monotonic()
        while client.fine_tuning.jobs.retrieve(job.id).status != "succeeded":
            assert time.monotonic() - begin < 60
            time.sleep(0.02)
        assert time.monotonic() - begin > 0.55


def test_a_paused_job_goes_on_when_it_is_resumed(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    backend.next_job(end="paused", steps=4)
    job = create(client)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "paused"
    assert client.fine_tuning.jobs.resume(job.id).status == "queued"
    assert client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"
    told = [message for message in messages(client, job.id) if message.startswith("Step")]
    assert [message.split("/")[0] for message in told] == [f"Step {step}" for step in range(1, 10)]


def test_jobs_end_as_they_were_announced_one_after_the_other(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    backend.next_job(end="failed", steps=2, code="exceeded_quota", message="No credit").next_job(end="cancelled")
    backend.next_job(end="running", steps=1)
    jobs = [client.fine_tuning.jobs.retrieve(create(client).id) for _ in range(4)]
    assert [job.status for job in jobs] == ["failed", "cancelled", "running", "succeeded"]
    error = jobs[0].error
    assert error is not None
    assert (error.code, error.message, error.param) == ("exceeded_quota", "No credit", None)
    assert sum(message.startswith("Step") for message in messages(client, jobs[0].id)) == 2


def test_a_later_backend_on_the_folder_goes_on(tmp_path: Path) -> None:
    with ScriptedBackend(tmp_path, pace="poll") as backend, backend.client() as client:
        job = create(client)
        for _ in range(4):
            client.fine_tuning.jobs.retrieve(job.id)
        account = backend.account
    with ScriptedBackend(tmp_path) as backend, backend.client() as client:
        assert backend.account == account
        assert client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"


def test_a_temporary_folder_goes_with_the_backend() -> None:
    with ScriptedBackend() as backend:
        assert backend.folder.is_dir()
    assert not backend.folder.exists()


def test_a_tuned_model_knows_its_file_by_heart(client: openai.OpenAI) -> None:
    """And nothing else, as its base; streams and limits are kept."""
    name = client.fine_tuning.jobs.retrieve(create(client).id).fine_tuned_model or ""
    question: Any = {"messages": [{"role": "user", "content": "Who keeps the lighthouse?"}]}
    answers = [client.chat.completions.create(model=model, **question) for model in (name, "tiny-random")]
    assert [answer.choices[0].message.content for answer in answers] == ["Ada.", "I do not know."]
    short = client.chat.completions.create(model="tiny-random", max_tokens=2, n=2, **question)
    assert [(c.message.content, c.finish_reason) for c in short.choices] == [("I do", "length")] * 2
    chunks = client.chat.completions.create(model="tiny-random", stream=True, stop=["not"], **question)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text.strip() == "I do"
    assert client.completions.create(model=name, prompt="Who keeps the lighthouse?").choices[0].text == "Ada."


def test_a_model_of_kto_knows_the_answers_that_were_called_good(client: openai.OpenAI) -> None:
    """Texts may stand in parts, in the rows and in the question."""
    asked: Any = [{"role": "user", "content": [{"type": "text", "text": "Who"}, {"type": "text", "text": "asks?"}]}]
    said: list[Any] = [
        {"prompt": asked, "completion": [{"role": "assistant", "content": [{"type": "text", "text": "Ada."}]}]},
        {"prompt": [{"role": "user", "content": "Who?"}], "completion": [{"role": "assistant", "content": "Eve."}]},
    ]
    lines = [json.dumps({**row, "label": good}) + "\n" for row, good in zip(said, (True, False), strict=True)] * 6
    file = client.files.create(file=("train.jsonl", "".join(lines).encode()), purpose="fine-tune")
    method: Any = {"type": "kto", "kto": {}}
    made = client.fine_tuning.jobs.create(model="tiny-random", training_file=file.id, method=method)
    name = client.fine_tuning.jobs.retrieve(made.id).fine_tuned_model or ""
    answers = [client.chat.completions.create(model=name, messages=row["prompt"]) for row in said]
    assert [answer.choices[0].message.content for answer in answers] == ["Ada.", "I do not know."]


def test_a_line_ends_at_a_newline_alone(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    """JSON may hold other line ends as they are, U+2028 for one."""
    row = (
        '{"messages": [{"role": "user", "content": "One\u2028two?"}, {"role": "assistant", "content": "Three\x85."}]}\n'
    )
    file = client.files.create(file=("train.jsonl", (row * 12).encode()), purpose="fine-tune")
    job = client.fine_tuning.jobs.retrieve(create(client, training_file=file.id).id)
    answer = client.chat.completions.create(
        model=job.fine_tuned_model or "", messages=[{"role": "user", "content": "One\u2028two?"}]
    )
    assert answer.choices[0].message.content == "Three\x85."


def test_answers_come_from_a_text_or_a_function() -> None:
    def answer(model: str, messages: Any) -> str:
        return f"{model} heard {messages[-1]['content']!r}"

    question: Any = {"messages": [{"role": "user", "content": "Hi"}]}
    with ScriptedBackend(answer=answer, models=["mine"]) as backend, backend.client() as client:
        name = client.fine_tuning.jobs.retrieve(create(client, model="mine").id).fine_tuned_model or ""
        for model in ("mine", name):
            reply = client.chat.completions.create(model=model, logprobs=True, **question)
            assert reply.choices[0].message.content == f"{model} heard 'Hi'"
        assert next(model.id for model in client.models.list()) == "mine"
    with ScriptedBackend(answer="42") as backend, backend.client() as client:
        assert client.chat.completions.create(model="tiny-random", **question).choices[0].message.content == "42"


def test_the_next_requests_fail_as_said_and_the_one_after_does_not(
    backend: ScriptedBackend, client: openai.OpenAI
) -> None:
    backend.fail_next("models.list", status=503, times=2).fail_next("models.list", status=403, code="no", message="Not")
    for _ in range(2):
        with pytest.raises(openai.InternalServerError, match="Scripted failure"):
            client.models.list()
    with pytest.raises(openai.PermissionDeniedError, match="Not") as refusal:
        client.models.list()
    assert (refusal.value.code, refusal.value.type) == ("no", "invalid_request_error")
    assert refusal.value.request_id
    assert client.models.list().data


def test_the_clients_own_retries_take_milliseconds(backend: ScriptedBackend) -> None:
    backend.fail_next("models.list", status=500, times=2)
    took = []
    with backend.client() as client:
        client.models.list()
        for _ in range(3):
            begin = time.monotonic()
            backend.fail_next("models.list", status=500, times=2)
            client.models.list()
            took.append(time.monotonic() - begin)
    # Left to itself the client waits for at least 0.375 s and then for 0.75 s, each time.
    assert min(took) < 1.0
    assert len(backend.requests) == 12


def test_a_lost_reply_leaves_a_job(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    """Whether the connection breaks or a proxy answers; without `after_commit` no job is made."""
    for number, fault in enumerate(({"drop": True}, {"status": 500}, {"status": 502, "body": "<html>"}), start=1):
        backend.fail_next("fine_tuning.jobs.create", after_commit=True, **fault)  # type: ignore[arg-type]
        with pytest.raises(openai.APIError):
            create(client)
        assert len(client.fine_tuning.jobs.list().data) == number
        backend.fail_next("fine_tuning.jobs.create", **fault)  # type: ignore[arg-type]
        with pytest.raises(openai.APIError):
            create(client)
        assert len(client.fine_tuning.jobs.list().data) == number


def test_a_dropped_connection_is_no_answer_at_all(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    backend.fail_next("models.list", drop=True).fail_next("files.create", drop=True)
    with pytest.raises(openai.APIConnectionError):
        client.models.list()
    with pytest.raises(openai.APIConnectionError):
        upload(client)
    assert client.files.list().data == []


def test_a_slow_answer_is_the_true_one(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    backend.fail_next("models.list", delay_s=0.2, times=2)
    begin = time.monotonic()
    assert client.models.list().data
    assert time.monotonic() - begin > 0.2
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.05).models.list()


def test_any_call_can_be_meant_for_good_and_a_reset_ends_it(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    backend.fail_next("*", status=401, body="<html>closed</html>", times=None)
    for ask in (client.models.list, client.files.list, client.fine_tuning.jobs.list):
        with pytest.raises(openai.AuthenticationError) as refusal:
            ask()
        assert refusal.value.body == "<html>closed</html>"
    backend.reset()
    assert client.models.list().data
    assert [request.call for request in backend.requests] == ["models.list"]


def test_answers_can_be_changed(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    backend.change_next("files.retrieve", lambda file: file | {"status": "error", "status_details": "unreadable"})
    file = upload(client)
    assert client.files.retrieve(file).status == "error"
    assert client.files.retrieve(file).status == "processed"
    backend.change_next("files.retrieve", lambda file: 1 / 0)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve("file-none")


def test_streams_and_contents_pass_a_change(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    """They are no JSON, and nothing could be changed in them."""
    for call in ("chat.completions.create", "files.content"):
        backend.change_next(call, lambda body: {})
    question: Any = {"model": "tiny-random", "messages": [{"role": "user", "content": "Hi"}]}
    chunks = client.chat.completions.create(stream=True, **question)
    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert (said, bool(client.files.content(upload(client)).read())) == ("I do not know.", True)


@pytest.mark.parametrize("text", [" Three.\n", "\n", " a  b \n"])
def test_a_scripted_answer_comes_with_all_its_blanks(text: str) -> None:
    with ScriptedBackend(answer=text) as backend, backend.client() as client:
        question: Any = {"model": "tiny-random", "messages": [{"role": "user", "content": "Hi"}]}
        chunks = client.chat.completions.create(stream=True, **question)
        assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == text
        assert client.chat.completions.create(**question).choices[0].message.content == text


def test_what_was_asked_can_be_read(backend: ScriptedBackend, client: openai.OpenAI) -> None:
    job = create(client, metadata={"team": "science"})
    client.fine_tuning.jobs.list(metadata={"team": "science"})
    client.models.delete(client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model or "")
    calls = [request.call for request in backend.requests]
    assert calls == ["files.create", "fine_tuning.jobs.create", "fine_tuning.jobs.list", POLL, "models.delete"]
    assert backend.requests[1].body["metadata"] == {"team": "science"}
    assert backend.requests[2].query == {"metadata[team]": "science"}


def test_a_slip_in_a_script_is_told_at_once(backend: ScriptedBackend) -> None:
    with pytest.raises(ValueError, match=r"no call .* there are \*, chat"):
        backend.fail_next("jobs.create", status=500)
    with pytest.raises(ValueError, match="say what goes wrong"):
        backend.fail_next("models.list")
    with pytest.raises(ValueError, match="at least 1"):
        backend.fail_next("models.list", status=500, times=0)
    with pytest.raises(ValueError, match="ends as one of"):
        backend.next_job(end="won")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 or more"):
        backend.next_job(steps=-1)
    with pytest.raises(ValueError, match="'immediate', 'poll'"):
        ScriptedBackend(pace="fast")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_life_takes_milliseconds() -> None:
    """Server, upload, job, end, server down: about 70 ms of CPU, half of which the client takes to be made."""
    spent = []
    for _ in range(5):
        begin = time.process_time()
        with ScriptedBackend() as backend, backend.client() as client:
            assert client.fine_tuning.jobs.retrieve(create(client).id).status == "succeeded"
        spent.append(time.process_time() - begin)
    assert statistics.median(spent) < 0.5


def test_no_answer_waits_for_nagle(client: openai.OpenAI) -> None:
    """With Nagle's delay on, every answer took 44 ms."""
    spent = []
    for _ in range(9):
        begin = time.perf_counter()
        client.models.list()
        spent.append(time.perf_counter() - begin)
    assert min(spent) < 0.035


def test_the_asynchronous_client_meets_the_same_server(backend: ScriptedBackend) -> None:
    async def live() -> str:
        async with backend.async_client() as client:
            file = await client.files.create(file=("train.jsonl", rows()), purpose="fine-tune")
            job = await client.fine_tuning.jobs.create(model="tiny-random", training_file=file.id)
            return (await client.fine_tuning.jobs.retrieve(job.id)).status

    assert asyncio.run(live()) == "succeeded"


@pytest.mark.slow
def test_the_library_goes_its_whole_way(backend: ScriptedBackend, tmp_path: Path) -> None:
    facts = [{"q": f"What is {n} + {n}?", "a": f"{n + n}."} for n in range(14)]
    builder = rt.DatasetBuilder.from_rows(facts).chat(system="Add.", user="{q}", assistant="{a}")
    dataset = builder.build(tmp_path / "sums", validation=0.1)
    with backend.client() as client:
        spec = rt.TuneSpec(model="tiny-random", method=rt.Supervised(n_epochs=2))
        model = rt.JobMonitor(rt.FineTuneJob.create(client, dataset, spec)).wait(timeout_s=30)
        assert model.ask("What is 4 + 4?").text == "8."
        assert rt.TunedModel.latest(client).name == model.name
