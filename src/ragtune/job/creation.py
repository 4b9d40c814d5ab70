"""Buying a job exactly once.

The order of things: everything that can be known is checked; the account is searched for a job with the same key; the
data is uploaded; one request goes out, never repeated; when its answer is lost, the account is searched again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from ragtune import dialects, files
from ragtune._api.calls import LocalFile
from ragtune._api.faults import UnreadableReplyError, never_left, refused
from ragtune.errors import BudgetExceeded, CreateUncertain, DatasetError, SpecError
from ragtune.files import UploadedFile
from ragtune.job.base_model import check_base
from ragtune.job.details import JobDetails
from ragtune.job.presence import is_gone
from ragtune.spec import check_metadata

if TYPE_CHECKING:
    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.dataset import CostEstimate, Dataset
    from ragtune.dialects import Dialect
    from ragtune.spec import TuneSpec

logger = logging.getLogger("ragtune")

KEY = "ragtune_key"
FINGERPRINT = "ragtune_fingerprint"
SYSTEM = "ragtune_system"
SYSTEM_TOO_LONG = "ragtune_system_chars"
# Server-side limit on a metadata value.
LONGEST_VALUE = 512
# How long a job may take to show up in the list after its answer was lost.
SEARCH_S = 60.0
FORMATS = {"supervised": ("chat", "completion"), "dpo": ("preference",), "reinforcement": ("reinforcement",)}


class CreateOptions(TypedDict, total=False):
    """Keywords that `create` and `plan` share; `FineTuneJob.create` explains them."""

    validation: UploadedFile | str | None
    key: str | None
    new: bool
    max_cost_usd: float | None
    allow_unknown_cost: bool
    force: bool
    dialect: Dialect | str | None


@dataclass(frozen=True, kw_only=True)
class Order:
    """A job that passed every check that needs no server.

    Attributes:
        request: body of the create request, apart from the files.
        training: what to train on: a file to upload, or the id of one that is there.
        validation: likewise, or None.
        key: what makes two orders the same.
        new: whether another job is wanted although one with this key exists.
        cost: the estimate, or None where there is nothing to estimate from.
        warnings: what is no error yet.
    """

    request: Json
    training: LocalFile | str
    validation: LocalFile | str | None
    key: str
    new: bool
    cost: CostEstimate | None
    warnings: tuple[str, ...]

    @property
    def local_files(self) -> dict[str, LocalFile]:
        """The local ones of its files, by the field of the request that names them."""
        files = {"training_file": self.training, "validation_file": self.validation}
        return {name: file for name, file in files.items() if isinstance(file, LocalFile)}


async def prepare(api: Api, data: Dataset | UploadedFile | str, spec: TuneSpec, options: CreateOptions) -> Order:
    """Check everything that can be checked before a byte is sent; errors as in `FineTuneJob.create`."""
    chosen = options.get("dialect") or dialects.dialect_of(api.port.base_url)
    dialect = dialects.dialect_named(chosen) if isinstance(chosen, str) else chosen
    request = spec.request(dialect)
    warnings = await check_base(api, spec, dialect, force=options.get("force", False))
    training, validation = await _check_data(api, data, spec, options.get("validation"))
    cost = None if isinstance(data, UploadedFile | str) else await api.port.work(_cost, data, spec)
    _check_budget(cost, spec.model, options)
    key = options.get("key") or _key(_identity(data), _identity(options.get("validation")), request)
    metadata = dict(spec.metadata) | {KEY: key} | _remembered(data)
    check_metadata(metadata)
    return Order(
        request=request | {"metadata": metadata},
        training=training,
        validation=validation,
        key=key,
        new=options.get("new", False),
        cost=cost,
        warnings=tuple(warnings),
    )


async def place(api: Api, order: Order) -> tuple[JobDetails, bool]:
    """Return the job for this order, and whether it was there before; errors as in `FineTuneJob.create`."""
    known = await _jobs_of(api, order.key)
    live = [job for job in known if job.status not in ("failed", "cancelled")]
    for job in () if order.new else live:
        if not await is_gone(api, job):
            return job, True
        logger.warning(
            "%s has the same key, but its model %s was deleted: the job is not reused", job.id, job.fine_tuned_model
        )
    training = await _file_id(api, order.training)
    uploads = [training] if isinstance(order.training, LocalFile) else []
    request = order.request | {"training_file": training}
    if order.validation is not None:
        request["validation_file"] = await _file_id(api, order.validation)
        uploads += [request["validation_file"]] if isinstance(order.validation, LocalFile) else []
    try:
        return JobDetails.from_wire(await api.create_job(request)), False
    except Exception as error:
        if not _unclear(error):
            if uploads:
                error.add_note(
                    f"nothing was created; on the account lie {', '.join(uploads)}, a later create reuses them"
                )
            raise
        found = await _search(api, order.key, {job.id for job in known})
        if found is None:
            raise CreateUncertain(_uncertain(order.key)) from error
        logger.info("the answer to create was lost (%s), the job was found: %s", type(error).__name__, found.id)
        return found, False
    except KeyboardInterrupt as stop:
        stop.args = (
            f"stopped while a job was created (key {order.key}); call create again with the same data and settings: it "
            "looks for the job first and buys nothing twice",
        )
        raise


async def _jobs_of(api: Api, key: str) -> list[JobDetails]:
    async with aclosing(api.jobs(metadata={KEY: key})) as jobs:
        return [JobDetails.from_wire(body) async for body in jobs]


async def _search(api: Api, key: str, known: set[str]) -> JobDetails | None:
    """Look for a job that was not there before, for as long as a server may take to list it."""
    import openai

    started, pause = api.port.monotonic(), 0.5
    while True:
        try:
            new = [job for job in await _jobs_of(api, key) if job.id not in known]
        except (openai.APIError, UnreadableReplyError) as error:
            logger.info("the search for key %s failed with %s and goes on", key, type(error).__name__)
            new = []
        if new:
            return new[0]
        if api.port.monotonic() - started + pause > SEARCH_S:
            return None
        await api.port.sleep(pause)
        pause = min(2 * pause, 5.0)


def _unclear(error: Exception) -> bool:
    """Whether the request may have made a job although no answer says so."""
    import openai

    if not isinstance(error, openai.APIError | UnreadableReplyError):
        return False
    return not (refused(error) or never_left(error))


def _uncertain(key: str) -> str:
    return (
        f"a request to create a job went out and its answer was lost; no job with key {key} showed up within "
        f"{SEARCH_S:.0f} s, but it still may. Find out with `ragtune jobs --key {key}`, or call create again with the "
        "same data and settings: it looks for the job first and buys nothing twice"
    )


async def _check_data(
    api: Api, data: Dataset | UploadedFile | str, spec: TuneSpec, validation: UploadedFile | str | None
) -> tuple[LocalFile | str, LocalFile | str | None]:
    """Return the files to train on, after the dataset passed its checks."""
    there = None if validation is None else _id_of(validation)
    if isinstance(data, UploadedFile | str):
        return _id_of(data), there
    if data.format not in FORMATS[spec.method.type]:
        raise SpecError(
            f"method: {spec.method.type} trains on {' or '.join(FORMATS[spec.method.type])} records, "
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
    training = await api.port.work(files.local_file, data.train)
    if there is None and len(data.validation):
        return training, await api.port.work(files.local_file, data.validation)
    return training, there


def _id_of(file: UploadedFile | str) -> str:
    name = file.id if isinstance(file, UploadedFile) else file
    if not name or name.endswith(".jsonl") or "/" in name:
        raise SpecError(
            f"{name!r} is no id of an uploaded file; upload a local one with "
            f"rt.upload(client, {name!r}) or pass rt.Dataset.from_files({name!r})"
        )
    return name


def _cost(data: Dataset, spec: TuneSpec) -> CostEstimate:
    return data.cost(spec.model, n_epochs=spec.method.n_epochs)


def _check_budget(cost: CostEstimate | None, model: str, options: CreateOptions) -> None:
    limit = options.get("max_cost_usd")
    if limit is None:
        return
    if cost is None or cost.usd is None:
        if options.get("allow_unknown_cost", False):
            return
        why = (
            "data that is already uploaded cannot be counted here" if cost is None else f"no price of {model} is known"
        )
        message = (
            f"the price is unknown ({why}), so a limit of {_dollars(limit)} cannot be kept; nothing was sent. Pass "
        )
        raise BudgetExceeded(message + "allow_unknown_cost=True to go on all the same, or leave max_cost_usd out")
    if cost.usd > limit:
        message = f"the estimate for {model} is {_dollars(cost.usd)}, above the limit of {_dollars(limit)}; "
        message += "nothing was sent. "
        raise BudgetExceeded(message + "Use fewer rows or epochs, a cheaper model, or a higher max_cost_usd")


def _dollars(usd: float) -> str:
    # Two places would show a small limit as $0.00.
    return f"${usd:.2f}" if usd >= 0.01 else f"${usd:.2g}"


def _identity(data: Dataset | UploadedFile | str | None) -> str | None:
    if data is None or isinstance(data, str):
        return data
    if isinstance(data, UploadedFile):
        return data.sha256 or data.id
    return data.fingerprint


def _key(data: str | None, validation: str | None, request: Json) -> str:
    text = json.dumps([data, validation, request], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _remembered(data: Dataset | UploadedFile | str) -> dict[str, str]:
    """What the job's metadata keeps, so that the tuned model knows later how it was trained."""
    if isinstance(data, UploadedFile | str):
        return {}
    kept = {FINGERPRINT: data.fingerprint}
    if data.system and len(data.system) <= LONGEST_VALUE:
        return kept | {SYSTEM: data.system}
    return kept | ({SYSTEM_TOO_LONG: str(len(data.system))} if data.system else {})


async def _file_id(api: Api, file: LocalFile | str) -> str:
    return file if isinstance(file, str) else (await files.send(api, file)).id


def planned_warnings(order: Order, existing: JobDetails | None) -> tuple[str, ...]:
    """Return the order's warnings, and that a job for it exists already."""
    if existing is None:
        return order.warnings
    return (*order.warnings, f"{existing.id} ({existing.status}) has the same key: create would hand it back")
