"""Texts that a spreadsheet would take for a formula, which may fetch an address or start a program."""

from __future__ import annotations

__all__ = ["plain", "protected"]

# Where people write Chinese or Japanese, a spreadsheet takes the wide signs as well.
_BEGIN = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def protected(text: str) -> str:
    """The text, with a quote before it where it would be a formula; `plain` takes it away."""
    # Also where quotes stand before the sign already: `plain` takes one away and must not take the text's own.
    return f"'{text}" if text.lstrip("'").startswith(_BEGIN) else text


def plain(text: str) -> str:
    """The text without the quote that `protected`, or a spreadsheet, put before it."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_BEGIN) else text
