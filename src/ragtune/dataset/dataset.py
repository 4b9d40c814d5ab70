"""A finished dataset: up to three files of records, and everything that can be said about them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from ragtune import catalog
from ragtune.checks import MIN_EXAMPLES, CheckReport, check_file, open_training_file
from ragtune.dataset.cost import CostEstimate, estimate
from ragtune.dataset.folder import MANIFEST
from ragtune.dataset.functions import system_of
from ragtune.dataset.overlap import FieldNumbers, Overlap, constants, find_overlap, numbers_of_lines
from ragtune.dataset.private import PrivateText, private_texts
from ragtune.dataset.report import DatasetReport
from ragtune.errors import DatasetError, RecordError
from ragtune.records import RecordFormat, detect_format, parse_record
from ragtune.tokens import RecordCounter, record_counter

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterator, Mapping, Sequence

    import datasets
    import pandas as pd

    from ragtune.catalog import Catalog, Encoding
    from ragtune.records import AnyRecord
    from ragtune.tokens import TokenCounter

_COUNTED_AT_ONCE = 1_024
_SAMPLES = 5
# All count in o200k_base, so one pass over the file prices them all.
_PRICED = ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06", "gpt-4.1-mini-2025-04-14", "gpt-4.1-2025-04-14")
SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Split:
    """One file of a dataset; an unused split is empty and has no path.

    Iterating reads one record at a time, `len()` counts them.

    Attributes:
        name: `train`, `validation` or `test`.
        path: the JSONL file, None when the split is empty.
        sha256: of the file's bytes, None when the split is empty.
        bytes: size of the file.
        rows: number of records, the same as `len()`.

    Example:
        ```python
        import ragtune as rt

        rows = [{"question": f"What is {n} + 1?", "answer": f"{n + 1}"} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}").build("out")
        print(len(dataset.train), len(dataset.test), next(iter(dataset.train)).messages[0].text)
        #> 12 0 What is 0 + 1?
        ```
    """

    name: str
    format: RecordFormat
    path: Path | None = None
    sha256: str | None = None
    bytes: int = 0
    rows: int = 0

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[AnyRecord]:
        for number, line in self._lines():
            try:
                yield parse_record(line, self.format)
            except RecordError as error:
                raise RecordError(f"{self.path} line {number}: {error}") from None

    def _lines(self) -> Iterator[tuple[int, builtins.bytes]]:
        if self.path is None:
            return
        with open_training_file(self.path) as file:
            for number, line in enumerate(file, 1):
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not line.isspace():
                    yield number, line

    def _numbers(self) -> Iterator[Mapping[str, FieldNumbers]]:
        return numbers_of_lines(line for _, line in self._lines())

    def to_pandas(self) -> pd.DataFrame:
        """The records as a data frame with one column per key; holds the whole split in memory."""
        import pandas as pd

        return pd.DataFrame([orjson.loads(line) for _, line in self._lines()])

    def to_hf(self) -> datasets.Dataset:
        """The records as a `datasets.Dataset`; holds the whole split in memory."""
        import datasets as hf

        return hf.Dataset.from_list([orjson.loads(line) for _, line in self._lines()])


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
        built = self.manifest.get("rows", {})
        return DatasetReport(
            format=self.format,
            read=built.get("read"),
            dropped=built.get("dropped", {}),
            gaps=self.manifest.get("gaps", {}),
            rows={split.name: split.rows for split in (self.train, self.validation, self.test)},
            tokens=sum(counts),
            longest=max(counts, default=0),
            encoding="o200k_base",
            checks={
                split.name: check_file(
                    split.path, format=self.format, min_examples=MIN_EXAMPLES if split is self.train else 1
                )
                for split in self.splits
                if split.path
            },
            overlap=self._shared(),
            lengths=counts,
            costs=tuple(self.cost(model) for model in _PRICED),
            samples=self._samples(),
        )

    def _repr_html_(self) -> str:
        from ragtune.dataset.page import split_table

        return split_table(self)

    def _shared(self) -> Mapping[str, Any] | None:
        if self.manifest:
            known: Mapping[str, Any] | None = self.manifest.get("overlap")
            return known
        return self.overlap().to_dict() if len(self.splits) > 1 else None

    def _samples(self) -> tuple[AnyRecord, ...]:
        try:
            return tuple(islice(self.train, _SAMPLES))
        except RecordError:
            # The problems in the report say what is wrong with these lines.
            return ()

    def token_counts(self, encoding: Encoding, counter: TokenCounter | None = None) -> tuple[int, ...]:
        """Tokens of each training example, in file order; counted once per encoding.

        Lines that are no records count nothing: `check` names them.

        Args:
            encoding: the vocabulary.
            counter: a faster exact counter; None takes tiktoken.

        Raises:
            SpecError: the counter counts otherwise than tiktoken.
        """
        known = self._token_counts
        if encoding not in known:
            known[encoding] = tuple(self._count(record_counter(encoding, counter)))
        return known[encoding]

    @cached_property
    def _token_counts(self) -> dict[str, tuple[int, ...]]:
        return {}

    def remember_tokens(self, encoding: Encoding, counts: Sequence[int]) -> None:
        """Take the tokens of each training example from whoever counted them already."""
        self._token_counts[encoding] = tuple(counts)

    def _count(self, counter: RecordCounter) -> Iterator[int]:
        lines = (line for _, line in self.train._lines())
        while batch := list(islice(lines, _COUNTED_AT_ONCE)):
            try:
                yield from counter.count([orjson.loads(line) for line in batch])
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                yield from (_count_line(line, counter) for line in batch)

    def cost(
        self, model: str, n_epochs: int | Literal["auto"] = "auto", *, catalogue: Catalog | None = None
    ) -> CostEstimate:
        """What training on this dataset costs.

        Args:
            model: base model, or a fine-tune of it.
            n_epochs: passes over the training file, 1 to 50, or `"auto"`.
            catalogue: prices; None takes those that ship with this version.

        Raises:
            SpecError: the epochs are out of range.
        """
        info = (catalogue or catalog.load()).find(model)
        encoding: Encoding = (info.encoding if info else None) or "o200k_base"
        return estimate(model, info, self.token_counts(encoding), n_epochs)

    def check(self, model: str | None = None) -> CheckReport:
        """Check the training file, see `ragtune.check_file`."""
        assert self.train.path is not None
        return check_file(self.train.path, format=self.format, model=model)

    def private_data(self, limit: int = 1_000) -> tuple[PrivateText, ...]:
        """Secrets and personal data in the records: keys, passwords, e-mail, telephone, IBAN, card numbers.

        Args:
            limit: stop after so many findings.

        Raises:
            MissingExtraError: the extra `privacy` is not installed.
        """
        return private_texts(self, limit)

    def overlap(self, other: Dataset | None = None) -> Overlap:
        """What the files share: whole texts, exactly and normalised, and runs of thirteen words, by speaker.

        Questions count at any length, other texts from five words on, system prompts and the constant words of a
        template never.

        Args:
            other: look for the texts of this dataset in the files of that one; None compares this dataset's own files.
        """
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
            DatasetError: the folder holds no whole dataset, or a file was changed since.
        """
        folder = Path(folder)
        try:
            manifest = orjson.loads((folder / MANIFEST).read_bytes())
        except OSError as error:
            raise DatasetError(
                f"{folder} holds no dataset ({MANIFEST}: {error.strerror}); build one there, "
                f"or open finished files with Dataset.from_files"
            ) from error
        except orjson.JSONDecodeError as error:
            raise DatasetError(f"{folder / MANIFEST} is damaged: {error}; build the dataset again") from error
        dataset = cls.from_manifest(folder, manifest)
        for split in dataset.splits:
            assert split.path is not None
            found = _split(split.name, split.path, split.format).sha256
            if found != split.sha256:
                raise DatasetError(
                    f"{split.path} was changed after the build (its sha256 differs from the manifest); "
                    f"build again, or open it with Dataset.from_files"
                )
        return dataset

    @classmethod
    def from_manifest(cls, folder: Path, manifest: Mapping[str, Any]) -> Dataset:
        """The dataset that a manifest describes; its files are not read."""
        splits: dict[str, Split] = {}
        for name in SPLIT_NAMES:
            facts = dict(manifest["files"].get(name, {}))
            path = folder / facts.pop("name") if facts else None
            splits[name] = Split(name=name, format=manifest["format"], path=path, **facts)
        return cls(
            folder=folder,
            format=manifest["format"],
            fingerprint=fingerprint(manifest["format"], splits),
            manifest=manifest,
            train=splits["train"],
            validation=splits["validation"],
            test=splits["test"],
        )

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
        kind = format or _format_of_file(Path(train))
        given = {"train": train, "validation": validation, "test": test}
        splits = {
            name: Split(name=name, format=kind) if path is None else _split(name, Path(path), kind)
            for name, path in given.items()
        }
        return cls(
            folder=Path(train).parent,
            format=kind,
            fingerprint=fingerprint(kind, splits),
            train=splits["train"],
            validation=splits["validation"],
            test=splits["test"],
        )


def _count_line(line: bytes, counter: RecordCounter) -> int:
    try:
        return counter.count([orjson.loads(line)])[0]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return 0


def fingerprint(format: RecordFormat, splits: Mapping[str, Split]) -> str:
    """One sha256 over the content and order of all splits."""
    lines = [f"{name} {splits[name].rows} {splits[name].sha256}" for name in SPLIT_NAMES if splits[name].rows]
    return hashlib.sha256("\n".join([format, *lines]).encode()).hexdigest()


def _split(name: str, path: Path, format: RecordFormat) -> Split:
    digest = hashlib.sha256()
    size = rows = 0
    with open_training_file(path) as file:
        for line in file:
            digest.update(line)
            size += len(line)
            rows += not line.isspace()
    return Split(name=name, format=format, path=path, sha256=digest.hexdigest(), bytes=size, rows=rows)


def _format_of_file(path: Path) -> RecordFormat:
    with open_training_file(path) as file:
        for line in file:
            line = line.removeprefix(b"\xef\xbb\xbf")
            if line.isspace() or not line:
                continue
            try:
                data = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DatasetError(f"{path} line 1 is not JSON: {error}; check_file lists all problems") from None
            found = detect_format(data) if isinstance(data, dict) else None
            if found is None:
                raise DatasetError(f"{path} line 1 is no training record: {line[:80]!r}; build records from such rows")
            return found
    raise DatasetError(f"{path} is empty; give a file with one record per line")
