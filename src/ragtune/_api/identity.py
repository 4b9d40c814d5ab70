"""Whose account a client speaks to: what makes an upload or a job of today the same as one of yesterday."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SERVER_HEADER", "Heard", "is_loopback", "name_of_account", "public_url"]

# OpenAI and the embedded backend send it with each answer.
ORGANIZATION_HEADER = "openai-organization"
# The embedded backend and the scripted one say who they are; clients that they make name them in their requests, too.
SERVER_HEADER = "ragtune-server"
FOLDER_HEADER = "ragtune-folder"


@dataclass(kw_only=True)
class Heard:
    """What a server has said of itself, in the headers of all its answers so far.

    Attributes:
        server: who it is, for example `embedded/0.1.0`; None for a server that is none of ragtune's.
        organization: whose account it is, None where it does not say.
        folder: the folder that an embedded backend on this machine keeps the account in, None where it does not say.
        answered: whether `server` is the word of the server itself, and not that of whoever made the client.
    """

    server: str | None = None
    organization: str | None = None
    folder: str | None = None
    answered: bool = False

    def note(self, headers: Mapping[str, str], *, well: bool) -> None:
        """Take in the headers of an answer.

        Args:
            headers: of the answer.
            well: whether it was a success. An error may come from a proxy in between, so that its silence tells
                nothing.
        """
        self.organization = headers.get(ORGANIZATION_HEADER) or self.organization
        server = headers.get(SERVER_HEADER)
        if server is None and not well:
            return
        self.server, self.answered = server, True
        folder = headers.get(FOLDER_HEADER)
        self.folder = unquote(folder) if folder else None


def public_url(url: str) -> str:
    """Return an address without what may be secret in it: user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    place = f"{host}:{parts.port}" if parts.port else host
    # With a slash at its end it is the same place, and the same account.
    return urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine, where another one may have the same address tomorrow."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def name_of_account(url: str, organization: str | None, project: str | None, *, told: str | None = None) -> str:
    """Return a name for an account: address, organisation and project.

    Args:
        url: the client's base URL.
        organization: as the client names it, or None.
        project: as the client names it, or None.
        told: the organisation that a server on this machine names itself; it then stands for the address, which
            changes with every start of an embedded backend.
    """
    if is_loopback(url) and (told or organization):
        return " ".join(part for part in (told or organization, project) if part)
    return " ".join(part for part in (public_url(url), organization, project) if part)
