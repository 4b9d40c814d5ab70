"""The server's page: jobs as they train, a playground, and what was asked of which model.

Rendered here, served from here: no script, font or picture comes from another host. A browser is let in by the same
key as every client (`ragtune.local.auth.sessions`), and the playground asks models through the same `/v1` routes.
"""

from __future__ import annotations

from ragtune.local.page.routes import ROUTES

__all__ = ["ROUTES"]
