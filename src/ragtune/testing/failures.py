"""What goes wrong with fine-tunes in the field, by name: each function prepares a `ScriptedBackend` for one trouble.

The pytest plugin has a fixture of the same name with `ragtune_` before it for each. Wordings and codes are those that
OpenAI's server sent in 2025 and 2026.

Example:
    ```python
    import openai

    from ragtune.testing import ScriptedBackend, failures

    with ScriptedBackend() as backend, backend.client() as client:
        failures.tuning_closed(backend)
        try:
            client.fine_tuning.jobs.create(model="tiny-random", training_file="file-1")
        except openai.PermissionDeniedError as error:
            print(error.code)
            #> training_not_available
    ```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragtune.testing.backend import ScriptedBackend

__all__ = [
    "answers_that_are_html",
    "answers_that_are_text",
    "create_fails_once",
    "create_loses_its_reply",
    "create_succeeds_and_says_500",
    "daily_limit",
    "events_out_of_order",
    "file_error",
    "job_cancelled",
    "job_failed",
    "job_failed_bare",
    "job_paused",
    "job_with_unknown_status",
    "missing_scopes",
    "model_appears_late",
    "quota_used_up",
    "rate_limit",
    "rate_limit_without_a_hint",
    "slow_events",
    "tuning_closed",
]

_CREATE = "fine_tuning.jobs.create"
_EVENTS = "fine_tuning.jobs.list_events"
_JOB = "fine_tuning.jobs.retrieve"
_JOBS = "fine_tuning.jobs.list"


def tuning_closed(backend: ScriptedBackend) -> None:
    """The account may not create jobs: 403 `training_not_available`, after its files were taken."""
    message = "Fine-tuning is no longer available for your organization."
    backend.fail_next(_CREATE, status=403, code="training_not_available", message=message, times=None)


def create_fails_once(backend: ScriptedBackend) -> None:
    """The first request for a job meets a 500 and makes none; the second one makes it."""
    backend.fail_next(_CREATE, status=500, message="The server had an error while processing your request.")


def create_succeeds_and_says_500(backend: ScriptedBackend) -> None:
    """The first request for a job makes it and is answered with a 500."""
    # OpenAI's client tries again by itself, which makes a second job where nobody looks for the first.
    backend.fail_next(_CREATE, status=500, after_commit=True, message="The server had an error.")


def create_loses_its_reply(backend: ScriptedBackend) -> None:
    """The first request for a job makes it, and the connection breaks before the answer."""
    backend.fail_next(_CREATE, drop=True, after_commit=True)


def file_error(backend: ScriptedBackend) -> None:
    """Every file is taken and then found unreadable: `status` is `error`."""
    details = "The file could not be read as JSONL."
    backend.change_next(
        "files.retrieve", lambda file: file | {"status": "error", "status_details": details}, times=None
    )


def job_failed(backend: ScriptedBackend) -> None:
    """The next job fails: `invalid_training_file`, and the message names an example."""
    message = (
        "The job failed due to an invalid training file. Invalid file format. "
        "Example 10, message 2 Discriminator 'role' is missing in value"
    )
    backend.next_job(end="failed", steps=0, code="invalid_training_file", message=message, param="training_file")


def job_failed_bare(backend: ScriptedBackend) -> None:
    """The next job fails; jobs are told without `hyperparameters`, `method` and `seed`, as some servers do."""
    backend.next_job(end="failed", steps=2, code="server_error", message="The job failed due to an internal error.")
    for call in (_JOB, _JOBS):
        backend.change_next(call, _bare, times=None)


def job_cancelled(backend: ScriptedBackend) -> None:
    """Somebody else cancels the next job after two steps."""
    backend.next_job(end="cancelled", steps=2)


def job_paused(backend: ScriptedBackend) -> None:
    """The next job pauses after two steps until it is resumed, and then succeeds."""
    backend.next_job(end="paused", steps=2)


def job_with_unknown_status(backend: ScriptedBackend) -> None:
    """The next two looks at a job see the status `preparing`, which no client knows."""
    backend.change_next(_JOB, lambda job: job | {"status": "preparing", "fine_tuned_model": None}, times=2)


def events_out_of_order(backend: ScriptedBackend) -> None:
    """Pages of events come in mixed order, and every second event twice."""
    backend.change_next(_EVENTS, _mixed, times=None)


def slow_events(backend: ScriptedBackend) -> None:
    """Each page of events takes 0.2 s."""
    backend.fail_next(_EVENTS, delay_s=0.2, times=None)


def model_appears_late(backend: ScriptedBackend) -> None:
    """The first look for a model and the first question to one find none: 404 `model_not_found`."""
    message = "The model does not exist or you do not have access to it."
    # OpenAI says of a new model that this may last for minutes.
    for call in ("models.retrieve", "chat.completions.create"):
        backend.fail_next(call, status=404, code="model_not_found", message=message, param="model")


def rate_limit(backend: ScriptedBackend) -> None:
    """The next request meets a 429 with `Retry-After: 1`."""
    backend.fail_next("*", status=429, code="rate_limit_exceeded", message="Slow down.", headers={"retry-after": "1"})


def rate_limit_without_a_hint(backend: ScriptedBackend) -> None:
    """The next request meets a 429 that does not say when to come back."""
    # None would be a hint, of a millisecond.
    backend.fail_next("*", status=429, code="rate_limit_exceeded", message="Slow down.", headers={})


def quota_used_up(backend: ScriptedBackend) -> None:
    """The account has no credit left: 429 `insufficient_quota` to every job and every question."""
    message = "You exceeded your current quota, please check your plan and billing details."
    for call in (_CREATE, "chat.completions.create", "completions.create"):
        backend.fail_next(
            call, status=429, code="insufficient_quota", type="insufficient_quota", message=message, times=None
        )


def daily_limit(backend: ScriptedBackend) -> None:
    """Today's fine-tuning jobs are used up: 429 `daily_rate_limit_exceeded`."""
    message = "You have reached the maximum of 8 fine-tuning requests per day for the model."
    backend.fail_next(_CREATE, status=429, code="daily_rate_limit_exceeded", message=message, times=None)


def missing_scopes(backend: ScriptedBackend) -> None:
    """A restricted key lacks its scopes: 401 to everything, and the message names them."""
    message = (
        "You have insufficient permissions for this operation. Missing scopes: api.fine_tuning.jobs.write. Check that "
        "you have the correct role in your organization and project."
    )
    # 401 and not 403, which OpenAI's server keeps for projects and models.
    backend.fail_next("*", status=401, message=message, times=None)


def answers_that_are_html(backend: ScriptedBackend) -> None:
    """A proxy stands before the server and answers everything with a page: 502."""
    backend.fail_next("*", status=502, body="<html><body>Bad gateway</body></html>", times=None)


def answers_that_are_text(backend: ScriptedBackend) -> None:
    """Errors are a bare text instead of an object: `{"error": "..."}` with 400."""
    # OpenAI's client then knows neither a code nor a parameter.
    backend.fail_next("*", status=400, body={"error": "something went wrong"}, times=None)


def _bare(body: dict[str, Any]) -> dict[str, Any]:
    for job in body.get("data", [body]):
        for name in ("hyperparameters", "method", "seed"):
            job.pop(name, None)
    return body


def _mixed(page: dict[str, Any]) -> dict[str, Any]:
    events = page["data"]
    return page | {"data": events[1::2] + events[::-1]}
