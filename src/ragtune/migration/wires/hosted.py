"""Together's and Fireworks' own wires for fine-tuning, as far as their documents tell; never called live."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune._api.calls import PlannedCall
from ragtune._api.errors import refused
from ragtune._api.fields import object_of, text
from ragtune._checked import checked
from ragtune._sync import run
from ragtune.dialects import dialect_named
from ragtune.errors import ArchiveError, CreateUncertain, SpecError
from ragtune.job.details import TERMINAL
from ragtune.migration.wires.raw import AsyncRaw, SyncRaw, put_file
from ragtune.spec import DPO, Absolute, TuneSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openai

    from ragtune._api import Api
    from ragtune._api.calls import Json
    from ragtune.dataset import Dataset, Split
    from ragtune.migration.wires.raw import Raw

__all__ = ["Fireworks", "HostedJob", "HostedWire", "Together", "hosted_wire"]


@checked()
@dataclass(frozen=True, kw_only=True)
class HostedJob:
    """A job on a server with a wire of its own.

    Attributes:
        provider: the server's dialect.
        id: the server's name for the job.
        status: in OpenAI's words where they are known.
        model: name of the tuned model, None until it is known.
        raw: the server's whole answer.

    Example:
        ```python
        from ragtune.migration import HostedJob

        print(HostedJob(provider="together", id="ft-1", status="running").is_final)
        #> False
        ```
    """

    provider: str
    id: str
    status: str
    model: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self.status in TERMINAL

    def look(self, client: openai.OpenAI) -> HostedJob:
        """Return the job as it is now."""
        # By the class: Fireworks' account stands in the job's own name.
        return run(_WIRES[self.provider].job(SyncRaw(client), self.id))

    async def look_async(self, client: openai.AsyncOpenAI) -> HostedJob:
        """Return the job as it is now."""
        return await _WIRES[self.provider].job(AsyncRaw(client), self.id)


class HostedWire:
    """What both wires share: files first, then one request that buys."""

    name = ""

    def calls(self, dataset: Dataset, spec: TuneSpec) -> list[PlannedCall]:
        """Return what would be sent."""
        raise NotImplementedError

    async def buy(self, raw: Raw, api: Api, dataset: Dataset, spec: TuneSpec) -> HostedJob:
        """Upload and create."""
        raise NotImplementedError

    @classmethod
    async def job(cls, raw: Raw, job_id: str) -> HostedJob:
        """Fetch a job."""
        raise NotImplementedError

    @classmethod
    def _made(cls, body: Json, job_id: str | None, model: str | None) -> HostedJob:
        if job_id is None:
            raise CreateUncertain(
                f"{cls.name} answered without a job's name: {str(body)[:200]}; look at its list of jobs"
            )
        said = text(body.get("status")) or text(body.get("state")) or "unknown"
        status = dialect_named(cls.name).status(said)
        return HostedJob(provider=cls.name, id=job_id, status=status, model=model, raw=body)

    async def _bought(self, raw: Raw, path: str, body: Json) -> Json:
        import openai

        try:
            return await raw.send("POST", path, body=body)
        except openai.APIError as error:
            if refused(error):
                raise
            # Such a server keeps no key of ours to search by.
            message = f"the answer of {self.name} to POST {path} was lost ({error}); look there before you buy again"
            raise CreateUncertain(message) from error


class Together(HostedWire):
    """Together's wire: flat settings, absolute rates, and files that go where a redirect says."""

    name = "together"

    def calls(self, dataset: Dataset, spec: TuneSpec) -> list[PlannedCall]:
        """Return what would be sent."""
        made = []
        for split in _splits(dataset):
            form = {"purpose": "fine-tune", "file_name": _named(split), "file_type": "jsonl"}
            made.append(_planned("files.create", "/files", form | {"bytes": split.bytes, "sha256": split.sha256}))
        return [*made, _planned("fine_tunes.create", "/fine-tunes", self._body(spec, "<file 1>", _second(dataset)))]

    async def buy(self, raw: Raw, api: Api, dataset: Dataset, spec: TuneSpec) -> HostedJob:
        """Upload and create."""
        ids = [await self._upload(raw, api, split) for split in _splits(dataset)]
        body = self._body(spec, ids[0], ids[1] if len(ids) > 1 else None)
        answer = await self._bought(raw, "/fine-tunes", body)
        return self._made(answer, text(answer.get("id")), text(answer.get("output_name")))

    async def _upload(self, raw: Raw, api: Api, split: Split) -> str:
        import openai

        form = {"purpose": "fine-tune", "file_name": _named(split), "file_type": "jsonl"}
        try:
            await raw.send("POST", "/files", body=form)
        # The redirect is the answer: its headers say where the file goes, and its id.
        except openai.APIStatusError as told:
            if not 300 <= told.status_code < 400:
                raise
            headers = told.response.headers
        else:
            raise ArchiveError("together answered an upload without saying where the file goes; its wire has changed")
        await api.port.work(put_file, headers["location"], split.path)
        file_id = str(headers["x-together-file-id"])
        # As Together's own client does behind every upload.
        await raw.send("POST", f"/files/{file_id}/preprocess", body={})
        return file_id

    def _body(self, spec: TuneSpec, training: str, validation: str | None) -> Json:
        method = spec.method
        # As OpenAI trains: on what the assistant says.
        body: Json = {"model": spec.model, "training_file": training, "train_on_inputs": False}
        body |= _given(n_epochs=method.n_epochs, learning_rate=_rate(spec), suffix=spec.suffix)
        # Together's own word where it shall choose; "auto" it does not know.
        body["batch_size"] = "max" if method.batch_size == "auto" else method.batch_size
        if validation is not None:
            body["validation_file"] = validation
        training_method: Json = {"method": "dpo" if isinstance(method, DPO) else "sft"}
        if isinstance(method, DPO):
            training_method |= _given(dpo_beta=method.beta)
        return body | {"training_method": training_method, "training_type": {"type": "Lora"}}

    @classmethod
    async def job(cls, raw: Raw, job_id: str) -> HostedJob:
        """Fetch a job."""
        body = await raw.send("GET", f"/fine-tunes/{job_id}")
        return cls._made(body, text(body.get("id")) or job_id, text(body.get("output_name")))


class Fireworks(HostedWire):
    """Fireworks' wire: camel case, names that are paths, a dataset that is made before it is filled.

    Args:
        account: the account's id, which stands in every path.
    """

    name = "fireworks"

    def __init__(self, account: str) -> None:
        self._place = f"/accounts/{account}"

    def calls(self, dataset: Dataset, spec: TuneSpec) -> list[PlannedCall]:
        """Return what would be sent."""
        made = []
        for split in _splits(dataset):
            made.append(_planned("datasets.create", f"{self._place}/datasets", self._record(split)))
            place = f"{self._place}/datasets/{_dataset_id(split)}:upload"
            made.append(_planned("datasets.upload", place, {"bytes": split.bytes, "sha256": split.sha256}))
        jobs = f"{self._place}/supervisedFineTuningJobs"
        return [*made, _planned("supervised_fine_tuning_jobs.create", jobs, self._body(dataset, spec))]

    async def buy(self, raw: Raw, api: Api, dataset: Dataset, spec: TuneSpec) -> HostedJob:
        """Upload and create."""
        for split in _splits(dataset):
            await self._upload(raw, split)
        answer = await self._bought(raw, f"{self._place}/supervisedFineTuningJobs", self._body(dataset, spec))
        return self._made(answer, text(answer.get("name")), text(answer.get("outputModel")))

    async def _upload(self, raw: Raw, split: Split) -> None:
        import openai

        try:
            await raw.send("POST", f"{self._place}/datasets", body=self._record(split))
        except openai.ConflictError:
            # The name carries the content's hash, so what is there is the same data.
            return
        place = f"{self._place}/datasets/{_dataset_id(split)}:upload"
        assert split.path is not None, "only splits with a file are sent"
        await raw.send("POST", place, file=split.path, name=_named(split))

    def _record(self, split: Split) -> Json:
        # As text: in the JSON of protocol buffers numbers of 64 bits are texts.
        return {"datasetId": _dataset_id(split), "dataset": {"userUploaded": {}, "exampleCount": str(split.rows)}}

    def _body(self, dataset: Dataset, spec: TuneSpec) -> Json:
        method = spec.method
        # Without an account in the body, since the path has it: a dataset is named as a path.
        body: Json = {"dataset": self._of(dataset.train), "baseModel": spec.model}
        body |= _given(epochs=method.n_epochs, learningRate=_rate(spec), displayName=spec.suffix)
        if len(dataset.validation):
            body["evaluationDataset"] = self._of(dataset.validation)
        return body

    def _of(self, split: Split) -> str:
        return f"{self._place.removeprefix('/')}/datasets/{_dataset_id(split)}"

    @classmethod
    async def job(cls, raw: Raw, job_id: str) -> HostedJob:
        """Fetch a job by its whole name, `accounts/ACCOUNT/supervisedFineTuningJobs/ID`."""
        body = await raw.send("GET", f"/{job_id}")
        return cls._made(body, text(body.get("name")) or job_id, text(body.get("outputModel")))


_WIRES: dict[str, type[HostedWire]] = {"together": Together, "fireworks": Fireworks}


def hosted_wire(name: str, account: str | None) -> HostedWire:
    """Return the wire of a dialect.

    Raises:
        SpecError: Fireworks needs the account's id, and there is none.
    """
    if name != "fireworks":
        return Together()
    if not account:
        raise SpecError("account: fireworks has the account's id in each path; pass account='...'")
    return Fireworks(account)


def _splits(dataset: Dataset) -> list[Split]:
    return [split for split in (dataset.train, dataset.validation) if split.path is not None and len(split)]


def _second(dataset: Dataset) -> str | None:
    return "<file 2>" if len(dataset.validation) else None


def _named(split: Split) -> str:
    # With the content's hash: the two files of a job, and files of two builds, are told apart in the account's list.
    return f"{split.name}-{str(split.sha256)[:16]}.jsonl"


def _dataset_id(split: Split) -> str:
    return f"ragtune-{split.name}-{str(split.sha256)[:16]}"


def _rate(spec: TuneSpec) -> float | None:
    rate = spec.method.learning_rate
    # Neither wire knows a multiplier.
    return rate.value if isinstance(rate, Absolute) else None


def _given(**values: object) -> Json:
    return object_of({name: value for name, value in values.items() if value is not None and value != "auto"})


def _planned(name: str, path: str, body: Json) -> PlannedCall:
    return PlannedCall(name=name, method="POST", path=path, writes=True, body=body)
