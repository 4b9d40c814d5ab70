"""An order for a job: everything that can be checked before a byte is sent. `submit` buys it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune import catalog
from ragtune._api.calls import LocalFile
from ragtune._ranges import make_numbers_plain
from ragtune.errors import BudgetExceeded, DatasetError, SpecError, Unsupported
from ragtune.files import UploadedFile
from ragtune.files.upload_once import local_file
from ragtune.job.metadata import KEY, training_notes
from ragtune.job.preparation.inherited import Inherited, inherited_prompt
from ragtune.job.preparation.preflight import WARN_DAYS, check_base, check_end, look_at_base
from ragtune.journal import USERS, Run
from ragtune.journal.budget import dollars
from ragtune.journal.recorder import Recorder
from ragtune.limits import MAX_METADATA_VALUE
from ragtune.spec import Supervised, TuneSpec
from ragtune.spec.tune_spec import check_metadata

if TYPE_CHECKING:
    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.cost import CostEstimate
    from ragtune.dataset import Dataset, Split
    from ragtune.dialects import Dialect
    from ragtune.journal import Budget, JournalArgument

FORMATS_OF_METHOD = {
    "supervised": ("chat", "completion"),
    "dpo": ("preference",),
    "kto": ("unpaired",),
    "reinforcement": ("reinforcement",),
}


@dataclass(frozen=True, kw_only=True)
class CreateOptions:
    """The keywords that `create` and `plan` share; `FineTuneJob.create` explains them."""

    validation: UploadedFile | Split | str | PathLike[str] | None = None
    key: str | None = None
    new: bool = False
    max_cost_usd: float | None = None
    allow_unknown_cost: bool = False
    force: bool = False
    warn_days: int = WARN_DAYS
    dialect: Dialect | str | None = None
    budget: Budget | None = None
    journal: JournalArgument = USERS

    def __post_init__(self) -> None:
        make_numbers_plain(self)


@dataclass(frozen=True, kw_only=True)
class JobOrder:
    """A job that passed every check that needs no server.

    Attributes:
        request: body of the create request, apart from the files.
        training: what to train on: a file to upload, or the id of one that is there.
        validation: likewise, or None.
        key: what makes two orders the same.
        cost: the estimate, or None where there is nothing to estimate from.
        warnings: what is no error yet.
        run: what the journal will say of it; the account is filled in when it is known.
        recorder: writes the journal.
        options: what the caller asked for.
    """

    request: Json
    training: LocalFile | str
    validation: LocalFile | str | None
    key: str
    cost: CostEstimate | None
    warnings: tuple[str, ...]
    run: Run
    recorder: Recorder
    options: CreateOptions

    @property
    def local_files(self) -> dict[str, LocalFile]:
        """The local ones of its files, by the field of the request that names them."""
        files = {"training_file": self.training, "validation_file": self.validation}
        return {name: file for name, file in files.items() if isinstance(file, LocalFile)}


async def prepare(
    api: Api, data: Dataset | UploadedFile | str, spec: TuneSpec, options: CreateOptions, *, sealed: bool = False
) -> JobOrder:
    """Check everything that can be checked before a byte is sent; errors as in `FineTuneJob.create`.

    What costs nothing to refuse comes first: the spec, then the data, then prices, and the server only at the end.
    """
    _check_spec(spec)
    recorder = Recorder(options.journal, sealed=sealed, heard=api.port.heard)
    own_key = _checked_key(options.key)
    if options.budget is not None and not recorder.is_on:
        raise SpecError("budget: it counts the jobs of a journal, and journal=None keeps none; name a journal")
    today = dt.datetime.fromtimestamp(api.port.now(), tz=dt.UTC).date()
    fit = partial(_fit, api, spec, today=today, force=options.force)
    # Where the server is known, a wrong spec is told before a large file is read.
    fitted = fit() if api.is_known else None
    training, validation = await _check_data(api, data, spec, options.validation)
    # An unknown address is asked before anything is priced: a server of one's own bills nothing, whatever a name says.
    seen = None if api.is_known else await look_at_base(api, spec.model)
    request, warnings = fitted or fit()
    dialect = api.dialect
    if validation is None:
        _refuse_without_validation(spec, dialect)
    origin = await _origin(api, recorder, data)
    dataset = origin.dataset
    inherited = await _inherited(api, recorder, origin, spec)
    origin = replace(origin, system=origin.system or inherited.system)
    # Only who plans waits for a forecast: it loads torch, and the server says it again when training starts.
    cost = None if dataset is None else await api.port.work(_cost, dataset, spec, dialect, sealed)
    _check_price(cost, spec.model, dialect, options)
    key = own_key or _key(_identity(data), _identity_beside(options.validation, validation), request)
    run = _run(api, origin, spec, key=key, cost=cost, budget=options.budget)
    await _check_budget(api, recorder, run, options)
    notes = {} if origin.fingerprint is None else training_notes(origin.fingerprint, origin.system)
    # Ours behind the user's, who must not hide an order from us by a name; what the rows bring behind what is
    # inherited.
    metadata = dict(spec.metadata) | {KEY: key} | dict(inherited.notes) | notes
    # Once more: a server's limit counts ours as well.
    check_metadata(metadata)
    seen = seen or await look_at_base(api, spec.model)
    warnings += await check_end(
        api, spec.model, dialect, seen, today=today, force=options.force, warn_days=options.warn_days
    )
    return JobOrder(
        request=request | {"metadata": metadata},
        training=training,
        validation=validation,
        key=key,
        cost=cost,
        warnings=tuple(warnings),
        run=run,
        recorder=recorder,
        options=options,
    )


def _check_spec(spec: object) -> None:
    if not isinstance(spec, TuneSpec):
        example = f"rt.TuneSpec(model={spec!r})" if isinstance(spec, str) else "rt.TuneSpec(model=...)"
        raise SpecError(f"spec: a {type(spec).__qualname__} says no model and method; pass {example}")


def _refuse_without_validation(spec: TuneSpec, dialect: Dialect) -> None:
    """Refuse a job without a validation file whose method, or whose settings, cannot do without one."""
    if spec.method.type in dialect.needs_validation:
        message = f"the method {spec.method.type} without a validation file"
        raise Unsupported(dialect.name, message, "build the dataset with validation=0.1, or pass validation=")
    if isinstance(spec.method, Supervised) and spec.method.asks_while_training:
        message = "evaluate_every, early_stop: the questions come from a validation file, and there is none; "
        raise SpecError(message + "build the dataset with validation=0.1, or pass validation=")


def _fit(api: Api, spec: TuneSpec, *, today: dt.date, force: bool) -> tuple[Json, list[str]]:
    """Return the request in the server's dialect, and what is to be warned of."""
    return spec.request(api.dialect), check_base(spec, api.dialect, today=today, force=force)


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """What the training data come from, as far as it is known."""

    dataset: Dataset | None = None
    fingerprint: str | None = None
    system: str | None = None


async def _origin(api: Api, recorder: Recorder, data: Dataset | UploadedFile | str) -> _Origin:
    """An upload remembers its dataset; of a bare id the journal may know it."""
    if isinstance(data, UploadedFile) and data.fingerprint is not None:
        files = data.dataset if data.dataset is not None and _is_whole(data.dataset) else None
        return _Origin(dataset=files, fingerprint=data.fingerprint, system=data.system)
    if isinstance(data, UploadedFile | str):
        known = await api.port.work(recorder.upload_of, _id_of(data))
        return _Origin() if known is None else _Origin(fingerprint=known.fingerprint, system=known.system)
    return _Origin(dataset=data, fingerprint=data.fingerprint, system=data.system)


async def _inherited(api: Api, recorder: Recorder, origin: _Origin, spec: TuneSpec) -> Inherited:
    """The prompt of the model that is trained further, where no row of the new data brings one."""
    dataset = origin.dataset
    if dataset is None or origin.system is not None or not spec.model.startswith("ft:"):
        return Inherited()
    from ragtune.dataset.render.functions import system_of

    # Prompts that vary from row to row leave a dataset without one of its own, and are no reason to take another.
    silent = await api.port.work(lambda: all(system_of(record) is None for record in dataset.train))
    return await inherited_prompt(api, recorder, spec.model) if silent else Inherited()


def _is_whole(dataset: Dataset) -> bool:
    return dataset.train.path is not None and dataset.train.path.is_file()


def _run(
    api: Api, origin: _Origin, spec: TuneSpec, *, key: str, cost: CostEstimate | None, budget: Budget | None
) -> Run:
    info = catalog.load().find(spec.model)
    price = info.training_usd_per_million if info else None
    unbilled = None if api.dialect.bills else 0.0
    return Run(
        state="intent",
        account="",
        server=api.port.base_url,
        key=key,
        model=spec.model,
        suffix=spec.suffix,
        fingerprint=origin.fingerprint,
        system=origin.system,
        # What the address tells anyhow may be known better tomorrow.
        dialect=api.given or (None if api.dialect.bills else api.dialect),
        budget_usd=None if budget is None else budget.usd,
        budget_period=None if budget is None else budget.period,
        predicted_tokens=cost.billed_tokens if cost is not None else None,
        predicted_usd=cost.usd if cost is not None else unbilled,
        usd_per_million=price if api.dialect.bills else 0.0,
        begun_at=dt.datetime.fromtimestamp(api.port.now(), tz=dt.UTC),
    )


async def _check_budget(api: Api, recorder: Recorder, run: Run, options: CreateOptions) -> None:
    """Refuse what the budget cannot bear before anything is uploaded.

    Only a job that is certainly new: one whose key the journal knows may be there already and cost nothing, so `submit`
    looks for it first. It asks the budget again before it buys, because other processes spend as well.
    """
    if options.budget is None or await api.port.work(recorder.knows, run.key):
        return
    spent = await api.port.work(recorder.sent_since, options.budget.began(api.port.now()))
    options.budget.check(spent, run.cost_usd, allow_unknown=options.allow_unknown_cost)


async def _check_data(
    api: Api,
    data: Dataset | UploadedFile | str,
    spec: TuneSpec,
    validation: UploadedFile | Split | str | PathLike[str] | None,
) -> tuple[LocalFile | str, LocalFile | str | None]:
    """Return the files to train on, after the dataset passed its checks."""
    there: LocalFile | str | None = None
    if isinstance(validation, UploadedFile | str):
        there = _id_of(validation)
    elif validation is not None:
        there = await api.port.work(local_file, validation)
    if isinstance(data, PathLike):
        data = str(data)
    if isinstance(data, UploadedFile) and data.dataset is not None and _is_whole(data.dataset):
        await _check_records(api, data.dataset, spec)
    if isinstance(data, UploadedFile | str):
        return _id_of(data), there
    if not hasattr(data, "format"):
        what = f"a {type(data).__qualname__} is no data to train on"
        raise SpecError(f"dataset: {what}; pass a Dataset, an UploadedFile, or the id of an uploaded file")
    await _check_records(api, data, spec)
    training = await api.port.work(local_file, data.train)
    if there is None and len(data.validation):
        return training, await api.port.work(local_file, data.validation)
    return training, there


async def _check_records(api: Api, data: Dataset, spec: TuneSpec) -> None:
    # A server would say so only when everything is uploaded.
    if data.format not in FORMATS_OF_METHOD[spec.method.type]:
        raise SpecError(
            f"method: {spec.method.type} trains on {' or '.join(FORMATS_OF_METHOD[spec.method.type])} records, "
            f"this dataset holds {data.format} records"
        )
    report = await api.port.work(lambda: data.check(model=spec.model))
    if not report.ok:
        problems = [problem for problem in report.problems if problem.severity == "error"]
        shown = "\n".join(f"  {problem}" for problem in problems[:3])
        count = report.count("error")
        found = "1 error" if count == 1 else f"{count} errors"
        message = f"the dataset has {found}, nothing was sent:\n{shown}"
        raise DatasetError(message)


def _id_of(file: UploadedFile | str) -> str:
    name = file.id if isinstance(file, UploadedFile) else file
    if name and Path(name).is_dir():
        raise SpecError(f"{name!r} is a folder, not the id of an uploaded file; pass rt.Dataset.load({name!r})")
    # Servers choose ids freely, so only what is certainly a path is refused: a forgotten upload.
    if not name or name.endswith(".jsonl") or "/" in name:
        raise SpecError(
            f"{name!r} is no id of an uploaded file; upload a local one with "
            f"rt.upload(client, {name!r}) or pass rt.Dataset.from_files({name!r})"
        )
    return name


def _cost(data: Dataset, spec: TuneSpec, dialect: Dialect, planned: bool) -> CostEstimate:
    method, embedded = spec.method, True if dialect.name == "local" else None
    cost = data.cost(spec.model, method.n_epochs, batch_size=method.batch_size, embedded=embedded, forecast=planned)
    if not dialect.bills:
        return replace(cost, usd=0.0, source=dialect.source, as_of=dialect.as_of)
    if cost.usd and not dialect.catalog_dates:
        note = f"the price is OpenAI's: what a server of the dialect {dialect.name} bills is not known"
        return replace(cost, assumptions=(*cost.assumptions, note))
    return cost


def _check_price(cost: CostEstimate | None, model: str, dialect: Dialect, options: CreateOptions) -> None:
    limit = options.max_cost_usd
    # A limit that no price can pass or miss would be no limit: `nan` compares as false with everything.
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit >= 0):
        raise SpecError(f"max_cost_usd: {limit!r} must be a number of dollars, 0 or more, or None for no limit")
    if limit is None or not dialect.bills:
        return
    if cost is None or cost.usd is None:
        if options.allow_unknown_cost:
            return
        uploaded = "data that is already uploaded cannot be counted here"
        why = uploaded if cost is None else f"no price of {model} is known"
        raise BudgetExceeded(
            f"the price is unknown ({why}), so a limit of {dollars(limit)} cannot be kept; nothing was sent. Pass "
            "allow_unknown_cost=True to go on all the same, or leave max_cost_usd out"
        )
    if cost.usd > limit:
        message = f"the estimate for {model} is {dollars(cost.usd)}, above the limit of {dollars(limit)}; "
        message += "nothing was sent. Use fewer rows or epochs, a cheaper model, or a higher max_cost_usd"
        if not dialect.catalog_dates:
            message += "; the price is OpenAI's: pass the dialect of a server that bills nothing"
        raise BudgetExceeded(message)


def _identity(data: Dataset | UploadedFile | str | None) -> str | None:
    if data is None or isinstance(data, str):
        return data
    if isinstance(data, UploadedFile):
        # By content where it is known: the same rows under another id are the same order.
        return data.sha256 or data.id
    return data.fingerprint


def _identity_beside(given: object, validation: LocalFile | str | None) -> str | None:
    """What a validation file of its own is known by; one that the dataset brings is a part of that."""
    if given is None or isinstance(given, UploadedFile | str):
        return _identity(given)
    return validation.sha256 if isinstance(validation, LocalFile) else validation


def _checked_key(key: str | None) -> str | None:
    if key is not None and (not isinstance(key, str) or not 0 < len(key) <= MAX_METADATA_VALUE):
        raise SpecError(
            f"key: {key!r} must be a text of 1 to {MAX_METADATA_VALUE} characters; leave it out to go by the data"
        )
    return key


def _key(data: str | None, validation: str | None, request: Json) -> str:
    # Contents, as far as they are known, and settings, no dates: every machine makes the same key for the same order.
    # A change here would make every account forget what it bought.
    text = json.dumps([data, validation, request], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
