"""Numbers of settings in their ranges, each refused in one sentence that says what it must be."""

from __future__ import annotations

import math
from dataclasses import fields
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from ragtune.errors import SpecError

__all__ = ["make_numbers_plain", "plain_number", "require_dollars", "require_limits", "require_number", "require_whole"]


def plain_number(value: object) -> object:
    """A scalar of NumPy, or a Decimal, as Python's own, which JSON and SQLite take; anything else as it is."""
    # By name: nobody should load NumPy to have a number looked at.
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()  # type: ignore[attr-defined]  # as every scalar of NumPy has
    if isinstance(value, int | float):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real | Decimal) else value


def make_numbers_plain(settings: Any) -> None:
    """Make the numbers of a frozen value plain, while it is made."""
    for one in fields(settings):
        object.__setattr__(settings, one.name, plain_number(getattr(settings, one.name)))


def require_whole(name: str, value: object, *, low: int, high: int | None = None, auto: bool = True) -> None:
    """Refuse what is no whole number from `low` to `high`; `auto` lets the word through as well.

    Raises:
        SpecError: it is none; the message names the setting, the value and the rule.
    """
    if auto and value == "auto":
        return
    bounds = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
    rule = f'it must be "auto" or {bounds}' if auto else f"it must be {bounds}"
    # To Python, true is a whole number.
    if isinstance(value, bool) or not isinstance(value, int):
        raise SpecError(f"{name}: {value!r} is no whole number; {rule}")
    if value < low or (high is not None and value > high):
        raise SpecError(f"{name}: {value!r} is out of range; {rule}")


def require_number(
    name: str,
    value: object,
    *,
    low: float,
    high: float | None = None,
    high_open: bool = False,
    auto: bool = False,
    hint: str = "",
) -> None:
    """Refuse what is no number above `low` and at most `high` (with `high_open`: below it).

    `auto` and `hint` only go into the message: whoever takes the word has looked for it before.

    Raises:
        SpecError: it is none; the message names the setting, the value and the rule.
    """
    top = "below" if high_open else "at most"
    bounds = f"above {low:g}" if high is None else f"above {low:g} and {top} {high:g}"
    either = '"auto" or ' if auto else ""
    rule = f"it must be {either}a number {bounds}" + (f", {hint}" if hint else "")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpecError(f"{name}: {value!r} is no number; {rule}")
    if value <= low or (high is not None and (value >= high if high_open else value > high)):
        raise SpecError(f"{name}: {value!r} is out of range; {rule}")


def require_dollars(name: str, value: object) -> None:
    """Refuse what is no finite sum of US dollars, 0 or more.

    Raises:
        SpecError: it is none; the message names the setting, the value and the rule.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise SpecError(f"{name}: {value!r} is no budget; it must be a number of US dollars, 0 or more")


def require_limits(max_cost_usd: object, max_tokens: object) -> None:
    """Refuse what nothing can be held against; None sets no limit.

    Raises:
        SpecError: one is negative, infinite or no number.
    """
    if max_cost_usd is not None:
        require_dollars("max_cost_usd", plain_number(max_cost_usd))
    if max_tokens is not None:
        require_whole("max_tokens", plain_number(max_tokens), low=0, auto=False)
