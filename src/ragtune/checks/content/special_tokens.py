"""Text that a provider's tokenizer reads as a sign of its own, for example the end of a document.

OpenAI fails the whole job on one: "Example 6174 message contains an invalid token: <|fim_suffix|>"
(johny-b/llmcomp#59, 2026-02-12).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ragtune.checks.texts import texts_with_paths
from ragtune.records import RecordFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.checks.problems import Severity
    from ragtune.records import JsonObject

# Those of o200k_base and cl100k_base, and those that part the messages of a chat.
_TOKEN = re.compile(r"<\|(?:endoftext|endofprompt|fim_(?:prefix|middle|suffix)|im_(?:start|end|sep))\|>")


def may_hold_special_tokens(line: bytes) -> bool:
    """Whether a line may hold one, written as it is or escaped; fast, because hardly any does."""
    # A single byte is looked for by far the fastest.
    return b"|" in line and (b"|>" in line or b"|\\u003" in line)


def special_token_faults(record: JsonObject, severity: Severity) -> Iterator[RecordFault]:
    """A fault for each text with such signs.

    Args:
        record: a record of any kind.
        severity: `error` for a model that is known to refuse them.
    """
    for path, text in texts_with_paths(record):
        if found := _TOKEN.search(text):
            message = (
                f"{found[0]!r} is a sign of OpenAI's tokenizer, not text: OpenAI fails the whole job on it "
                "(johny-b/llmcomp#59, 2026-02-12)"
            )
            hint = f"take it out, or write it with a space: '< {found[0][1:]}'; the embedded backend reads it as text"
            yield RecordFault(path, "special-token", message, hint, severity)
