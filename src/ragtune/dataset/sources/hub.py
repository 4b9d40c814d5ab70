"""Rows of Hugging Face `datasets`: one that is in memory or on disk, a stream, or a repository on the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ragtune.dataset.render.batches import BATCH_ROWS, ArrowBatch, Batch
from ragtune.dataset.sources.memory_map import read_mapped
from ragtune.dataset.sources.readers import Source
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

_HUB_COMMIT = re.compile(r"hf://datasets/[^@]+@([0-9a-f]{40})/")
_LOCAL_WAYS = "from_json, from_jsonl, from_csv, from_parquet, from_pandas or from_rows"


def hf_source(
    dataset: datasets.Dataset | datasets.IterableDataset, *, details: Mapping[str, object] | None = None
) -> Source:
    """Rows from a `datasets.Dataset`, read as Arrow, or from an `IterableDataset`."""
    import datasets as hf

    if not isinstance(dataset, hf.Dataset | hf.IterableDataset):
        hint = '; choose a split, for example dataset["train"]' if isinstance(dataset, Mapping) else ""
        raise DatasetError(f"from_dataset takes a datasets.Dataset, got {type(dataset).__name__}{hint}")
    known = {"kind": "datasets", **(details or {}), **_resolved(dataset.info)}
    name = str(known.get("hub", "dataset"))
    if isinstance(dataset, hf.Dataset):
        # The fingerprint names the content and the steps that led to it.
        known.setdefault("fingerprint", dataset._fingerprint)
        return Source(name=name, details=known, read=lambda: _dataset_batches(dataset))
    return Source(name=name, details=known, read=lambda: _stream_batches(dataset))


def _dataset_batches(dataset: datasets.Dataset) -> Iterator[Batch]:
    shown = dataset.format
    if shown["type"] == "custom":
        # A transform of the user's own: what it gives, nobody knows before.
        return map(_of_columns, dataset.iter(BATCH_ROWS))
    # Formats put values into other containers, NumPy's or torch's, and choose columns.
    columns = dataset.column_names if shown["output_all_columns"] else shown["columns"]
    arrow = dataset.with_format("arrow", columns=columns)
    files = {file["filename"] for file in dataset.cache_files}
    noted = dataset.features.arrow_schema.metadata
    return (ArrowBatch(table.replace_schema_metadata(noted)) for table in read_mapped(arrow.iter(BATCH_ROWS), files))


def _stream_batches(dataset: datasets.IterableDataset) -> Iterator[Batch]:
    schema = None if dataset.features is None else dataset.features.arrow_schema
    # A stream has no transforms, and formats only put values into other containers.
    for columns in dataset.with_format(None).iter(BATCH_ROWS):
        known = schema if schema is not None and set(columns) <= set(schema.names) else None
        yield _of_columns(columns, known)


def _of_columns(columns: Mapping[str, Sequence[Any]], schema: pa.Schema | None = None) -> Batch:
    return Batch(tuple(columns), len(next(iter(columns.values()), ())), columns, schema)


def _resolved(info: datasets.DatasetInfo) -> dict[str, str]:
    """The commit on the hub that the rows come from, where `datasets` noted it beside the files that it fetched."""
    commits = {found[1] for url in info.download_checksums or () if (found := _HUB_COMMIT.match(str(url)))}
    return {"resolved_revision": commits.pop()} if len(commits) == 1 else {}


def hub_source(
    repository: str, *, split: str, name: str | None, revision: str | None, streaming: bool, token: str | None
) -> Source:
    """Rows from the Hugging Face hub.

    Raises:
        DatasetError: it cannot be loaded; the message names the local ways.
    """
    import datasets as hf

    try:
        dataset = hf.load_dataset(repository, name, split=split, revision=revision, streaming=streaming, token=token)
    except Exception as error:
        # The hub client raises many types for "no network", "no such repository" and "no such split".
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(
            f"{repository!r} (split {split!r}) cannot be loaded from the hub: {reason[:200]}; "
            f"without a network use a local file or rows: {_LOCAL_WAYS}"
        ) from error
    version = str(dataset.info.version) if dataset.info.version else None
    details = {
        "kind": "hub",
        "hub": repository,
        "config": name,
        "split": split,
        "revision": revision,
        "version": version,
    }
    return hf_source(dataset, details={key: value for key, value in details.items() if value is not None})
