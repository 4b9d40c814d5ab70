"""E-mail addresses, telephone numbers, IBANs and card numbers; what has a checksum must pass it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ragtune.privacy.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_LATIN = r"A-Za-z0-9\u00c0-\u024f"
# Chinese and Japanese keyboards write the wide and the small form.
_AT = "@\uff20\ufe6b"
_EMAIL = re.compile(
    rf"(?<![{_LATIN}._%+-])[{_LATIN}_](?:[{_LATIN}_.+%'&-]{{0,62}}[{_LATIN}_+-])?"
    rf"[{_AT}](?P<domain>(?:[{_LATIN}](?:[{_LATIN}-]{{0,61}}[{_LATIN}])?\.){{1,8}}(?:[A-Za-z]{{2,24}}|xn--[a-z0-9-]{{2,40}}))"
    # `q@k.transpose(` is a matrix product.
    rf"(?![{_LATIN}({_AT}])",
)
_SPELT_EMAIL = re.compile(
    r"\b[A-Za-z0-9][\w.+-]{0,62}\s{0,2}[\[(]\s?(?:at|ät)\s?[\])]\s{0,2}"
    r"[A-Za-z0-9-]{1,63}(?:\s{0,2}(?:\.|[\[(]\s?(?:dot|punkt)\s?[\])])\s{0,2}[A-Za-z0-9-]{2,63}){1,4}",
    re.IGNORECASE,
)
# RFC 2606 and RFC 6761 reserve these names: nobody can have an address there.
_RESERVED = re.compile(r"(?:^|\.)(?:example\.(?:com|net|org)|example|test|invalid|localhost)$", re.IGNORECASE)
# `logo@2x.png` is a picture for sharp screens.
_PICTURE = re.compile(r"^\d+x\.(?:png|jpe?g|gif|webp|svg)$", re.IGNORECASE)
_USERINFO = re.compile(r"://[^\s/@]*$")
_URL_LOOKBACK = 120

# Both begin with a digit and look back from there: most texts are passed over without a try at every letter.
_IBAN = re.compile(r"\d(?<=\b[A-Za-z]{2}\d)\d(?:[ -]?[A-Za-z0-9]){11,30}\b")
_CARD = re.compile(r"\d(?<![\w.,/-]\d)(?:[ -]?\d){12,18}(?![\w-]|[.,]\d)")
# As the networks print them: 4-4-4-4 most, 4-6-5 American Express, 4-6-4 Diners Club, and the longer ones of 19 digits.
_CARD_GROUPS = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (6, 13)})
# Issuer prefixes with their lengths (ISO/IEC 7812 ranges as the networks publish them). Visa's 13 digits are long out
# of use, and product codes (EAN) of 13 digits start with 4 too.
_ISSUER = re.compile(
    r"4\d{15}(?:\d{3})?"
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|3[47]\d{13}"
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12}"
    r"|3(?:0[0-5]|[68]\d)\d{11}"
    r"|35(?:2[89]|[3-8]\d)\d{12}"
    r"|62\d{14,17}"
)
_INTERNATIONAL = re.compile(r"[+\uff0b][ (]?\d")
_SEVEN_DIGITS = re.compile(r"(?:\d\D{0,3}){6}\d")


def find_emails(text: str) -> Iterator[Finding]:
    """Addresses with a Latin local part, also as `name [at] host [dot] net`; reserved domains are nobody's."""
    if any(sign in text for sign in _AT):
        for match in _EMAIL.finditer(text):
            domain = match["domain"]
            before = text[max(0, match.start() - _URL_LOOKBACK) : match.start()]
            is_remote = match[0].startswith("git@") and text[match.end() : match.end() + 1] == ":"
            if not (_RESERVED.search(domain) or _PICTURE.match(domain) or is_remote or _USERINFO.search(before)):
                yield Finding.at(text, *match.span(), "email", "email-address")
    if "at]" in text or "at)" in text:
        for match in _SPELT_EMAIL.finditer(text):
            yield Finding.at(text, *match.span(), "email", "spelt-email-address", "medium")


def find_phones(text: str, region: str | None) -> Iterator[Finding]:
    """Numbers that are valid in their country; without a region only those with a plus sign."""
    # The matcher tries every place of a text, and few texts hold a number at all.
    is_candidate = _INTERNATIONAL.search(text) or (region is not None and _SEVEN_DIGITS.search(text))
    if not is_candidate:
        return
    from phonenumbers import PhoneNumberMatcher

    for match in PhoneNumberMatcher(text, region):
        # People write the country's code in brackets, too: (+44) 20 7946 0123.
        is_international = match.raw_string.lstrip("( ").startswith(("+", "\uff0b"))
        yield Finding.at(
            text,
            match.start,
            match.end,
            "phone",
            "international-number" if is_international else f"national-number-{region}",
            "high" if is_international else "medium",
        )


def find_ibans(text: str) -> Iterator[Finding]:
    """Account numbers whose country, length and check digits are right."""
    candidates = [(match.start() - 2, match.end()) for match in _IBAN.finditer(text)]
    if not candidates:
        return
    from stdnum import iban

    for start, stop in candidates:
        # The words behind a number look like its next groups: the longest valid beginning is the number.
        # The shortest account numbers, Norway's, have 15 characters.
        for end in range(stop, start + 14, -1):
            is_whole = end == stop or not (text[end].isalnum() and text[end - 1].isalnum())
            if is_whole and text[end - 1].isalnum() and iban.is_valid(text[start:end], check_country=False):
                yield Finding.at(text, start, end, "iban", "iban")
                break


def find_cards(text: str) -> Iterator[Finding]:
    """Card numbers: an issuer's prefix and length, the usual groups or none, and the Luhn check digit."""
    for match in _CARD.finditer(text):
        groups = re.split(r"[ -]", match[0])
        number = "".join(groups)
        if len(groups) > 1 and (tuple(map(len, groups)) not in _CARD_GROUPS or len({*match[0]} & {" ", "-"}) > 1):
            continue
        if not _ISSUER.fullmatch(number) or len(set(number)) == 1:
            continue
        from stdnum import luhn

        if luhn.is_valid(number):
            yield Finding.at(text, *match.span(), "card", "card-number", "high" if len(groups) > 1 else "medium")
