"""What requests may say: typed bodies, and refusals that name the parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from ragtune.local.services import services
from ragtune.local.wire import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.requests import Request

__all__ = [
    "JobRequest",
    "Metadata",
    "RequestBody",
    "Strict",
    "at_most",
    "limit_of",
    "parse",
    "query",
]

MAX_JSON_BYTES = 8 * 1024 * 1024
_Body = TypeVar("_Body", bound="RequestBody")


_MANY_KEYS = 64


class Strict(BaseModel):
    """A piece of a JSON body: unknown fields are refused, types are taken as they are."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_a_flood_of_fields(cls, data: Any) -> Any:
        # One error for each of half a million unknown fields would hold up everybody for seconds.
        if isinstance(data, dict) and len(data) > _MANY_KEYS:
            raise PydanticCustomError("too_many_fields", "an object with so many fields is none that is served here")
        return data


def at_most(number: int) -> BeforeValidator:
    """Refuse a longer object before its items are looked at one by one."""

    def check(data: Any) -> Any:
        if isinstance(data, dict) and len(data) > number:
            raise PydanticCustomError("too_long", f"an object may have at most {number} items here")
        return data

    return BeforeValidator(check)


class RequestBody(Strict):
    """A JSON body."""

    unserved: ClassVar[Mapping[str, Collection[Any]]] = {}
    """Parameters of OpenAI's that are not served, each with the values that ask for nothing and so may be sent."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_served(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for name, harmless in cls.unserved.items():
            if name in data and data[name] is not None and data[name] not in harmless:
                message = f"Unsupported parameter: '{name}' is not served by this server; leave it out."
                raise invalid(message, param=name, code="unsupported_parameter")
        return {name: value for name, value in data.items() if name not in cls.unserved}


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
    at_most(16),
]
"""Notes of the client's; OpenAI's limits."""


# --- fine-tuning jobs ---------------------------------------------------------------------------------------------

_Auto = Literal["auto"]
_Epochs = Annotated[int, Field(ge=1, le=50)]
_BatchSize = Annotated[int, Field(ge=1, le=256)]
_Multiplier = Annotated[float, Field(gt=0)]


class _Hyperparameters(Strict):
    n_epochs: _Epochs | _Auto = "auto"
    batch_size: _BatchSize | _Auto = "auto"
    learning_rate_multiplier: _Multiplier | _Auto = "auto"
    # Not among OpenAI's: servers that copied the wire take the rate itself.
    learning_rate: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _say_the_rate_once(self) -> Self:
        if self.learning_rate is not None and self.learning_rate_multiplier != "auto":
            message = "Invalid 'learning_rate': it is the rate that 'learning_rate_multiplier' gives; send one of them."
            raise invalid(message, param="learning_rate", code="invalid_value")
        return self


class _DPOHyperparameters(_Hyperparameters):
    beta: Annotated[float, Field(gt=0, le=2)] | _Auto = "auto"


class _Supervised(Strict):
    hyperparameters: _Hyperparameters | None = None


class _DPO(Strict):
    hyperparameters: _DPOHyperparameters | None = None


class _MethodRequest(RequestBody):
    unserved = {"reinforcement": ()}

    type: Literal["supervised", "dpo"]
    supervised: _Supervised | None = None
    dpo: _DPO | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_trained(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("type") == "reinforcement":
            message = (
                "Unsupported method: this server trains supervised and dpo runs, not reinforcement ones; "
                "send the type 'supervised' or 'dpo', or the job to another server."
            )
            raise invalid(message, param="method", code="unsupported_method")
        return data

    @model_validator(mode="after")
    def _is_one_method(self) -> Self:
        other = "dpo" if self.type == "supervised" else "supervised"
        if getattr(self, other) is not None:
            message = f"Invalid 'method': its type is '{self.type}', but it describes '{other}'; leave that out."
            raise invalid(message, param=f"method.{other}", code="invalid_value")
        return self


class JobRequest(RequestBody):
    """Body of `POST /v1/fine_tuning/jobs`."""

    unserved = {"integrations": ([],)}

    model: Annotated[str, Field(min_length=1)]
    training_file: str
    validation_file: str | None = None
    method: _MethodRequest | None = None
    hyperparameters: _Hyperparameters | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: Metadata | None = None

    def full_method(self) -> dict[str, Any]:
        """The method with all hyperparameters written out; its own count before the deprecated top-level ones."""
        common = {} if self.hyperparameters is None else self.hyperparameters.model_dump(exclude_none=True)
        chosen: _Hyperparameters
        if self.method is not None and self.method.type == "dpo":
            own = None if self.method.dpo is None else self.method.dpo.hyperparameters
            chosen = own or _DPOHyperparameters(**common)
            return {"type": "dpo", "dpo": {"hyperparameters": chosen.model_dump(exclude_none=True)}}
        described = None if self.method is None else self.method.supervised
        chosen = (described and described.hyperparameters) or _Hyperparameters(**common)
        return {"type": "supervised", "supervised": {"hyperparameters": chosen.model_dump(exclude_none=True)}}


# --- reading ------------------------------------------------------------------------------------------------------


async def parse(request: Request, kind: type[_Body]) -> _Body:
    """Read a JSON body into its type.

    Raises:
        ApiError: too large, too slow, no JSON, or not what the type says; names the parameter.
    """
    with services(request).reading.one():
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
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
    return invalid(f"Invalid value for '{param}': {problem['msg']}.", param=param, code="invalid_value")


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


def limit_of(parameters: Mapping[str, str], *, default: int, most: int) -> int:
    """The page size that a query asks for.

    Raises:
        ApiError: no whole number, or outside 1 to `most`.
    """
    text = parameters.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        message = f"Invalid 'limit': {text[:40]!r} is not a whole number from 1 to {most}."
        raise invalid(message, param="limit", code="invalid_value")
    return int(text)
