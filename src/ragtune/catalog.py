"""Dated facts about models: price, context, encoding and shutdown, from one file that you can replace.

What is not known stays None: an unknown price is not zero and an unknown shutdown is not "never".
"""

from __future__ import annotations

import datetime as dt
import tomllib
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from ragtune._checked import checked
from ragtune.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Catalog", "Encoding", "ModelInfo", "base_of", "load"]

Encoding = Literal["o200k_base", "cl100k_base"]
ENCODINGS: tuple[Encoding, ...] = ("o200k_base", "cl100k_base")


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known about one base model, on the day `as_of`, from `source`; None is unknown.

    Attributes:
        name: the model's dated name.
        training_usd_per_million: US dollars per million training tokens; 0.0 where nobody bills it.
        input_usd_per_million: US dollars per million prompt tokens of a tuned model.
        output_usd_per_million: US dollars per million answer tokens of a tuned model.
        training_context: most tokens that one training example may have; the rest is cut off.
        encoding: the tokenizer that the model counts in.
        last_new_job: last day before which new fine-tuning jobs are taken.
        shutdown: day on which the model and its fine-tunes stop answering.
        methods: ways of fine-tuning it takes.
        formats: record formats it takes, None where that follows from the method.
        vision: whether images may be trained.

    Example:
        ```python
        from ragtune.catalog import load

        model = load().find("gpt-4o-mini")
        print(model.name, model.training_usd_per_million, model.shutdown)
        #> gpt-4o-mini-2024-07-18 3.0 2027-01-14
        ```
    """

    name: str
    source: str
    as_of: dt.date
    training_usd_per_million: float | None = None
    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None
    training_context: int | None = None
    encoding: Encoding | None = None
    last_new_job: dt.date | None = None
    shutdown: dt.date | None = None
    methods: tuple[str, ...] = ()
    formats: tuple[str, ...] | None = None
    vision: bool = False


@checked()
@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All models of one catalogue file.

    Example:
        ```python
        from ragtune.catalog import load

        catalog = load()
        print(catalog.find("ft:gpt-4o-mini-2024-07-18:acme::abc12345").name)
        #> gpt-4o-mini-2024-07-18
        print(catalog.find("gpt-9"))
        #> None
        ```
    """

    models: Mapping[str, ModelInfo]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def find(self, model: str) -> ModelInfo | None:
        """Look up a model by name, alias, or the name of a fine-tune or checkpoint of it; None when it is unknown."""
        name = base_of(model)
        return self.models.get(self.aliases.get(name, name))


@checked()
def base_of(model: str) -> str:
    """The base in a fine-tune's name (`ft:base:org:suffix:id`, with or without `:ckpt-step-N`), or the name itself.

    Example:
        ```python
        from ragtune.catalog import base_of

        print(base_of("ft:gpt-4o-mini-2024-07-18:acme:sciq:abc12345:ckpt-step-88"))
        #> gpt-4o-mini-2024-07-18
        ```
    """
    parts = model.split(":")
    return parts[1] if parts[0] == "ft" and len(parts) > 1 else model


@checked()
def load(path: str | Path | None = None) -> Catalog:
    """Read a catalogue file; without a path the one that ships with this version.

    Raises:
        SpecError: the file is missing, is not TOML, or holds an unknown or wrongly typed key.
    """
    return _shipped() if path is None else _parse(_read(Path(path)), str(path))


@cache
def _shipped() -> Catalog:
    text = resources.files("ragtune").joinpath("catalog.toml").read_text(encoding="utf-8")
    return _parse(text, "catalog.toml")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"the catalogue {path} is not UTF-8 ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise SpecError(
            f"the catalogue {path} cannot be read: {error.strerror}; give the path of a TOML file"
        ) from error


def _parse(text: str, name: str) -> Catalog:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{name} is not TOML: {error}") from error
    for place, table in (("models", data.get("models", {})), ("aliases", data.get("aliases", {}))):
        if not isinstance(table, dict):
            raise SpecError(f"{name}, {place}: {table!r:.60} is no table; write [{place}]")
    models = {model: _model(model, facts, name) for model, facts in data.get("models", {}).items()}
    # Read-only: all who load the shipped one share it.
    return Catalog(models=MappingProxyType(models), aliases=MappingProxyType(dict(data.get("aliases", {}))))


_KEYS = frozenset(item.name for item in fields(ModelInfo)) - {"name"}


def _model(model: str, facts: object, file: str) -> ModelInfo:
    place = f"{file}, models.{model!r}"
    if not isinstance(facts, dict):
        raise SpecError(f"{place}: {facts!r:.60} is no table; a name with dots stands in quotes: [models.{model!r}]")
    if unknown := facts.keys() - _KEYS:
        raise SpecError(f"{place}: unknown key {min(unknown)!r}; known are {', '.join(sorted(_KEYS))}")
    # Prices and dates grow old in silence: without a day nobody could tell.
    if missing := {"source", "as_of"} - facts.keys():
        raise SpecError(f"{place}: {min(missing)!r} is missing; every fact needs its source and its day")
    for key, value in facts.items():
        # To Python, true is a number.
        if key.endswith("_per_million") and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise SpecError(f"{place}.{key}: {value!r} is not a number; leave the key out when the price is unknown")
        if key in ("as_of", "shutdown", "last_new_job") and not isinstance(value, dt.date):
            raise SpecError(f"{place}.{key}: {value!r} is not a date; write it as 2027-01-14, without quotes")
    if facts.get("encoding") not in (None, *ENCODINGS):
        raise SpecError(f"{place}.encoding: {facts['encoding']!r} is not one of {', '.join(ENCODINGS)}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    return ModelInfo(name=model, **values)
