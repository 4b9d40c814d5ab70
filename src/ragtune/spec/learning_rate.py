"""A learning rate says what it means: a factor on the server's own rate, or the optimiser's rate itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ragtune._ranges import make_numbers_plain, require_number

__all__ = ["Absolute", "Auto", "LearningRate", "Multiplier"]

Auto = Literal["auto"]


@dataclass(frozen=True)
class Multiplier:
    """A learning rate as a factor on the rate that the server would choose; above 0.

    OpenAI's way. 1.8 on OpenAI and 1.8 on another server are different rates, and neither is 1.8.

    Example:
        ```python
        import ragtune as rt

        method = rt.Supervised(learning_rate=rt.Multiplier(1.8))
        print(method.hyperparameters())
        #> {'learning_rate_multiplier': 1.8}
        ```
    """

    value: float

    def __post_init__(self) -> None:
        make_numbers_plain(self)
        require_number("learning_rate", self.value, low=0.0, hint="a factor such as Multiplier(1.8)")


@dataclass(frozen=True)
class Absolute:
    """A learning rate as the optimiser uses it, for example 1e-4; in (0, 1).

    For servers that take it (see `ragtune.dialects`); OpenAI does not.

    Example:
        ```python
        import ragtune as rt

        print(rt.Supervised(learning_rate=rt.Absolute(1e-4)).hyperparameters())
        #> {'learning_rate': 0.0001}
        ```
    """

    value: float

    def __post_init__(self) -> None:
        make_numbers_plain(self)
        require_number(
            "learning_rate", self.value, low=0.0, high=1.0, high_open=True, hint="for example Absolute(1e-4)"
        )


LearningRate = Multiplier | Absolute | Auto
