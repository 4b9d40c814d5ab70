"""What was asked of which model, day by day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from ragtune.local.page.rendering import render
from ragtune.local.services import services

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["show"]

_DAYS = 90


async def show(request: Request) -> Response:
    """Requests and tokens per model and day, newest day first."""
    rows = await run_in_threadpool(services(request).store.usage.days, _DAYS)
    return render(request, "usage.html", rows=rows, days=_DAYS)
