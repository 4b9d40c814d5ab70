"""What all JSON bodies of requests have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from ragtune.limits import MAX_METADATA_KEY, MAX_METADATA_PAIRS, MAX_METADATA_VALUE
from ragtune.local.http.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["ARRAY", "A_TEXT", "BY_SHAPE", "OBJECT", "Metadata", "RequestBody", "Strict", "at_most"]

_MANY_KEYS = 64

A_TEXT, ARRAY, OBJECT = Tag("a string"), Tag("an array"), Tag("an object")
"""What a parameter may be; the blank in their names keeps them out of the places that refusals name."""


class Strict(BaseModel):
    """A piece of a JSON body: unknown fields are refused, types are taken as they are."""

    # Strict, because OpenAI is: a program that is tried out here must not be refused there for a "5" in place of 5.
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_a_flood_of_fields(cls, data: object) -> object:
        # One error for each of half a million unknown fields would hold up everybody for seconds.
        if isinstance(data, dict) and len(data) > _MANY_KEYS:
            raise PydanticCustomError("too_many_fields", "an object with so many fields is none that is served here")
        return data


def _shape(value: Any) -> str:
    # A model too: pydantic asks again when it writes out what it has read.
    if isinstance(value, dict | BaseModel):
        return OBJECT.tag
    if isinstance(value, str):
        return A_TEXT.tag
    return ARRAY.tag if isinstance(value, list) else "something else"


BY_SHAPE = Discriminator(_shape)
"""Chooses among the shapes that a parameter may have, so that a refusal is about the one that was sent."""


def at_most(number: int) -> BeforeValidator:
    """Refuse a longer object before its items are looked at one by one."""

    def check(data: object) -> object:
        if isinstance(data, dict) and len(data) > number:
            raise PydanticCustomError("too_long", f"an object may have at most {number} items here")
        return data

    return BeforeValidator(check)


class RequestBody(Strict):
    """A JSON body."""

    unserved: ClassVar[Mapping[str, Collection[object]]] = {}
    """Parameters of OpenAI's that are not served, each with the values that ask for nothing and so may be sent."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_served(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        for name, harmless in cls.unserved.items():
            if name in data and data[name] is not None and data[name] not in harmless:
                message = f"Unsupported parameter: '{name}' is not served by this server; leave it out."
                # No ValueError, so pydantic lets it through as it is, with its parameter and code.
                raise invalid(message, param=name, code="unsupported_parameter")
        return {name: value for name, value in data.items() if name not in cls.unserved}


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=MAX_METADATA_KEY)], Annotated[str, Field(max_length=MAX_METADATA_VALUE)]],
    Field(max_length=MAX_METADATA_PAIRS),
    at_most(MAX_METADATA_PAIRS),
]
"""Notes of the client's; OpenAI's limits."""
