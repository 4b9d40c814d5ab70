"""API keys: where they come from, and how they are kept out of everything that is shown or saved."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune._checked import checked
from ragtune.errors import MissingKey

if TYPE_CHECKING:
    import openai

__all__ = ["client_from_key_file"]

HOW_TO_GIVE_A_KEY = (
    "give a key in one of three ways: set OPENAI_API_KEY in the environment, write it into a file and call "
    'rt.client_from_key_file("api_key.txt"), or pass a client of your own, openai.OpenAI(api_key=...); or go without '
    "one: ragtune.local.LocalBackend trains on this machine"
)
# What OpenAI's keys look like (sk-..., sk-proj-..., sk-admin-...), for texts whose key we were never told.
_LOOKS_LIKE_A_KEY = re.compile(r"\bsk-[A-Za-z0-9_\-]{12,}")
# A line of a .env file or of a shell script: OPENAI_API_KEY=..., export MY_KEY=..., api_key: ...
_ASSIGNMENT = re.compile(r"(export\s+)?\w*key\s*[=:]", re.IGNORECASE)
_HIDDEN = "[key hidden]"


@checked()
def client_from_key_file(path: str | os.PathLike[str], **options: Any) -> openai.OpenAI:
    """Make an OpenAI client from a file that holds the API key.

    Args:
        path: text file; its first line that is not blank is the key (a byte order mark and spaces around it are
            dropped).
        options: passed on to `openai.OpenAI`, for example `base_url`, `timeout` (seconds) or `max_retries`.

    Raises:
        MissingKey: the file is absent, unreadable, a folder, empty, or its first line is not the key alone.

    Example:
        ```python
        from pathlib import Path

        import ragtune as rt

        Path("api_key.txt").write_text("sk-of-your-own")
        client = rt.client_from_key_file("api_key.txt", timeout=30)
        print(client.timeout)
        #> 30
        ```
    """
    import openai

    return openai.OpenAI(api_key=read_key(Path(path)), **options)


def read_key(path: Path) -> str:
    """Return the key in `path`: its first line that is not blank.

    Raises:
        MissingKey: there is no such line, or it holds more than one word, an assignment or quotes.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        # A decoding error quotes the bytes it met, which may be the key: only its kind is told.
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        message = f"cannot read an API key from {str(path)!r} ({reason}); {HOW_TO_GIVE_A_KEY}"
        raise MissingKey(message) from None
    key = next((line.strip() for line in lines if line.strip()), "")
    if not key:
        message = f"{str(path)!r} holds no API key, only blank lines; {HOW_TO_GIVE_A_KEY}"
        raise MissingKey(message)
    if _ASSIGNMENT.match(key) or key[0] in "\"'":
        message = (
            f"the first line of {str(path)!r} is an assignment or stands in quotes, as in a .env file; write the key "
            "alone into it, without a name, an equals sign and quotes"
        )
        raise MissingKey(message)
    if not re.fullmatch(r"[!-~]+", key):
        message = (
            f"the first line of {str(path)!r} is no API key: a key is one word of ASCII characters; {HOW_TO_GIVE_A_KEY}"
        )
        raise MissingKey(message)
    return key


def client_from_anywhere(*, key_file: Path | None = None, base_url: str | None = None, **options: Any) -> openai.OpenAI:
    """Make a client from a key file or else from the environment variable OPENAI_API_KEY.

    Raises:
        MissingKey: neither gives a key.
    """
    import openai

    # Stripped: a pasted line end makes a header that the client refuses, as a "Connection error" that names no reason.
    key = read_key(key_file) if key_file else os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        message = f"no API key was found; {HOW_TO_GIVE_A_KEY}"
        raise MissingKey(message)
    return openai.OpenAI(api_key=key, base_url=base_url, **options)


def redact(text: str, *secrets: str | None) -> str:
    """Return `text` without `secrets` and without anything that looks like a key of OpenAI's."""
    for secret in secrets:
        # A very short "key" such as "x" for a keyless server would eat ordinary letters.
        if secret and len(secret) >= 6:
            text = text.replace(secret, _HIDDEN)
    return _LOOKS_LIKE_A_KEY.sub(_HIDDEN, text)
