"""Who trains and answers, and what the folder of that is called."""

from __future__ import annotations

from urllib.parse import urlsplit

from ragtune.errors import SpecError

__all__ = ["LOCAL", "OPENAI", "folder_name"]

LOCAL, OPENAI = "local", "openai"


def folder_name(to: str) -> str:
    """The name of the folder in which a server's job, model and evaluation are kept.

    Args:
        to: `local`, `openai` or a URL.

    Raises:
        SpecError: it is none of them, or a URL with a user or a password.
    """
    if to in (LOCAL, OPENAI):
        return to
    try:
        url = urlsplit(to)
        host, _ = url.hostname, url.port
    except ValueError:  # brackets that stay open, a port that is none
        url, host = urlsplit(""), None
    if url.username or url.password:
        # Nor shown: the folder of the run is called by it, and its notes tell it.
        message = "to: a user or a password stands in the URL; leave it out, and give the key by OPENAI_API_KEY"
        raise SpecError(f"{message} or server.key_file")
    if not host or url.scheme not in ("http", "https"):
        raise SpecError(f"to: {to!r} is neither local, openai nor a URL such as https://llm.example.org/v1")
    # No folder on Windows may hold a colon.
    return url.netloc.replace(":", "-")
