"""Templates to pages, with the headers that keep other hosts out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["FOLDER", "render", "render_text"]

FOLDER = Path(__file__).parent

_HEADERS = {
    # Scripts, styles and connections only from this server, no frames around the page, no addresses handed on.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    # Else the way back in a browser shows the pages after the session has ended.
    "cache-control": "no-store",
}


def _moment(seconds: float | None) -> str:
    # In UTC: the server does not know the time zone of the browser.
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


_environment = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    # A misspelt name in a template is an error in the tests and no blank on a page.
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(moment=_moment, span=_span, number=_number)


def render_text(template: str, **values: object) -> str:
    """Fill in a template; every value is escaped."""
    return _environment.get_template(template).render(**values)


def render(request: Request, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """Answer with a page."""
    text = render_text(template, here=request.url.path, status=status, **values)
    return HTMLResponse(text, status_code=status, headers=_HEADERS)
