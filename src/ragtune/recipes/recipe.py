"""A recipe as data: a name, a version and options; it can be saved, loaded, added up and priced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Literal, SupportsIndex

import orjson

from ragtune._checked import checked
from ragtune._ranges import require_limits
from ragtune.errors import BudgetExceeded, DatasetError
from ragtune.facts.fact import wordings_of
from ragtune.recipes.combined import Order, Sum
from ragtune.recipes.documents import DocumentRows
from ragtune.recipes.open_book import Abstain, Raft
from ragtune.recipes.options import known, made, nearest
from ragtune.recipes.preview import RecipePreview, preview
from ragtune.recipes.questions import QaMulti, QaSingle
from ragtune.recipes.replay import Replay
from ragtune.recipes.row import Material
from ragtune.text import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.catalog import Catalog
    from ragtune.facts import FactSet
    from ragtune.recipes.row import RecipeRow, Strategy

__all__ = ["RECIPES", "Recipe"]

# Every version that ever shipped stays: a saved recipe gives the same rows for ever.
RECIPES: Mapping[str, Mapping[int, type[Strategy]]] = {
    kind.name: {kind.version: kind} for kind in (QaSingle, QaMulti, DocumentRows, Raft, Abstain, Replay, Order, Sum)
}


@checked("told")
@dataclass(frozen=True, init=False, eq=False)
class Recipe:
    """A named way from facts to rows, with its options.

    Attributes:
        name: `qa_single`, `qa_multi`, `document_rows`, `raft`, `abstain`, `replay`, `order`, or `sum`, which `+` makes.
        version: the same version gives the same rows for the same facts, whatever later versions of ragtune do.
        strategy: the options, each with its value: `RECIPES[name][version]` explains them.

    Raises:
        DatasetError: no recipe has this name or version, or an option is unknown or out of its range.

    Example:
        ```python
        import ragtune as rt
        from ragtune.facts import demo_facts

        recipe = rt.Recipe("qa_multi", wordings=3, cloze=False) + rt.Recipe("abstain", share=0.1)
        again = rt.Recipe.from_dict(recipe.to_dict())
        rows = list(again.rows(demo_facts()))
        print(again == recipe, rows[1].wording, rows[1].question)
        #> True reworded-1 What kind of bird does Quillhaven's crest show?
        ```
    """

    name: str
    version: int
    strategy: Strategy

    def __init__(self, name: str, version: int = 1, **options: object) -> None:
        known(name, RECIPES, "recipe")
        versions = RECIPES[name]
        if isinstance(version, bool) or not isinstance(version, SupportsIndex) or version not in versions:
            raise DatasetError(f"recipe {name!r} has no version {version!r:.20}; known are {sorted(versions)}")
        # Parts are tables in a file, and recipes where Python adds them up.
        if isinstance(found := options.get("recipes"), list | tuple):
            options["recipes"] = tuple(Recipe.from_dict(item) if isinstance(item, Mapping) else item for item in found)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "version", int(version))
        object.__setattr__(self, "strategy", made(versions[version], options, f"recipe {name!r}"))

    @property
    def options(self) -> dict[str, object]:
        """All options with their values."""
        return {item.name: getattr(self.strategy, item.name) for item in fields(self.strategy)}  # type: ignore[arg-type]

    @property
    def about(self) -> str:
        """What it buys, in one sentence."""
        return self.strategy.about

    def __repr__(self) -> str:
        chosen = {item.name: item.default for item in fields(self.strategy)}  # type: ignore[arg-type]
        said = [f"{name}={value!r}" for name, value in self.options.items() if value != chosen[name]]
        version = [] if self.version == 1 else [f"version={self.version}"]
        return f"Recipe({', '.join([repr(self.name), *version, *said])})"

    def __eq__(self, other: object) -> bool:
        # Name and version are those of the strategy's class.
        return isinstance(other, Recipe) and self.strategy == other.strategy

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.strategy))

    def __add__(self, other: Recipe) -> Recipe:
        """The rows of this recipe, then those of the other one."""
        if not isinstance(other, Recipe):
            return NotImplemented
        # Flat, so that (a + b) + c is the same recipe as a + (b + c).
        return Recipe("sum", recipes=(*self._parts, *other._parts))

    def to_dict(self) -> dict[str, object]:
        """Name, version and the options that differ from their defaults, of the kinds that JSON and TOML know."""
        told: dict[str, object] = {"name": self.name, "version": self.version}
        for item in fields(self.strategy):  # type: ignore[arg-type]
            value = getattr(self.strategy, item.name)
            # TOML has no null.
            if value is None or (item.default is not MISSING and value == item.default):
                continue
            told[item.name] = (
                [part.to_dict() if isinstance(part, Recipe) else part for part in value]
                if isinstance(value, tuple)
                else value
            )
        return told

    @classmethod
    def from_dict(cls, told: Mapping[str, object]) -> Recipe:
        """The recipe that `to_dict` told, or that a file holds: `{"name": "qa_multi", "wordings": 5}`.

        Raises:
            DatasetError: there is no name, or see `Recipe`.
        """
        if not isinstance(told, Mapping):
            raise DatasetError(f"a recipe is told by a mapping with its name and options, got {told!r:.60}")
        options = dict(told)
        name, version = options.pop("name", None), options.pop("version", 1)
        if not isinstance(name, str) or isinstance(version, bool) or not isinstance(version, int):
            hint = "".join(nearest(key, ("name", "version")) for key in options if key not in ("name", "version"))
            raise DatasetError(
                f"a recipe needs a name and may have a version, got name={name!r:.40} and version={version!r:.20}{hint}"
                f"; the names are {', '.join(RECIPES)}"
            )
        return cls(name, version, **options)

    def to_json(self) -> str:
        """The same as `to_dict`, as one line of JSON with sorted keys."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS).decode()

    def rows(self, facts: FactSet, *, held_out: FactSet | None = None) -> Iterator[RecipeRow]:
        """The rows of these facts, made one after the other.

        Args:
            facts: what is to be taught.
            held_out: questions that an evaluation keeps for itself: no row asks them.
        """
        return self.rows_of(material(facts, held_out))

    def rows_of(self, material: Material) -> Iterator[RecipeRow]:
        """The same for whoever adds recipes up."""
        return self.strategy.rows(material)

    def preview(
        self,
        facts: FactSet,
        *,
        model: str,
        n_epochs: int | Literal["auto"] = "auto",
        held_out: FactSet | None = None,
        system: str | None = None,
        catalogue: Catalog | None = None,
    ) -> RecipePreview:
        """How many rows and tokens come of these facts, and what training on them costs; nothing is written or sent.

        Args:
            facts: what is to be taught.
            model: the base model, whose vocabulary counts and whose price is taken.
            n_epochs: passes over the rows, or `"auto"`.
            held_out: as in `rows`.
            system: the system prompt that each row will have.
            catalogue: prices; None takes those that ship.
        """
        return preview(
            self,
            self.rows(facts, held_out=held_out),
            model=model,
            n_epochs=n_epochs,
            system=system,
            catalogue=catalogue,
        )

    def within(
        self,
        facts: FactSet,
        *,
        model: str,
        max_tokens: int | None = None,
        max_cost_usd: float | None = None,
        n_epochs: int = 3,
        held_out: FactSet | None = None,
        system: str | None = None,
        catalogue: Catalog | None = None,
    ) -> Recipe:
        """The same recipe with as many wordings (or copies of each document) as a budget allows.

        Args:
            facts: what is to be taught.
            model: as in `preview`.
            max_tokens: of one pass over the rows.
            max_cost_usd: of the whole training.
            n_epochs: passes over the rows, which the price counts.
            held_out: as in `rows`.
            system: as in `preview`.
            catalogue: as in `preview`.

        Raises:
            DatasetError: the recipe has no number to choose, no budget is given, or a price is asked for and unknown.
            SpecError: a budget is negative, infinite or no number.
            BudgetExceeded: not even one wording fits.
        """
        require_limits(max_cost_usd, max_tokens)
        if self.strategy.scale is None:
            scaled = [name for name, kinds in RECIPES.items() if kinds[max(kinds)].scale is not None]
            raise DatasetError(
                f"recipe {self.name!r} has no number of wordings that a budget could choose; {', '.join(scaled)} have: "
                f"choose theirs before they are added"
            )
        if max_tokens is None and max_cost_usd is None:
            raise DatasetError("within() needs a budget: give max_tokens=, max_cost_usd= or both")
        scale, most = self.strategy.scale

        def fits(number: int) -> RecipePreview | None:
            found = self._with(scale, number).preview(
                facts, model=model, n_epochs=n_epochs, held_out=held_out, system=system, catalogue=catalogue
            )
            # Unknown is not free: nothing could be held against a budget in dollars.
            if max_cost_usd is not None and found.cost.usd is None:
                raise DatasetError(f"max_cost_usd={max_cost_usd}: the price of {model!r} is unknown; give max_tokens=")
            dear = max_cost_usd is not None and (found.cost.usd or 0.0) > max_cost_usd
            return None if dear or (max_tokens is not None and found.cost.tokens > max_tokens) else found

        low, high = 1, most
        if fits(low) is None:
            least = self._with(scale, low)
            cost = least.preview(
                facts, model=model, n_epochs=n_epochs, held_out=held_out, system=system, catalogue=catalogue
            ).cost
            raise BudgetExceeded(
                f"{least} makes {str(cost).splitlines()[0]}, above the budget (max_tokens={max_tokens}, "
                f"max_cost_usd={max_cost_usd}); raise it, take fewer facts, or leave out parts of the recipe"
            )
        # More wordings never make fewer tokens, so halving finds the most that fit in seven previews instead of a
        # hundred.
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle) else (low, middle - 1)
        return self._with(scale, low)

    @property
    def _parts(self) -> tuple[object, ...]:
        return self.strategy.recipes if isinstance(self.strategy, Sum) else (self,)

    def _with(self, name: str, value: object) -> Recipe:
        return Recipe(self.name, self.version, **{**self.options, name: value})


def material(facts: FactSet, held_out: FactSet | None) -> Material:
    """Facts, with what an evaluation keeps for itself."""
    kept = [item.question for item in wordings_of(held_out or ())]
    return Material(facts=facts, held_out=frozenset(map(normalise, kept)))
