"""`[gate]`: what a model must have shown before an alias leads to it, and the decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from ragtune.errors import GateRefused, RegistryError
from ragtune.recipe_file.sections import Section

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import ragtune.registry as registries
    from ragtune.dataset import Dataset
    from ragtune.evaluation import Scorecard
    from ragtune.model import TunedModel
    from ragtune.recipes import Recipe

__all__ = ["GateSection", "refuse"]

_WHOSE = {"alias", "registry", "by", "why"}


class GateSection(Section):
    """`[gate]`: the alias that leads to the model when it passes. A limit is held against the interval's worse end."""

    alias: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Letters, digits, '.', '_' and '-', for example science-prod.",
    )
    registry: str = Field(default="models.sqlite3", description="SQLite file or folder of JSON; relative to this file.")
    by: str | None = Field(default=None, description="Who decides; kept on record.")
    why: str | None = Field(default=None, description="Why; kept on record.")
    verbatim_at_least: float | None = Field(default=None, description="Score on trained questions.")
    reworded_at_least: float | None = Field(default=None, description="Score on questions in other words.")
    reversed_at_least: float | None = Field(default=None, description="Score on questions from the answer back.")
    gain_at_least: float | None = Field(
        default=None, description="How much better on reworded questions than the model that holds the alias."
    )
    forgetting_at_most: float | None = Field(default=None, description="Base minus model on control questions.")
    hallucination_at_most: float | None = Field(
        default=None, description="Share of unanswerable questions that it answers."
    )
    training_usd_at_most: float | None = Field(default=None, description="What training cost, in US dollars.")
    answer_usd_at_most: float | None = Field(
        default=None, description="What an answer of the evaluation cost, in US dollars."
    )

    @model_validator(mode="after")
    def _has_conditions(self) -> GateSection:
        conditions = [name for name in type(self).model_fields if name not in _WHOSE]
        if all(getattr(self, name) is None for name in conditions):
            known = ", ".join(conditions)
            raise PydanticCustomError("ragtune", f"[gate] has no condition, so all would pass; give one of {known}")
        return self

    @model_validator(mode="after")
    def _names_an_alias(self) -> GateSection:
        # The registry would say so when everything is trained and paid for.
        if self.alias == "latest" or self.alias.startswith("ftjob-"):
            message = "gate.alias means something else wherever a model is named; choose another one"
            raise PydanticCustomError("ragtune", message)
        return self

    def made(self) -> registries.Gate:
        """The conditions."""
        from ragtune.registry import Gate

        return Gate(**self.model_dump(exclude=_WHOSE))

    def holder(self, folder: Path) -> str | None:
        """The model that the alias leads to, None for none."""
        return self._opened(folder).aliases().get(self.alias)

    def decide(
        self, model: TunedModel, *, dataset: Dataset, scorecard: Scorecard, recipe: Recipe | None, folder: Path
    ) -> dict[str, object]:
        """Register a model and let the alias lead to it, if it passes; a refusal is on record, too.

        Returns:
            What was decided; `told` says it in words.

        Raises:
            RegistryError: the registry cannot be read or written.
        """
        registry = self._opened(folder)
        held = registry.aliases().get(self.alias)
        result: dict[str, object] = {"alias": self.alias, "model": model.name, "held": held}
        if held == model.name:
            # Promoted before, and the program ended before it was noted.
            return result | {"outcome": "promoted", "told": f"{self.alias} leads to {model.name}"}
        registry.add(model, dataset=dataset, scorecard=scorecard, recipe=recipe)
        before = len(self._decisions(registry))
        try:
            decision = registry.promote(self.alias, model, gate=self.made(), by=self.by, why=self.why)
        except RegistryError as error:
            decisions = self._decisions(registry)
            # Nothing was decided: the alias is a model's name, say. The last decision is then an older one.
            if len(decisions) == before:
                raise
            last = decisions[-1]
            return result | {
                "outcome": "refused",
                "told": f"{self.alias}: {last.model} was refused: {last.obstacle}",
                "measured": isinstance(error, GateRefused),
            }
        return result | {"outcome": decision.outcome, "told": str(decision)}

    def _decisions(self, registry: registries.Registry) -> list[registries.Promotion]:
        return [one for one in registry.history() if one.alias == self.alias]

    def _opened(self, folder: Path) -> registries.Registry:
        from ragtune.registry import Registry

        return Registry(folder / self.registry)


def refuse(result: Mapping[str, object]) -> None:
    """Tell a refusal.

    Raises:
        GateRefused: a condition was not met.
        RegistryError: a condition looks at what was not measured.
    """
    if result["outcome"] == "refused":
        raise (GateRefused if result["measured"] else RegistryError)(str(result["told"]))
