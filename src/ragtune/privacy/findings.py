"""What was found, shown so that it gives nothing away, and how it is covered in a text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ragtune import _arguments as arguments
from ragtune.errors import DatasetError

Kind = Literal["private_key", "api_key", "password", "iban", "card", "email", "phone"]
# Where two findings overlap, the kind that stands first here stays.
KINDS: tuple[Kind, ...] = ("private_key", "api_key", "password", "iban", "card", "email", "phone")
Confidence = Literal["high", "medium", "low"]

# Of a short value nothing is shown: two characters of a password of six are a third of it.
_SHOWN_SHARE = 8
_SHOWN_MOST = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A secret or a piece of personal data in a text; it never holds the value itself.

    Attributes:
        kind: what it is.
        rule: which rule found it, for example `github-pat`.
        start: index of its first character in the text.
        end: index behind its last character.
        masked: at most the first four characters and at most an eighth of the value, and its length.
        confidence: `high` where a checksum, a known prefix or a grammar proves it, otherwise `medium` or `low`.

    Example:
        ```python
        from ragtune.privacy import scan

        finding = scan("Write to anna.schmidt@nordwind-fiktiv.de today.")[0]
        print(finding.kind, finding.start, finding.end, finding.masked)
        #> email 9 40 ann… (31 characters)
        ```
    """

    kind: Kind
    rule: str
    start: int
    end: int
    masked: str
    confidence: Confidence

    @classmethod
    def at(cls, text: str, start: int, end: int, kind: Kind, rule: str, confidence: Confidence = "high") -> Finding:
        """The finding between two places of a text."""
        length = end - start
        shown = text[start : start + min(_SHOWN_MOST, length // _SHOWN_SHARE)]
        masked = f"{shown}… ({length} characters)"
        return cls(kind=kind, rule=rule, start=start, end=end, masked=masked, confidence=confidence)


def placeholder(kind: str) -> str:
    """What stands in a masked text: `[EMAIL]`, `[API_KEY]`, ...

    Example:
        ```python
        from ragtune.privacy import placeholder

        print(placeholder("api_key"))
        #> [API_KEY]
        ```
    """
    return f"[{arguments.text('kind', kind).upper()}]"


def mask(text: str, findings: Iterable[Finding]) -> str:
    """Replace each finding by the placeholder of its kind.

    Args:
        text: the text that was scanned.
        findings: what `scan` gave for this very text, or some of it; in any order, without overlaps.

    Raises:
        DatasetError: findings overlap or lie outside the text, so they belong to another one.

    Example:
        ```python
        from ragtune.privacy import mask, scan

        text = "Mail anna@nordwind-fiktiv.de or call +44 20 7946 0123."
        print(mask(text, scan(text)))
        #> Mail [EMAIL] or call [PHONE].
        ```
    """
    arguments.text("text", text)
    found = list(findings) if isinstance(findings, Iterable) else [findings]
    for finding in found:
        arguments.instance("a finding", finding, Finding, "pass what scan(text) gives")
    pieces: list[str] = []
    position = 0
    for finding in sorted(found, key=_start):
        if not position <= finding.start <= finding.end <= len(text):
            raise DatasetError(f"{finding.kind} at {finding.start}:{finding.end} does not fit this text; scan it again")
        pieces += (text[position : finding.start], placeholder(finding.kind))
        position = finding.end
    return "".join([*pieces, text[position:]])


def without_overlaps(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Keep the weightier of two findings that overlap, in the order of the text."""
    # Kept findings do not overlap, so only the two neighbours of a place can be in its way.
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda item: (KINDS.index(item.kind), item.start - item.end, item.start)):
        place = bisect_left(kept, finding.start, key=_start)
        is_free = (place == 0 or kept[place - 1].end <= finding.start) and (
            place == len(kept) or finding.end <= kept[place].start
        )
        if is_free:
            kept.insert(place, finding)
    return tuple(kept)


def _start(finding: Finding) -> int:
    return finding.start
