"""Exact token counts without a network: the vocabularies ship with the package.

How an example is counted (the rule of OpenAI's cookbook): 3 tokens per message, the tokens of every text in it (role,
content, thought, name), 1 more for a name, 3 for the example. Tools, tool calls and images are outside this count.
"""

from __future__ import annotations

import lzma
import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Protocol, TypedDict, runtime_checkable

from ragtune.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tiktoken

    from ragtune.catalog import Encoding
    from ragtune.records.base import JsonMapping, JsonObject

__all__ = ["RecordCounter", "TokenCounter", "counter_for", "encoding", "verified", "vocabulary"]

TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
TOKENS_PER_EXAMPLE = 3

# Longer texts are rarely repeated, and remembering them would hold the whole file in memory.
_REMEMBERED_LENGTH = 2_000
_REMEMBERED_TEXTS = 1_024


class _Facts(TypedDict):
    pattern: str
    special_tokens: dict[str, int]


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
    """The default counter: tiktoken in a loop.

    Its own batch call is slower than a loop on texts of chat length.
    """

    def __init__(self, name: Encoding) -> None:
        self._encode = encoding(name).encode_ordinary

    def count_batch(self, texts: Sequence[str], /) -> list[int]:
        """Count the tokens of each text."""
        encode = self._encode
        return [len(encode(text)) for text in texts]


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
    # With the package, since tiktoken's own loader fetches them from the network at the first use.
    packed = resources.files("ragtune").joinpath(f"data/vocab/{name}.xz").read_bytes()
    data = lzma.decompress(packed)
    position = 0
    while position < len(data):
        # Before each token stands one byte with its length.
        end = position + 1 + data[position]
        yield data[position + 1 : end]
        position = end


@cache
def _all_facts() -> dict[str, _Facts]:
    file = resources.files("ragtune").joinpath("data/vocab/encodings.toml")
    facts: dict[str, _Facts] = tomllib.loads(file.read_text(encoding="utf-8"))
    return facts


def _facts(name: str) -> _Facts:
    facts = _all_facts().get(name)
    if facts is None:
        raise SpecError(f"encoding {name!r} is not shipped; known are {', '.join(_all_facts())}")
    return facts


# Counts of tiktoken 0.14.0, frozen, in o200k_base and cl100k_base: a counter that is off by one on any is not used.
_PROBES: tuple[tuple[str, int, int], ...] = (
    ("\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0645\u0646 \u0627\u0644\u064a\u0645\u064a\u0646", 5, 11),
    ("\U0001f469\u200d\U0001f467 \U0001f1f9\U0001f1f7 \U0001f3f3\ufe0f\u200d\U0001f308", 16, 23),
    ("", 0, 0),
    ("hello world", 2, 2),
    (" ", 1, 1),
    ("  \n\n  ", 2, 2),
    ("\t\t", 1, 1),
    ("a" * 200, 25, 25),
    (" " * 500, 5, 5),
    (" " * 20_000, 157, 157),
    ("\n" * 90, 6, 4),
    ("Don't you'd we'll I'M IT'S", 7, 10),
    ("<|endoftext|>", 7, 7),
    ("<|im_start|>user<|im_sep|>", 13, 13),
    ("1234567890 12 3.14159e-10", 14, 14),
    ("The quick brown fox jumps over the lazy dog.", 10, 10),
    ("M\xfcnchen, Stra\xdfe, na\xefve caf\xe9", 9, 9),
    ("\u0130stanbul'da ya\u011fmur ya\u011f\u0131yor, \xe7ok \u0131sland\u0131k.", 16, 17),
    ("\u4e2d\u6587\u5b57\u7b26\u6e2c\u8a66\uff1a\u5149\u5408\u4f5c\u7528\u662f\u4ec0\u9ebc\uff1f", 12, 20),
    (
        "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22\u0e44\u0e21\u0e48\u0e21\u0e35\u0e0a\u0e48\u0e2d\u0e07\u0e27\u0e48\u0e32\u0e07\u0e23\u0e30\u0e2b\u0e27\u0e48\u0e32\u0e07\u0e04\u0e33",
        9,
        28,
    ),
    ("\u041f\u0440\u0438\u0432\u0435\u0442, \u043a\u0430\u043a \u0434\u0435\u043b\u0430?", 6, 8),
    ("\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902 \u090f\u0915 \u0935\u093e\u0915\u094d\u092f", 8, 18),
    ("\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3067\u3059\u3002", 8, 10),
    ("\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4.", 6, 8),
    ("e\u0301 combining \u0327", 5, 6),
    ("\u200bzero\u200bwidth\ufeff", 5, 5),
    ("\u2028line\u2029sep\x85", 7, 8),
    ("def f(x):\n    return x**2  # square\n", 13, 13),
    ('{"a": [1, 2, {"b": null}]}', 15, 15),
    ("https://example.com/path?q=1&r=%20#frag", 13, 13),
    ("$x^2 + y^2 = z^2$ \\frac{a}{b}", 19, 19),
    ("AbCdEfGhIjKlMnOpQrStUvWxYz", 14, 21),
    ("ALLCAPSWORDS AND MORE", 6, 6),
    ("snake_case_and-kebab-case", 6, 7),
    ("!!!???...---===+++", 6, 6),
    ("\r\nwindows\r\nlines\r\n", 5, 5),
    ("\x00\x01\x02control", 4, 4),
    ("\ufb01 ligature \xbd \xb2 \u2122", 8, 10),
    ("antidisestablishmentarianism floccinaucinihilipilification", 15, 15),
    ("za\u017c\xf3\u0142\u0107 g\u0119\u015bl\u0105 ja\u017a\u0144", 11, 12),
    ("\u03a9\u2248\xe7\u221a\u222b\u02dc\xb5\u2264\u2265\xf7", 11, 18),
)


def verified(counter: TokenCounter, name: Encoding) -> TokenCounter:
    """The counter, once it has counted fixed texts like tiktoken does.

    Args:
        counter: anything with `count_batch`.
        name: the encoding that it is meant to count.

    Raises:
        SpecError: one of its counts differs; the message shows the text and both numbers.

    Example:
        ```python
        from ragtune.tokens import counter_for, verified

        print(verified(counter_for("o200k_base"), "o200k_base").count_batch(["hello world"]))
        #> [2]
        ```
    """
    texts = [text for text, _, _ in _PROBES]
    found = list(counter.count_batch(texts))
    for (text, o200k, cl100k), number in zip(_PROBES, found, strict=True):
        expected = o200k if name == "o200k_base" else cl100k
        if number != expected:
            raise SpecError(
                f"{type(counter).__name__} counts {number} tokens of {name} in {text[:40]!r}, tiktoken {expected}; "
                f"use a counter that is exact, or none"
            )
    return counter


class RecordCounter:
    """Counts records with any `TokenCounter`; short texts that come again and again are counted once.

    Example:
        ```python
        from ragtune.tokens import RecordCounter, counter_for

        record = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
        print(RecordCounter(counter_for("o200k_base")).count([record]))
        #> [14]
        ```
    """

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter
        self._known: dict[str, int] = {}

    def count(self, records: Sequence[JsonMapping]) -> list[int]:
        """Tokens of each record in its JSON form, as the module's first lines say.

        A preference record counts its input once and both outputs; a completion record its two texts; a label nothing.
        """
        totals: list[int] = []
        texts: list[str] = []
        owners: list[int] = []
        for index, record in enumerate(records):
            if isinstance(record.get("completion"), str):
                # Completions have no messages, whose frame would count.
                totals.append(0)
                found: Sequence[str] = (record["prompt"], record["completion"])
            else:
                fixed, found = self._messages(_messages_of(record))
                totals.append(fixed + TOKENS_PER_EXAMPLE)
            texts.extend(found)
            owners.extend([index] * len(found))
        # One call for all records: a plugged counter may count a batch in threads of its own.
        for owner, number in zip(owners, self._counter.count_batch(texts), strict=True):
            totals[owner] += number
        return totals

    def count_texts(self, texts: Sequence[str]) -> Sequence[int]:
        """Tokens of each text by itself."""
        return self._counter.count_batch(texts)

    def _messages(self, messages: Sequence[JsonMapping]) -> tuple[int, list[str]]:
        """What is known of some messages' tokens, and the texts that are still to be counted."""
        fixed = TOKENS_PER_MESSAGE * len(messages)
        texts: list[str] = []
        for message in messages:
            role = message["role"]
            fixed += self._repeated(role)
            content = message.get("content")
            if isinstance(content, str):
                if role in ("system", "developer"):
                    fixed += self._repeated(content)
                else:
                    texts.append(content)
            elif content is not None:
                texts.extend(part["text"] for part in content if part.get("type") == "text")
            if (thought := message.get("reasoning_content")) is not None:
                texts.append(thought)
            if (name := message.get("name")) is not None:
                fixed += self._repeated(name) + TOKENS_PER_NAME
        return fixed, texts

    def _repeated(self, text: str) -> int:
        count = self._known.get(text)
        if count is None:
            count = self._counter.count_batch((text,))[0]
            if len(text) <= _REMEMBERED_LENGTH and len(self._known) < _REMEMBERED_TEXTS:
                self._known[text] = count
        return count


def record_counter(name: Encoding, *, counter: TokenCounter | None = None) -> RecordCounter:
    """Counts records in an encoding, with a plugged counter once it is verified, else with tiktoken.

    Raises:
        SpecError: the counter counts otherwise than tiktoken, or nothing.
    """
    if counter is not None and not isinstance(counter, TokenCounter):
        raise SpecError(f"counter={counter!r:.60} must have count_batch(texts), which gives the tokens of each text")
    return RecordCounter(counter_for(name) if counter is None else verified(counter, name))


def conversations(pair: JsonMapping) -> tuple[JsonObject, JsonObject]:
    """The two conversations that a preference pair is trained on: its input with the one output, and with the other.

    Example:
        ```python
        from ragtune.tokens import conversations

        say = lambda text: [{"role": "assistant", "content": text}]
        asked = {"messages": [{"role": "user", "content": "Hi"}]}
        pair = {"input": asked, "preferred_output": say("Hello!"), "non_preferred_output": say("What?")}
        print([record["messages"][-1]["content"] for record in conversations(pair)])
        #> ['Hello!', 'What?']
        ```
    """
    before = pair["input"]["messages"]
    wanted, unwanted = ({"messages": [*before, *pair[key]]} for key in ("preferred_output", "non_preferred_output"))
    return wanted, unwanted


def asked_part(record: JsonMapping) -> JsonObject:
    """What stands before the first answer that carries loss, as a record: the part that a limit of tokens must leave.

    Example:
        ```python
        from ragtune.tokens import asked_part

        talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
        print(asked_part({"messages": talk}), asked_part({"prompt": "Hi", "completion": "Hello!"}))
        #> {'messages': [{'role': 'user', 'content': 'Hi'}]} {'prompt': 'Hi', 'completion': ''}
        ```
    """
    if isinstance(record.get("completion"), str):
        return {"prompt": record["prompt"], "completion": ""}
    if "completion" in record:
        return {"messages": record["prompt"]}
    if "input" in record:
        return {"messages": record["input"]["messages"]}
    messages = record["messages"]
    trained = (
        place for place, message in enumerate(messages) if message["role"] == "assistant" and message.get("weight") != 0
    )
    return {"messages": messages[: next(trained, len(messages))]}


def _messages_of(record: JsonMapping) -> Sequence[JsonMapping]:
    if "messages" in record:
        messages: Sequence[JsonMapping] = record["messages"]
        return messages
    if "completion" in record:
        return [*record["prompt"], *record["completion"]]
    return [*record["input"]["messages"], *record["preferred_output"], *record["non_preferred_output"]]
