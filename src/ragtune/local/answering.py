"""Asking models: one engine, loaded on first use, shared by all requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragtune.local.names import BaseModels

__all__ = ["Answering"]


class Answering:
    """Stands between the handlers and the engine."""

    def __init__(self, bases: BaseModels, *, threads: int | None, engine: Any | None) -> None:
        self._bases = bases
        self._threads = threads
        self._engine = engine

    def close(self) -> None:
        """End what is being generated."""
