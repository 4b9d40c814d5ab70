"""The calls that the rooms make, typed, over whichever port stands beneath them."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, TypeVar

from ragtune._api.calls import Reply
from ragtune._api.errors import UnreadableReplyError
from ragtune._api.fields import identity, object_of, objects, text
from ragtune._api.identity import is_loopback, name_of_account
from ragtune._api.ports import AsyncPort, SyncPort
from ragtune.dialects import GENERIC, dialect_named, dialect_of
from ragtune.limits import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence

    import openai

    from ragtune._api.calls import FilePart, Json, LocalFile
    from ragtune._api.ports import Port
    from ragtune.dialects import Dialect

__all__ = ["Api", "asynchronous", "gather", "synchronous"]

A = TypeVar("A")
J = TypeVar("J", bound="Json")
B = TypeVar("B")


class Api:
    """One account on one server.

    Lists come as asynchronous generators in the server's order (newest first) and read page after page, so that a
    reader who stops early fetches no more than it needs.
    """

    def __init__(
        self, port: Port, dialect: Dialect | None = None, *, of_jobs: Mapping[str, Dialect] | None = None
    ) -> None:
        self.port = port
        self.given = dialect
        self._of_jobs = of_jobs or {}

    @property
    def dialect(self) -> Dialect:
        """What the caller said; else what the address tells, or the server, once it has answered."""
        return self.given or dialect_of(self.port.base_url, server=self.port.heard.server)

    @property
    def is_known(self) -> bool:
        """Whether the dialect is certain: an unknown address tells who listens there with its first answer."""
        return self.given is not None or dialect_of(self.port.base_url) is not GENERIC or self.port.heard.answered

    @property
    def place(self) -> str:
        """Where the account is, for a person: a folder of this machine, or an address."""
        folder = self.port.heard.folder
        return self.port.base_url if folder is None else f"the folder {folder}"

    def over(self, port: Port) -> Api:
        """Return the same calls, in the same dialect, over another port."""
        return Api(port, self.given, of_jobs=self._of_jobs)

    def remembering(self, of_jobs: Mapping[str, Dialect]) -> Api:
        """Return the same calls, which read each of these jobs (by its id) in a dialect of its own."""
        return Api(self.port, self.given, of_jobs=of_jobs)

    def of_job(self, job_id: str) -> Api:
        """Return the calls for one job, in its own dialect."""
        return Api(self.port, self._of_jobs.get(job_id, self.given))

    def speaking(self, dialect: Dialect | str | None) -> Api:
        """Return the same calls in another dialect, given by itself or by name; None leaves everything as it is.

        Raises:
            SpecError: there is no dialect of that name.
        """
        if dialect is None:
            return self
        # Without the jobs' own dialects: what the caller says holds for all of them, whatever a journal remembers.
        return Api(self.port, dialect_named(dialect) if isinstance(dialect, str) else dialect)

    @property
    def spoken(self) -> Json:
        """What a saved handle keeps of the dialect: nothing where the address tells it anyhow."""
        told = dialect_of(self.port.base_url, server=self.port.heard.server)
        return {} if self.dialect == told else {"dialect": self.dialect.saved()}

    def _understood(self, name: str, body: J) -> J:
        """Put OpenAI's word for a job's status into what a call answered: wherever a job is read, once."""
        if name.startswith("fine_tuning.jobs") and isinstance(body.get("status"), str):
            speaks = self._of_jobs.get(text(body.get("id")) or "", self.dialect)
            body["status"] = speaks.status(body["status"])
        return body

    async def account(self) -> str:
        """Return a name for the account behind the client; a server on this machine is asked for its own."""
        import openai

        heard = self.port.heard
        if is_loopback(self.port.base_url) and not heard.answered:
            # What a refusal says of the account is heard as well.
            with suppress(openai.APIStatusError, UnreadableReplyError):
                await self.port.call("models.list")
        return name_of_account(self.port.base_url, *self.port.owner, told=heard.organization)

    async def _items(self, name: str, **query: object) -> AsyncGenerator[Json, None]:
        """Iterate a list to the end of its pages, each item once."""
        seen: set[str] = set()
        known_in_a_row = 0
        async with aclosing(self.port.items(name, **query)) as items:
            async for unread in items:
                item = self._understood(name, unread)
                # Pages shift while they are read; and a server that does not know `after` sends the first one for ever.
                name_of_item = identity(item)
                known_in_a_row = known_in_a_row + 1 if name_of_item in seen else 0
                if known_in_a_row == MAX_PAGE:
                    return
                if not known_in_a_row:
                    seen.add(name_of_item)
                    yield item

    async def look(self, name: str, *, timeout_s: float, **query: object) -> Reply:
        """Read once, for those who look again anyhow: the client repeats nothing, a silent server is given up."""
        reply = self._understood(name, await self.port.call(name, retries=0, timeout_s=timeout_s, **query))
        return reply if isinstance(reply, Reply) else Reply(reply)

    async def pages(self, name: str, *, timeout_s: float, **query: object) -> AsyncGenerator[Reply, None]:
        """Iterate a list page by page, each page one look; the reader stops where it knows enough."""
        after: Json = {}
        while True:
            page = await self.look(name, timeout_s=timeout_s, limit=MAX_PAGE, **query, **after)
            items = page["data"] = objects(page.get("data"))
            for item in items:
                self._understood(name, item)
            yield page
            # A server that says nothing of further pages is read until one is empty.
            last = text(items[-1].get("id")) if items else None
            if last is None or page.get("has_more") is False:
                return
            after = {"after": last}

    async def create_file(self, file: LocalFile) -> Json:
        """Upload a training file in one request."""
        return await self.port.call("files.create", file=file, purpose="fine-tune")

    async def begin_upload(self, file: LocalFile) -> Json:
        """Announce a file that comes in parts."""
        # The kind that the specification of OpenAI has for training files.
        about: Json = {"bytes": file.bytes, "filename": file.name, "mime_type": "text/jsonl", "purpose": "fine-tune"}
        return await self.port.call("uploads.create", **about)

    async def add_part(self, upload_id: str, part: FilePart) -> Json:
        """Send one part; sent twice it is simply not used twice."""
        # No retries by the client: `_retry.patiently` repeats it, for minutes instead of seconds.
        return await self.port.call("uploads.parts.create", retries=0, upload_id=upload_id, data=part)

    async def complete_upload(self, upload_id: str, part_ids: Sequence[str]) -> Json:
        """Have the parts put together, in this order."""
        return await self.port.call("uploads.complete", retries=0, upload_id=upload_id, part_ids=list(part_ids))

    async def cancel_upload(self, upload_id: str) -> Json:
        """Give up a file whose parts are not all there."""
        # Somebody may wait for the end of a program, and what is not cancelled expires by itself.
        return await self.port.call("uploads.cancel", retries=0, timeout_s=10.0, upload_id=upload_id)

    async def file(self, file_id: str) -> Json:
        """Fetch what the server knows about a file."""
        return await self.port.call("files.retrieve", file_id=file_id)

    def files(self, purpose: str | None = None) -> AsyncGenerator[Json, None]:
        """Iterate the account's files."""
        return self._items("files.list", **({} if purpose is None else {"purpose": purpose}))

    async def file_content(self, file_id: str) -> bytes:
        """Fetch a file."""
        return await self.port.content("files.content", file_id=file_id)

    def file_chunks(self, file_id: str) -> AsyncGenerator[bytes, None]:
        """Iterate a file's content, piece by piece."""
        return self.port.chunks("files.content", file_id=file_id)

    async def delete_file(self, file_id: str) -> Json:
        """Delete a file."""
        return await self.port.call("files.delete", file_id=file_id)

    async def create_job(self, request: Json) -> Json:
        """Buy a job with exactly one request.

        The client sends no idempotency key, so its own retries could buy the job three times.
        """
        name = "fine_tuning.jobs.create"
        return self._understood(name, await self.port.call(name, retries=0, **request))

    async def job(self, job_id: str) -> Json:
        """Fetch a job."""
        return await self._job("retrieve", job_id)

    async def jobs(self, *, metadata: dict[str, str] | None = None, page: int = MAX_PAGE) -> AsyncGenerator[Json, None]:
        """Iterate the account's jobs, those that carry `metadata` when it is given."""
        query: Json = {"limit": page} if metadata is None else {"limit": page, "metadata": metadata}
        async with aclosing(self._items("fine_tuning.jobs.list", **query)) as jobs:
            async for job in jobs:
                # Once more here: a server that does not know the filter answers with all jobs.
                if metadata is None or metadata.items() <= object_of(job.get("metadata")).items():
                    yield job

    def events(self, job_id: str, *, page: int = MAX_PAGE) -> AsyncGenerator[Json, None]:
        """Iterate a job's events."""
        return self._items("fine_tuning.jobs.list_events", fine_tuning_job_id=job_id, limit=page)

    def checkpoints(self, job_id: str) -> AsyncGenerator[Json, None]:
        """Iterate a job's checkpoints."""
        return self._items("fine_tuning.jobs.checkpoints.list", fine_tuning_job_id=job_id, limit=MAX_PAGE)

    async def steer_job(self, verb: str, job_id: str) -> Json:
        """Cancel, pause or resume a job (`verb` is the call's name)."""
        return await self._job(verb, job_id)

    async def _job(self, verb: str, job_id: str) -> Json:
        name = f"fine_tuning.jobs.{verb}"
        body = self._understood(name, await self.port.call(name, fine_tuning_job_id=job_id))
        # Whoever asks for one job by its id knows which one the answer is about.
        body["id"] = text(body.get("id")) or job_id
        return body

    def models(self) -> AsyncGenerator[Json, None]:
        """Iterate the models that this key may use."""
        return self._items("models.list")

    async def model(self, name: str) -> Json:
        """Fetch what the server knows about a model."""
        return await self.port.call("models.retrieve", model=name)

    async def delete_model(self, name: str) -> Json:
        """Delete a tuned model."""
        return await self.port.call("models.delete", model=name)

    async def chat(self, request: Json) -> Json:
        """Ask for a chat completion."""
        return await self.port.call("chat.completions.create", **request)

    def chat_stream(self, request: Json) -> AsyncGenerator[Json, None]:
        """Ask for a chat completion, chunk by chunk."""
        return self.port.stream("chat.completions.create", **request)

    async def complete(self, request: Json) -> Json:
        """Ask for a legacy completion."""
        return await self.port.call("completions.create", **request)

    async def respond(self, request: Json) -> Json:
        """Ask for a response."""
        return await self.port.call("responses.create", **request)

    def respond_stream(self, request: Json) -> AsyncGenerator[Json, None]:
        """Ask for a response, event by event."""
        return self.port.stream("responses.create", **request)

    def map(
        self, function: Callable[[A], Coroutine[object, None, B]], values: Sequence[A], *, concurrency: int
    ) -> AsyncGenerator[tuple[int, B], None]:
        """Apply `function` to all values, several at a time; yields (index, result) as they finish."""
        return self.port.map(function, values, concurrency=concurrency)


def synchronous(client: openai.OpenAI | Api) -> Api:
    """Return the calls over a synchronous client.

    Raises:
        TypeError: `client` is something else, for example an `AsyncOpenAI`.
    """
    if isinstance(client, Api):
        return client
    import openai

    if not isinstance(client, openai.OpenAI):
        raise TypeError(_wrong_client(client, "openai.OpenAI", "the classes without Async in their name"))
    return Api(SyncPort(client))


def asynchronous(client: openai.AsyncOpenAI | Api) -> Api:
    """Return the calls over an asynchronous client.

    Raises:
        TypeError: `client` is something else, for example an `OpenAI`.
    """
    if isinstance(client, Api):
        return client
    import openai

    if not isinstance(client, openai.AsyncOpenAI):
        raise TypeError(_wrong_client(client, "openai.AsyncOpenAI", "the classes with Async in their name"))
    return Api(AsyncPort(client))


def _wrong_client(client: object, wanted: str, who: str) -> str:
    # The type only: the repr of a stranger's object may hold a key.
    return f"{who} take an {wanted} as client, not {type(client).__qualname__}"


async def gather(items: AsyncGenerator[A, None], *, limit: int | None = None) -> list[A]:
    """Return the first `limit` items (None: all of them), and fetch no page beyond."""
    found: list[A] = []
    if limit is not None and limit <= 0:
        return found
    async with aclosing(items):
        async for item in items:
            found.append(item)
            if len(found) == limit:
                break
    return found
