"""The scanner: which kinds are looked for, and how a text's findings come together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune import _arguments as arguments
from ragtune.errors import DatasetError
from ragtune.privacy.credentials import find_blocks, find_known_formats, find_named
from ragtune.privacy.findings import KINDS, Finding, Kind, mask, without_overlaps
from ragtune.privacy.personal import find_cards, find_emails, find_ibans, find_phones

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CREDENTIALS = frozenset({"private_key", "api_key", "password"})


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """Finds secrets and personal data in texts; cheap to make, picklable, safe to share between threads.

    Nothing leaves the machine and nothing that is found is kept: findings hold places and a mask.

    Attributes:
        kinds: what to look for; default: all of `KINDS`.
        phone_region: country (`"US"`, `"DE"`, ...) whose national numbers count too; None finds only numbers with a
            plus sign. National numbers look like many other digits, so expect false alarms.
        allow: values that may stay, such as the address of a help desk, in any case; `"@acme.com"` stands for every
            address there.

    Raises:
        DatasetError: an unknown kind or region, or `allow` is one text instead of several.

    Example:
        ```python
        from ragtune.privacy import Scanner

        scanner = Scanner(kinds=("email", "phone"), phone_region="US")
        print(scanner.mask("Call (415) 555-0142 or write to bob@acme-fiktiv.com."))
        #> Call [PHONE] or write to [EMAIL].
        ```
    """

    kinds: tuple[Kind, ...] = KINDS
    phone_region: str | None = None
    allow: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("allow", "kinds"):
            if isinstance(given := getattr(self, name), str):
                raise DatasetError(f"{name}={given!r} must be several values; write {name}=[{given!r}]")
            object.__setattr__(self, name, arguments.texts(name, given))
        if not self.kinds:
            raise DatasetError(f"kinds is empty, so nothing would be found; name some of {', '.join(KINDS)}")
        if unknown := set(self.kinds) - set(KINDS):
            raise DatasetError(f"kind {min(unknown)!r} is not one of {', '.join(KINDS)}")
        if self.phone_region is not None:
            from phonenumbers import SUPPORTED_REGIONS

            if not isinstance(self.phone_region, str) or self.phone_region not in SUPPORTED_REGIONS:
                raise DatasetError(f"phone_region {self.phone_region!r} is no country code such as 'US' or 'DE'")

    def scan(self, text: str) -> tuple[Finding, ...]:
        """What the text holds, in its order and without overlaps.

        Raises:
            DatasetError: it is no text.
        """
        arguments.text("text", text)
        found = list(self._candidates(text))
        if not found:
            return ()
        wanted = set(self.kinds)
        # Filtered last: a kind that nobody asked for may be what a finding really is, such as the digits inside a key.
        findings = tuple(finding for finding in without_overlaps(found) if finding.kind in wanted)
        if not self.allow:
            return findings
        allowed = {value.casefold() for value in self.allow}
        return tuple(finding for finding in findings if not _may_stay(text[finding.start : finding.end], allowed))

    def mask(self, text: str) -> str:
        """The text with a placeholder in place of each finding."""
        return mask(text, self.scan(text))

    def _candidates(self, text: str) -> Iterator[Finding]:
        wanted = set(self.kinds)
        if wanted & _CREDENTIALS:
            yield from find_known_formats(text)
            yield from find_blocks(text)
            yield from find_named(text)
        if "iban" in wanted:
            yield from find_ibans(text)
        if "card" in wanted:
            yield from find_cards(text)
        if "email" in wanted:
            yield from find_emails(text)
        if "phone" in wanted:
            yield from find_phones(text, self.phone_region)


def _may_stay(value: str, allowed: set[str]) -> bool:
    value = value.casefold().replace("\uff20", "@").replace("\ufe6b", "@")
    return value in allowed or "@" + value.rpartition("@")[2] in allowed


_ALL = Scanner()


def scan(text: str) -> tuple[Finding, ...]:
    """Find every kind of secret and personal data in a text; telephone numbers only with a plus sign.

    Example:
        ```python
        from ragtune.privacy import scan

        for finding in scan("Refund DE89 3704 0044 0532 0130 00, card 4111 1111 1111 1111."):
            print(finding.kind, finding.masked)
            #> iban DE8… (27 characters)
            #> card 41… (19 characters)
        ```
    """
    return _ALL.scan(text)
