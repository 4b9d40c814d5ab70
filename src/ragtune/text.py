"""The normal form: how texts are compared wherever equal texts matter."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import chain

__all__ = ["NORMAL_FORM", "count_words", "normalise"]

# Goes up whenever two texts become equal that were not, or the other way round; manifests name it.
NORMAL_FORM = 3

_LETTER = r"a-z_\x80-\U0010ffff"
_WORD = rf"0-9{_LETTER}"
_BLANK = {*map(chr, range(0x20)), *"\x7f\"'();?[]{}`"}
# What parts sentences and marks up words says nothing; beside numbers and at the end of a name the same signs do.
_silent = re.compile(
    rf"""[!\#,:.*-](?:  # nothing but a sign: so the search need not try the rest at every letter
      (?<=!)(?!\ ?=)
    | (?<![{_WORD}]\#)(?<=\#)(?![0-9])
    | (?<=[,:])(?:(?<![0-9].)|(?![0-9]))
    | (?<=\.)(?:(?<=[{_LETTER}]\.)|(?![0-9]))
    | (?<=\*)(?:(?<=[{_LETTER}]\*)(?![{_WORD}])|(?<![{_WORD}]\*)(?=[{_LETTER}]))
    | (?<=-)(?!(?<![{_LETTER}]-)(?=\.?[0-9])|(?<=[{_WORD}]-)(?![{_WORD}-])|(?<=[0-9]\ -)(?=\ [0-9]))
    )""",
    re.VERBOSE,
).sub
_dotted = re.compile("i\u0307+").sub
_OPERATORS = r"$+<=>^|~%&@/\\*!"
_words = re.compile(rf"[{_OPERATORS}]|[^ {_OPERATORS}]+").findall
# Signs of punctuation that tell facts apart: per mille, feet and inches, paragraphs.
_TELLING = "\u2030\u2031\u2032\u2033\u00a7"
# Spellings of one sign: minus, the Arabic decimal comma, thousands mark and percent.
_SAME = {"\u2212": "-", "\u066b": ".", "\u066c": ",", "\u066a": "%"}
# Scripts that part no words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_WITHOUT_SPACES = (
    *(range(0xE00, 0xF00), range(0x1000, 0x10A0), range(0x1780, 0x1800), range(0xA9E0, 0xAA00)),
    *(range(0xAA60, 0xAA80), range(0x3040, 0x3100), range(0x31F0, 0x3200), range(0xFF66, 0xFFA0)),
)
_HAN = "\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


class _Signs(dict[int, str]):
    """What each sign becomes, looked up once."""

    def __missing__(self, code: int) -> str:
        # `str.translate` asks a mapping for every sign of a text: from the second time on this is a dict's own look-up.
        self[code] = found = _sign(code)
        return found


def _sign(code: int) -> str:
    sign = chr(code)
    if sign in _BLANK:
        return " "
    if code < 0x80 or 0xE0020 <= code < 0xE0080:  # the tags that tell flags of regions apart
        return sign
    if 0xFF01 <= code < 0xFF5F:
        return _sign(code - 0xFEE0)
    if 0xFE00 <= code < 0xFE10 or 0xE0100 <= code < 0xE01F0:  # which picture of a sign, not which sign
        return ""
    kind = unicodedata.category(sign)
    if sign in _SAME or kind == "Nd":
        return _SAME.get(sign) or str(unicodedata.decimal(sign))
    if kind[0] in "LMN":
        return sign
    if kind == "Cf":
        return ""
    # Signs that this Python does not know yet are mostly new emoji.
    return f" {sign} " if kind[0] == "S" or kind in ("Cn", "Co") or sign in _TELLING else " "


_signs = _Signs()


@cache
def unspaced() -> re.Pattern[str]:
    """One character, with its marks, of a script that parts no words."""
    signs = [chr(code) for code in chain.from_iterable(_WITHOUT_SPACES)]
    letters = "".join(sign for sign in signs if unicodedata.category(sign)[0] == "L")
    marks = "".join(sign for sign in signs if unicodedata.category(sign)[0] == "M")
    return re.compile(rf"[{letters}{_HAN}][{marks}\u0300-\u036f]*")


def fold(text: str) -> str:
    """The first half of `normalise`: small letters, one spelling of each sign; ASCII punctuation is still there."""
    # Most texts are, and need none of what follows.
    if text.isascii():
        return text.lower().translate(_signs)
    folded = unicodedata.normalize("NFD", text).casefold().translate(_signs)
    # What is small of a capital I and of İ depends on the language, which no text tells.
    folded = _dotted("i", folded.replace("\u0131", "i"))
    return unspaced().sub(r" \g<0> ", unicodedata.normalize("NFC", folded))


def normalise(text: str) -> str:
    """The form in which texts are compared: words and telling signs in small letters, one space between them.

    Two texts are equal that differ in case, accents' encoding, width of signs, digits' script, spaces, invisible
    signs, the dot of Turkish's two i, or in punctuation of sentences: quotes, brackets, dashes, full stops, emphasis.
    Not equal are texts that differ in anything else: letters, accents, vowel signs and other marks, symbols, operators
    and emoji, the sign or the decimal point of a number, the end of `C#` or `A-`. In scripts that part no words,
    Chinese, Japanese, Thai, Lao, Khmer and Burmese, each character is a word. `ragtune.text.NORMAL_FORM` is the version
    of these rules.

    Example:
        ```python
        from ragtune.dataset import normalise

        print(normalise("  What  is a *Quillhaven*? "), normalise("Is -7 < 5.0?"), normalise("C++"), sep=" | ")
        #> what is a quillhaven | is -7 < 5.0 | c + +
        ```
    """
    given: object = text
    if not isinstance(given, str):
        raise TypeError(f"normalise takes text, got {type(given).__name__} {given!r:.60}")
    return " ".join(_words(_silent(" ", fold(text))))


def count_words(form: str) -> int:
    """How many words a normal form has; two characters of a script that parts no words count as one.

    Example:
        ```python
        from ragtune.text import count_words, normalise

        print(count_words(normalise("The mill burned down.")), count_words(normalise("磨坊烧毁了")))
        #> 4 3
        ```
    """
    words = form.count(" ") + bool(form)
    return words if form.isascii() else words - len(unspaced().findall(form)) // 2
