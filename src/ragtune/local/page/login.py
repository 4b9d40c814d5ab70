"""The form that asks for the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from ragtune.local.auth.sessions import SESSION_S, cookie_name, origin_of, safe_next, tokens_of
from ragtune.local.page.forms import form_fields
from ragtune.local.page.rendering import render
from ragtune.local.services import services

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["enter", "form", "leave"]

_MOST_BYTES = 8_192


async def form(request: Request) -> Response:
    """Ask for the key."""
    return render(request, "login.html", next=safe_next(request.query_params.get("next", "/")), problem=None)


async def enter(request: Request) -> Response:
    """Compare the key and begin a session, or show the form again."""
    own = services(request)
    # A form that is too large holds no key, and is answered like a wrong one.
    fields = await form_fields(request, most_bytes=_MOST_BYTES) or {}
    # The hidden field as well as the link: a form may have been made by anybody.
    key, target = fields.get("key", "").strip(), safe_next(fields.get("next", "/"))
    origin = origin_of(request.scope)
    if not own.sessions.sent_by_own_page(request.scope):
        # Said without a look at the key, which another site must not be able to try.
        own.refusals.note(request.scope, door="page")
        return render(request, "login.html", status=403, next=target, problem=_foreign(origin))
    if not own.account.admits(key):
        own.refusals.note(request.scope, door="page")
        return render(request, "login.html", status=401, next=target, problem="That is not this server's key.")
    answer = RedirectResponse(target, status_code=303)
    name = cookie_name(request.scope)
    secure = origin.startswith("https://")
    # Not `secure` on plain HTTP, from where browsers take no such cookie.
    answer.set_cookie(name, own.sessions.open(), max_age=SESSION_S, httponly=True, samesite="strict", secure=secure)
    return answer


async def leave(request: Request) -> Response:
    """End the session."""
    # Whatever came: tokens of servers on other ports are none here, and closing them closes nothing.
    for token in tokens_of(request.headers.get("cookie", "")):
        services(request).sessions.close(token)
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(cookie_name(request.scope), httponly=True, samesite="strict")
    return answer


def _foreign(origin: str) -> str:
    if not origin:
        return "Your browser does not say which page sent this form, so it was not read; open /login and send it again."
    return (
        f"This form came from {origin[:200]}, which is not this server's own address, so the key was not looked at. If "
        f"that is a proxy in front of it, start the server with --origin {origin[:200]}."
    )
