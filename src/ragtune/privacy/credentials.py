"""Keys, tokens, private-key blocks and passwords.

Known formats come from Kingfisher (MongoDB), whose rules are compiled once per process. What has no format of its own
is found by the name before it: `DB_PASSWORD=...`, `client_secret: ...`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

from ragtune.privacy.findings import Confidence, Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kingfisher_sdk import Scanner as Kingfisher

# Kingfisher's rules want white space or a quote behind a token; in prose there is punctuation.
# The look behind stands after the first character, so that the search skips from one such character to the next.
_PROSE_END = re.compile(r"[.,:!?)\]}>*|](?<=[\w=+/-].)[.,:!?)\]}>*|]*(?=\s|$|<)|&")
_NOT_PRINTED = re.compile(r"[^\x01-\x7f]")
# Helpers of Kingfisher's paired rules are marked invisible; these of them are secret by themselves.
_SECRET_HELPER = re.compile(r"secret-access-key|api-secret|security-token|passphrase")
_PASSWORD_RULE = re.compile(r"password|credential-uri|auth-user|passphrase")

_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.{0,20000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"|(?:(?:\s|\\[nr])+[A-Za-z0-9+/=]{16,})+)",
    re.DOTALL,
)
# AWS publishes the shape of access key ids; a lone one names an account, with its secret it opens it.
_AWS_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b(?<!EXAMPLE)")

_PASSWORD = re.compile(
    r"(?:password|passwort|passwd|passphrase|kennwort|contraseña|wachtwoord|senha|pwd)[\"']?"
    r"\s{0,3}(?::=|=>|[:=]|\b(?:is|ist|lautet|es|est)\b)\s{0,3}"
    r"(?:\"(?P<double>[^\"\n]+)\"|'(?P<single>[^'\n]+)'|(?P<bare>[^\s\"'`;<]+))",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"(?:(?:api|secret|access|auth|private|client|signing|encryption|session|refresh|bearer)[ _-]?"
    r"(?:key|token|secret)|token|secret)[\"']?"
    r"\s{0,3}(?::=|=>|[:=]|\b(?:is|ist|lautet|es|est)\b)\s{0,3}[\"'`]?(?P<value>[A-Za-z0-9_+/=.~-]{20,})",
    re.IGNORECASE,
)
# Without one of these in a text its pattern cannot match, and to look for them costs a tenth of trying.
_PASSWORD_NAMES = ("passw", "passphrase", "pwd", "kennwort", "contraseña", "wachtwoord", "senha")
_TOKEN_NAMES = ("key", "token", "secret")
_PLACEHOLDER = re.compile(r"^[<${%*\[]|[(\[{]|your|change|xxx|\.\.\.|example|placeholder", re.IGNORECASE)
_MIN_PASSWORD = 6
_MIN_RUN = 16
# A random text of 20 letters and digits has about 4 bits a character, words joined by underscores about 3.
_MIN_BITS = 3.3


@cache
def _kingfisher() -> Kingfisher:
    """The compiled rules: about 3 s when this machine has never compiled them, 0.3 s from Kingfisher's own cache."""
    from kingfisher_sdk import Scanner

    # Offsets are all that is taken from a finding, so the engine need not keep what it matched.
    return Scanner(base64=False, redact=True)


def find_known_formats(text: str) -> Iterator[Finding]:
    """Keys and tokens whose maker gave them a format, and passwords inside URLs."""
    # One byte for each character, so that the engine's byte offsets are places in the text.
    plain = _NOT_PRINTED.sub(" ", text) if not text.isascii() or "\x00" in text else text
    plain = _PROSE_END.sub(lambda match: " " * len(match[0]), plain)
    for found in _kingfisher().scan(plain.encode("ascii")):
        rule = found.rule_id.rpartition(".")[2] if found.rule_id.count(".") == 1 else found.rule_id
        if not found.visible and not _SECRET_HELPER.search(rule):
            continue
        place = found.location
        start, end = place["start_offset"], place["end_offset"]
        yield Finding.at(text, start, end, _kind_of(rule), rule, _confidence(found.confidence))


def _kind_of(rule: str) -> Kind:
    if rule == "private-key":
        return "private_key"
    return "password" if _PASSWORD_RULE.search(rule) else "api_key"


def _confidence(value: str) -> Confidence:
    return "high" if value == "high" else "low" if value == "low" else "medium"


def find_blocks(text: str) -> Iterator[Finding]:
    """Private-key blocks, also those that were cut off before their end."""
    if "PRIVATE KEY" in text:
        for match in _BLOCK.finditer(text):
            yield Finding.at(text, *match.span(), "private_key", "key-block")


def find_named(text: str) -> Iterator[Finding]:
    """Values that a name before them calls a key, a token, a secret or a password."""
    if "AKIA" in text or "ASIA" in text:
        for match in _AWS_ID.finditer(text):
            yield Finding.at(text, *match.span(), "api_key", "aws-access-key-id", "medium")
    lowered = text.lower()
    for match in _TOKEN.finditer(text) if any(name in lowered for name in _TOKEN_NAMES) else ():
        value = match["value"].rstrip(".")
        if _looks_random(value):
            start = match.start("value")
            yield Finding.at(text, start, start + len(value), "api_key", "named-token", "medium")
    for match in _PASSWORD.finditer(text) if any(name in lowered for name in _PASSWORD_NAMES) else ():
        group = match.lastgroup or "bare"
        value = match[group] if group != "bare" else match[group].rstrip(",.:)]}|")
        if _looks_like_password(value):
            start = match.start(group)
            yield Finding.at(text, start, start + len(value), "password", "named-password", "medium")


def _looks_like_password(value: str) -> bool:
    """Letters together with digits; words, placeholders and code are not passwords."""
    return (
        len(value) >= _MIN_PASSWORD
        and not _PLACEHOLDER.search(value)
        and any(map(str.isdigit, value))
        and any(map(str.isalpha, value))
    )


def _looks_random(value: str) -> bool:
    """Letters and digits in one long run with the entropy of a random text."""
    longest = max(map(len, re.split(r"[_.~-]", value)))
    counts = Counter(value).values()
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
    return longest >= _MIN_RUN and bits >= _MIN_BITS and _looks_like_password(value)
