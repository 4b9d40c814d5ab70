"""What both faces of the registry share: all that no server is asked for, and what one is asked for, as coroutines."""

from __future__ import annotations

import datetime as dt
import re
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune._checked import checked
from ragtune._keys import redact
from ragtune._warn import warn
from ragtune.catalog import load
from ragtune.errors import ExpiryWarning, GateRefused, RegistryError
from ragtune.job.preparation.preflight import WARN_DAYS
from ragtune.model import TRAINED, AsyncTunedModel, TunedModel
from ragtune.modelling.bases import BASES
from ragtune.registry.given import completed
from ragtune.registry.page import Page
from ragtune.registry.promotion import Check, Promotion, PromotionTable, standing
from ragtune.registry.storage import storage_at
from ragtune.registry.version import ModelVersion, ModelVersionTable

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from ragtune.journal import JournalArgument
    from ragtune.registry.gate import Gate

__all__ = ["Aliases", "now"]

# Names that a folder, a command line and a URL all take as they are.
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@checked("model")
class Aliases:
    """What both faces share: everything that no server is asked for."""

    def __init__(self, path: str | os.PathLike[str], *, timeout_s: float = 30.0) -> None:
        # A shell makes a home of `~` and Python does not: a folder of that name would be begun.
        self._storage = storage_at(Path(path).expanduser(), timeout_s=timeout_s)

    @property
    def path(self) -> Path:
        """The file or the folder."""
        return self._storage.path

    def models(self) -> ModelVersionTable:
        """Return all models, in the order in which they were added.

        Raises:
            RegistryError: the registry cannot be read.
        """
        with self._reading() as page:
            return ModelVersionTable(rows=tuple(page.versions.values()), aliases=page.names())

    def version(self, name: str) -> ModelVersion:
        """Return one model, by its name or an alias.

        Raises:
            RegistryError: there is none of that name, or the registry cannot be read.
        """
        with self._reading() as page:
            # An alias comes first: people who ask by that name mean what it leads to.
            leads = page.current(name)
            return page.version(name if leads is None or leads.model is None else leads.model, or_alias=True)

    def aliases(self) -> dict[str, str]:
        """Return where each alias leads.

        Raises:
            RegistryError: the registry cannot be read.
        """
        with self._reading() as page:
            return page.leads()

    def history(self, alias: str | None = None) -> PromotionTable:
        """Return the decisions about an alias, or about all, oldest first.

        Raises:
            RegistryError: nothing was ever decided about that alias, or the registry cannot be read.
        """
        with self._reading() as page:
            if alias is not None and alias not in page.decisions:
                raise RegistryError(page.no_alias(alias))
            chosen = page.decisions if alias is None else {alias: page.decisions[alias]}
        rows = chain.from_iterable(chosen.values())
        # Decisions of one moment stay in the order of their numbers.
        return PromotionTable(rows=tuple(sorted(rows, key=lambda row: (row.at, row.alias, row.number))))

    def promote(
        self,
        alias: str,
        model: TunedModel | AsyncTunedModel | ModelVersion | str,
        *,
        gate: Gate | None = None,
        force: bool = False,
        by: str | None = None,
        why: str | None = None,
        notice_days: int | None = None,
    ) -> Promotion:
        """Let an alias lead to a model, if it passes.

        Of two people who promote at once one waits, and a gate compares with the model of the one who was first.

        Args:
            alias: letters, digits, `.`, `_` and `-`.
            model: the model or its name; it was added before.
            gate: what it must have shown; None asks only for a scorecard.
            force: promote it whatever stands against it. Who and why are needed and kept with the obstacle.
            by: who decides.
            why: the reason.
            notice_days: warn users of the alias so many days before its model ends; default: as it was, at first 60.

        Raises:
            GateRefused: the model has no scorecard, or a condition is not met; the refusal is on record.
            RegistryError: the model is not registered or was deleted, the alias is the name of another model, a
                condition looks at what was not measured, or the registry cannot be written.
        """
        name = _name_of(model)
        _refuse_terms(alias, notice_days=notice_days, forced_unsigned=force and not (by and why))
        with self._writing() as page:
            # Under its own name a model hides no other.
            if alias != name and alias in page.versions:
                raise RegistryError(
                    f"alias: {alias!r:.80} is the name of a model in this registry, which nobody could name any more; "
                    "take another alias"
                )
            version = page.version(name)
            # Not even by force: the alias would lead to nothing.
            if version.deleted_at is not None:
                raise RegistryError(f"{name} was deleted on {version.deleted_at:%Y-%m-%d}; promote a model that lives")
            held = page.current(alias)
            # A model that is promoted again is not held against itself: it would gain nothing.
            compared = page.versions.get(held.model or "") if held is not None and held.model != name else None
            checks = () if gate is None else gate.checks(version, compared)
            obstacle = _obstacle(version, checks)
            decision = Promotion(
                number=page.next_number(alias),
                alias=alias,
                # A refusal is a decision as well: the next who asks sees what the model lacked.
                outcome="promoted" if obstacle is None else "forced" if force else "refused",
                model=name,
                previous=None if held is None else held.model,
                by=_said(by),
                why=_said(why),
                at=now(),
                # With the decision and not only with the model: a rollback brings back the prompt of its time.
                system=version.system,
                system_known=version.system_known,
                notice_days=_notice(notice_days, held),
                checks=checks,
                obstacle=obstacle,
            )
            page.add(decision)
        # Outside: what is raised while the registry is open leaves nothing on record.
        if decision.outcome == "refused":
            raise _refusal(decision)
        return decision

    def rollback(self, alias: str, *, by: str | None = None, why: str | None = None) -> Promotion:
        """Let an alias lead to the model before the current one again; repeated, to the one before that.

        Raises:
            RegistryError: there is no such alias or no model before, or that model was deleted since.
        """
        with self._writing() as page:
            held = standing(page.of(alias))
            if len(held) < 2:
                leads = f"leads to {held[0].model}, before which there was none" if held else "leads nowhere"
                raise RegistryError(f"{alias} {leads}; promote another model instead")
            before = held[-2]
            version = page.versions.get(before.model or "")
            if version is None or not version.lives:
                raise RegistryError(
                    f"{before.model}, to which {alias} would go back, was deleted; promote another model instead"
                )
            # Whole, its prompt and its notice included, as it was when the model was promoted.
            decision = replace(
                before,
                number=page.next_number(alias),
                outcome="rolled back",
                previous=held[-1].model,
                by=_said(by),
                why=_said(why),
                at=now(),
                checks=(),
                obstacle=None,
            )
            page.add(decision)
        return decision

    def delete_alias(self, alias: str, *, by: str | None = None, why: str | None = None) -> Promotion:
        """Let an alias lead nowhere; its history stays, and its models may be deleted.

        Raises:
            RegistryError: there is no such alias.
        """
        with self._writing() as page:
            held = page.current(alias)
            if held is None:
                raise RegistryError(page.no_alias(alias))
            decision = Promotion(
                number=page.next_number(alias),
                alias=alias,
                outcome="alias deleted",
                model=None,
                previous=held.model,
                by=_said(by),
                why=_said(why),
                at=now(),
                notice_days=held.notice_days,
            )
            page.add(decision)
        return decision

    def _put(self, version: ModelVersion) -> ModelVersion:
        """Write down what is known of a model, above what was known before."""
        with self._writing() as page:
            known = page.versions.get(version.name)
            if known is not None:
                version = completed(version, known)
            elif (led := page.current(version.name)) is not None:
                raise RegistryError(
                    f"{version.name!r:.80} is an alias in this registry, which leads to {led.model}; promote another "
                    f"alias and delete_alias({version.name!r:.80}) before"
                )
            page.records.put_version(version.to_dict())
        return version

    def _lose(self, name: str) -> None:
        """Write down that a model was deleted."""
        with self._writing() as page:
            # Who deletes it a second time finds nothing, and the first date is the true one.
            if name in page.versions and page.versions[name].lives:
                page.records.put_version(replace(page.versions[name], deleted_at=now()).to_dict())

    async def _led(self, alias: str, client: Any, journal: JournalArgument) -> AsyncTunedModel:
        """The model behind an alias, after one look whether the server has it."""
        import openai

        with self._reading() as page:
            held = page.current(alias)
            if held is None or held.model is None:
                raise RegistryError(page.no_alias(alias))
            version, before = page.version(held.model), page.before(alias)
        # What nobody knew at the promotion may be known by now: the default looks again.
        system = held.system if held.system_known else TRAINED
        # The registry is closed again: nobody waits for it while a server is asked.
        model = AsyncTunedModel(client, held.model, system=system, fingerprint=version.fingerprint, journal=journal)
        try:
            await model._state.api.model(held.model)
        except openai.NotFoundError as error:
            if version.server is not None and model._state.api.place != version.server:
                where = f"it was registered at {version.server}, and this client speaks to {model._state.api.place}"
            elif version.deleted_at is not None:
                where = f"it was deleted on {version.deleted_at:%Y-%m-%d}"
            else:
                where = f"it was deleted from {model._state.api.place} without a word to this registry"
            way_out = f"rollback({alias!r}) goes to {before}, promote() to another" if before else "promote() another"
            message = f"{alias} leads to {held.model}, which the server does not have: {where}; {way_out}"
            raise RegistryError(message) from error
        await _warn_of_end(model, held)
        return model

    @contextmanager
    def _reading(self) -> Iterator[Page]:
        with self._storage.reading() as records:
            yield Page(records)

    @contextmanager
    def _writing(self) -> Iterator[Page]:
        with self._storage.writing() as records:
            yield Page(records)

    def __len__(self) -> int:
        return len(self.models())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


def _name_of(model: object) -> str:
    name = model if isinstance(model, str) else getattr(model, "name", None)
    if not isinstance(name, str) or not name:
        raise RegistryError(f"model is {type(model).__name__}; give a model, or its name")
    return name


def _refuse_terms(alias: str, *, notice_days: int | None, forced_unsigned: bool) -> None:
    if _ALIAS.fullmatch(alias) is None:
        raise RegistryError(f"alias: {alias!r:.80} may hold letters, digits, '.', '_' and '-' only, at most 64")
    if alias == "latest" or alias.startswith("ftjob-"):
        raise RegistryError(f"alias: {alias!r} means something else wherever a model is named; choose another one")
    if alias in BASES or load().find(alias) is not None:
        raise RegistryError(
            f"alias: {alias!r} is the name of a base model, which is what a command would ask; choose another one"
        )
    if forced_unsigned:
        raise RegistryError("force=True is kept on record with who and why; give by= and why=")
    if notice_days is not None and notice_days < 0:
        raise RegistryError(f"notice_days={notice_days} must be 0 or more")


def _said(text: str | None) -> str | None:
    """What somebody said, as a file can hold it, without keys."""
    # Bytes of a command line that are no UTF-8 come as halves of surrogate pairs, which no file takes.
    return None if text is None else redact(text).encode("utf-8", "backslashreplace").decode()


def _obstacle(version: ModelVersion, checks: tuple[Check, ...]) -> str | None:
    if version.scores is None:
        return "it has no scorecard"
    # What was not measured is not passed either.
    wrong = [str(check) for check in checks if not check.passed]
    return "; ".join(wrong) or None


def _refusal(decision: Promotion) -> RegistryError:
    said = f"{decision.alias}: {decision.model} was refused: {decision.obstacle}"
    message = f"{said}; force=True promotes it, with by= and why="
    unmeasured = any(check.passed is None for check in decision.checks)
    failed = any(check.passed is False for check in decision.checks)
    # A condition that nothing was measured for says nothing of the model.
    return RegistryError(message) if unmeasured and not failed else GateRefused(message)


def _notice(given: int | None, held: Promotion | None) -> int:
    return int(given) if given is not None else WARN_DAYS if held is None else held.notice_days


async def _warn_of_end(model: AsyncTunedModel, held: Promotion) -> None:
    import openai

    from ragtune._api.errors import UnreadableReplyError

    try:
        expiry = await model.expiry()
    # The model answers all the same: an end that cannot be asked for is no reason to give none.
    except (openai.APIError, UnreadableReplyError):
        return
    if expiry.date is None:
        return
    today = dt.datetime.fromtimestamp(model._state.api.port.now(), tz=dt.UTC).date()
    left = (expiry.date - today).days
    if left <= held.notice_days:
        # Said here with the alias; the model need not say it again.
        model._state.warned_of_end = True
        when = f"in {left} days" if left > 0 else "which is past"
        warn(
            f"{held.alias} leads to {model.name}, which stops answering on {expiry.date}, {when} ({expiry.source}); "
            "promote a model on another base before",
            ExpiryWarning,
        )


def now() -> dt.datetime:
    """This moment, in UTC."""
    return dt.datetime.now(tz=dt.UTC)
