"""The error table: each row against a real server over loopback that answers so, through the official client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune._api.calls import LocalFile
from ragtune._api.error_table import TROUBLES, Trouble, find, subject_of
from ragtune._api.errors import transient
from ragtune._api.ports import AsyncPort, SyncPort
from ragtune._sync import run
from ragtune.testing import ScriptedBackend
from tests.local.kit import rows

CLASSES = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
}
# A status for the rows that speak of many.
STATUS = {"5xx": 500, "other": 426}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend(key="rt-a-key-that-must-not-show") as backend:
        yield backend


@pytest.fixture
def training_file(tmp_path: Path) -> LocalFile:
    (tmp_path / "train.jsonl").write_bytes(rows())
    return LocalFile(path=tmp_path / "train.jsonl", name="train.jsonl", bytes=len(rows()), sha256=None)


def request(row: Trouble, file: LocalFile) -> tuple[str, dict[str, Any]]:
    """A call of which the row speaks."""
    chat = {"model": "ft:x", "messages": [{"role": "user", "content": "Hi"}]}
    candidates: list[tuple[str, dict[str, Any]]] = [
        ("chat.completions.create", chat),
        ("fine_tuning.jobs.create", {"model": "gpt-x", "training_file": "file-x"}),
        ("files.create", {"file": file, "purpose": "fine-tune"}),
        ("files.retrieve", {"file_id": "file-x"}),
        ("models.delete", {"model": "gpt-4o-mini"}),
        ("models.delete", {"model": "ft:x"}),
    ]
    for call, arguments in candidates:
        if find_for(row, call, arguments) is row:
            return call, arguments
    raise AssertionError("no call ever meets this row: another one stands before it")


def find_for(row: Trouble, call: str, arguments: dict[str, Any]) -> Trouble:
    status: Any = STATUS.get(str(row.status), row.status)
    return find(status, code=row.code, says=row.example, call=call, subject=subject_of(arguments) or "")


def script(server: ScriptedBackend, row: Trouble, call: str) -> None:
    server.reset()
    if row.status == "timeout":
        server.fail_next(call, delay_s=1.0)
    elif row.status == "no answer":
        server.fail_next(call, drop=True)
    else:
        status: Any = STATUS.get(str(row.status), row.status)
        server.fail_next(call, status=status, code=row.code, message=row.example)


def judge(error: Exception, row: Trouble, call: str, arguments: dict[str, Any], server: ScriptedBackend) -> None:
    """The right class, the row's words, nothing left to fill in, no key, and patience only where it helps."""
    text = row.text(call=call, subject=subject_of(arguments), base_url=server.base_url, says=row.example)
    assert "{" not in text
    assert server.api_key not in text
    if row.becomes is not None:
        assert (type(error), str(error)) == (row.becomes, text)
        assert isinstance(error.__cause__, openai.APIStatusError)
        return
    assert error.__notes__ == [text]
    if isinstance(error, openai.APIStatusError):
        assert type(error) is CLASSES.get(min(error.status_code, 500), openai.APIStatusError)
    else:
        kind = openai.APITimeoutError if row.status == "timeout" else openai.APIConnectionError
        assert type(error) is kind
    assert transient(error) is row.waiting_helps


def name(row: Trouble) -> str:
    return f"{row.status}-{row.code or row.happened[:30]}"


@pytest.mark.parametrize("row", TROUBLES, ids=name)
def test_each_row_of_the_table_is_told(row: Trouble, server: ScriptedBackend, training_file: LocalFile) -> None:
    call, arguments = request(row, training_file)
    script(server, row, call)
    with (
        server.client(max_retries=0, timeout=0.3 if row.status == "timeout" else 30) as client,
        pytest.raises(Exception) as met,
    ):
        run(SyncPort(client).call(call, **arguments))
    judge(met.value, row, call, arguments, server)


@pytest.mark.slow
def test_the_asynchronous_client_is_told_alike(server: ScriptedBackend, training_file: LocalFile) -> None:
    async def meet(row: Trouble) -> None:
        call, arguments = request(row, training_file)
        script(server, row, call)
        async with server.async_client(max_retries=0, timeout=0.3 if row.status == "timeout" else 30) as client:
            with pytest.raises(Exception) as met:
                await AsyncPort(client).call(call, **arguments)
        judge(met.value, row, call, arguments, server)

    async def meet_all() -> None:
        for row in TROUBLES:
            await meet(row)

    asyncio.run(meet_all())


def test_only_a_server_on_this_machine_is_taken_for_an_embedded_one() -> None:
    row = find("no answer")
    rest: dict[str, Any] = {"call": "models.list", "subject": None, "says": ""}
    assert "embedded backend" in row.text(base_url="http://127.0.0.1:8000/v1", **rest)
    assert "embedded backend" not in row.text(base_url="https://api.openai.com/v1", **rest)


def test_missing_scopes_are_listed(server: ScriptedBackend) -> None:
    says = "You have insufficient permissions for this operation. Missing scopes: model.request. Check that you ..."
    server.reset()
    server.fail_next("models.list", status=401, message=says).fail_next("models.list", status=401, body={"error": says})
    with server.client(max_retries=0) as client:
        for _ in range(2):
            with pytest.raises(openai.AuthenticationError) as refusal:
                run(SyncPort(client).call("models.list"))
            assert refusal.value.__notes__[0].startswith("the key is restricted and lacks model.request: ")


SHAPES: dict[str, Any] = {
    "a text as error": {"error": "something"},
    "no envelope": {"message": "something", "code": 40},
    "FastAPI": {"detail": [{"loc": ["body", "model"], "msg": "Field required"}]},
    "null": {"error": None},
    "a list": [],
    "a page": "<html><body>Bad gateway</body></html>",
    "a plain text": "upstream connect error",
    "nothing": "",
    "half of an object": b'{"error": {"mess',
    "no text at all": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("status", [400, 403, 404, 418, 429, 502])
@pytest.mark.parametrize("shape", SHAPES)
def test_bodies_of_any_shape_are_survived(server: ScriptedBackend, shape: str, status: int) -> None:
    server.reset()
    server.fail_next("files.retrieve", status=status, body=SHAPES[shape])
    with server.client(max_retries=0) as client, pytest.raises(openai.APIStatusError) as refusal:
        run(SyncPort(client).call("files.retrieve", file_id="file-x"))
    assert refusal.value.status_code == status
    (note,) = refusal.value.__notes__
    assert note


def test_quota_and_daily_limits_are_not_waited_for() -> None:
    """Nor is anything whose answer will be the same: only these statuses are worth patience."""
    patient = {(row.status, row.code) for row in TROUBLES if row.waiting_helps}
    assert patient == {
        (408, None), (409, None), (429, None), (429, "slow_down"), (503, "server_is_overloaded"), ("5xx", None),
        ("timeout", None), ("no answer", None),
    }  # fmt: skip
