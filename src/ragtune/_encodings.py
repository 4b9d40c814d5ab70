"""Which encoding bytes have that are not UTF-8, and texts that were read in the wrong one.

The bytes are examined by charset-normalizer. Between the code pages of Windows that differ in a few letters the letters
themselves decide: a text in which Turkish would have ş, ı and ğ and which has þ, ý and ð is Turkish.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["LikelyEncoding", "Misreading", "likely_encoding", "name_as_text"]

# Bytes, and of texts that were read already, characters.
_SAMPLE = 65_536
_LATIN = ("cp1250", "cp1252", "cp1254", "cp1257", "cp1258")
_WORDS = 3
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CODE_PAGES = (
    "cp1252 cp1254 cp1251 cp1250 cp1253 cp1255 cp1256 cp1257 cp1258 cp874 koi8_r cp866 cp932 shift_jis euc_jp gb18030 "
    "big5 euc_kr cp949"
).split()
_WORD = re.compile(r"[^\W\d_]{2,}")
_QUOTES = ".,;:!?()[]{}\"'\u201c\u201d"
_TURKISH = str.maketrans("ÞþÝýÐð", "ŞşİıĞğ")
_LETTERS_OF_1252 = "".join(map(chr, [*range(0xC0, 0xD7), *range(0xD8, 0xF7), *range(0xF8, 0x100)]))
_CYRILLIC = re.compile(f"[{_LETTERS_OF_1252}]{{4,}}")
# ő and ű as cp1252 reads them, in a text without the letters of Icelandic.
_HUNGARIAN = re.compile(r"\A[^ðþæ]*[õû][^ðþæ]*\Z", re.IGNORECASE)
# What the two have in common, so that it tells nothing.
_ALSO_TURKISH = frozenset("ÞþÝýÐðÇçÖöÜüÂâÎîÛû")


def name_as_text(name: str) -> str:
    """The name of a file as a text that can be written down: on many disks a name is bytes, which need be no UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


@dataclass(frozen=True, kw_only=True)
class LikelyEncoding:
    """The encoding that bytes most likely have.

    Attributes:
        name: as Python and iconv call it.
        words: some words as they read in it; empty where it changes none.

    Example:
        ```python
        from ragtune._encodings import likely_encoding

        print(likely_encoding("Şifremi nasıl sıfırlarım? Bağlantı gelmiyor, şikâyetim var.".encode("cp1254")))
        #> cp1254 (in which it reads 'Şifremi', 'nasıl', 'sıfırlarım')
        ```
    """

    name: str
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self._with(self.name)

    def __format__(self, way: str) -> str:
        """Write how to use it: `call` for an argument of a source, `iconv` for a command, else its name."""
        return self._with(
            {"call": f"encoding={self.name!r}", "iconv": f"iconv -f {self.name} -t utf-8"}.get(way, self.name)
        )

    def _with(self, way: str) -> str:
        return f"{way} (in which it reads {', '.join(map(repr, self.words))})" if self.words else way


def likely_encoding(content: bytes) -> LikelyEncoding:
    """Examine bytes that are not UTF-8; some ten kilobytes of them are enough."""
    # UTF-32 stands first: its little-endian mark begins with that of UTF-16.
    name = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if name is None and content[:2_000].count(0) * 3 > len(content[:2_000]):
        # Latin text has every second byte zero.
        name = "utf-16-le" if content[1:2_000:2].count(0) > content[0:2_000:2].count(0) else "utf-16-be"
    if name is not None:
        return LikelyEncoding(name=name)
    # Lines of ASCII read the same in all of them, and would only thin the evidence.
    sample = b"\n".join(line for line in content.split(b"\n") if not line.isascii())[:_SAMPLE]
    name = _examined(sample)
    return LikelyEncoding(name=name, words=_unlike_ascii(sample.decode(name, "replace")))


def _examined(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=_CODE_PAGES).best()
    if best is not None and best.encoding not in _LATIN:
        return best.encoding
    latin = Misreading()
    latin.add(sample.decode("cp1252", "replace"))
    if latin.verdict in ("cp1254", "cp1251"):
        return latin.verdict
    if best is not None and best.language == "Hungarian" and _HUNGARIAN.search(sample.decode("cp1252", "replace")):
        return "cp1250"
    # Of equals the western one: it is by far the most frequent.
    western = from_bytes(sample, cp_isolation=["cp1252"]).best()
    if best is None or (western is not None and western.coherence >= best.coherence):
        return "cp1252"
    return best.encoding


def _unlike_ascii(text: str) -> tuple[str, ...]:
    words = dict.fromkeys(word for word in _WORD.findall(text) if not word.isascii() and "\ufffd" not in word)
    return tuple(words)[:_WORDS]


@dataclass
class Misreading:
    """Looks in texts for the signs of a wrong encoding: Þifremi nasýl (Turkish), Ã¼ber (UTF-8), Ïðèâåò (Cyrillic).

    Example:
        ```python
        from ragtune._encodings import Misreading

        texts = Misreading()
        texts.add("Þifremi nasýl sýfýrlarým? Baðlantý gelmiyor.")
        print(texts.verdict, "|", texts.finding.split(": ")[1].split(", ")[0])
        #> cp1254 | 'Þifremi' for 'Şifremi'
        ```
    """

    _found: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in ("utf-8", "cp1254", "cp1251")}
    )
    _against: int = 0
    _read: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether so much was read that further texts would tell nothing new."""
        return self._read > _SAMPLE

    def add(self, text: str) -> None:
        """Look at a text."""
        if text.isascii() or self.is_enough:
            return
        self._read += len(text)
        for word in re.findall(r"\S+", text):
            # A letter by itself is spoken of, not read wrongly.
            if len(word) > 2 and not word.isascii():
                self._look_at(word)

    def _look_at(self, word: str) -> None:
        bare = word.strip(_QUOTES)
        special = {letter for letter in bare if not letter.isascii() and letter.isalpha()}
        if _as_utf8(bare) is not None:
            self._found["utf-8"][bare] += 1
        elif _CYRILLIC.fullmatch(bare) and len(set(bare)) > 2:
            self._found["cp1251"][bare] += 1
        elif special and special <= _ALSO_TURKISH:
            if special & set("ÞþÝýÐð"):
                self._found["cp1254"][bare] += 1
        elif special:
            self._against += 1

    @property
    def verdict(self) -> str | None:
        """The encoding that the texts really have, None where nothing speaks for one."""
        utf8, turkish, cyrillic = self._found["utf-8"], self._found["cp1254"], self._found["cp1251"]
        if utf8.total() > self._against:
            return "utf-8"
        if len(cyrillic) >= 3 and cyrillic.total() > self._against:
            return "cp1251"
        # Icelandic has þ and ð beside many other letters, Czech ý alone.
        spoken = len(turkish) > 1 and not set("".join(turkish)).isdisjoint("ÞþÝÐð")
        if spoken and turkish.total() > 5 * self._against:
            return "cp1254"
        return None

    @property
    def finding(self) -> str | None:
        """What is wrong in a sentence, with words as they stand there and as they would read; None where nothing is."""
        if (name := self.verdict) is None:
            return None
        pairs = ", ".join(f"{word!r} for {_reread(word, name)!r}" for word in list(self._found[name])[:_WORDS])
        return f"the texts read like {name} that was taken for cp1252: {pairs}"


def _bytes_of(word: str) -> bytes:
    """The bytes that were read as cp1252; five of them have no sign there and become controls."""
    return b"".join(
        letter.encode("latin-1") if "\x80" <= letter <= "\x9f" else letter.encode("cp1252") for letter in word
    )


def _reread(word: str, name: str) -> str:
    if name == "cp1254":
        return word.translate(_TURKISH)
    return _as_utf8(word) or word if name == "utf-8" else _bytes_of(word).decode(name, "replace")


def _as_utf8(word: str) -> str | None:
    try:
        read = _bytes_of(word).decode("utf-8")
    except UnicodeError:
        return None
    return read if read != word else None
