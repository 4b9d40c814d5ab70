"""What an error of the OpenAI client means, and what to do about it.

`error_table` holds the table. Two of its rows become errors of our own because we know better what happened; the others
pass through as they are, with a note.
"""

from __future__ import annotations

import inspect
import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from difflib import get_close_matches
from operator import attrgetter
from typing import TYPE_CHECKING

from ragtune._api.error_table import find, subject_of
from ragtune._api.identity import public_url
from ragtune._api.times import http_date
from ragtune._keys import redact
from ragtune.errors import RagtuneError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import openai

    from ragtune._api.identity import Heard

# A day, so that a slip of the server's does not look like a hang.
LONGEST_WAIT_S = 86_400.0
# What a list answers that a server does not have; anything else is trouble, and comes through.
NO_SUCH_LIST = (404, 405, 501)
_UNEXPECTED = re.compile(r"got an unexpected keyword argument '(\w+)'")


class UnreadableReplyError(RagtuneError, ValueError):
    """The server answered with success and something that is not the JSON object it should be."""


@contextmanager
def explaining(
    call: str, arguments: Mapping[str, object], *, client: openai.OpenAI | openai.AsyncOpenAI, heard: Heard
) -> Iterator[None]:
    """Turn what the client raises inside into what we know about it; keys are struck from messages."""
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        heard.note(error.response.headers, well=False)
        _hide_key(error, client.api_key)
        says, subject = _said(error), subject_of(arguments)
        trouble = find(error.status_code, code=error.code, says=says, call=call, subject=subject or "")
        text = trouble.text(call=call, subject=subject, base_url=_address(client), says=says)
        if trouble.becomes is not None:
            raise trouble.becomes(text) from error
        error.add_note(text)
        raise
    except openai.APIConnectionError as error:
        trouble = find("timeout" if isinstance(error, openai.APITimeoutError) else "no answer")
        error.add_note(trouble.text(call=call, subject=None, base_url=_address(client), says=""))
        raise
    # Before ValueError, which it is as well.
    except json.JSONDecodeError as error:
        message = f"{_address(client)} answered {call} with a body that is not JSON: {error}"
        raise UnreadableReplyError(message) from error
    except ValueError as error:
        # What the client says of a part of a path that is empty or dots; sent, it would ask for all of them.
        if "contains dot-segment" in str(error):
            dots = next((f"{name}: {value!r}" for name, value in arguments.items() if value in (".", "..")), "a name")
            raise SpecError(f"{dots} means a folder and is no name on a server; nothing was sent") from error
        if not str(error).startswith("Expected a non-empty value"):
            raise
        empty = next((name for name, value in arguments.items() if value == ""), "a name")
        raise SpecError(f"{empty}: '' names nothing, and {call} needs a name there; nothing was sent") from error
    except TypeError as error:
        unknown = _UNEXPECTED.search(str(error))
        if unknown is None:
            raise
        raise TypeError(_unknown(unknown[1], call, client)) from error
    except AttributeError as error:
        # What the client says where a list should be and a proxy's page is.
        if error.name != "_set_private_attributes":
            raise
        message = f"{_address(client)} answered {call} with something that is no list: {str(error.obj)[:200]!r}"
        raise UnreadableReplyError(message) from error


def _unknown(name: str, call: str, client: openai.OpenAI | openai.AsyncOpenAI) -> str:
    known = inspect.signature(attrgetter(call)(client)).parameters
    near = get_close_matches(name, known, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{call} takes no {name!r}{meant}; what the server alone knows goes into extra_body={{{name!r}: ...}}"


def _address(client: openai.OpenAI | openai.AsyncOpenAI) -> str:
    return public_url(str(client.base_url))


@contextmanager
def broken_off() -> Iterator[None]:
    """Raise for a body that breaks off what the client raises for a request that does."""
    import openai

    try:
        yield
    except Exception as error:
        # By name: the transport is httpx2 today and was httpx before, and neither is a dependency of ours.
        request = getattr(error, "_request", None)
        if not type(error).__module__.startswith("httpx") or request is None:
            raise
        raise openai.APIConnectionError(message=f"the body broke off: {error}", request=request) from error


@contextmanager
def reading_pages(call: str) -> Iterator[None]:
    """Tell a page whose entries are no list in words: the client goes through it unseen."""
    try:
        yield
    except TypeError as error:
        message = f"{call} was answered with a page whose entries are no list: {error}"
        raise UnreadableReplyError(message) from error


def transient(error: BaseException) -> bool:
    """Whether the same read may well succeed a little later: no connection, a server in trouble, a rate limit."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return find(error.status_code, code=error.code, says=_said(error)).waiting_helps
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
    # What timed out on the server (408) may have been done all the same.
    return status is not None and 400 <= status < 500 and status != 408


def _said(error: openai.APIStatusError) -> str:
    """The server's own words: of OpenAI's envelope, of other servers' objects, or a bare text or page."""
    body = error.body
    # `detail` is FastAPI's word, which many servers that copied the wire send.
    return str(body.get("message") or body.get("detail") or body) if isinstance(body, dict) else str(body or "")


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
            # OpenAI's own header, which its client reads first as well.
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            seconds = float(headers.get("retry-after", 0))
    except ValueError:
        # By the server's clock where it tells it: this machine's may be wrong.
        asked, answered = http_date(headers.get("retry-after")), http_date(headers.get("date"))
        seconds = 0.0 if asked is None else (asked - (answered or datetime.now(UTC))).total_seconds()
    return min(max(0.0, seconds), LONGEST_WAIT_S)
