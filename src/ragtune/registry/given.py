"""What people say of a model when they add it, laid over what was known of it before."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ragtune._keys import redact
from ragtune.errors import RegistryError
from ragtune.evaluation import Scorecard
from ragtune.registry.scores import ScoreSummary

if TYPE_CHECKING:
    import os

    from ragtune.dataset import Dataset
    from ragtune.registry.version import ModelVersion

__all__ = ["completed", "with_given"]

# What a second `add` of the same model leaves as it was.
_KEPT = ("added_at",)


@runtime_checkable
class _TellsItself(Protocol):
    """Something that tells itself as a dict, as recipes do."""

    def to_dict(self) -> Mapping[str, object]:
        """Return what it is."""


def with_given(
    version: ModelVersion,
    *,
    dataset: Dataset | None,
    scorecard: Scorecard | str | os.PathLike[str] | None,
    arm: str | None,
    recipe: object,
    cost_usd: float | None,
) -> ModelVersion:
    """Return a model with what is said of it; the arguments are those of `Registry.add`.

    Raises:
        RegistryError: the card is of another model, or one of the others is none.
        EvaluationError: the log cannot be read.
    """
    given: dict[str, Any] = {}
    if dataset is not None:
        # Absolute: whoever reads the registry stands in another directory.
        given |= {"fingerprint": dataset.fingerprint, "dataset": str(dataset.folder.absolute())}
    if scorecard is not None:
        card = scorecard if isinstance(scorecard, Scorecard) else Scorecard.load(scorecard)
        given["scores"] = ScoreSummary.from_card(card, model=version.name, arm=arm)
    if recipe is not None:
        given["recipe"] = _told_recipe(recipe)
    if cost_usd is not None:
        try:
            cost = float(cost_usd)
        except OverflowError:
            cost = math.inf
        if not math.isfinite(cost) or cost < 0:
            # Not its repr: Python writes no number of thousands of digits.
            raise RegistryError(f"cost_usd={cost} must be a number of US dollars, 0 or more")
        given |= {"cost_usd": cost, "cost_source": "given"}
    return replace(version, **given)


def completed(version: ModelVersion, known: ModelVersion) -> ModelVersion:
    """What is newly known of a model, and beneath it what was known before.

    Raises:
        RegistryError: both are models of one name on two servers.
    """
    # Who adds a model by its name alone tells no account, which contradicts none.
    if None not in (version.account, known.account) and version.account != known.account:
        raise RegistryError(
            f"{version.name} is registered already, of the account {known.account!r}; this one is of "
            f"{version.account!r}: two models of one name need two registries"
        )
    told = {one.name: getattr(version, one.name) for one in fields(version)}
    kept = {name: getattr(known, name) for name, value in told.items() if value is None or name in _KEPT}
    # A prompt that is not known must not take the place of one that is, and neither must an end.
    if not version.system_known:
        kept |= {"system": known.system, "system_known": known.system_known}
    if version.expiry.kind == "unknown":
        kept["expiry"] = known.expiry
    return replace(version, **kept)


def _told_recipe(recipe: object) -> str:
    """Return a recipe as text: a name as it is, everything else as JSON.

    Raises:
        RegistryError: it is no name, no mapping and nothing with a `to_dict`.
    """
    if isinstance(recipe, str) and recipe:
        return redact(recipe)
    plain = recipe.to_dict() if isinstance(recipe, _TellsItself) else recipe
    if not isinstance(plain, Mapping) or not plain:
        raise RegistryError(f"recipe={recipe!r:.60} is none; give an rt.Recipe, its name, or a dict")
    return redact(json.dumps(dict(plain), default=str, ensure_ascii=False, sort_keys=True))
