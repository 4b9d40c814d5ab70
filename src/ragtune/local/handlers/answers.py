"""Chat completions and completions, plain and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune.local.wire import overloaded

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def chat(request: Request) -> Response:
    """Answer a conversation."""
    raise overloaded("not yet")


async def completion(request: Request) -> Response:
    """Go on with a text."""
    raise overloaded("not yet")
