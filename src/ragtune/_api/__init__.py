"""The seam to the world: every call that leaves for a server, its errors and its waiting."""

from __future__ import annotations

from ragtune._api.api import Api, asynchronous, gather, synchronous

__all__ = ["Api", "asynchronous", "gather", "synchronous"]
