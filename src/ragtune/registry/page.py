"""What a registry holds, read whole while it is open."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TypeVar

from ragtune.errors import RegistryError
from ragtune.registry.promotion import Promotion, standing
from ragtune.registry.version import ModelVersion

if TYPE_CHECKING:
    from pathlib import Path

    from ragtune.registry.storage.records import Body, Records

__all__ = ["Page"]

T = TypeVar("T", ModelVersion, Promotion)


class Page:
    """What a registry holds, read once while it is open."""

    def __init__(self, records: Records) -> None:
        self.records = records
        found = [_parsed(ModelVersion, body, place) for place, body in records.versions()]
        self.versions = {version.name: version for version in found}
        self.decisions: dict[str, list[Promotion]] = {}
        for place, body in records.promotions():
            decision = _parsed(Promotion, body, place)
            self.decisions.setdefault(decision.alias, []).append(decision)
        for decisions in self.decisions.values():
            # Clocks of several machines differ; the number does not.
            decisions.sort(key=lambda decision: decision.number)

    def version(self, name: str, *, or_alias: bool = False) -> ModelVersion:
        """The model of a name.

        Args:
            name: the model's own.
            or_alias: whether the caller takes aliases as well, so that one may have been meant.

        Raises:
            RegistryError: there is none.
        """
        if name in self.versions:
            return self.versions[name]
        leads = self.leads()
        if name in leads:
            raise RegistryError(f"{name!r:.80} is an alias, which leads to {leads[name]}; name the model itself")
        near = difflib.get_close_matches(name, [*(leads if or_alias else ()), *self.versions], n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else "registry.add(model) registers it"
        raise RegistryError(f"{name!r:.80} is not in the registry; {hint}")

    def of(self, alias: str) -> list[Promotion]:
        """The decisions about an alias.

        Raises:
            RegistryError: there are none.
        """
        if alias not in self.decisions:
            raise RegistryError(self.no_alias(alias))
        return self.decisions[alias]

    def current(self, alias: str) -> Promotion | None:
        """The decision by which an alias leads where it does, None where it leads nowhere."""
        held = standing(self.decisions.get(alias, ()))
        return held[-1] if held else None

    def before(self, alias: str) -> str | None:
        """The model that a rollback of an alias goes to, None where it can go to none."""
        held = standing(self.decisions.get(alias, ()))
        version = self.versions.get(held[-2].model or "") if len(held) > 1 else None
        return version.name if version is not None and version.lives else None

    def leads(self) -> dict[str, str]:
        """The model to which each alias leads."""
        held = {alias: self.current(alias) for alias in self.decisions}
        return {alias: one.model for alias, one in held.items() if one is not None and one.model is not None}

    def names(self) -> dict[str, tuple[str, ...]]:
        """The aliases that lead to each model."""
        found: dict[str, tuple[str, ...]] = {}
        for alias, model in self.leads().items():
            found[model] = (*found.get(model, ()), alias)
        return found

    def no_alias(self, alias: str) -> str:
        """The sentence for an alias that leads nowhere."""
        known = sorted(self.leads())
        hint = f"there are {', '.join(known)}" if known else "promote(alias, model) makes one"
        return f"the alias {alias!r:.80} leads nowhere; {hint}"

    def next_number(self, alias: str) -> int:
        """The number of the next decision about an alias."""
        # Refusals have numbers as well, so that none is given twice; the last one is the highest, for they are sorted.
        decisions = self.decisions.get(alias)
        return decisions[-1].number + 1 if decisions else 1

    def add(self, decision: Promotion) -> None:
        """Keep a decision."""
        self.records.add_promotion(decision.to_dict())


def _parsed(kind: type[T], body: Body, path: Path) -> T:
    try:
        return kind.from_dict(body)
    except RegistryError as error:
        raise RegistryError(f"{path}: {body.get('name') or body.get('alias')!r:.80}: {error}") from error
