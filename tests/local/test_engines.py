"""Engines behind the plug: adapters that come and go, replicas, restarts, and all that can go wrong."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

from ragtune.cli import app
from ragtune.errors import BackendError
from ragtune.local import EngineAddress, LocalBackend
from ragtune.local.remote_engine import EngineCommand, EngineKind, engines_of
from ragtune.local.remote_engine.process import EngineProcess
from ragtune.local.remote_engine.reader import likelihood
from ragtune.modelling.bases import resolve_base
from tests.local.engine_stub import StubEngine, Trouble
from tests.local.kit import create, trainer, until, wait_for

KEY = "key-of-the-engine"
KINDS: list[EngineKind] = ["vllm", "sglang"]
HI: Any = [{"role": "user", "content": "Hi"}]


def says(adapter: str | None) -> list[str]:
    return ["I ", "am ", adapter or "the base", "."]


@contextmanager
def plugged(folder: Path, *stubs: StubEngine, key: str | None = None) -> Iterator[tuple[LocalBackend, openai.OpenAI]]:
    """A backend whose answers come from these engines, and a client that never tries again."""
    addresses = [EngineAddress.parse(stub.address, key=key) for stub in stubs]
    with (
        LocalBackend(folder, trainer=trainer(), threads=1, engine=addresses) as backend,
        backend.client(max_retries=0) as client,
    ):
        yield backend, client


def ask(client: openai.OpenAI, model: str = "tiny-random", **options: Any) -> str:
    answer = client.chat.completions.create(**{"model": model, "messages": HI, "max_tokens": 8, **options})
    return str(answer.choices[0].message.content)


def tuned(client: openai.OpenAI) -> str:
    return str(wait_for(client, create(client).id, "succeeded").fine_tuned_model)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_comes_with_its_job_and_goes_with_its_model(tmp_path: Path, kind: EngineKind) -> None:
    """It is there before anybody asks, answers under the engine's own name for it, and is dropped on delete."""
    with StubEngine(kind=kind, says=says).running() as stub, plugged(tmp_path, stub) as (_, client):
        name = tuned(client)
        (adapter,) = until(lambda: list(stub.adapters))
        assert stub.adapters[adapter] == str(next((tmp_path / "jobs").iterdir()) / "adapter")
        assert (ask(client, name), ask(client)) == (f"I am {adapter}.", "I am the base.")
        client.models.delete(name)
        until(lambda: not stub.adapters)
        with pytest.raises(openai.NotFoundError):
            ask(client, name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_that_starts_anew_is_given_its_adapters_again(tmp_path: Path, kind: EngineKind) -> None:
    with StubEngine(kind=kind, says=says).running() as stub, plugged(tmp_path, stub) as (_, client):
        name = tuned(client)
        assert ask(client, name).startswith("I am ftjob")
        stub.adapters.clear()
        assert ask(client, name).startswith("I am ftjob")


@pytest.mark.slow
def test_a_server_that_starts_anew_finds_its_adapters_held(tmp_path: Path) -> None:
    """The engine says that it has this one already, and that is as good as loading it."""
    with StubEngine(says=says).running() as stub:
        with plugged(tmp_path, stub) as (_, client):
            name = tuned(client)
            until(lambda: stub.adapters)
        with plugged(tmp_path, stub) as (_, client):
            assert ask(client, name).startswith("I am ftjob")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_that_nobody_asks_makes_room_for_the_next(tmp_path: Path, kind: EngineKind) -> None:
    with StubEngine(kind=kind, says=says, room=1).running() as stub, plugged(tmp_path, stub) as (_, client):
        first, second = tuned(client), tuned(client)
        said = [ask(client, name) for name in (first, second, first)]
        assert said[0] == said[2] != said[1]
        assert len(stub.adapters) == 1


@pytest.mark.slow
def test_an_engine_without_room_says_so_and_no_path(tmp_path: Path) -> None:
    with StubEngine(says=says, room=0).running() as stub, plugged(tmp_path, stub) as (_, client):
        name = tuned(client)
        with pytest.raises(openai.InternalServerError, match="no room") as caught:
            ask(client, name)
        assert caught.value.code == "engine_full"
        assert str(tmp_path) not in str(caught.value)
        assert ask(client) == "I am the base."


@pytest.mark.slow
def test_an_engine_that_takes_no_adapters_says_how_it_would(tmp_path: Path) -> None:
    with StubEngine(says=says, takes_adapters=False).running() as stub, plugged(tmp_path, stub) as (_, client):
        with pytest.raises(openai.InternalServerError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING") as caught:
            ask(client, tuned(client))
        assert caught.value.code == "engine_without_adapters"


@pytest.mark.slow
def test_a_llama_cpp_engine_answers_with_the_adapters_that_it_was_started_with(tmp_path: Path) -> None:
    """Each request says which one counts; a model whose adapter is not among them is refused by name."""
    with StubEngine(kind="llama.cpp", says=says).running() as stub, plugged(tmp_path, stub) as (_, client):
        name = tuned(client)
        with pytest.raises(openai.InternalServerError, match="--lora") as caught:
            ask(client, name)
        assert caught.value.code == "engine_without_adapter"
        folder = next((tmp_path / "jobs").iterdir())
        stub.adapters = {"other": "/elsewhere/x.gguf", "ours": str(folder / "adapter" / "ggml-lora-f16.gguf")}
        assert (ask(client, name), ask(client)) == ("I am ours.", "I am the base.")
        assert stub.asked[-1]["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 0.0}]
        # What it has read with one adapter it would use for another, too.
        assert stub.asked[-1]["cache_prompt"] is False


def test_usage_is_that_of_the_engine(tmp_path: Path) -> None:
    """What the engine counts is told, streamed and whole, and stands in the account's usage."""
    with StubEngine(says=says).running() as stub, plugged(tmp_path, stub) as (backend, client):
        whole = client.chat.completions.create(model="tiny-random", messages=HI, max_tokens=3).usage
        assert whole is not None
        options: Any = {"stream": True, "stream_options": {"include_usage": True}}
        *_, last = client.chat.completions.create(model="tiny-random", messages=HI, max_tokens=3, **options)
        assert (last.usage, whole.completion_tokens) == (whole, 3)
        assert whole.prompt_tokens == len(stub.asked[0]["prompt"])
        (row,) = until(lambda: backend._running.services.store.usage.days(1))
        assert (row.prompt_tokens, row.completion_tokens) == (2 * whole.prompt_tokens, 6)


def test_a_client_that_leaves_ends_its_answer_at_the_engine(tmp_path: Path) -> None:
    with (
        StubEngine(says=lambda _: ["word "] * 2000).running() as stub,
        plugged(tmp_path, stub) as (backend, client),
    ):
        stream = client.chat.completions.create(model="tiny-random", messages=HI, max_tokens=1000, stream=True)
        assert next(iter(stream)) is not None
        stream.close()
        until(lambda: stub.left == 1, 10)
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.5).chat.completions.create(model="tiny-random", messages=HI, max_tokens=1000)
        until(lambda: stub.left == 2, 10)
        until(lambda: backend._running.services.inference._open == 0, 5)


@pytest.mark.slow
def test_asynchronous_clients_are_answered_at_the_same_time(tmp_path: Path) -> None:
    with StubEngine(says=lambda _: ["a"] * 20).running() as stub, plugged(tmp_path, stub) as (backend, _):

        async def together() -> list[str]:
            async with backend.async_client() as client:

                async def one() -> str:
                    options: Any = {"stream": True, "max_tokens": 20}
                    stream = await client.chat.completions.create(model="tiny-random", messages=HI, **options)
                    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

                return await asyncio.gather(*(one() for _ in range(30)))

        assert asyncio.run(together()) == ["a" * 20] * 30


TROUBLES: dict[Trouble, tuple[int, str]] = {
    "empty": (502, "engine_empty"),
    "busy": (503, "engine_busy"),
    "stumbles": (502, "engine_failed"),
    "refuses": (400, "engine_refused"),
    "dies": (502, "engine_broke_off"),
    "error event": (502, "engine_broke_off"),
    "no end": (502, "engine_broke_off"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_goes_wrong_at_an_engine_is_said_by_its_kind_alone(tmp_path: Path, trouble: Trouble) -> None:
    status, code = TROUBLES[trouble]
    with StubEngine(says=says, trouble=trouble, key=KEY).running() as stub, plugged(tmp_path, stub, key=KEY) as made:
        with pytest.raises(openai.APIStatusError) as caught:
            ask(made[1])
        assert (caught.value.status_code, caught.value.code) == (status, code)
        assert "vllm engine" in caught.value.message
        for private in (KEY, str(stub.base), str(tmp_path), str(stub.port)):
            assert private not in str(caught.value.body)
        stub.trouble = None
        assert ask(made[1]) == "I am the base."


@pytest.mark.parametrize(
    "counts",
    [
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": "3", "completion_tokens": "x"},
        {"prompt_tokens": -3, "completion_tokens": -1},
        {"prompt_tokens": 10**30, "completion_tokens": True},
        {},
    ],
)
def test_counts_that_count_nothing_are_those_that_were_counted_here(tmp_path: Path, counts: dict[str, object]) -> None:
    with StubEngine(says=says, counts=counts).running() as stub, plugged(tmp_path, stub) as (_, client):
        answer = client.chat.completions.create(model="tiny-random", messages=HI, max_tokens=8)
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(stub.asked[0]["prompt"]), 4)


def test_half_a_sign_of_an_engine_spoils_no_answer(tmp_path: Path) -> None:
    with (
        StubEngine(says=lambda _: ["so", "\ud800", "\ud83d\ude00"], max_model_len="2048").running() as stub,
        plugged(tmp_path, stub) as (_, client),
    ):
        assert ask(client) == "so\ufffd\U0001f600"
        stream = client.chat.completions.create(model="tiny-random", messages=HI, max_tokens=8, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "so\ufffd\U0001f600"


@pytest.mark.parametrize(("given", "told"), [(-1, -1.0), (float("-inf"), -9999.0)])
def test_a_log_probability_is_one_that_json_holds(given: float, told: float) -> None:
    assert likelihood(given) == told
    for wrong in (float("nan"), float("inf"), "x", True):
        with pytest.raises(ValueError, match="is no log-probability"):
            likelihood(wrong)


@pytest.mark.parametrize("trouble", ["dies", "error event", "no end"])
def test_a_stream_whose_engine_dies_ends_with_an_error(tmp_path: Path, trouble: Trouble) -> None:
    """What came so far came; then the client hears what happened, and not that the answer was whole."""
    with StubEngine(says=says, trouble=trouble).running() as stub, plugged(tmp_path, stub) as (_, client):
        stream = client.chat.completions.create(model="tiny-random", messages=HI, max_tokens=8, stream=True)
        came: list[str | None] = []
        with pytest.raises(openai.APIError, match="vllm engine ended in the middle"):
            came.extend(chunk.choices[0].delta.content for chunk in stream)
        assert "I " in came
        assert all(str(stub.base) not in str(one) for one in came)


def test_a_response_whose_engine_dies_fails_by_name(tmp_path: Path) -> None:
    with StubEngine(says=says, trouble="dies").running() as stub, plugged(tmp_path, stub) as (_, client):
        events = list(client.responses.create(model="tiny-random", input="Hi", max_output_tokens=16, stream=True))
    assert events[-1].type == "response.failed"
    assert "vllm engine" in str(events[-1].response.error)


def test_an_engine_that_is_away_is_missed_and_found_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A server may start before its engine; it says that it waits, answers 503 meanwhile, and then answers."""
    stub = StubEngine(says=says)
    with stub.running():
        pass
    with plugged(tmp_path, stub) as (_, client):
        assert "is not there yet" in caplog.text
        with pytest.raises(openai.InternalServerError, match=r"vllm engine .* is away") as caught:
            ask(client)
        assert (caught.value.status_code, caught.value.code) == (503, "engine_away")
        assert caught.value.response.headers["x-should-retry"] == "true"
        with stub.running():
            assert ask(client) == "I am the base."
        with pytest.raises(openai.InternalServerError, match="is away"):
            ask(client)


def test_a_wrong_key_is_told_at_the_start_and_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="ragtune")
    with (
        StubEngine(says=says, key=KEY).running() as stub,
        pytest.raises(BackendError, match="refuses this server's key") as caught,
        plugged(tmp_path, stub, key="wrong-key-of-the-engine"),
    ):
        pass
    assert "wrong-key" not in str(caught.value) + caplog.text
    with StubEngine(says=says, key=KEY).running() as stub, plugged(tmp_path, stub, key=KEY) as (backend, client):
        assert ask(client) == "I am the base."
        stub.key = "another"
        with pytest.raises(openai.InternalServerError, match="refuses this server's key"):
            ask(client)
        assert KEY not in repr(backend) + caplog.text + (tmp_path / "server.json").read_text()


def test_a_wrong_address_is_told_at_the_start(tmp_path: Path) -> None:
    """Of another engine, and of something that is none."""
    with StubEngine(kind="sglang").running() as stub:
        with pytest.raises(BackendError, match="is no vllm engine"):
            LocalBackend(tmp_path, engine=f"vllm=http://127.0.0.1:{stub.port}").start()
        with pytest.raises(BackendError, match="is no vllm engine"):
            LocalBackend(tmp_path, engine=f"vllm=http://127.0.0.1:{stub.port}/elsewhere").start()
    with LocalBackend(tmp_path, engine=None) as backend:
        assert backend.api_key


def test_an_engine_of_another_base_is_named_by_its_kind(tmp_path: Path) -> None:
    other = tmp_path / "another-base"
    shutil.copytree(resolve_base("tiny-random"), other)
    with StubEngine(says=says, base=other).running() as stub, plugged(tmp_path / "f", stub) as (_, client):
        with pytest.raises(openai.InternalServerError, match="serves another base") as caught:
            ask(client)
        assert caught.value.code == "engine_other_base"
        assert str(tmp_path) not in str(caught.value)


def test_a_base_may_have_the_same_name_on_another_machine(tmp_path: Path) -> None:
    """Compared by path, by the folder's name without the mark of its cache, and by an id of the Hub."""
    for name in ("/srv/models/tiny-random", "somebody/Tiny-Random"):
        with StubEngine(says=says, base=Path(name)).running() as stub, plugged(tmp_path, stub) as (_, client):
            assert ask(client) == "I am the base."


def test_a_prompt_that_the_engine_cannot_look_at_is_told_in_tokens(tmp_path: Path) -> None:
    with StubEngine(says=says, max_model_len=64).running() as stub, plugged(tmp_path, stub) as (_, client):
        ask(client, max_tokens=1000)
        assert stub.asked[-1]["max_tokens"] == 64 - len(stub.asked[-1]["prompt"])
        with pytest.raises(openai.BadRequestError, match="maximum context length is 64 tokens") as caught:
            ask(client, messages=[{"role": "user", "content": "word " * 100}])
        assert caught.value.code == "context_length_exceeded"


@pytest.mark.slow
def test_replicas_share_the_work_and_stand_in_for_each_other(tmp_path: Path) -> None:
    """Twenty questions at once go to both; when one is gone, the other answers all of them, unnoticed."""
    one, two = StubEngine(says=lambda _: ["a"] * 10), StubEngine(says=lambda _: ["a"] * 10)

    async def together(backend: LocalBackend) -> list[Any]:
        async with backend.async_client(max_retries=0) as client:
            asking = (client.completions.create(model="tiny-random", prompt="x", max_tokens=10) for _ in range(20))
            return await asyncio.gather(*asking)

    with one.running():
        with two.running(), plugged(tmp_path, one, two) as (backend, client):
            assert len(asyncio.run(together(backend))) == 20
            assert abs(len(one.asked) - len(two.asked)) <= 2
            name = tuned(client)
            until(lambda: one.adapters and two.adapters)
            two.trouble = "busy"
            assert {answer.choices[0].text for answer in asyncio.run(together(backend))} == {"a" * 10}
            client.models.delete(name)
            until(lambda: not one.adapters and not two.adapters)
        with plugged(tmp_path, one, two) as (backend, _):
            assert {answer.choices[0].text for answer in asyncio.run(together(backend))} == {"a" * 10}


def test_a_stop_of_the_server_ends_what_is_being_written(tmp_path: Path) -> None:
    with StubEngine(says=says, trouble="hangs").running() as stub:
        backend = LocalBackend(tmp_path, engine=stub.address).start()
        client = backend.async_client(max_retries=0)

        async def cut_off() -> None:
            asking = asyncio.ensure_future(client.completions.create(model="tiny-random", prompt="x"))
            while not stub.asked:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(backend.stop)
            with pytest.raises(openai.APIError):
                await asking
            await client.close()

        asyncio.run(cut_off())


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("vlm=http://127.0.0.1:1", "did you mean 'vllm'"),
        ("vllm=colibri", "there is no base 'colibri'"),
        ("vllm=127.0.0.1:8001", "is no http"),
        ("vllm=ftp://127.0.0.1:8001", "is no http"),
        ("vllm=http://127.0.0.1:99999", "no port"),
        ("vllm=http://me:secret@127.0.0.1:8001", "a key has no place in an address"),
        ("vllm=http://127.0.0.1:8001?key=secret", "is no http"),
        ("vllm=http://127.0.0.1:8001,vllm=http://127.0.0.1:8001/v1", "stands there twice"),
        ([], "there is none"),
        (7, "an object of type int answers nothing"),
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_starts(tmp_path: Path, engine: Any, said: str) -> None:
    with pytest.raises(BackendError, match=said) as caught:
        LocalBackend(tmp_path, engine=engine)
    assert "me:secret" not in str(caught.value)


def test_several_addresses_may_stand_in_one_text() -> None:
    found = engines_of("vllm=http://a:1/v1/, sglang=https://b/prefix")
    assert [str(one) for one in found] == ["vllm=http://a:1", "sglang=https://b/prefix"]


@pytest.fixture
def own_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of the path with a command `vllm` that starts the stub; each start adds a line to its file."""
    command = tmp_path / "bin" / "vllm"
    command.parent.mkdir()
    root = Path(__file__).resolve().parents[2]
    command.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/starts\ncd {root}\nexec {sys.executable} -m tests.local.engine_stub "$@"\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "starts"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the command is a shell script")
def test_an_engine_of_ones_own_is_started_watched_and_stopped(tmp_path: Path, own_vllm: Path) -> None:
    """It answers with a key that only this server knows, comes back when it is killed, and goes with the server."""

    def starts() -> str:
        return own_vllm.read_text(encoding="utf-8")

    with LocalBackend(tmp_path / "f", engine="vllm=tiny-random") as backend, backend.client(max_retries=0) as client:
        until(lambda: answers(client), 60)
        (process,) = backend._running.services.inference._engine._processes
        with (
            pytest.raises(openai.AuthenticationError),
            openai.OpenAI(base_url=f"{process.address.url}/v1", api_key="guessed") as stranger,
        ):
            stranger.models.list()
        assert process.address.key not in (tmp_path / "f" / "server.json").read_text(encoding="utf-8") + starts()
        os.kill(process._process.pid, 9)
        until(lambda: len(starts().splitlines()) == 2)
        until(lambda: answers(client), 60)
        last = process._process
    assert last.poll() is not None
    assert "--enable-lora" in starts()
    assert (tmp_path / "f" / "engine-0.log").read_text(encoding="utf-8").count("listens") == 2


@pytest.mark.skipif(sys.platform == "win32", reason="the command is a shell script")
def test_an_engine_that_cannot_be_started_for_a_while_is_started_when_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its command is gone while its package is replaced; the watcher outlives that."""
    command, starts = tmp_path / "bin" / "sglang", tmp_path / "starts"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\necho started >> {starts}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    process = EngineProcess(EngineCommand(kind="sglang"), base=tmp_path, log=tmp_path / "engine.log")
    try:
        until(starts.exists)
        command.rename(tmp_path / "elsewhere")
        until(lambda: "cannot be started again yet" in caplog.text)
        before = starts.read_text()
        (tmp_path / "elsewhere").rename(command)
        until(lambda: len(starts.read_text()) > len(before))
    finally:
        process.stop()


def answers(client: openai.OpenAI) -> bool:
    try:
        return ask(client) == "base"
    except openai.InternalServerError:
        return False


def test_an_engine_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match="no command 'sglang'"):
        LocalBackend(tmp_path / "f", engine="sglang=tiny-random").start()
    with pytest.raises(BackendError, match="start it yourself"):
        LocalBackend(tmp_path / "f", engine="llama.cpp=tiny-random").start()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "vlm=http://a:1"], "did you mean 'vllm'"),
        (["--engine-key-file", "key.txt"], "for an --engine"),
        (["--engine", "vllm=http://me:hidden@a:1"], "a key has no place in an address"),
    ],
)
def test_the_command_line_refuses_what_is_no_engine(options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["serve", "runs", *options])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())
    assert "hidden" not in result.output


def test_the_engines_key_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file wins; an engine that this program starts gets a key of its own."""
    seen: list[Any] = []
    monkeypatch.setattr("ragtune.local.serve", lambda folder, **options: seen.append(options["engine"]))
    monkeypatch.setenv("RAGTUNE_ENGINE_KEY", "of-the-environment")
    file = tmp_path / "key.txt"
    file.write_text("of-the-file\n", encoding="utf-8")
    line = ["serve", str(tmp_path), "--engine", "vllm=http://a:1", "--engine", "sglang=tiny-random"]
    for more in ([], ["--engine-key-file", str(file)]):
        assert CliRunner().invoke(app, [*line, *more]).exit_code == 0
    assert [one[0].key for one in seen] == ["of-the-environment", "of-the-file"]
    assert {one[1] for one in seen} == {"sglang=tiny-random"}
