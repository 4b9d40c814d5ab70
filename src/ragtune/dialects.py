"""Dated facts about servers that speak OpenAI's fine-tuning wire, chosen by the client's base URL.

A dialect only ever refuses what its server is known to refuse or to misread; an unknown server gets the benefit of
the doubt. None of these presets was ever called live for this package; each names its source and its day.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from ragtune.errors import SpecError

__all__ = ["DIALECTS", "Dialect", "dialect_of"]

ALL_METHODS = frozenset({"supervised", "dpo", "reinforcement"})


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What is known of one kind of server.

    Attributes:
        name: its short name.
        hosts: patterns of host names that belong to it; `*` stands for anything.
        methods: ways of fine-tuning that it takes.
        multiplier: whether `learning_rate_multiplier` means something to it.
        absolute: whether an absolute `learning_rate` means something to it.
        catalog_dates: whether the catalogue's shutdown dates, which are OpenAI's, hold there; elsewhere the server is
            asked whether it still has the model.
        source: where these facts were read.
        as_of: on which day.

    Example:
        ```python
        from ragtune.dialects import dialect_of

        print(dialect_of("https://api.openai.com/v1/").name, dialect_of("http://127.0.0.1:4010/v1").name)
        #> openai generic
        ```
    """

    name: str
    hosts: tuple[str, ...]
    methods: frozenset[str] = ALL_METHODS
    multiplier: bool = True
    absolute: bool = False
    catalog_dates: bool = True
    source: str
    as_of: dt.date = dt.date(2026, 11, 21)


GENERIC = Dialect(
    name="generic", hosts=(), absolute=True, catalog_dates=False, source="nothing is known, so nothing is refused"
)
DIALECTS = (
    Dialect(
        name="openai", hosts=("api.openai.com",), source="https://platform.openai.com/docs/api-reference/fine-tuning"
    ),
    Dialect(
        name="azure-foundry",
        hosts=("*.openai.azure.com", "*.services.ai.azure.com"),
        # Azure retires OpenAI's models on days of its own.
        catalog_dates=False,
        source="https://learn.microsoft.com/azure/ai-foundry/openai/how-to/fine-tuning",
    ),
    Dialect(
        name="nebius",
        hosts=("api.tokenfactory.nebius.com",),
        methods=frozenset({"supervised"}),
        multiplier=False,
        absolute=True,
        catalog_dates=False,
        source="https://docs.tokenfactory.nebius.com/post-training/how-to-fine-tune",
    ),
    GENERIC,
)


def dialect_of(base_url: str) -> Dialect:
    """Return the dialect of the server at `base_url`; `generic` when it is not known."""
    host = (urlsplit(base_url).hostname or "").lower()
    return next((known for known in DIALECTS if any(fnmatchcase(host, one) for one in known.hosts)), GENERIC)


def dialect_named(name: str) -> Dialect:
    """Return the dialect called `name`.

    Raises:
        SpecError: there is none of that name.
    """
    for known in DIALECTS:
        if known.name == name:
            return known
    message = (
        f"dialect {name!r} is not one of {', '.join(known.name for known in DIALECTS)}; or pass a Dialect of your own"
    )
    raise SpecError(message)
