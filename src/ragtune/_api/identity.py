"""Whose account a client speaks to: what makes an upload or a job of today the same as one of yesterday."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit, urlunsplit

__all__ = ["is_loopback", "name_of_account", "public_url"]


def public_url(url: str) -> str:
    """Return an address without what may be secret in it: user, password, query and fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    place = f"{host}:{parts.port}" if parts.port else host
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
