"""Exact token counts without a network: the vocabularies ship with the package.

How an example is counted (the rule of OpenAI's cookbook): 3 tokens per message, the tokens of every text in it (role,
content, name), 1 more for a name, 3 for the example. Tools, tool calls and images are outside this count.
"""

from __future__ import annotations

import lzma
import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ragtune.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import tiktoken

    from ragtune.catalog import Encoding

__all__ = ["TokenCounter", "count_record", "counter_for", "encoding", "vocabulary"]

TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
TOKENS_PER_EXAMPLE = 3

# Longer texts are rarely repeated, and remembering them would hold the whole file in memory.
_REMEMBERED_LENGTH = 2_000
_REMEMBERED_TEXTS = 1_024


@runtime_checkable
class TokenCounter(Protocol):
    """Anything that counts the tokens of many texts at once, for one encoding.



    Example:
        ```python
        from ragtune.tokens import counter_for

        print(counter_for("o200k_base").count_batch(["Why do winds turn?", ""]))
        #> [5, 0]
        ```
    """

    def count_batch(self, texts: Sequence[str], /) -> Sequence[int]:
        """Count the tokens of each text, special-token strings taken as ordinary text."""
        ...


class TiktokenCounter:
    """The default counter: tiktoken in a loop, each repeated short text counted once.

    Its own batch call is slower than a loop on texts of chat length.
    """

    def __init__(self, name: Encoding) -> None:
        self._encode = encoding(name).encode_ordinary
        self._known: dict[str, int] = {}

    def count_batch(self, texts: Sequence[str], /) -> list[int]:
        """Count the tokens of each text."""
        encode = self._encode
        return [len(encode(text)) for text in texts]

    def count_repeated(self, text: str) -> int:
        """Count a text that is likely to come again, such as a role or a system prompt."""
        count = self._known.get(text)
        if count is None:
            count = len(self._encode(text))
            if len(text) <= _REMEMBERED_LENGTH and len(self._known) < _REMEMBERED_TEXTS:
                self._known[text] = count
        return count


@cache
def counter_for(name: Encoding) -> TiktokenCounter:
    """The built-in counter of an encoding; loading it takes about half a second, once."""
    return TiktokenCounter(name)


@cache
def encoding(name: Encoding) -> tiktoken.Encoding:
    """The tiktoken encoding, built from the vocabulary that ships with the package.

    Raises:
        SpecError: the name is neither `o200k_base` nor `cl100k_base`.
    """
    import tiktoken

    facts = _facts(name)
    ranks = {token: rank for rank, token in enumerate(vocabulary(name))}
    return tiktoken.Encoding(
        name, pat_str=facts["pattern"], mergeable_ranks=ranks, special_tokens=facts["special_tokens"]
    )


def vocabulary(name: Encoding) -> Iterator[bytes]:
    """Yield the tokens of an encoding in rank order."""
    _facts(name)
    packed = resources.files("ragtune").joinpath(f"data/vocab/{name}.xz").read_bytes()
    data = lzma.decompress(packed)
    position = 0
    while position < len(data):
        end = position + 1 + data[position]
        yield data[position + 1 : end]
        position = end


@cache
def _all_facts() -> dict[str, Any]:
    return tomllib.loads(resources.files("ragtune").joinpath("data/vocab/encodings.toml").read_text(encoding="utf-8"))


def _facts(name: str) -> dict[str, Any]:
    facts: dict[str, Any] | None = _all_facts().get(name)
    if facts is None:
        raise SpecError(f"encoding {name!r} is not shipped; known are {', '.join(_all_facts())}")
    return facts


def count_record(record: Mapping[str, Any], counter: TiktokenCounter) -> int:
    """Count the tokens of one record in its JSON form, as the module's first lines say.

    A preference record counts its input once and both outputs; a completion record its two texts.

    Example:
        ```python
        from ragtune.tokens import count_record, counter_for

        record = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
        print(count_record(record, counter_for("o200k_base")))
        #> 14
        ```
    """
    if "messages" in record:
        return _count_messages(record["messages"], counter) + TOKENS_PER_EXAMPLE
    if "completion" in record:
        return sum(counter.count_batch([record["prompt"], record["completion"]]))
    messages = [*record["input"]["messages"], *record["preferred_output"], *record["non_preferred_output"]]
    return _count_messages(messages, counter) + TOKENS_PER_EXAMPLE


def _count_messages(messages: Sequence[Mapping[str, Any]], counter: TiktokenCounter) -> int:
    total = TOKENS_PER_MESSAGE * len(messages)
    for message in messages:
        role = message["role"]
        total += counter.count_repeated(role)
        content = message.get("content")
        if isinstance(content, str):
            if role in ("system", "developer"):
                total += counter.count_repeated(content)
            else:
                total += counter.count_batch((content,))[0]
        elif content is not None:
            total += sum(counter.count_batch([part["text"] for part in content if part.get("type") == "text"]))
        if (name := message.get("name")) is not None:
            total += counter.count_repeated(name) + TOKENS_PER_NAME
    return total
