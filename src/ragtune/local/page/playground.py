"""The playground: base and tuned model side by side. The browser asks them through `/v1`, this only sets the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse

from ragtune.local.http.body import parse
from ragtune.local.page.rendering import render
from ragtune.local.services import services
from ragtune.local.wire.base import RequestBody

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["delete", "save", "show"]

_Text = Annotated[str, Field(max_length=100_000)]


class _Turn(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    question: _Text
    answers: list[_Text] = Field(min_length=1, max_length=2)


class Dialogue(RequestBody):
    """A saved dialogue: the settings, and what was asked and answered."""

    mode: Literal["chat", "completion"]
    # A tuned model and its base, or one of them.
    models: list[Annotated[str, Field(max_length=500)]] = Field(min_length=1, max_length=2)
    system: _Text
    temperature: float = Field(ge=0, le=2)
    max_tokens: int = Field(ge=1, le=100_000)
    turns: list[_Turn] = Field(min_length=1, max_length=500)


async def show(request: Request) -> Response:
    """The playground, empty or with a saved dialogue."""
    own = services(request)
    tuned = [(row.id, row.base) for row in await run_in_threadpool(own.store.models.all)]
    wanted, chosen = request.query_params.get("dialogue"), request.query_params.get("model")
    dialogue = None if wanted is None else await run_in_threadpool(own.store.dialogues.find, wanted)
    if wanted is not None and dialogue is None:
        return render(request, "problem.html", status=404, message=f"There is no saved dialogue {wanted[:40]!r}.")
    bases = own.bases.names()
    return render(
        request,
        "playground.html",
        bases=bases,
        gone=None if chosen is None or chosen in {*bases, *(name for name, _ in tuned)} else chosen,
        tuned=tuned,
        chosen=chosen,
        dialogue=dialogue,
        kept=None if dialogue is None else orjson.loads(dialogue.body),
        saved=await run_in_threadpool(own.store.dialogues.all),
        # As the browser names the server, which behind a proxy is not the address that it listens on.
        address=str(request.base_url).rstrip("/"),
    )


async def save(request: Request) -> Response:
    """Keep a dialogue."""
    own = services(request)
    dialogue = await parse(request, Dialogue, slots=own.reading)
    add = own.store.dialogues.add
    kept = await run_in_threadpool(add, dialogue.model_dump_json(), title=dialogue.turns[0].question)
    return JSONResponse({"id": kept, "path": f"/playground?dialogue={kept}"})


async def delete(request: Request) -> Response:
    """Forget a dialogue."""
    await run_in_threadpool(services(request).store.dialogues.delete, request.path_params["dialogue_id"])
    return RedirectResponse("/playground", status_code=303)
