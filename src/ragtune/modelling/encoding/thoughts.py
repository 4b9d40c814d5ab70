"""What an assistant thought before it spoke: where rows keep it, and what becomes of it in training; loads no torch.

Servers and data sets spell it in three ways beside the content, or put it in front of the content in tags. Templates
spell it in as many; some write it, some only open it for the model to go on, most know nothing of it.
"""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["THOUGHT_CLOSE", "THOUGHT_OPEN", "ReasoningUse", "parted"]

ReasoningUse = Literal["train", "mask", "drop"]
"""`train`: thoughts carry loss; `mask`: they stand before the answer and carry none; `drop`: they are left out."""

THOUGHT_OPEN, THOUGHT_CLOSE = "<think>", "</think>"
_TAGGED = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


def parted(content: str) -> tuple[str | None, str]:
    r"""The thought in tags that a text begins with, "" for an empty one and None for none, and the rest.

    Example:
        ```python
        from ragtune.modelling.encoding.thoughts import parted

        print(parted("<think>7 and 5 are 12.</think>\n\n12"))
        #> ('7 and 5 are 12.', '12')
        print(parted("12"))
        #> (None, '12')
        ```
    """
    found = _TAGGED.match(content)
    return (None, content) if found is None else (found[1].strip(), content[found.end() :])
