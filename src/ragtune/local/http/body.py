"""Reading a request: its JSON body into a type, its query into parameters; refusals name the parameter."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from ragtune.local.http.errors import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from ragtune.local.http.slots import Slots


__all__ = ["checked", "limit_of", "metadata_of", "newest_first", "parse", "query"]

MAX_JSON_BYTES = 8 * 1024 * 1024
_SMALL_BYTES = 64 * 1024  # of as many connections as are served, these fit into memory at once
# As many characters as OpenAI lets a key of metadata have.
_METADATA = re.compile(r"metadata\[(.{1,64})\]", re.DOTALL)
_Body = TypeVar("_Body", bound=BaseModel)


async def parse(request: Request, kind: type[_Body], *, slots: Slots) -> _Body:
    """Read a JSON body into its type.

    Args:
        request: the request, whose body was not read yet.
        kind: what the body must be.
        slots: how many large bodies are read at the same time.

    Raises:
        ApiError: too large, too slow, no JSON, or not what the type says; names the parameter.
    """
    body, large = bytearray(), False
    async with AsyncExitStack() as held:
        async for chunk in request.stream():
            body += chunk
            # Taken when a body turns out to be large: nobody need tell a length beforehand.
            if len(body) > _SMALL_BYTES and not large:
                large = True
                await held.enter_async_context(slots.one())
            if len(body) > MAX_JSON_BYTES:
                message = f"The request body is larger than {MAX_JSON_BYTES} bytes; send files through /v1/files."
                raise ApiError(413, message, code="request_too_large")
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"We could not parse the JSON body of your request: {error}."
        raise invalid(message, code="invalid_json") from error
    if not isinstance(data, dict):
        raise invalid("The JSON body of your request must be an object.", code="invalid_json")
    return checked(data, kind)


def checked(data: Mapping[str, object], kind: type[_Body]) -> _Body:
    """Make a value of a type.

    Raises:
        ApiError: the data are not what the type says; names the parameter.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise _refusal(error) from error


def _refusal(error: ValidationError) -> ApiError:
    # A union reports every branch that did not fit; the branch that came furthest tells most.
    problem = max(error.errors(include_url=False, include_input=False), key=lambda item: len(_place(item["loc"])))
    param = _place(problem["loc"])
    if not param:
        return invalid(f"The JSON body of your request is refused: {problem['msg']}.", code="invalid_value")
    match problem["type"]:
        case "extra_forbidden":
            return invalid(f"Unrecognized request argument supplied: {param}", param=param, code="unknown_parameter")
        case "missing":
            message = f"Missing required parameter: '{param}'."
            return invalid(message, param=param, code="missing_required_parameter")
        case "too_long" | "too_short" if "actual_length" in problem.get("ctx", {}):
            return _wrong_length(param, problem["ctx"])
        case "union_tag_invalid" if "expected_tags" in problem.get("ctx", {}):
            shapes = str(problem["ctx"]["expected_tags"]).replace("'", "")
            return invalid(
                f"Invalid value for '{param}': expected one of: {shapes}.", param=param, code="invalid_value"
            )
    return invalid(f"Invalid value for '{param}': {problem['msg']}.", param=param, code="invalid_value")


def _wrong_length(param: str, found: Mapping[str, object]) -> ApiError:
    """In OpenAI's words and with its codes."""
    length = found["actual_length"]
    if "max_length" in found:
        rule, told, code = f"maximum length {found['max_length']}", "too long", "array_above_max_length"
    else:
        rule, told, code = f"minimum length {found['min_length']}", "too short", "array_below_min_length"
    expected = f"Expected an array with {rule}, but got an array with length {length} instead."
    message = f"Invalid '{param}': array {told}. {expected}"
    return invalid(message, param=param, code=code)


def _place(location: tuple[int | str, ...]) -> str:
    # Names of union branches stand in the location as well; they are no part of the request.
    known = [part for part in location if isinstance(part, int) or (part.replace("_", "").isalnum() and part.islower())]
    words = [f"[{part}]" if isinstance(part, int) else part for part in known if part not in _BRANCHES]
    return ".".join(words)


_BRANCHES = frozenset({"str", "int", "float", "bool", "literal", "constrained"})


def query(request: Request, *names: str) -> dict[str, str]:
    """The query parameters of a request, each at most once and none that is not served.

    Raises:
        ApiError: a parameter that is not among `names`, or one given twice; names it.
    """
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in names:
            message = f"Unrecognized query parameter: '{name}'; this route takes {', '.join(names) or 'none'}."
            raise invalid(message, param=name, code="unknown_parameter")
        if name in found:
            raise invalid(f"The query parameter '{name}' was given twice.", param=name, code="invalid_value")
        found[name] = value
    return found


def metadata_of(request: Request, *names: str) -> tuple[dict[str, str], dict[str, str]]:
    """The query parameters of a list, and the pairs that `metadata[key]=value` wants its items to carry.

    Raises:
        ApiError: as `query`.
    """
    filters = [name for name in request.query_params if _METADATA.fullmatch(name)]
    found = query(request, *names, *filters)
    return found, {name[len("metadata[") : -1]: found[name] for name in filters}


def limit_of(parameters: Mapping[str, str], *, default: int, most: int) -> int:
    """The page size that a query asks for.

    Raises:
        ApiError: no whole number, or outside 1 to `most`.
    """
    text = parameters.get("limit")
    if text is None:
        return default
    # `isdigit` alone lets superscripts and the digits of other scripts through.
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        message = f"Invalid 'limit': {text[:40]!r} is not a whole number from 1 to {most}."
        raise invalid(message, param="limit", code="invalid_value")
    return int(text)


def newest_first(parameters: Mapping[str, str], *, default: bool) -> bool:
    """Whether a query asks for a list from its newest item on (`order=desc`) or from its oldest (`order=asc`).

    Raises:
        ApiError: neither of the two.
    """
    order = parameters.get("order", "desc" if default else "asc")
    if order not in ("asc", "desc"):
        raise invalid(f"Invalid 'order': {order[:40]!r} is not 'asc' or 'desc'.", param="order", code="invalid_value")
    return order == "desc"
