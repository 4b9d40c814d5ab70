"""The door for browsers: the key is typed once and becomes a session, which a cookie carries."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ragtune.errors import BackendError

if TYPE_CHECKING:
    from starlette.types import Scope

__all__ = ["COOKIE", "Sessions", "checked_origin"]

COOKIE = "ragtune_session"
"""How the names of session cookies end; before it stands the server's port, since cookies know none."""
SESSION_S = 12 * 3600
"""How long a session lasts; a restart of the server ends it too."""

_MOST_SESSIONS = 1_000
_OPEN_PATHS = ("/login", "/static/")


class Sessions:
    """Knows the browsers that have shown the key.

    A cookie counts only for requests that the server's own pages send: it is `SameSite=Strict`, and what changes
    something must come with an `Origin` (or `Sec-Fetch-Site`) that is this server.

    Args:
        origin: under which browsers reach the server through a proxy, for example `https://tunes.example.com`; None is
            none but its own address.

    Example:
        ```python
        from ragtune.local.auth.sessions import Sessions

        sessions = Sessions()
        token = sessions.open()
        scope = {"type": "http", "method": "GET", "headers": [(b"cookie", f"ragtune_session={token}".encode())]}
        print(sessions.admits(scope))
        #> True
        sessions.close(token)
        print(sessions.admits(scope))
        #> False
        ```
    """

    def __init__(self, *, origin: str | None = None) -> None:
        self.origin = origin
        self._sessions: dict[str, float] = {}
        self._lock = threading.Lock()

    def open(self) -> str:
        """Begin a session and give the token that its cookie carries."""
        token = secrets.token_urlsafe(32)
        now = time.monotonic()
        with self._lock:
            living = {name: until for name, until in self._sessions.items() if until > now}
            # The oldest go first: dicts keep the order in which sessions were opened.
            self._sessions = dict(list(living.items())[-(_MOST_SESSIONS - 1) :])
            self._sessions[_digest(token)] = now + SESSION_S
        return token

    def close(self, token: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(token), None)

    def admits(self, scope: Scope) -> bool:
        """Whether a request comes from one of the server's own pages in a browser that has shown the key."""
        headers = dict(scope["headers"])
        tokens = tokens_of(headers.get(b"cookie", b"").decode("latin-1"))
        with self._lock:
            until = max((self._sessions.get(_digest(token), 0.0) for token in tokens), default=0.0)
        if until <= time.monotonic():
            return False
        return scope["method"] in ("GET", "HEAD") or self.sent_by_own_page(scope)

    def sent_by_own_page(self, scope: Scope) -> bool:
        """Whether a page of this very server sent the request."""
        headers = dict(scope["headers"])
        origin, host = origin_of(scope), headers.get(b"host", b"").decode("latin-1")
        if origin:
            return origin == self.origin or (bool(host) and urlsplit(origin).netloc == host)
        return headers.get(b"sec-fetch-site") == b"same-origin"


def checked_origin(origin: str) -> str:
    """Return an origin as browsers send it.

    Raises:
        BackendError: it is no scheme, host and perhaps port.
    """
    try:
        parts = urlsplit(origin.strip().lower())
        well = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well = False
    if not well or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        message = f"origin {origin!r}: is no scheme and host, for example https://tunes.example.com"
        raise BackendError(message)
    # Browsers leave a scheme's own port out of the origin that they send.
    return f"{parts.scheme}://{parts.netloc.removesuffix(':443' if parts.scheme == 'https' else ':80')}"


def origin_of(scope: Scope) -> str:
    """The origin that a browser names as the sender's, empty where it names none."""
    origin: str = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
    return origin


def is_open(path: str) -> bool:
    """Whether a path is served to everybody: the form that asks for the key, and what it looks like."""
    return path.startswith(_OPEN_PATHS)


def wants_page(scope: Scope) -> bool:
    """Whether a browser asks for a page, so that it is sent to the form rather than told about an API key."""
    accepts = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    return scope["method"] == "GET" and not scope["path"].startswith("/v1") and "text/html" in accepts


def login_path(scope: Scope) -> str:
    """Where such a browser is sent; the form leads back to the page that was asked for."""
    path, query = quote(scope["path"]), scope["query_string"].decode("latin-1")
    return f"/login?next={quote(f'{path}?{query}' if query else path)}"


def safe_next(path: str) -> str:
    """A path on this server to go to after the form: never another host, whatever the link said."""
    parts = urlsplit(path)
    # Browsers read `//` and `/\` as the beginning of another host, and leave out tabs and line breaks before they look.
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return path if inside and path.isprintable() else "/"


def cookie_name(scope: Scope) -> str:
    """What the cookie of this server's sessions is called: servers on other ports of the host have their own."""
    return f"{scope['server'][1]}_{COOKIE}"


def tokens_of(cookie: str) -> list[str]:
    """The tokens in a `Cookie` header: of this server, and of others on this host, which open nothing here.

    Browsers send the cookies of every program on the host; what these hold is looked at by nobody.
    """
    pairs = (pair.partition("=") for pair in cookie.split(";"))
    return [value.strip() for name, _, value in pairs if name.strip().endswith(COOKIE)]


def _digest(token: str) -> str:
    # Looked up by hash: a dictionary's comparison then tells nothing about the token itself.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
