"""Which path shows what."""

from __future__ import annotations

from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ragtune.local.page import feedback, jobs, login, playground, usage
from ragtune.local.page.rendering import FOLDER

__all__ = ["ROUTES"]

ROUTES = (
    Route("/", jobs.list_, methods=["GET"]),
    Route("/jobs/{job_id}", jobs.show, methods=["GET"]),
    Route("/jobs/{job_id}/live", jobs.live, methods=["GET"]),
    Route("/jobs/{job_id}/{action}", jobs.act, methods=["POST"]),
    Route("/playground", playground.show, methods=["GET"]),
    Route("/playground/dialogues", playground.save, methods=["POST"]),
    Route("/playground/dialogues/{dialogue_id}/delete", playground.delete, methods=["POST"]),
    Route("/playground/feedback", feedback.say, methods=["POST"]),
    Route("/feedback", feedback.queue, methods=["GET"]),
    Route("/feedback/{number:int}", feedback.judge, methods=["POST"]),
    Route("/usage", usage.show, methods=["GET"]),
    Route("/login", login.form, methods=["GET"]),
    Route("/login", login.enter, methods=["POST"]),
    Route("/logout", login.leave, methods=["POST"]),
    Mount("/static", StaticFiles(directory=FOLDER / "static")),
)
"""The page's routes beside those of the wire."""
