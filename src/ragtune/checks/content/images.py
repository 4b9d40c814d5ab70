"""Images of a record: how many, how big, and whether their data is whole."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ragtune.limits import MAX_IMAGE_BYTES, MAX_IMAGES
from ragtune.records import RecordFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ragtune.records.base import JsonMapping, Path

_DATA = re.compile(r"data:image/(jpeg|png|webp);base64,")
_FIRST_BYTES = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFF"}
_OUTSIDE = re.compile(r"[^A-Za-z0-9+/=]")


def image_faults(messages: Sequence[JsonMapping]) -> Iterator[RecordFault]:
    """Too many images, images that are too big, and addresses that are neither http(s) nor an image's data."""
    images = 0
    for index, message in enumerate(messages):
        content = message.get("content")
        if not isinstance(content, list | tuple):
            continue
        for number, part in enumerate(content):
            if part.get("type") == "image_url":
                images += 1
                path = ("messages", index, "content", number, "image_url", "url")
                yield from _image_faults(part["image_url"]["url"], path)
    if images > MAX_IMAGES:
        text = f"{images} images in one example; at most {MAX_IMAGES} are taken"
        yield RecordFault(("messages",), "too-many-images", text, "split the example")


def _image_faults(url: str, path: Path) -> Iterator[RecordFault]:
    if url.startswith(("https://", "http://")):
        if not _host(url):
            text = f"{url[:40]!r} names no host"
            yield RecordFault(path, "bad-image", text, "write the whole address")
        return
    kind = _DATA.match(url)
    if kind is None:
        text = f"{url[:40]!r} is neither an http(s) address nor data of a JPEG, PNG or WEBP image"
        yield RecordFault(path, "bad-image", text, "use https://... or data:image/png;base64,...")
        return
    encoded = url[kind.end() :]
    # Four signs of base64 are three bytes: what is too large is known without decoding it.
    if (size := len(encoded) * 3 // 4) > MAX_IMAGE_BYTES:
        text = f"the image has {size / 2**20:.1f} MB; at most {MAX_IMAGE_BYTES // 2**20} MB are taken"
        yield RecordFault(path, "image-too-large", text, "scale it down")
    elif why := _damage(kind[1], encoded):
        yield RecordFault(path, "bad-image", f"the data behind {kind[0]!r} {why}", _ENCODE)


_ENCODE = "name its real type, and encode the bytes of the file with base64.b64encode"


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _damage(kind: str, encoded: str) -> str | None:
    """What is wrong with base64 data, or None."""
    try:
        # Without `validate` Python passes over whatever is no base64, and cut data would count as whole.
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        if outside := _OUTSIDE.search(encoded):
            return f"is no base64: {outside[0]!r} stands at position {outside.start():,}"
        return f"is no whole base64: {len(encoded):,} signs, cut off or without the '=' at the end"
    if not data.startswith(_FIRST_BYTES[kind]) or (kind == "webp" and data[8:12] != b"WEBP"):
        return "does not begin as such an image does"
    return None if _is_whole(kind, data) else "is an image that was cut off or spoilt"


def _is_whole(kind: str, data: bytes) -> bool:
    """Whether an image has the parts that it must have, as far as bytes tell it without decoding."""
    if kind == "png":
        # The names of the first chunk and of the last.
        return data[12:16] == b"IHDR" and b"IEND" in data
    if kind == "webp":
        # RIFF tells how many bytes follow the first eight.
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    return True
