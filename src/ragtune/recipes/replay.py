"""A little of what the model knew before, so that new facts do not push it out."""

from __future__ import annotations

import random
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import orjson

from ragtune._warn import warn
from ragtune.data import replay_file
from ragtune.errors import DatasetError
from ragtune.recipes.options import require_share
from ragtune.recipes.row import RecipeRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ragtune.recipes.row import Material

__all__ = ["Replay"]

_KEYS = (("question", "answer"), ("prompt", "completion"))


@dataclass(frozen=True, kw_only=True)
class Replay:
    """`replay`: rows of general knowledge and small talk among the facts.

    Attributes:
        share: of all rows of the sum up to here, from 0.01 to 0.1; where the recipe stands alone, for each fact.
        path: a JSONL file of yours with `question` and `answer`, `prompt` and `completion`, or `messages` of one
            question and one answer a line; None takes the 60 rows that ship (written for ragtune, Apache-2.0).
        seed: decides which rows.
    """

    share: float = 0.05
    path: str | None = None
    seed: int = 0

    name: ClassVar[str] = "replay"
    version: ClassVar[int] = 1
    about: ClassVar[str] = "a little of what the base knew, against forgetting; a hundredth of all rows already helps"
    scale: ClassVar[tuple[str, int] | None] = None

    def __post_init__(self) -> None:
        require_share(
            "share", self.share, low=0.01, high=0.1, why=": more takes training from the facts, less is too few"
        )

    def rows(self, material: Material) -> Iterator[RecipeRow]:
        """Rows that are drawn by lot, each at most once."""
        path = replay_file() if self.path is None else Path(self.path)
        # The whole file, so that a line that is no row is told even where it would not be drawn.
        found = [pair for pair in _read(path) if material.may_ask(pair[1])]
        wanted = len(material.facts) * self.share
        if material.rows_before is not None:
            # A share of all rows with these among them: five beside 95 others are 5 %.
            wanted = material.rows_before * self.share / (1 - self.share)
        if round(wanted) > len(found):
            warn(
                f"replay: {path.name} has {len(found)} rows and {round(wanted)} are wanted for a share of "
                f"{self.share:g}; each is taken once, give a larger file with path="
            )
        # One row at least: a share of few rows is still a share.
        count = min(max(round(wanted), 1), len(found))
        drawn = random.Random(f"replay {self.seed}").sample(range(len(found)), count)
        for line, question, answer in (found[place] for place in sorted(drawn)):
            name = f"replay-{line}"
            recipe = f"{self.name}/{self.version}"
            yield RecipeRow(
                question=question, answer=answer, fact_id=name, wording="replay", recipe=recipe, passage=name
            )


def _read(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, question and answer of each row.

    Raises:
        DatasetError: the file cannot be read, or a line is no row.
    """
    try:
        # Of bytes: texts would be parted at U+2028 as well, which may stand inside a line of JSON.
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DatasetError(f"replay: {path} cannot be read: {error.strerror}; check path=") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, *_pair(line, f"replay: {path} line {number}")


def _pair(line: bytes, place: str) -> tuple[str, str]:
    try:
        # Editors on Windows write a mark before the first line of a file in UTF-8.
        told = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise DatasetError(f"{place} is no JSON: {error}; write one object a line") from None
    pair = _of_keys(told) if isinstance(told, dict) else None
    if pair is None or not all(isinstance(text, str) and text.strip() for text in pair):
        raise DatasetError(
            f"{place}: {reprlib.repr(told)} has no question and answer; give `question` and `answer`, `prompt` and "
            f"`completion`, or `messages` of one user and one assistant, as text"
        )
    return str(pair[0]), str(pair[1])


def _of_keys(told: Mapping[str, object]) -> tuple[object, object] | None:
    for asked, answered in _KEYS:
        if asked in told:
            return told[asked], told.get(answered)
    messages = told.get("messages")
    said = [item for item in messages if isinstance(item, dict)] if isinstance(messages, list) else []
    spoken = [item for item in said if item.get("role") != "system"]
    if [item.get("role") for item in spoken] == ["user", "assistant"]:
        return spoken[0].get("content"), spoken[1].get("content")
    return None
