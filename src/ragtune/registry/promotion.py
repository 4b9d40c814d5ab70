"""Where aliases point and how that came: one record for each promotion, refusal and rollback, never changed."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from ragtune._table import Table
from ragtune.registry.bodies import held, reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Check", "Promotion", "PromotionTable", "standing"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One condition of a gate, held against a model.

    Attributes:
        name: the condition, for example `reworded_at_least`.
        limit: its limit.
        value: the interval's end that was held against it, None where nothing was measured.
        passed: whether it holds; None where nothing was measured.
        basis: what the value is, or why there is none.
    """

    name: str
    limit: float
    value: float | None
    passed: bool | None
    basis: str

    def __str__(self) -> str:
        word = {True: "passed", False: "not passed", None: "not measured"}[self.passed]
        value = "" if self.value is None else f"{self.value:.4g}, "
        return f"{self.name}={self.limit:g} {word}: {value}{self.basis}"


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """One decision about an alias.

    Attributes:
        number: counts the decisions about this alias, from 1.
        alias: the alias.
        outcome: `promoted`, `forced` (against a check or without a scorecard), `refused`, `rolled back` or
            `alias deleted`.
        model: the model that the alias leads to since; of a refusal the one that was refused; None for a deletion.
        previous: the model that it led to before, None for none.
        by: who decided, None where that was not said.
        why: the reason, None where none was given.
        at: when (UTC).
        system: the system prompt that goes with the model, None for none.
        system_known: whether that is known.
        notice_days: so many days before the model's end its users are warned.
        checks: the conditions of the gate and what they found.
        obstacle: what stood against it, None where nothing did.

    Example:
        ```python
        import ragtune as rt

        registry = rt.Registry("models.sqlite3")
        registry.add("ft:gpt-4o-mini-2024-07-18:acme::abc12345")
        done = registry.promote("science-prod", "ft:gpt-4o-mini-2024-07-18:acme::abc12345", force=True, by="anna",
                                why="the first one")
        print(done.outcome, done.obstacle)
        #> forced it has no scorecard
        ```
    """

    number: int
    alias: str
    outcome: Literal["promoted", "forced", "refused", "rolled back", "alias deleted"]
    model: str | None
    previous: str | None = None
    by: str | None = None
    why: str | None = None
    at: dt.datetime
    system: str | None = field(default=None, repr=False)
    system_known: bool = False
    notice_days: int
    checks: tuple[Check, ...] = ()
    obstacle: str | None = None

    @property
    def applied(self) -> bool:
        """Whether the alias was moved."""
        return self.outcome != "refused"

    def __str__(self) -> str:
        what = f"{self.alias}: {self.model or self.previous} {self.outcome}"
        who = "".join(f" {word} {said}" for word, said in (("by", self.by), ("since", self.why)) if said)
        return f"{what}{who}" + (f" ({self.obstacle})" if self.obstacle else "")

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self) | {"at": self.at.isoformat()}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Raises:
            RegistryError: it is something else.
        """
        with reading("a decision"):
            checks = tuple(held(Check(**check)) for check in body["checks"])
            return held(cls(**{**body, "at": dt.datetime.fromisoformat(body["at"]), "checks": checks}))


@dataclass(frozen=True, kw_only=True)
class PromotionTable(Table[Promotion]):
    """Decisions as a table, oldest first."""

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Alias": [row.alias for row in self.rows],
            "At": [row.at for row in self.rows],
            "Outcome": [row.outcome for row in self.rows],
            "Model": [row.model for row in self.rows],
            "Previous": [row.previous for row in self.rows],
            "By": [row.by for row in self.rows],
            "Why": [row.why for row in self.rows],
            "Obstacle": [row.obstacle for row in self.rows],
        }


def standing(decisions: Iterable[Promotion]) -> list[Promotion]:
    """The decisions about one alias that still hold, the current one last: what a rollback takes away is not there."""
    held: list[Promotion] = []
    for decision in decisions:
        if decision.outcome == "alias deleted":
            held = []
        elif decision.outcome == "rolled back":
            # It stands for the decision that it went back to, so that the next rollback goes one further.
            held = [*held[:-2], decision]
        elif decision.applied:
            # A model that is promoted again takes its own place, so that a rollback leaves it.
            held = [*(held[:-1] if held and held[-1].model == decision.model else held), decision]
    return held
