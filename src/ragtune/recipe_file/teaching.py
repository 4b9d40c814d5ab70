"""`[recipe]` and `[facts]`: rows that recipes make of facts, and the wordings that an evaluation keeps for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from ragtune.errors import DatasetError
from ragtune.recipe_file.sections import Section

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ragtune.dataset import DatasetBuilder
    from ragtune.facts import FactSet
    from ragtune.recipes import Recipe as Made

__all__ = ["FactsSection", "RecipeSection", "Teaching", "in_words", "together"]

Columns = str | list[str]


class RecipeSection(Section):
    """`[recipe]`: how facts become rows; every further key is an option of the recipe."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: str = Field(description="Its name, for example qa_multi; `ragtune recipes` lists them.")
    version: int = Field(default=1, description="Its version; old ones stay.")

    @model_validator(mode="after")
    def _is_known(self) -> RecipeSection:
        try:
            # When the file is read, so that what is wrong is told with its line.
            self.made()
        except DatasetError as error:
            raise PydanticCustomError("ragtune", "{why}", {"why": str(error)}) from None
        return self

    def made(self, folder: Path = Path()) -> Made:
        """The recipe.

        Args:
            folder: what a relative path among its options starts from.

        Raises:
            DatasetError: there is none of this name and version, or an option is none of its own.
        """
        from ragtune.recipes import Recipe

        return Recipe.from_dict(_placed(self.model_dump(), folder))

    def files(self, folder: Path) -> list[Path]:
        """The files that its options name."""
        return [Path(path) for path in _paths(_placed(self.model_dump(), folder))]


class FactsSection(Section):
    """`[facts]`: which columns of a row are the fact that a recipe teaches."""

    question: str = Field(default="question", description="Column of the question.")
    answer: Columns = Field(default="answer", description="Column of the answer; several: its spellings.")
    context: str | None = Field(default=None, description="Column of the passage that says it.")
    distractors: Columns = Field(default=[], description="Columns of wrong answers.")
    source: str | None = Field(default=None, description="Column of where the fact comes from.")
    wordings: dict[Literal["reworded", "reversed", "unanswerable", "control"], list[str | list[str]]] = Field(
        default={}, description="Columns of further questions by kind; a reversed one with the column of its answer."
    )
    repeats: Literal["refuse", "merge"] = Field(
        default="refuse", description="merge makes rows with one question one fact."
    )

    def columns(self) -> dict[str, Any]:
        """The same as `DatasetBuilder.recipe` and `FactSet.from_rows` take it."""

        def taken(name: str | list[str]) -> str | tuple[str, ...]:
            return name if isinstance(name, str) else tuple(name)

        wordings = {kind: list(map(taken, names)) for kind, names in self.wordings.items()}
        return {**self.model_dump(), "wordings": wordings}


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """A recipe over the facts of some rows.

    Attributes:
        recipe: makes rows of them.
        facts: how a row is read.
        fact_id: column of a fact's id.
        seed: decides which of several wordings are held out.
    """

    recipe: Made
    facts: FactsSection
    fact_id: str | None = None
    seed: int = 0

    def rows(self, builder: DatasetBuilder, held_out: FactSet | None) -> DatasetBuilder:
        """What the recipes make of a builder's rows."""
        return builder.recipe(self.recipe, **self.facts.columns(), fact_id=self.fact_id, held_out=held_out)

    def taught(self, builder: DatasetBuilder) -> FactSet:
        """The facts of a builder's rows.

        Raises:
            DatasetError: a column is not there, or there is no fact.
        """
        from ragtune.dataset.sources.recipe_rows import facts_of_rows
        from ragtune.facts.columns import FactColumns

        told = self.facts.columns()
        repeats = told.pop("repeats")
        told |= {name: _listed(told[name]) for name in ("answer", "distractors")}
        columns = FactColumns(**told, fact_id=self.fact_id)
        return facts_of_rows(builder._numbered_rows(), columns, repeats)

    def asked(self, taught: FactSet, *, reword: int) -> FactSet:
        """What an evaluation asks of taught facts: the question, and other words that no row has.

        Args:
            taught: the facts.
            reword: so many other wordings of each: of those that the rows hold, else by rules.
        """
        from ragtune.facts import FactSet
        from ragtune.recipes import hold_out

        if not reword:
            return taught.select("verbatim")
        if not taught.counts.get("reworded"):
            return taught.select("verbatim").with_wordings(kind="reworded", make="rules", per_fact=reword)
        # By the seed of the data: the build, maybe days before, held out the very same wordings.
        _, held = hold_out(taught, kind="reworded", per_fact=reword, seed=self.seed)
        return FactSet(
            facts=tuple(
                replace(fact, wordings=fact.wordings + (held[fact.id].wordings if fact.id in held else ()))
                for fact in taught.select("verbatim")
            )
        )


def together(recipes: Iterable[Made]) -> Made:
    """Recipes one after the other."""
    return reduce(add, recipes)


def _listed(names: Columns) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _placed(told: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe and those in it with their paths seen from a folder."""
    placed = dict(told)
    if isinstance(path := placed.get("path"), str):
        placed["path"] = str(folder / path)
    if isinstance(parts := placed.get("recipes"), list):
        placed["recipes"] = [_placed(part, folder) if isinstance(part, Mapping) else part for part in parts]
    return placed


def _paths(told: Mapping[str, Any]) -> list[str]:
    own = [told["path"]] if "path" in told else []
    return own + list(chain.from_iterable(map(_paths, told.get("recipes", ()))))


def in_words(facts: FactSet) -> str:
    """How many facts there are, and how many questions of each kind, for people to read."""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in facts.counts.items())
    return f"{len(facts):,} facts ({kinds or 'no questions'})"
