"""Two ports that stand before a real one: one writes plans instead of requests, one lets no write pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ragtune._api.calls import CALLS, FilePart, LocalFile, PlannedCall
from ragtune._keys import redact
from ragtune.errors import MaintenanceDisabled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

    from ragtune._api.calls import Json
    from ragtune._api.identity import Heard
    from ragtune._api.ports import Port

A = TypeVar("A")
B = TypeVar("B")


class PlanEnd(BaseException):
    """A plan came to a point where reality would wait; no `except Exception` on the way may swallow that."""


class _Before:
    """A port that hands everything on to the port behind it."""

    def __init__(self, behind: Port) -> None:
        self._behind = behind

    @property
    def base_url(self) -> str:
        return self._behind.base_url

    @property
    def owner(self) -> tuple[str | None, str | None]:
        return self._behind.owner

    @property
    def heard(self) -> Heard:
        return self._behind.heard

    def now(self) -> float:
        return self._behind.now()

    def monotonic(self) -> float:
        return self._behind.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._behind.sleep(seconds)

    async def work(self, function: Callable[..., B], *arguments: object) -> B:
        return await self._behind.work(function, *arguments)

    async def call(
        self, name: str, /, *, retries: int | None = None, timeout_s: float | None = None, **arguments: object
    ) -> Json:
        return await self._behind.call(name, retries=retries, timeout_s=timeout_s, **arguments)

    def items(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        return self._behind.items(name, **arguments)

    def stream(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        return self._behind.stream(name, **arguments)

    async def content(self, name: str, /, **arguments: object) -> bytes:
        return await self._behind.content(name, **arguments)

    def chunks(self, name: str, /, **arguments: object) -> AsyncGenerator[bytes, None]:
        return self._behind.chunks(name, **arguments)

    def map(
        self, function: Callable[[A], Coroutine[object, None, B]], values: Sequence[A], *, concurrency: int
    ) -> AsyncGenerator[tuple[int, B], None]:
        return self._behind.map(function, values, concurrency=concurrency)


class PlanPort(_Before):
    """Records each call with its body and answers the happy end at once; lists answer that nothing is there.

    With `probe=True` reads are really made and only writes are recorded.
    """

    def __init__(self, behind: Port, *, probe: bool = False) -> None:
        super().__init__(behind)
        self.probes = probe
        self.calls: list[PlannedCall] = []

    async def sleep(self, seconds: float) -> None:
        """End the plan: what comes after a wait depends on the world."""
        raise PlanEnd

    async def call(
        self, name: str, /, *, retries: int | None = None, timeout_s: float | None = None, **arguments: object
    ) -> Json:
        """Record a call and answer its happy end."""
        if self.probes and not CALLS[name].writes:
            return await super().call(name, retries=retries, timeout_s=timeout_s, **arguments)
        self._record(name, arguments)
        # Counted behind the record: the first file is `<file 1>`.
        number = sum(planned.name == name for planned in self.calls)
        return _happy_end(name, arguments, number=number)

    async def items(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Record a list and find nothing in it."""
        if not self.probes:
            self._record(name, arguments)
            return
        async for item in super().items(name, **arguments):
            yield item

    async def stream(self, name: str, /, **arguments: object) -> AsyncGenerator[Json, None]:
        """Record a streamed answer and say nothing."""
        self._record(name, arguments | {"stream": True})
        # Only a `yield` in it makes this a generator, as the port promises.
        nothing: tuple[Json, ...] = ()
        for chunk in nothing:
            yield chunk

    async def content(self, name: str, /, **arguments: object) -> bytes:
        """Record a download of nothing."""
        if self.probes:
            return await super().content(name, **arguments)
        self._record(name, arguments)
        return b""

    def _record(self, name: str, arguments: Json) -> None:
        call = CALLS[name]
        body = {key: _shown(value) for key, value in arguments.items() if "{" + key + "}" not in call.path}
        path = call.path.format(**arguments)
        self.calls.append(PlannedCall(name=name, method=call.method, path=path, writes=call.writes, body=body))


class GuardPort(_Before):
    """Lets reads pass and stops writes."""

    async def call(
        self, name: str, /, *, retries: int | None = None, timeout_s: float | None = None, **arguments: object
    ) -> Json:
        """Make a read.

        Raises:
            MaintenanceDisabled: the call would change something.
        """
        call = CALLS[name]
        if call.writes:
            message = (
                f"{call.method} {call.path.format(**arguments)} would change the account and was not sent; open the "
                "guard with Maintenance(client, enabled=True), or pass dry_run=True to see the plan"
            )
            raise MaintenanceDisabled(message)
        return await super().call(name, retries=retries, timeout_s=timeout_s, **arguments)


def _shown(value: object) -> object:
    if isinstance(value, LocalFile | FilePart):
        return value.describe()
    if isinstance(value, dict):
        return {key: _shown(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    return redact(value) if isinstance(value, str) else value


def _happy_end(name: str, arguments: Json, *, number: int) -> Json:
    if name == "files.create":
        file: LocalFile = arguments["file"]
        return {"id": f"<file {number}>", "filename": file.name, "bytes": file.bytes, "status": "processed"}
    # `<file 1>` also where the file went up in parts: a job's plan shows the same ids for either way.
    if name == "uploads.complete":
        return {"status": "completed", "file": {"id": f"<file {number}>", "status": "processed"}}
    if name.startswith("uploads."):
        return {"id": f"<{'part' if 'parts' in name else 'upload'} {number}>"}
    if name == "files.retrieve":
        return {"id": arguments["file_id"], "status": "processed"}
    if name.startswith("fine_tuning.jobs."):
        done = {"id": arguments.get("fine_tuning_job_id", f"<job {number}>"), "status": "succeeded"}
        return arguments | done | {"fine_tuned_model": f"<model {number}>"}
    if name.endswith(".delete"):
        return {"id": arguments.get("file_id") or arguments.get("model"), "deleted": True}
    return {"id": f"<answer {number}>", "choices": []}
