"""Verdicts: under each answer of the playground, and a queue that is labelled with the keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlencode

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse

from ragtune.errors import FeedbackError
from ragtune.local.http.body import parse
from ragtune.local.http.errors import invalid
from ragtune.local.page.forms import form_fields
from ragtune.local.page.rendering import render
from ragtune.local.services import services
from ragtune.local.wire.base import RequestBody, Strict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from ragtune.feedback import Feedback, FeedbackStore

__all__ = ["judge", "queue", "say"]

# Two texts of 100,000 letters, each of which may take nine bytes in a form: three of UTF-8, written as %E6 and so on.
_MOST_BYTES = 2 * 1024 * 1024
# Two nameless people would contradict each other without anybody knowing who.
_SOMEBODY = "page"
_VERDICTS = {"good": 1, "bad": -1}
_Text = Annotated[str, Field(max_length=100_000)]
_Name = Annotated[str, Field(max_length=200)]


class SaidTurn(Strict):
    """A turn of the talk before the question."""

    role: Literal["user", "assistant"]
    content: _Text


class SaidVerdict(RequestBody):
    """What somebody says about an answer of the playground."""

    model: Annotated[str, Field(max_length=500)]
    question: _Text
    answer: _Text
    system: _Text = ""
    history: list[SaidTurn] = Field(default_factory=list, max_length=1_000)
    verdict: Literal[1, -1] | None = None
    correction: _Text | None = None
    comment: _Text | None = None
    by: _Name | None = None


async def say(request: Request) -> Response:
    """Keep a verdict about an answer of the playground."""
    own = services(request)
    said = await parse(request, SaidVerdict, slots=own.reading)
    try:
        number = await run_in_threadpool(
            own.feedback.add,
            said.answer,
            said.verdict,
            question=said.question,
            model=said.model,
            system=said.system or None,
            history=[turn.model_dump() for turn in said.history],
            correction=said.correction,
            comment=said.comment,
            by=(said.by or "").strip() or _SOMEBODY,
        )
    except FeedbackError as error:
        raise invalid(str(error)) from error
    return JSONResponse({"id": number, "path": f"/feedback?id={number}"})


async def queue(request: Request) -> Response:
    """The first answer that nobody has judged, or the one that is asked for by its number."""
    store, asked = services(request).feedback, request.query_params
    try:
        row = await run_in_threadpool(_row, store, asked)
        counts = await run_in_threadpool(store.counts)
    except FeedbackError as error:
        # The store has one class for both, and says in words which it is.
        return render(request, "problem.html", status=404 if "has no answer" in str(error) else 503, message=str(error))
    return render(
        request,
        "feedback.html",
        row=row,
        counts=counts,
        by=asked.get("by", ""),
        # What somebody else said of it is not put into the fields, where it would be said once more under another name.
        is_mine=row is not None and row.by == (asked.get("by") or _SOMEBODY),
        done=_number(asked.get("done")),
        passed=_number(asked.get("after")),
    )


async def judge(request: Request) -> Response:
    """Keep a verdict about an answer of the queue, then show the next one."""
    fields = await form_fields(request, most_bytes=_MOST_BYTES)
    number = request.path_params["number"]
    if fields is None:
        return render(request, "problem.html", status=413, message="The form is larger than a verdict can be.")
    try:
        await run_in_threadpool(_judge, services(request).feedback, number, fields)
    except FeedbackError as error:
        return render(request, "problem.html", status=400, message=str(error))
    told = {"done": number, "after": fields.get("after", ""), "by": fields.get("by", "")}
    return RedirectResponse(f"/feedback?{urlencode({name: value for name, value in told.items() if value})}", 303)


def _row(store: FeedbackStore, asked: Mapping[str, str]) -> Feedback | None:
    if "id" in asked:
        said = store.about(_number(asked["id"]))
        return next((row for row in said if row.by == (asked.get("by") or _SOMEBODY)), said[0])
    return next(iter(store.unjudged(limit=1, after=_number(asked.get("after")))), None)


def _judge(store: FeedbackStore, number: int, fields: Mapping[str, str]) -> None:
    store.add(
        number,
        _VERDICTS.get(fields.get("verdict", "")),
        correction=fields.get("correction", "").strip() or None,
        comment=fields.get("comment", "").strip() or None,
        by=fields.get("by", "").strip()[:200] or _SOMEBODY,
    )


def _number(text: str | None) -> int:
    """A number in an address, 0 for what is none or too large for a database."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 18 else 0
