"""A finished dataset: up to three files of records, and everything that can be said about them."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ragtune import _arguments as arguments
from ragtune import catalog
from ragtune._html import cell, table
from ragtune._warn import warn
from ragtune.checks import MIN_EXAMPLES, CheckReport, check_file
from ragtune.cost import CostEstimate, estimate, foretold
from ragtune.dataset.leakage.overlap import Overlap, constants, find_overlap
from ragtune.dataset.manifest import read_manifest, refuse_changed, refuse_changed_row_maps
from ragtune.dataset.render.functions import system_of
from ragtune.dataset.report.personal_data import PrivateText, private_texts
from ragtune.dataset.report.report import DatasetReport, given_way, source_text
from ragtune.dataset.report.samples import contradictions_of, samples_of
from ragtune.dataset.split import Split, format_of_file, read_split
from ragtune.dataset.token_counts import counted, longer_conversations
from ragtune.dataset.writing.replacement import MANIFEST, settle
from ragtune.errors import DatasetError
from ragtune.records import FORMATS
from ragtune.tokens import record_counter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ragtune.catalog import Catalog, Encoding
    from ragtune.records import RecordFormat
    from ragtune.tokens import TokenCounter

# All count in o200k_base, so one pass over the file prices them all.
_PRICED = ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06", "gpt-4.1-mini-2025-04-14", "gpt-4.1-2025-04-14")
_METHODS: Mapping[str, Literal["supervised", "dpo", "kto"]] = {"preference": "dpo", "unpaired": "kto"}
SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Records in files, ready for upload: what `DatasetBuilder.build` returns.

    Attributes:
        folder: where the files are.
        format: the record kind of all files.
        train: the records to learn from.
        validation: the records that the server measures on while it trains; may be empty.
        test: the records that no server sees; may be empty.
        fingerprint: sha256 over content and order of all splits.
        manifest: where the rows come from and what happened to them; empty for files made elsewhere.

    Example:
        ```python
        import ragtune as rt

        rows = [{"question": f"What is {n} + 1?", "answer": f"{n + 1}"} for n in range(40)]
        builder = rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}")
        built = builder.build("out", validation=0.1, seed=7)
        again = rt.Dataset.load("out")
        print(len(again.train), len(again.validation), again.fingerprint == built.fingerprint)
        #> 36 4 True
        ```
    """

    folder: Path
    format: RecordFormat
    train: Split
    validation: Split
    test: Split
    fingerprint: str
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        rows = ", ".join(f"{split.rows:,} {split.name}" for split in self.splits)
        return f"Dataset({str(self.folder)!r}, {self.format}, {rows}, fingerprint {self.fingerprint[:12]})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that hold records, in the order train, validation, test."""
        return tuple(split for split in (self.train, self.validation, self.test) if split.rows)

    @cached_property
    def system(self) -> str | None:
        """The one system prompt of all training records; None when there is none or it varies."""
        if "system" in self.manifest:
            known: str | None = self.manifest["system"]
            return known
        prompts = {system_of(record) for record in self.train}
        return prompts.pop() if len(prompts) == 1 else None

    @cached_property
    def report(self) -> DatasetReport:
        """Counts, reasons, tokens and problems; counted when it is first asked for."""
        counts = self.token_counts("o200k_base")
        lengths = self._lengths(counts)
        built = self.manifest.get("rows", {})
        checks = {split.name: self._checked(split) for split in self.splits}
        assert self.train.path is not None
        return DatasetReport(
            title=self.folder.resolve().name,
            source=source_text(self.manifest.get("source", {}), self.train.path),
            written=dt.date.fromtimestamp(self.train.path.stat().st_mtime),
            fingerprint=self.fingerprint,
            format=self.format,
            read=built.get("read"),
            dropped={**given_way(self.manifest.get("source", {})), **built.get("dropped", {})},
            gaps=self.manifest.get("gaps", {}),
            rows={split.name: split.rows for split in (self.train, self.validation, self.test)},
            tokens=sum(counts),
            longest=max(lengths, default=0),
            encoding="o200k_base",
            checks=checks,
            split=self.manifest.get("split", {}),
            overlap=self._shared(),
            lengths=lengths,
            costs=tuple(self.cost(model) for model in _PRICED),
            samples=samples_of(self.train, lengths),
            contradictions=contradictions_of(self.train, checks["train"]),
            private=self.manifest.get("private"),
        )

    def _repr_html_(self) -> str:
        return _split_table(self)

    def _shared(self) -> Mapping[str, Any] | None:
        # A build has compared its splits already; its manifest says None where there is one split only.
        if self.manifest:
            known: Mapping[str, Any] | None = self.manifest.get("overlap")
            return known
        return self.overlap().to_dict() if len(self.splits) > 1 else None

    def _lengths(self, counts: tuple[int, ...]) -> tuple[int, ...]:
        """Tokens of each training example as a training context holds them: of a pair, its longer conversation."""
        if self.format != "preference":
            return counts
        return tuple(longer_conversations(self.train, record_counter("o200k_base")))

    def token_counts(self, encoding: Encoding, counter: TokenCounter | None = None) -> tuple[int, ...]:
        """Tokens of each training example, in file order; counted once per encoding.

        Lines that are no records count nothing: `check` names them.

        Args:
            encoding: the vocabulary.
            counter: a faster exact counter; None takes tiktoken.

        Raises:
            SpecError: the counter counts otherwise than tiktoken.
        """
        arguments.one_of("encoding", encoding, catalog.ENCODINGS)
        known = self._token_counts
        # A counter is looked at even where nothing is left to count: the next dataset will be counted with it.
        if counter is not None or encoding not in known:
            counting = record_counter(encoding, counter=counter)
            if encoding not in known:
                known[encoding] = tuple(counted(self.train, counting))
        return known[encoding]

    @cached_property
    def _token_counts(self) -> dict[Encoding, tuple[int, ...]]:
        return {}

    def cost(
        self,
        model: str,
        n_epochs: int | Literal["auto"] = "auto",
        *,
        batch_size: int | Literal["auto"] = "auto",
        embedded: bool | None = None,
        catalogue: Catalog | None = None,
        forecast: bool = True,
    ) -> CostEstimate:
        """What training on this dataset costs; for a base of the embedded backend also how long it takes here.

        Args:
            model: base model, or a fine-tune of it.
            n_epochs: passes over the training file, 1 to 50, or `"auto"`.
            batch_size: examples per step, as the job will be told; it decides what `"auto"` epochs become on the
                embedded backend, and the memory.
            embedded: whether the embedded backend trains, whatever the name of the base; None tells by the name.
            catalogue: prices; None takes those that ship with this version.
            forecast: whether to say how long training takes on this machine, which loads torch (bases of the
                embedded backend alone).

        Raises:
            SpecError: the epochs are out of range.
        """
        arguments.text("model", model)
        if catalogue is not None:
            arguments.instance("catalogue", catalogue, catalog.Catalog, "ragtune.catalog.load(path) reads one")
        info = (catalogue or catalog.load()).find(model)
        # Of a model that nobody here knows the count is a guess of the right size.
        encoding: Encoding = (info.encoding if info else None) or "o200k_base"
        counts = self.token_counts(encoding)
        made = estimate(model, info, counts, n_epochs, batch_size=batch_size, embedded=embedded)
        if not forecast:
            return made
        return foretold(made, counts, batch_size=batch_size, method=_METHODS.get(self.format, "supervised"))

    def check(
        self,
        model: str | None = None,
        *,
        split: Literal["train", "validation", "test"] = "train",
        privacy: bool = False,
    ) -> CheckReport:
        """Check one file, see `ragtune.check_file`.

        Args:
            model: base model to check for; None leaves out the rules that depend on it.
            split: which file.
            privacy: report secrets and personal data, too: keys, passwords, e-mail, telephone, IBAN, card numbers.

        Raises:
            DatasetError: this split is empty.
            MissingExtraError: `privacy` without the extra `privacy`.
        """
        chosen: Split = getattr(self, arguments.one_of("split", split, SPLIT_NAMES))
        if chosen.path is None:
            held = ", ".join(found.name for found in self.splits)
            raise DatasetError(f"the split {split!r} is empty; this dataset has {held}")
        return self._checked(chosen, model=model, privacy=privacy)

    def _checked(self, split: Split, *, model: str | None = None, privacy: bool = False) -> CheckReport:
        assert split.path is not None
        # A job needs so many to train on; nobody trains on the other files.
        least = MIN_EXAMPLES if split is self.train else 1
        return check_file(split.path, format=self.format, model=model, min_examples=least, privacy=privacy)

    def private_data(self, limit: int = 1_000) -> tuple[PrivateText, ...]:
        """Secrets and personal data in the records of all splits: the old spelling of `check(privacy=True)`.

        Args:
            limit: stop after so many findings.

        Raises:
            MissingExtraError: the extra `privacy` is not installed.
        """
        warn("Dataset.private_data() is deprecated; use Dataset.check(privacy=True)", DeprecationWarning)
        return private_texts(self.splits, arguments.whole_number("limit", limit))

    def overlap(self, other: Dataset | None = None) -> Overlap:
        """What the files share: whole texts, exactly and normalised, and runs of thirteen words, by speaker.

        Questions count at any length, other texts from five words on, system prompts and the constant words of a
        template never.

        Args:
            other: look for the texts of this dataset in the files of that one; None compares this dataset's own files.
        """
        if other is not None:
            arguments.instance("other", other, Dataset, "Dataset.load(folder) opens one")
        searched = self if other is None else other
        mark = "" if other is None else "other "
        return find_overlap(
            {split.name: split._numbers for split in self.splits},
            {f"{mark}{split.name}": split._numbers for split in searched.splits},
            ignored=constants(self.manifest),
        )

    @classmethod
    def load(cls, folder: str | Path) -> Dataset:
        """Open a dataset that was built before.

        Raises:
            DatasetError: the folder holds no whole dataset, its manifest is damaged, or a file was changed since.
        """
        folder = arguments.path("folder", folder)
        # A replacement that was cut off is finished first: what is opened is the old dataset or the new one.
        settle(folder)
        try:
            manifest = read_manifest(folder / MANIFEST)
        except OSError as error:
            raise DatasetError(
                f"{folder} holds no dataset ({MANIFEST}: {error.strerror}); build one there, "
                f"or open finished files with Dataset.from_files"
            ) from error
        dataset = dataset_of(folder, manifest)
        for split in dataset.splits:
            assert split.path is not None
            found = read_split(split.name, split.path, split.format)
            for fact in ("sha256", "bytes", "rows"):
                refuse_changed(split.path, fact, getattr(split, fact), getattr(found, fact))
        refuse_changed_row_maps(folder, manifest)
        return dataset

    @classmethod
    def from_files(
        cls,
        train: str | Path,
        validation: str | Path | None = None,
        test: str | Path | None = None,
        *,
        format: RecordFormat | None = None,
    ) -> Dataset:
        """Take finished JSONL files that were made elsewhere, as they are.

        Args:
            train: the training file.
            validation: the validation file, if there is one.
            test: the test file, if there is one.
            format: the record kind; None takes it from the first line of the training file.

        Raises:
            DatasetError: a file is missing, is a folder or is empty, or its first line is no record. Further problems
                are found by `check`.
        """
        given = {"train": train, "validation": validation, "test": test}
        paths = {name: None if path is None else arguments.path(name, path).absolute() for name, path in given.items()}
        first = arguments.path("train", train).absolute()
        if format is not None:
            arguments.one_of("format", format, FORMATS)
        kind = format or format_of_file(first)
        splits = {
            name: Split(name=name, format=kind) if path is None else read_split(name, path, kind)
            for name, path in paths.items()
        }
        return cls(
            folder=first.parent,
            format=kind,
            fingerprint=fingerprint(kind, splits),
            train=splits["train"],
            validation=splits["validation"],
            test=splits["test"],
        )


def dataset_of(
    folder: Path, manifest: Mapping[str, Any], *, token_counts: Mapping[Encoding, tuple[int, ...]] | None = None
) -> Dataset:
    """The dataset that a manifest describes; its files are not read.

    Args:
        folder: where the files are.
        manifest: the manifest.
        token_counts: of the training examples, where somebody counted them already.
    """
    splits: dict[str, Split] = {}
    # A program may change its directory before it reads what is there.
    folder = folder.absolute()
    for name in SPLIT_NAMES:
        facts = dict(manifest["files"].get(name, {}))
        path = folder / facts.pop("name") if facts else None
        splits[name] = Split(name=name, format=manifest["format"], path=path, **facts)
    dataset = Dataset(
        folder=folder,
        format=manifest["format"],
        fingerprint=fingerprint(manifest["format"], splits),
        manifest=manifest,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
    )
    # Into a dict that fills up later: the dataset itself is frozen.
    dataset._token_counts.update(token_counts or {})
    return dataset


def _split_table(dataset: Dataset) -> str:
    """The files of a dataset; nothing is read for it."""
    facts = {"folder": dataset.folder, "records": dataset.format, "fingerprint": dataset.fingerprint[:16]}
    rows: list[Sequence[object]] = [(cell(key, tag="th"), cell(value, colspan="3")) for key, value in facts.items()]
    rows.append([cell(name, tag="th") for name in ("split", "records", "bytes", "sha256")])
    rows += [(split.name, f"{split.rows:,}", f"{split.bytes:,}", str(split.sha256)[:16]) for split in dataset.splits]
    return table(rows)


def fingerprint(format: RecordFormat, splits: Mapping[str, Split]) -> str:
    """One sha256 over the content and order of all splits."""
    # Contents alone, neither folder nor time: the same dataset has the same name on every machine.
    lines = [f"{name} {splits[name].rows} {splits[name].sha256}" for name in SPLIT_NAMES if splits[name].rows]
    return hashlib.sha256("\n".join([format, *lines]).encode()).hexdigest()
