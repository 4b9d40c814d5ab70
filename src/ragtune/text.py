"""The form in which texts are compared."""

from __future__ import annotations

import re

__all__ = ["normalise"]

_words = re.compile(r"\w+").findall


def normalise(text: str) -> str:
    """The form in which texts are compared: casefolded, words only, one space between them.

    Example:
        ```python
        from ragtune.dataset import normalise

        print(normalise("  What  is a *Quillhaven*? "))
        #> what is a quillhaven
        ```
    """
    return " ".join(_words(text.casefold()))
