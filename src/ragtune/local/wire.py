"""The shapes that go over the wire: ids, bodies of OpenAI's objects, and the error envelope."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ragtune.local.store.schema import CheckpointRow, EventRow, FileRow, JobRow, PartRow, UploadRow

__all__ = [
    "ApiError",
    "checkpoint_body",
    "conflict",
    "event_body",
    "file_body",
    "invalid",
    "job_body",
    "list_body",
    "model_body",
    "model_not_found",
    "new_id",
    "new_request_id",
    "not_found",
    "overloaded",
    "part_body",
    "upload_body",
]

_LETTERS = string.ascii_letters + string.digits


def new_id(prefix: str, length: int = 24) -> str:
    """Make a new random id, for example `file-` followed by 24 letters and digits."""
    return prefix + "".join(secrets.choice(_LETTERS) for _ in range(length))


def new_request_id() -> str:
    """Make the id of a request, `req_` and 32 hexadecimal digits."""
    return f"req_{secrets.token_hex(16)}"


class ApiError(Exception):
    """An answer other than 2xx, in OpenAI's envelope.

    Attributes:
        status: HTTP status.
        message: for a person; names the value, the rule and the way out.
        type: OpenAI's error type.
        param: the parameter at fault, or None.
        code: machine-readable code, or None.
        headers: further response headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The envelope; all four keys are always there."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that breaks a rule."""
    return ApiError(400, message, param=param, code=code)


def not_found(message: str, *, param: str = "id", code: str = "not_found") -> ApiError:
    """An object that is not there."""
    return ApiError(404, message, param=param, code=code)


def conflict(message: str, *, param: str, code: str, again: bool) -> ApiError:
    """What stands against a request at this moment; `again` tells clients whether to come back by themselves."""
    return ApiError(409, message, param=param, code=code, headers={"x-should-retry": str(again).lower()})


def model_not_found(name: str, hint: str = "", *, deleted_at: int | None = None) -> ApiError:
    """A model that is not there; OpenAI's clients look at the code. One that was deleted (Unix seconds) says so."""
    message = f"The model `{name}` does not exist or you do not have access to it.{hint}"
    headers = {} if deleted_at is None else {"x-ragtune-deleted-at": str(deleted_at)}
    return ApiError(404, message, param="model", code="model_not_found", headers=headers)


def overloaded(message: str) -> ApiError:
    """The server cannot take this now but may soon; clients are told to come back."""
    headers = {"x-should-retry": "true", "retry-after": "1"}
    return ApiError(503, message, type="server_error", code="server_is_overloaded", headers=headers)


def list_body(data: Sequence[dict[str, Any]], *, has_more: bool = False) -> dict[str, Any]:
    """A list object with the ids of its ends."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def file_body(file: FileRow) -> dict[str, Any]:
    """OpenAI's file object."""
    return {
        "object": "file",
        "id": file.id,
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def upload_body(upload: UploadRow, file: FileRow | None = None) -> dict[str, Any]:
    """OpenAI's upload object; `file` is what a completed one has become."""
    return {
        "object": "upload",
        "id": upload.id,
        "bytes": upload.bytes,
        "created_at": upload.created_at,
        "expires_at": upload.expires_at,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "file": None if file is None else file_body(file),
    }


def part_body(part: PartRow) -> dict[str, Any]:
    """OpenAI's object for one part of an upload."""
    return {"object": "upload.part", "id": part.id, "created_at": part.created_at, "upload_id": part.upload}


def job_body(job: JobRow, organization: str) -> dict[str, Any]:
    """OpenAI's fine-tuning job object, with every required key; `error` is null, never an empty object."""
    kind = job.method["type"]
    hyperparameters = job.resolved or job.method[kind]["hyperparameters"]
    return {
        "object": "fine_tuning.job",
        "id": job.id,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "estimated_finish": job.estimated_finish,
        "model": job.model,
        "fine_tuned_model": job.tuned_name if job.status == "succeeded" else None,
        "organization_id": organization,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "result_files": [] if job.result_file is None else [job.result_file],
        "status": job.status,
        "trained_tokens": job.trained_tokens,
        "error": job.error,
        "hyperparameters": hyperparameters if kind == "supervised" else None,
        "method": {"type": kind, kind: {"hyperparameters": hyperparameters}},
        "seed": job.seed,
        "integrations": [],
        "metadata": job.metadata,
        "user_provided_suffix": job.suffix,
    }


def event_body(event: EventRow) -> dict[str, Any]:
    """OpenAI's event object."""
    return {
        "object": "fine_tuning.job.event",
        "id": event.id,
        "created_at": event.created_at,
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": event.data,
    }


def checkpoint_body(checkpoint: CheckpointRow) -> dict[str, Any]:
    """OpenAI's checkpoint object."""
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": checkpoint.id,
        "created_at": checkpoint.created_at,
        "fine_tuning_job_id": checkpoint.job,
        "fine_tuned_model_checkpoint": checkpoint.model,
        "step_number": checkpoint.step,
        "metrics": checkpoint.metrics,
    }


def model_body(name: str, *, created: int, owned_by: str) -> dict[str, Any]:
    """OpenAI's model object; what lies on one's own disk has no shutdown date."""
    return {"object": "model", "id": name, "created": created, "owned_by": owned_by, "shutdown_date": None}
