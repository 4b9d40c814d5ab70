"""Every call that ragtune makes, as data: what a plan shows and what a guard stops."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

Json = dict[str, Any]


class Reply(Json):
    """A server's answer, with what its headers say beside it.

    Attributes:
        poll_after_s: seconds after which the server wants to be asked again, None where it does not say.
    """

    poll_after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of the OpenAI wire.

    Attributes:
        method: HTTP method.
        path: path below the base URL; names in braces are arguments of the call.
        writes: whether it changes something or costs money.
    """

    method: str
    path: str
    writes: bool = False


CALLS = {
    "files.create": Call(method="POST", path="/files", writes=True),
    "files.list": Call(method="GET", path="/files"),
    "files.retrieve": Call(method="GET", path="/files/{file_id}"),
    "files.content": Call(method="GET", path="/files/{file_id}/content"),
    "files.delete": Call(method="DELETE", path="/files/{file_id}", writes=True),
    "uploads.create": Call(method="POST", path="/uploads", writes=True),
    "uploads.parts.create": Call(method="POST", path="/uploads/{upload_id}/parts", writes=True),
    "uploads.complete": Call(method="POST", path="/uploads/{upload_id}/complete", writes=True),
    "uploads.cancel": Call(method="POST", path="/uploads/{upload_id}/cancel", writes=True),
    "fine_tuning.jobs.create": Call(method="POST", path="/fine_tuning/jobs", writes=True),
    "fine_tuning.jobs.list": Call(method="GET", path="/fine_tuning/jobs"),
    "fine_tuning.jobs.retrieve": Call(method="GET", path="/fine_tuning/jobs/{fine_tuning_job_id}"),
    "fine_tuning.jobs.list_events": Call(method="GET", path="/fine_tuning/jobs/{fine_tuning_job_id}/events"),
    "fine_tuning.jobs.checkpoints.list": Call(method="GET", path="/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints"),
    "fine_tuning.jobs.cancel": Call(method="POST", path="/fine_tuning/jobs/{fine_tuning_job_id}/cancel", writes=True),
    "fine_tuning.jobs.pause": Call(method="POST", path="/fine_tuning/jobs/{fine_tuning_job_id}/pause", writes=True),
    "fine_tuning.jobs.resume": Call(method="POST", path="/fine_tuning/jobs/{fine_tuning_job_id}/resume", writes=True),
    "models.list": Call(method="GET", path="/models"),
    "models.retrieve": Call(method="GET", path="/models/{model}"),
    "models.delete": Call(method="DELETE", path="/models/{model}", writes=True),
    # Questions change nothing on an account and cost money, so a guard stops them and a plan shows them.
    "chat.completions.create": Call(method="POST", path="/chat/completions", writes=True),
    "completions.create": Call(method="POST", path="/completions", writes=True),
    "responses.create": Call(method="POST", path="/responses", writes=True),
}


@dataclass(frozen=True, kw_only=True)
class PlannedCall:
    """One request that would be sent.

    Attributes:
        name: its name in the OpenAI client, for example `fine_tuning.jobs.create`.
        method: HTTP method.
        path: path below the server's base URL.
        writes: whether it changes something or costs money.
        body: what it would carry; a file stands as its name, size in bytes and sha256. `<file 1>` and the like stand
            for ids that the server has not given yet.

    Example:
        ```python
        from ragtune import PlannedCall

        call = PlannedCall(name="models.delete", method="DELETE", path="/models/ft:x", writes=True, body={})
        print(call)
        #> models.delete: DELETE /models/ft:x
        ```
    """

    name: str
    method: str
    path: str
    writes: bool
    body: Json

    def __str__(self) -> str:
        head = f"{self.name}: {self.method} {self.path}"
        return f"{head}  {json.dumps(self.body, ensure_ascii=False)}" if self.body else head


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A file to send: opened only when it leaves, described in a plan, never read into memory.

    Attributes:
        path: where it lies.
        name: what the server shall call it.
        bytes: its size.
        sha256: of its content, in hex, or None when nobody counted.
    """

    path: str | os.PathLike[str]
    name: str
    bytes: int
    sha256: str | None

    def describe(self) -> Json:
        """Return name, size and hash, for a plan."""
        return {"name": self.name, "bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True, kw_only=True)
class FilePart:
    """A piece of a file: read when it leaves, so that one piece at a time is in memory.

    Attributes:
        path: where the file lies.
        name: what the server calls the file.
        offset: where the piece begins, in bytes.
        bytes: its size.
    """

    path: str | os.PathLike[str]
    name: str
    offset: int
    bytes: int

    def describe(self) -> Json:
        """Return which piece it is, for a plan."""
        return {"name": self.name, "offset": self.offset, "bytes": self.bytes}
