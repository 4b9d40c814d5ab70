"""The version of this package, for those who must not import its front."""

from __future__ import annotations

__version__ = "0.2.0"
