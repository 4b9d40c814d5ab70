"""How good and bad answers are weighed against each other when a model learns from single verdicts (KTO)."""

from __future__ import annotations

__all__ = ["advised_weights"]

# The weighted number of good answers over that of bad ones: between 1:1 and 4:3, by Eq. (8) of the paper
# (arXiv 2402.01306), which TRL 1.16 keeps to in the same words.
_LEAST, _MOST = 1.0, 1.33


def advised_weights(
    good: int, bad: int, *, desirable_weight: float = 1.0, undesirable_weight: float = 1.0
) -> str | None:
    """Which weights make good and bad answers count alike; None where they do, or where there is only one kind.

    Example:
        ```python
        from ragtune.modelling.balance import advised_weights

        print(advised_weights(30, 10))
        #> desirable_weight from 0.33 to 0.44, or undesirable_weight from 2.26 to 3
        print(advised_weights(30, 10, undesirable_weight=2.5))
        #> None
        ```
    """
    if not good or not bad:
        return None
    ratio = good * desirable_weight / (bad * undesirable_weight)
    # A hair's breadth, so that a weight taken from the advice itself is not advised against.
    if 0.99 * _LEAST <= ratio <= 1.01 * _MOST:
        return None
    other = bad * undesirable_weight / good
    mine = good * desirable_weight / bad
    return (
        f"desirable_weight from {_short(other * _LEAST)} to {_short(other * _MOST)}, "
        f"or undesirable_weight from {_short(mine / _MOST)} to {_short(mine / _LEAST)}"
    )


def _short(number: float) -> str:
    return f"{number:.3g}" if number < 0.1 else f"{round(number, 2):g}"
