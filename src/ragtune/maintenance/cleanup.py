"""Putting an account in order: what may go, as a plan to look at, and what became of it."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from ragtune._atomic import write_whole
from ragtune._checked import checked
from ragtune._table import Table
from ragtune.errors import RagtuneError, SpecError
from ragtune.feedback import FeedbackStore
from ragtune.feedback.results import count
from ragtune.maintenance.account import CHECKPOINT

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Iterator

    from ragtune.files import UploadedFile
    from ragtune.maintenance.account import AccountListing
    from ragtune.maintenance.needs import Needs
    from ragtune.maintenance.tables import ListedModel

__all__ = ["CleanedUp", "CleanupItem", "CleanupPlan", "CleanupResult", "Rules", "planned"]

Kind = Literal["checkpoint", "model", "file"]
Outcome = Literal["deleted", "gone already", "kept", "failed"]
# A file that was just uploaded has no job yet and is no orphan for it.
_YOUNGEST_ORPHAN = dt.timedelta(days=1)
# Files for assistants, batches or vision are none of ours.
_PURPOSES = ("fine-tune", "fine-tune-results")
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class CleanupItem:
    """Something that a plan looked at.

    Attributes:
        kind: `checkpoint`, `model` or `file`.
        id: its name or id.
        why: why it may go.
        keep: why it stays all the same, None for what goes.
        bytes: size of a file, None where that is not known.
        created_at: when it was made (UTC), None where the server does not say.
    """

    kind: Literal["checkpoint", "model", "file"]
    id: str
    why: str
    keep: str | None = None
    bytes: int | None = None
    created_at: dt.datetime | None = None


@checked()
@dataclass(frozen=True, kw_only=True)
class CleanupPlan(Table[CleanupItem]):
    """What `Maintenance.clean_up` deletes, to be looked at first; in the order in which it goes.

    Attributes:
        rows: everything that may go; what stays all the same has `keep`.
        server: where it lies.
        made_at: when the account was read (UTC).

    Example:
        ```python
        from datetime import UTC, datetime

        from ragtune.maintenance import CleanupItem, CleanupPlan

        item = CleanupItem(kind="file", id="file-1", why="no job reads it", bytes=2_000)
        print(CleanupPlan(rows=(item,), server="https://api.openai.com/v1", made_at=datetime.now(UTC)).sentence)
        #> 1 of 1 goes: 1 file; 2000 bytes are freed
        ```
    """

    server: str
    made_at: dt.datetime

    @property
    def going(self) -> tuple[CleanupItem, ...]:
        """What goes."""
        return tuple(item for item in self.rows if item.keep is None)

    @property
    def kept(self) -> tuple[CleanupItem, ...]:
        """What stays although it fits the rules."""
        return tuple(item for item in self.rows if item.keep is not None)

    @property
    def sentence(self) -> str:
        """How much goes."""
        counts = Counter(item.kind for item in self.going)
        kinds: tuple[Kind, ...] = ("checkpoint", "model", "file")
        told = ", ".join(count(counts[kind], kind) for kind in kinds if counts[kind])
        freed = sum(item.bytes or 0 for item in self.going)
        verb = "goes" if len(self.going) == 1 else "go"
        return f"{len(self.going)} of {len(self.rows)} {verb}: {told or 'nothing'}; {freed} bytes are freed"

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Kind": [item.kind for item in self.rows],
            "ID": [item.id for item in self.rows],
            "Goes": ["yes" if item.keep is None else "no" for item in self.rows],
            "Why": [item.keep or item.why for item in self.rows],
            "Bytes": [item.bytes for item in self.rows],
            "Created At": [item.created_at for item in self.rows],
        }

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.sentence}" if self.rows else self.sentence

    def to_json(self) -> str:
        """Return the plan as JSON."""
        body = {"cleanup": _VERSION, "server": self.server, "made_at": self.made_at, "items": self.rows}
        return json.dumps(body, default=_plain, ensure_ascii=False, indent=1)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the plan into a file, for somebody else to look at.

        Raises:
            RagtuneError: the path names no file.
            OSError: the file cannot be written.
        """
        if not Path(path).name:
            raise RagtuneError(f"{str(path)!r} names no file for the plan")
        write_whole(Path(path), self.to_json() + "\n")
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a plan that was saved.

        Raises:
            RagtuneError: the file cannot be read or holds no plan.
        """
        try:
            body = json.loads(Path(path).read_bytes())
            if body["cleanup"] != _VERSION:
                raise RagtuneError(f"{path}: is a plan of version {body['cleanup']!r}; this one reads {_VERSION}")
            items = tuple(map(_item, body["items"]))
            return cls(rows=items, server=_text(body["server"]), made_at=dt.datetime.fromisoformat(body["made_at"]))
        except OSError as error:
            raise RagtuneError(f"{path}: cannot be read ({error.strerror}); plan.save(path) writes one") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RagtuneError(f"{path}: is no plan of a clean-up; cleanup_plan(...).save(path) writes one") from error


@dataclass(frozen=True, kw_only=True)
class CleanedUp:
    """What became of one thing.

    Attributes:
        item: what it was.
        outcome: `deleted`, `gone already`, `kept` (needed since the plan was made) or `failed`.
        note: why it was kept, or what the server said; None for nothing.
    """

    item: CleanupItem
    outcome: Literal["deleted", "gone already", "kept", "failed"]
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class CleanupResult(Table[CleanedUp]):
    """What became of a plan; the same call with the same plan goes on with what is left."""

    @property
    def failed(self) -> tuple[CleanedUp, ...]:
        """What the server did not delete."""
        return tuple(row for row in self.rows if row.outcome == "failed")

    @property
    def sentence(self) -> str:
        """How much went."""
        words: tuple[Outcome, ...] = ("deleted", "gone already", "kept", "failed")
        counts = Counter(row.outcome for row in self.rows)
        return ", ".join(f"{counts[word]} {word}" for word in words if counts[word]) or "there was nothing to do"

    def columns(self) -> dict[str, list[object]]:
        """Return the cells by column."""
        return {
            "Kind": [row.item.kind for row in self.rows],
            "ID": [row.item.id for row in self.rows],
            "Outcome": [row.outcome for row in self.rows],
            "Note": [row.note for row in self.rows],
        }


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a plan goes by; see `Maintenance.cleanup_plan`."""

    older_than: dt.timedelta | None = None
    asked: frozenset[str] | None = None
    orphans: bool = True
    keep: tuple[str, ...] = ()

    @classmethod
    def checked(
        cls,
        *,
        older_than: dt.timedelta | float | None,
        never_asked: FeedbackStore | Iterable[str] | None,
        orphans: bool,
        keep: Iterable[str],
    ) -> Self:
        """Read them as a caller gave them.

        Raises:
            SpecError: an age that is none, a name that is none, or nobody that was asked.
        """
        try:
            age = older_than if isinstance(older_than, dt.timedelta | None) else dt.timedelta(days=float(older_than))
        except (ValueError, OverflowError):
            # What is no number is refused below, in the words for one below 0.
            age = dt.timedelta(days=-1)
        if age is not None and age < dt.timedelta():
            most = f"0 or more, at most {dt.timedelta.max.days}"
            raise SpecError(f"older_than={older_than!r:.60} must be a timedelta or a number of days, {most}")
        patterns = (keep,) if isinstance(keep, str) else tuple(keep)
        asked = None if never_asked is None else frozenset(_asked(never_asked))
        for name, values in (("keep", patterns), ("never_asked", asked or ())):
            for value in values:
                if not isinstance(value, str):
                    raise SpecError(f"{name}: {value!r:.60} is no name; give names as texts")
        if asked is not None and not any(asked):
            raise SpecError(
                "never_asked names no model that was asked, so that every model would go; give the store or the names "
                "of those that were, or leave it out"
            )
        return cls(older_than=age, asked=asked, orphans=orphans, keep=patterns)

    @property
    def chooses_models(self) -> bool:
        """Whether any rule speaks of models; orphans are files."""
        return self.older_than is not None or self.asked is not None

    def old(self, made: dt.datetime | None, now: dt.datetime, *, least: dt.timedelta = dt.timedelta()) -> bool:
        """Whether something is old enough; what has no date is not."""
        wanted = max(least, self.older_than or dt.timedelta())
        return not wanted or (made is not None and now - made >= wanted)

    def kept(self, *names: str) -> str | None:
        """The pattern that keeps one of these names, in words."""
        for pattern in self.keep:
            # By its case as well, which `fnmatch` would pass over on some systems.
            if any(fnmatchcase(name, pattern) for name in names):
                return f"keep={pattern!r}"
        return None


def planned(account: AccountListing, needs: Needs, *, rules: Rules, now: dt.datetime) -> tuple[CleanupItem, ...]:
    """Everything that may go, in the order in which it goes: a model's checkpoints, the model, then files."""
    models = list(_models(account, needs, rules=rules, now=now)) if rules.chooses_models else []
    going = {item.id for item in models if item.keep is None}
    return (*models, *_files(account, needs, rules=rules, now=now, going=going))


def _models(account: AccountListing, needs: Needs, *, rules: Rules, now: dt.datetime) -> Iterator[CleanupItem]:
    tuned = [model for model in account.models or () if model.tuned]
    children: dict[str, list[ListedModel]] = {}
    for model in tuned:
        parent, mark, _ = model.id.partition(CHECKPOINT)
        # A checkpoint whose model is gone stands for itself.
        if mark and parent in account.model_names:
            children.setdefault(parent, []).append(model)
    of_a_parent = {child.id for child in chain.from_iterable(children.values())}
    for model in tuned:
        if model.id in of_a_parent or (why := _why(model, rules, now)) is None:
            continue
        below = [
            CleanupItem(
                kind="checkpoint",
                id=child.id,
                why=f"a checkpoint of {model.id}",
                keep=rules.kept(child.id) or needs.of_model(child.id),
                created_at=child.created_at,
            )
            for child in children.get(model.id, ())
        ]
        yield from below
        kind: Kind = "checkpoint" if CHECKPOINT in model.id else "model"
        keep = rules.kept(model.id) or needs.of_model(model.id)
        yield CleanupItem(kind=kind, id=model.id, why=why, keep=keep, created_at=model.created_at)


def _why(model: ListedModel, rules: Rules, now: dt.datetime) -> str | None:
    if not rules.old(model.created_at, now) or (rules.asked is not None and model.id in rules.asked):
        return None
    age = "" if model.created_at is None else f"{(now - model.created_at).days} days old"
    return ", ".join(filter(None, [age, "never asked" if rules.asked is not None else ""]))


def _files(
    account: AccountListing, needs: Needs, *, rules: Rules, now: dt.datetime, going: Collection[str]
) -> Iterator[CleanupItem]:
    for file in account.files or ():
        if (
            file.purpose not in _PURPOSES
            or (why := _why_file(file, account, rules=rules, now=now, going=going)) is None
        ):
            continue
        keep = rules.kept(file.id, file.filename) or needs.of_file(file.id, account, going=going)
        yield CleanupItem(kind="file", id=file.id, why=why, keep=keep, bytes=file.bytes, created_at=file.created_at)


def _why_file(
    file: UploadedFile, account: AccountListing, *, rules: Rules, now: dt.datetime, going: Collection[str]
) -> str | None:
    jobs = [*account.readers.get(file.id, ()), *filter(None, [account.writers.get(file.id)])]
    if not jobs:
        orphan = rules.orphans and rules.old(file.created_at, now, least=_YOUNGEST_ORPHAN)
        return "no job of this account reads it or wrote it" if orphan else None
    if not rules.chooses_models or not rules.old(file.created_at, now):
        return None
    names = {job.fine_tuned_model for job in jobs}
    # Its checkpoints learned from the file as well.
    made = {name for name in account.model_names if name in names or name.partition(CHECKPOINT)[0] in names}
    # A file stays as long as any model that learned from it: it is what the model could be made of again.
    if made - set(going) or not all(job.is_final for job in jobs):
        return None
    return "its models go with this plan" if made else "no model of its jobs is there any more"


def _asked(told: FeedbackStore | Iterable[str]) -> Iterator[str]:
    if not isinstance(told, FeedbackStore):
        yield from (told,) if isinstance(told, str) else told
        return
    if not told.path.exists():
        raise SpecError(
            f"never_asked: there is no feedback store {str(told.path)!r}; give the path of one that is there"
        )
    # All of them, though the store wants a number: a model that was asked once must not count as never asked.
    for row in (*told.rows(), *told.unjudged(limit=10**9)):
        if row.model is not None:
            yield row.model


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else asdict(value)


def _item(body: dict[str, Any]) -> CleanupItem:
    # Held to its kinds here: people edit plans, and what stands in one is deleted.
    item = CleanupItem(**{**body, "created_at": _moment(body["created_at"])})
    if item.kind not in get_args(Kind) or not _text(item.id):
        raise ValueError(f"{item.kind!r:.60} {item.id!r:.60} is nothing that can go")
    for told in (item.why, *filter(None, [item.keep])):
        _text(told)
    # Exactly: to Python, true is a whole number.
    if item.bytes is not None and type(item.bytes) is not int:
        raise TypeError(f"bytes={item.bytes!r:.60}")
    return item


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is no text")
    return value


def _moment(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)
