"""Which system prompt goes with a question: the one of the training, one of your own, or none."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["TRAINED", "SystemPrompt", "Trained"]


class Trained(Enum):
    """The type of `TRAINED`."""

    TRAINED = "the system prompt that the model was trained with"

    def __repr__(self) -> str:
        return "TRAINED"


TRAINED: Final = Trained.TRAINED
"""The system prompt that the model was trained with, whatever it was; the default wherever one goes along."""

SystemPrompt = str | Trained | None
"""A text, `TRAINED`, or None (as ""), which sends none."""
