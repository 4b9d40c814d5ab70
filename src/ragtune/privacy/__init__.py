"""Secrets and personal data in training texts: found on this machine, masked on request, never echoed whole."""

from __future__ import annotations

from ragtune._extras import require

require("privacy", "kingfisher_sdk", "phonenumbers", "stdnum", reason="finding secrets and personal data")

from ragtune.privacy.findings import KINDS, Confidence, Finding, Kind, mask, placeholder  # noqa: E402
from ragtune.privacy.scanner import Scanner, scan  # noqa: E402

__all__ = ["KINDS", "Confidence", "Finding", "Kind", "Scanner", "mask", "placeholder", "scan"]
