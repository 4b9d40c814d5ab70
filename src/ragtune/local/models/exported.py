"""What an exported model is, and where its base came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ragtune.modelling.hardware.formats import Dtype

__all__ = ["Exported", "Origin"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A tuned model in a folder of its own.

    Attributes:
        folder: what other programs load; its README.md is the model card.
        merged: whether adapter and base are one model here; else the folder holds the adapter alone.
        base: what the adapter needs: a Hugging Face Hub id or the folder of the base.
        dtype: number format of the weights, as the base was saved; loading them in it loses nothing.
        commands: how other servers serve it, by the server's name.
        system: the system prompt that it was trained with; None when there was none, or none that its job knows.
        gguf: the one file that llama.cpp and Ollama load, where it was asked for.
    """

    folder: Path
    merged: bool
    base: str
    dtype: Dtype
    commands: Mapping[str, str]
    system: str | None = None
    gguf: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a base model came from.

    Attributes:
        name: what the backend calls it.
        location: a Hugging Face Hub id, or the folder on this machine.
        revision: the Hub's commit, or `sha256:` and the hash of its weights.
        hub_id: its id on the Hugging Face Hub, or that of the model it was made from; None when there is none.
        licence: SPDX identifier, None when it is not known here.
        source: who made the weights, in words; None when it is not known here.
    """

    name: str
    location: str
    revision: str
    hub_id: str | None
    licence: str | None
    source: str | None
