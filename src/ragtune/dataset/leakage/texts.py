"""What rows say, before it is numbered."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What rows say, text by text and row after row, without a template's constant words.

    Attributes:
        texts: all texts.
        fields: where each of them stands: a column, or who speaks.
        asked: whether each of them is its row's question.
        learned: whether each of them is learned: an answer.
        per_row: how many texts each row has.
    """

    texts: Sequence[str]
    fields: Sequence[str]
    asked: Sequence[bool]
    learned: Sequence[bool]
    per_row: Sequence[int]


def with_attachments(question: str, images: Sequence[str], tools: Sequence[object]) -> str:
    """A question with a word for each of its images, by content, and one for its tools, in any order.

    An image behind an address counts as its address: nothing is fetched.
    """
    words = [f"image{_digest(_image(url))}" for url in images]
    if tools:
        described = sorted(orjson.dumps(tool, option=orjson.OPT_SORT_KEYS) for tool in tools)
        words.append(f"tools{_digest(b''.join(described))}")
    return " ".join((question, *words)).strip() if words else question


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=12).hexdigest()


def _image(url: str) -> bytes:
    head, comma, data = url.partition(",")
    if head.startswith("data:") and comma and head.endswith(";base64"):
        try:
            # Not strict: one picture may be written with line ends and without.
            return base64.b64decode(data)
        except binascii.Error:
            pass
    return url.encode("utf-8", "surrogatepass")
