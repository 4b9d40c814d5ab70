"""One spelling for numbers, dates and units, so that "83 m" is found in "eighty-three metres deep"."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["spelled", "worth_spelling"]

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen""".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_VALUES = {word: value for value, word in enumerate(_SMALL)} | {word: 20 + 10 * n for n, word in enumerate(_TENS)}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_MONTHS = """january february march april may june july august september october november december""".split()
_MONTH = {month[:length]: n for n, month in enumerate(_MONTHS, start=1) for length in (3, len(month))} | {"sept": 9}
_UNITS = {
    "m": "metre metres meter meters",
    "km": "kilometre kilometres kilometer kilometers",
    "cm": "centimetre centimetres centimeter centimeters",
    "mm": "millimetre millimetres millimeter millimeters",
    "ft": "foot feet",
    "kg": "kilogram kilograms kilogramme kilogrammes",
    "g": "gram grams gramme grammes",
    "t": "tonne tonnes",
    "l": "litre litres liter liters",
    "s": "second seconds sec secs",
    "min": "minute minutes mins",
    "h": "hour hours hr hrs",
    "%": "percent",
    "ha": "hectare hectares",
    "kmh": "kph",
}
# `normalise` parts a slash from the words beside it.
_UNIT = {"km / h": "kmh"} | {name: unit for unit, names in _UNITS.items() for name in names.split()}
_NUMBER_WORD = "|".join(sorted([*_VALUES, *_SCALES], key=len, reverse=True))
_MONTH_WORD = "|".join(sorted(_MONTH, key=len, reverse=True))

_number_words = re.compile(rf"\b(?:{_NUMBER_WORD})(?:[ -](?:and )?(?:{_NUMBER_WORD}))*\b")
_thousands = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
# Not beside a further number: in a row of them blanks part one from the next.
_spaced_thousands = re.compile(r"(?<![\d.,] )(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d.,])(?! \d)")
_zeros = re.compile(r"(?<![\d.,])(\d+)\.0+(?![\d.])|(?<![\d.,])(\d+\.\d*[1-9])0+(?![\d.])")
_glued = re.compile(rf"(?<![\w.,])(\d[\d.]*)({'|'.join(sorted(_UNITS, key=len, reverse=True))})\b")
_unit_words = re.compile(rf"(?<=\d )(?:{'|'.join(sorted(map(re.escape, _UNIT), key=len, reverse=True))})(?!\w)")
_ordinal = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)\b")
_day_first = re.compile(rf"\b(\d{{1,2}}) (?:of )?({_MONTH_WORD}) (\d{{4}})\b")
_month_first = re.compile(rf"\b({_MONTH_WORD}) (\d{{1,2}}) (\d{{4}})\b")
_something = re.compile(rf"\d|%|\b(?:{_NUMBER_WORD})\b")


def worth_spelling(form: str) -> bool:
    """Whether a normal form holds a number in digits or words, so that it could be spelled otherwise."""
    return _something.search(form) is not None


@lru_cache(maxsize=4096)
def spelled(form: str) -> str:
    """Return a normal form (see `ragtune.text.normalise`) with one spelling for numbers, English dates and units.

    Numbers in words become digits, `1,250` and `1 250` become `1250`, `5.0` becomes `5`, units after a number their
    sign, a date with day, month and year `1912-05-03`. Nothing is converted: 83 m is not 8300 cm.

    Example:
        ```python
        from ragtune.evaluation.scorers.spellings import spelled
        from ragtune.text import normalise

        print(spelled(normalise("Eighty-three metres, on May 3rd, 1912")))
        #> 83 m on 1912-05-03
        ```
    """
    form = _number_words.sub(_in_digits, form)
    form = _thousands.sub(lambda found: found[0].replace(",", ""), form)
    form = _ordinal.sub(r"\1", form)
    form = _day_first.sub(lambda found: _date(found[3], found[2], found[1]), form)
    form = _month_first.sub(lambda found: _date(found[3], found[1], found[2]), form)
    form = _spaced_thousands.sub(lambda found: found[0].replace(" ", ""), form)
    form = _zeros.sub(lambda found: found[1] or found[2], form)
    return _unit_words.sub(lambda found: _UNIT[found[0]], _glued.sub(r"\1 \2", form))


def _date(year: str, month: str, day: str) -> str:
    return f"{year}-{_MONTH[month]:02d}-{int(day):02d}"


def _in_digits(found: re.Match[str]) -> str:
    """Words such as `two hundred and fifty` as one number, `one two three` as three."""
    numbers: list[int] = []
    group = total = 0
    last = None
    for word in re.split(r"[ -](?:and )?", found[0]):
        if word in _SCALES:
            group, total = (group or 1) * _SCALES[word], total
            if _SCALES[word] > 100:
                group, total = 0, total + group
        elif last is None or last in _SCALES or (last in _TENS and 0 < _VALUES[word] < 10):
            group += _VALUES[word]
        else:
            numbers.append(total + group)
            group, total = _VALUES[word], 0
        last = word
    return " ".join(map(str, [*numbers, total + group]))
