"""Exact token counts from the shipped vocabularies."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import orjson
import pytest

from ragtune.errors import SpecError
from ragtune.tokens import RecordCounter, counter_for, encoding, verified, vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ragtune.catalog import Encoding

SHA256: dict[Encoding, str] = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_the_shipped_vocabulary_is_openais_byte_for_byte(name: Encoding) -> None:
    """The .tiktoken text, rebuilt from the package data, has the sha256 that tiktoken itself pins."""
    lines = (b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(vocabulary(name)))
    assert hashlib.sha256(b"".join(lines)).hexdigest() == SHA256[name]


def test_known_texts_have_their_known_ids() -> None:
    """Ids that tiktoken's own documentation and models use."""
    assert encoding("o200k_base").encode_ordinary("hello world") == [24912, 2375]
    assert encoding("cl100k_base").encode_ordinary("hello world") == [15339, 1917]


def test_special_tokens_in_a_text_are_counted_as_text() -> None:
    """`encode` would raise on this string; a training file may hold it."""
    assert counter_for("o200k_base").count_batch(["<|endoftext|>"])[0] > 1


def test_a_chat_record_is_counted_by_the_cookbooks_rule() -> None:
    """2 messages x 3, roles 1 + 1, contents 1 + 2, a name 1 + 1, and 3 for the example: 16."""
    record = {
        "messages": [{"role": "user", "content": "Hi", "name": "Ada"}, {"role": "assistant", "content": "Hello!"}]
    }
    assert RecordCounter(counter_for("o200k_base")).count([record])[0] == 2 * 3 + (1 + 1) + (1 + 2) + (1 + 1) + 3


def test_a_completion_is_counted_as_its_two_texts() -> None:
    """No message overhead in a legacy pair."""
    counter = counter_for("cl100k_base")
    assert RecordCounter(counter).count([{"prompt": "hello world", "completion": " hello"}]) == [3]


def test_an_encoding_that_is_not_shipped_is_refused() -> None:
    """The message lists those that are."""
    with pytest.raises(SpecError, match="o200k_base"):
        encoding("p50k_base")


@pytest.mark.slow
def test_sciq_has_its_known_number_of_tokens(shared: Path) -> None:
    """All supports of the train file together: 999,816 tokens of o200k_base."""
    lines = (shared / "data/sciq/train.jsonl").read_bytes().split(b"\n")
    supports = [orjson.loads(line)["support"] for line in lines if line]
    assert sum(counter_for("o200k_base").count_batch(supports)) == 999_816


class OffByOne:
    """Counts bytes, as a tokenizer does that lost its vocabulary."""

    def count_batch(self, texts: Sequence[str], /) -> list[int]:
        return [len(text.encode()) for text in texts]


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
def test_a_counter_that_counts_otherwise_is_refused(name: Encoding) -> None:
    """The exact one passes its own frozen counts, the other is named with the text."""
    assert verified(counter_for(name), name) is counter_for(name)
    with pytest.raises(SpecError, match="OffByOne counts"):
        verified(OffByOne(), name)
    other: Encoding = "cl100k_base" if name == "o200k_base" else "o200k_base"
    with pytest.raises(SpecError, match="TiktokenCounter counts"):
        verified(counter_for(other), name)
