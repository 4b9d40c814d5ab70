"""The bodies of OpenAI's objects: files, uploads, jobs, events, checkpoints, models, and lists of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.local.store.schema import CheckpointRow, CompletionRow, EventRow, FileRow, JobRow, PartRow, UploadRow

__all__ = [
    "checkpoint_body",
    "completion_body",
    "event_body",
    "file_body",
    "job_body",
    "list_body",
    "message_bodies",
    "model_body",
    "part_body",
    "upload_body",
]


def list_body(data: Sequence[dict[str, object]], *, has_more: bool = False) -> dict[str, object]:
    """A list object with the ids of its ends."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def file_body(file: FileRow) -> dict[str, object]:
    """OpenAI's file object."""
    return {
        "object": "file",
        "id": file.id,
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        # Deprecated at OpenAI, but its client's `wait_for_processing` looks at nothing else.
        "status": "processed",
        "status_details": None,
    }


def upload_body(upload: UploadRow, *, file: FileRow | None = None) -> dict[str, object]:
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


def part_body(part: PartRow) -> dict[str, object]:
    """OpenAI's object for one part of an upload."""
    return {"object": "upload.part", "id": part.id, "created_at": part.created_at, "upload_id": part.upload}


def job_body(job: JobRow, organization: str) -> dict[str, object]:
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
        # The name is chosen when the job is made, and told when there is a model of that name.
        "fine_tuned_model": job.tuned_name if job.status == "succeeded" else None,
        "organization_id": organization,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "result_files": [] if job.result_file is None else [job.result_file],
        "status": job.status,
        "trained_tokens": job.trained_tokens,
        "error": job.error,
        # OpenAI's older place for them, which it fills for supervised jobs alone.
        "hyperparameters": hyperparameters if kind == "supervised" else None,
        "method": {"type": kind, kind: {"hyperparameters": hyperparameters}},
        "seed": job.seed,
        "integrations": [],
        "metadata": job.metadata,
        "user_provided_suffix": job.suffix,
    }


def event_body(event: EventRow) -> dict[str, object]:
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


def checkpoint_body(checkpoint: CheckpointRow) -> dict[str, object]:
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


def model_body(name: str, *, created: int, owned_by: str) -> dict[str, object]:
    """OpenAI's model object; what lies on one's own disk has no shutdown date."""
    return {"object": "model", "id": name, "created": created, "owned_by": owned_by, "shutdown_date": None}


def completion_body(completion: CompletionRow) -> dict[str, object]:
    """The chat completion as it was answered, with its metadata."""
    return {**completion.answer, "metadata": completion.metadata}


def message_bodies(completion: CompletionRow) -> list[dict[str, object]]:
    """OpenAI's objects for the messages that a chat completion answered; content that came in parts stands apart."""
    bodies: list[dict[str, object]] = []
    for number, message in enumerate(completion.messages):
        content = message.get("content")
        parts = content if isinstance(content, list) else None
        # Messages have no ids of their own; the place in the conversation makes one that stays.
        own = {"id": f"{completion.id}-{number}", "content": None if parts else content, "content_parts": parts}
        bodies.append({"refusal": None, **message, **own})
    return bodies
