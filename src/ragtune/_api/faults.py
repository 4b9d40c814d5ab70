"""What an error of the OpenAI client means, and what to do about it.

Three of them become errors of our own because we know better what happened; the others pass through as they are, with
a note. Codes decide, never the wording of a message, except where OpenAI gives two situations the same code.
Source: OpenAI's API reference on error codes and the texts that its server sent in 2025 and 2026.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ragtune._api.times import http_date
from ragtune._keys import HOW_TO_GIVE_A_KEY, redact
from ragtune.errors import ModelExpired, RagtuneError, TuningClosed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openai

CLOSED = (
    "the server does not let this account create fine-tuning jobs. OpenAI closed them on 2026-05-07 to organisations "
    "that had never fine-tuned, on 2026-07-02 to those without a call to a tuned model in 60 days, and closes them to "
    "everybody on 2027-01-06. What goes on working: any other server with this wire (openai.OpenAI(base_url=...)) and "
    "ragtune.local.LocalBackend, which trains on this machine"
)
EXPIRED = (
    "the maker of model {subject!r} has shut it down, and fine-tunes end with their base; train again on another base: "
    "the dataset's files still stand where they were built"
)
_NOTES_BY_CODE = {
    "insufficient_quota": "the account has no credit left: trying again does not help, adding credit does",
    "daily_rate_limit_exceeded": (
        "the account has used up today's fine-tuning requests for this model: trying again helps after 24 hours"
    ),
}
_NOTES_BY_STATUS = {
    401: (
        "the server at {base_url} refused the key: it must be a key of that server, and a restricted key needs the "
        "scopes Files write, Fine-tuning write and Model request; " + HOW_TO_GIVE_A_KEY
    ),
    403: "the key is known but may not do this: look at the project and the role it belongs to",
    413: "the file is larger than the server takes in one request",
    429: "the server asks for fewer requests; the client already waited and tried again",
}
_LISTS = {
    "files": "files of this account: ragtune.Maintenance(client).files()",
    "fine_tuning": "jobs of this account: ragtune.list_jobs(client)",
    "models": "models of this account: ragtune.Maintenance(client).models()",
}
# A day, so that a slip of the server's does not look like a hang.
LONGEST_WAIT_S = 86_400.0
_SUBJECTS = ("fine_tuning_job_id", "file_id", "model")


class UnreadableReplyError(RagtuneError, ValueError):
    """The server answered with success and something that is not the JSON object it should be."""


@contextmanager
def explaining(call: str, arguments: dict[str, Any], *, base_url: str, key: str | None) -> Iterator[None]:
    """Turn what the client raises inside into what we know about it; keys are struck from messages."""
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        _hide_key(error, key)
        raise_known(error, call, arguments)
        error.add_note(_status_note(error, call, arguments, base_url))
        raise
    except openai.APIConnectionError as error:
        error.add_note(
            f"no answer from {base_url}: is the server running, and are the address and the network right? "
            "(an embedded backend answers only while its `with` block is open)"
        )
        raise
    except json.JSONDecodeError as error:
        message = f"{base_url} answered {call} with a body that is not JSON: {error}"
        raise UnreadableReplyError(message) from error
    except AttributeError as error:
        # What the client says where a list should be and a proxy's page is.
        if error.name != "_set_private_attributes":
            raise
        message = f"{base_url} answered {call} with something that is no list: {str(error.obj)[:200]!r}"
        raise UnreadableReplyError(message) from error


def raise_known(error: openai.APIStatusError, call: str, arguments: dict[str, Any]) -> None:
    """Raise an error of our own where one stands for `error`; return otherwise.

    Raises:
        TuningClosed: 403 with code `training_not_available`.
        ModelExpired: 404 `model_not_found` whose message says that the model was deprecated.
    """
    if error.status_code == 403 and error.code == "training_not_available":
        raise TuningClosed(CLOSED) from error
    # A model that never was and one that was shut down share the code; only the text tells them apart.
    if error.status_code == 404 and error.code == "model_not_found" and "deprecated" in error.message:
        raise ModelExpired(EXPIRED.format(subject=arguments.get("model"))) from error


def transient(error: BaseException) -> bool:
    """Whether the same read may well succeed a little later: no connection, a server in trouble, a rate limit."""
    import openai

    if isinstance(error, openai.RateLimitError):
        return error.code not in _NOTES_BY_CODE
    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409) or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError | UnreadableReplyError)


def never_left(error: BaseException) -> bool:
    """Whether the request provably never reached the server: the connection itself was refused."""
    import openai

    if not isinstance(error, openai.APIConnectionError):
        return False
    # By name: the transport is httpx2 today and was httpx before, and neither is a dependency of ours.
    return type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout", "UnsupportedProtocol")


def refused(error: BaseException) -> bool:
    """Whether the server itself said no, so that nothing was made."""
    import openai

    status = error.status_code if isinstance(error, openai.APIStatusError) else None
    return status is not None and 400 <= status < 500 and status != 408


def _status_note(error: openai.APIStatusError, call: str, arguments: dict[str, Any], base_url: str) -> str:
    if error.code in _NOTES_BY_CODE:
        return _NOTES_BY_CODE[error.code]
    if call == "models.delete" and error.status_code == 403 and not str(arguments.get("model")).startswith("ft:"):
        return (
            f"{arguments.get('model')!r} is a base model; only tuned models (ft:...) can be deleted: {_LISTS['models']}"
        )
    if error.code == "model_not_found":
        return (
            f"no model {arguments.get('model')!r} for this key: a new model can take minutes to appear after its job "
            f"succeeded, and another project's models are not seen; {_LISTS['models']}"
        )
    if error.status_code == 404:
        subject = next((arguments[name] for name in _SUBJECTS if name in arguments), None)
        room = call.partition(".")[0]
        if subject is None or room not in _LISTS:
            return f"the server at {base_url} does not serve {call}" + (f", or not for {subject!r}" if subject else "")
        return f"{call}: {subject!r} is not on this account; {_LISTS[room]}"
    if error.status_code >= 500:
        return f"the trouble is on the side of {base_url}; the client already tried again where that is safe"
    return _NOTES_BY_STATUS.get(error.status_code, f"{base_url} refused {call}; nothing was changed").format(
        base_url=base_url
    )


def _hide_key(error: openai.APIStatusError, key: str | None) -> None:
    """Strike the key where a server echoes it in its refusal."""
    error.args = tuple(redact(part, key) if isinstance(part, str) else part for part in error.args)
    error.message = redact(error.message, key)
    if isinstance(error.body, dict):
        error.body = {
            name: redact(value, key) if isinstance(value, str) else value for name, value in error.body.items()
        }
    elif isinstance(error.body, str):
        error.body = redact(error.body, key)


def retry_after_s(error: BaseException | None) -> float:
    """Return the seconds that the server asked to wait (`Retry-After`, seconds or a date); 0.0 where it asked for none.

    A date is held against the server's own clock: ours may be minutes off, or hours after a laptop's sleep.
    """
    response = getattr(error, "response", None)
    headers = {} if response is None else response.headers
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            seconds = float(headers.get("retry-after", 0))
    except ValueError:
        asked, answered = http_date(headers.get("retry-after")), http_date(headers.get("date"))
        seconds = 0.0 if asked is None else (asked - (answered or datetime.now(UTC))).total_seconds()
    return min(max(0.0, seconds), LONGEST_WAIT_S)
