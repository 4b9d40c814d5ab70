"""The application: routes, and the gate that every request passes."""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from ragtune.local.auth.sessions import is_open, login_path, wants_page
from ragtune.local.handlers import completions, files, jobs, models, responses, uploads
from ragtune.local.http.errors import ApiError, invalid, no_key, overloaded, wrong_key
from ragtune.local.http.limits import refuse, timed
from ragtune.local.ids import new_request_id
from ragtune.local.page import ROUTES as PAGES
from ragtune.local.page.rendering import render
from ragtune.local.store.paging import UnknownCursorError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ragtune.local.services import Services

__all__ = ["make_app"]

logger = logging.getLogger("ragtune")

# With one of these a request comes from elsewhere, through a proxy on this machine.
_FORWARDED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})
_ROUTES = (
    Route("/v1/files", files.list_, methods=["GET"]),
    Route("/v1/files", files.create, methods=["POST"]),
    Route("/v1/files/{file_id}", files.retrieve, methods=["GET"]),
    Route("/v1/files/{file_id}", files.delete, methods=["DELETE"]),
    Route("/v1/files/{file_id}/content", files.content, methods=["GET"]),
    Route("/v1/uploads", uploads.create, methods=["POST"]),
    Route("/v1/uploads/{upload_id}/parts", uploads.add_part, methods=["POST"]),
    Route("/v1/uploads/{upload_id}/complete", uploads.complete, methods=["POST"]),
    Route("/v1/uploads/{upload_id}/cancel", uploads.cancel, methods=["POST"]),
    Route("/v1/fine_tuning/jobs", jobs.list_, methods=["GET"]),
    Route("/v1/fine_tuning/jobs", jobs.create, methods=["POST"]),
    Route("/v1/fine_tuning/jobs/{job_id}", jobs.retrieve, methods=["GET"]),
    Route("/v1/fine_tuning/jobs/{job_id}/cancel", jobs.cancel, methods=["POST"]),
    Route("/v1/fine_tuning/jobs/{job_id}/pause", jobs.pause, methods=["POST"]),
    Route("/v1/fine_tuning/jobs/{job_id}/resume", jobs.resume, methods=["POST"]),
    Route("/v1/fine_tuning/jobs/{job_id}/events", jobs.events, methods=["GET"]),
    Route("/v1/fine_tuning/jobs/{job_id}/checkpoints", jobs.checkpoints, methods=["GET"]),
    Route("/v1/models", models.list_, methods=["GET"]),
    # As a path: names of bases may hold slashes, as those of the Hub do.
    Route("/v1/models/{model:path}", models.retrieve, methods=["GET"]),
    Route("/v1/models/{model:path}", models.delete, methods=["DELETE"]),
    Route("/v1/chat/completions", completions.list_, methods=["GET"]),
    Route("/v1/chat/completions", completions.chat, methods=["POST"]),
    Route("/v1/chat/completions/{id}", completions.retrieve, methods=["GET"]),
    Route("/v1/chat/completions/{id}", completions.update, methods=["POST"]),
    Route("/v1/chat/completions/{id}", completions.delete, methods=["DELETE"]),
    Route("/v1/chat/completions/{id}/messages", completions.messages, methods=["GET"]),
    Route("/v1/completions", completions.completion, methods=["POST"]),
    Route("/v1/responses", responses.create, methods=["POST"]),
    Route("/v1/responses/{id}", responses.retrieve, methods=["GET"]),
    Route("/v1/responses/{id}", responses.delete, methods=["DELETE"]),
    Route("/v1/responses/{id}/input_items", responses.input_items, methods=["GET"]),
)


def make_app(services: Services) -> ASGIApp:
    """Build the application around its services."""
    app = Starlette(
        routes=[*_ROUTES, *PAGES],
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            UnknownCursorError: _unknown_cursor,
            OSError: _disk_full,
            sqlite3.OperationalError: _disk_full,
            RecursionError: _too_deep,
            Exception: _stumble,
        },
    )
    # Redirects from a trailing slash would repeat a POST elsewhere; such a path is simply not served.
    app.router.redirect_slashes = False
    app.state.services = services
    return _Gate(app, services)


class _Gate:
    """Gives every request an id, asks for the key, and answers in OpenAI's envelope whatever goes wrong inside."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._account = services.account
        self._server = services.server.encode()
        # A header holds Latin-1 alone, a folder's name any letter.
        self._folder = quote(str(services.folder)).encode()
        self._sessions = services.sessions
        self._refusals = services.refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, begin, receive = new_request_id(), time.perf_counter(), timed(receive)
        # In every answer, also of 401: whether a server charges for what it does is told by what it is.
        about_us = [(b"ragtune-server", self._server)]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                spent = f"{(time.perf_counter() - begin) * 1000:.0f}"
                message["headers"] = [
                    *message.get("headers", ()),
                    *about_us,
                    (b"x-request-id", request_id.encode()),
                    (b"openai-organization", self._account.id.encode()),
                    (b"openai-processing-ms", spent.encode()),
                    (b"openai-version", b"2020-10-01"),
                    # Contents of files are strangers' words: no browser may take one for a page.
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        wrong = refuse(scope, exposed=self._account.exposed, origin=self._sessions.origin)
        if wrong is not None:
            await _envelope(wrong)(scope, receive, send_with_id)
            return

        refusal = self._refuse(scope)
        if refusal is None and self._may_know_folder(scope):
            about_us.append((b"ragtune-folder", self._folder))
        try:
            await (refusal or self._app)(scope, receive, send_with_id)
        except ClientDisconnect:
            logger.info("request %s: the client went away", request_id)
        # Starlette raises an error again after `_stumble` has answered it, so that it can be logged: here, with the id.
        except Exception:
            # The path is a stranger's: it must not be able to write lines of its own into the log.
            logger.exception("request %s %s %r stumbled", request_id, scope["method"], scope["path"][:200])

    def _may_know_folder(self, scope: Scope) -> bool:
        """Whether a program on this machine asks, with the key: it could read the folder's name there anyhow."""
        names = {name for name, _ in scope["headers"]}
        return not self._account.exposed and b"authorization" in names and not names & _FORWARDED

    def _refuse(self, scope: Scope) -> Response | None:
        given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        # Where a key comes along, the cookie counts for nothing: a wrong key does not pass because a browser is logged
        # in.
        scheme, _, key = given.partition(" ")
        if not given and (is_open(scope["path"]) or self._sessions.admits(scope)):
            return None
        if not given and wants_page(scope):
            return RedirectResponse(login_path(scope), status_code=303)
        if not given:
            return _envelope(no_key())
        if scheme.lower() != "bearer" or not self._account.admits(key.strip()):
            self._refusals.note(scope, door="API")
            return _envelope(wrong_key())
        return None


def _envelope(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)


def _api_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return _envelope(error)


def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    place = f"{request.method} {request.url.path}"
    if error.status_code == 404 and wants_page(request.scope) and "authorization" not in request.headers:
        return render(request, "problem.html", status=404, message=f"There is no page {request.url.path[:80]}.")
    if error.status_code == 404:
        message = f"Invalid URL ({place}): this server does not serve it."
        if not request.url.path.startswith("/v1/"):
            right = request.url.replace(path="/v1", query="", fragment="")
            message += f" All its routes stand below /v1: set the client's base_url to {right}"
        return _envelope(ApiError(404, message, code="unknown_url"))
    if error.status_code == 405:
        message = f"Not allowed to {request.method} on {request.url.path}."
        if wants_page(request.scope) and "authorization" not in request.headers:
            return render(request, "problem.html", status=405, message=message)
        return _envelope(ApiError(405, message, code="method_not_allowed", headers=error.headers))
    return _envelope(ApiError(error.status_code, f"{place}: {error.detail}", headers=error.headers))


def _unknown_cursor(request: Request, error: Exception) -> Response:
    message = f"Invalid 'after': nothing here was ever called {error}."
    if wants_page(request.scope) and "authorization" not in request.headers:
        return render(request, "problem.html", status=404, message=message)
    return _envelope(invalid(message, param="after", code="not_found"))


def _disk_full(request: Request, error: Exception) -> Response:
    # SQLite tells it in words alone.
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not full and "disk is full" not in str(error):
        raise error
    logger.error("no space left on the disk: %s", error)
    return _envelope(overloaded("The server's disk is full; free some space and send the request again."))


def _too_deep(request: Request, error: Exception) -> Response:
    # Bodies are read down to 1,024 levels, and what answers with a part of one may need a few more than Python has. The
    # log says where, in case it was no body.
    logger.warning("a request to %r went too deep", request.url.path[:200], exc_info=error)
    return _envelope(invalid("The JSON body of your request is nested too deeply.", code="invalid_json"))


def _stumble(request: Request, error: Exception) -> Response:
    # Nothing of the error itself: it may hold paths of this machine, or what somebody else said.
    message = "The server stumbled over this request; its log says more under the id in the x-request-id header."
    return _envelope(ApiError(500, message, type="server_error", code="server_error"))
