"""A model as a registry knows it: what it is, what it learned from, what it was measured at, how long it lives."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

from ragtune._table import Table
from ragtune.model import Expiry
from ragtune.registry.bodies import held, reading
from ragtune.registry.scores import ScoreSummary

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ModelVersion", "ModelVersionTable"]


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One model that aliases may point at.

    Attributes:
        name: its name on the server.
        base: the base model beneath it.
        server: where it is: an address, or a folder of this machine; None where that was not told.
        account: whose it is there, None where that was not told.
        system: the system prompt that it was trained with, None for none.
        system_known: whether that is known.
        fingerprint: of the dataset that it learned from, None where that is not known.
        dataset: folder of that dataset, None where it was not given.
        recipe: by which recipe the dataset was made, in words or as JSON, None where it was not told.
        scores: its figures, None without a scorecard.
        job_id: the job that made it, None where the journal does not know.
        training_file: id of that job's training file, None where the journal does not know.
        cost_usd: what training cost in US dollars, None where that is not known.
        cost_source: `billed`, `estimated` or `given`, None where the cost is not known.
        expiry: when it stops answering.
        added_at: when it was first registered (UTC).
        deleted_at: when it was seen to be deleted (UTC), None while it lives.

    Example:
        ```python
        import ragtune as rt

        registry = rt.Registry("models.sqlite3")
        version = registry.add("ft:gpt-4o-mini-2024-07-18:acme::abc12345", cost_usd=2.8)
        print(version.base, version.cost_usd, version.expiry.date)
        #> gpt-4o-mini-2024-07-18 2.8 2027-01-14
        ```
    """

    name: str
    base: str
    server: str | None = None
    account: str | None = None
    system: str | None = field(default=None, repr=False)
    system_known: bool = False
    fingerprint: str | None = None
    dataset: str | None = None
    recipe: str | None = None
    scores: ScoreSummary | None = field(default=None, repr=False)
    job_id: str | None = None
    training_file: str | None = None
    cost_usd: float | None = None
    cost_source: str | None = None
    expiry: Expiry = field(default=Expiry(kind="unknown"), repr=False)
    added_at: dt.datetime
    deleted_at: dt.datetime | None = None

    @property
    def lives(self) -> bool:
        """Whether nobody saw it deleted."""
        return self.deleted_at is None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        # Not `asdict`, which would take end and scores apart with it: the one has dates, the others tell themselves.
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        dates = {name: None if told[name] is None else told[name].isoformat() for name in ("added_at", "deleted_at")}
        expiry = {one.name: getattr(self.expiry, one.name) for one in fields(self.expiry)}
        expiry |= {name: None if expiry[name] is None else expiry[name].isoformat() for name in ("date", "as_of")}
        return told | dates | {"expiry": expiry, "scores": None if self.scores is None else self.scores.to_dict()}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Raises:
            RegistryError: it is something else.
        """
        with reading("a model"):
            days = {name: _day(body["expiry"][name]) for name in ("date", "as_of")}
            times = {name: _moment(body[name]) for name in ("added_at", "deleted_at")}
            scores = None if body["scores"] is None else ScoreSummary.from_dict(body["scores"])
            expiry = held(Expiry(**{**body["expiry"], **days}))
            return held(cls(**{**body, **times, "expiry": expiry, "scores": scores}))


@dataclass(frozen=True, kw_only=True)
class ModelVersionTable(Table[ModelVersion]):
    """Models of a registry as a table.

    Attributes:
        rows: the models.
        aliases: which aliases point at each, by its name.
    """

    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        reworded = [version.scores and version.scores.kinds.get("reworded") for version in self.rows]
        return {
            "Model": [version.name for version in self.rows],
            "Aliases": [", ".join(self.aliases.get(version.name, ())) or None for version in self.rows],
            "Reworded": [str(found) if found else None for found in reworded],
            "Cost USD": [version.cost_usd for version in self.rows],
            "Dataset": [version.fingerprint and version.fingerprint[:12] for version in self.rows],
            "Server": [version.server for version in self.rows],
            "Shutdown": [version.expiry.date or version.expiry.kind for version in self.rows],
            "Deleted At": [version.deleted_at for version in self.rows],
        }


def _day(text: str | None) -> dt.date | None:
    return None if text is None else dt.date.fromisoformat(text)


def _moment(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
