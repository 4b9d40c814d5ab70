"""From records back to the tables of other libraries, so that nothing is added or changed on the way."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any

from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import datasets

    from ragtune.records import JsonObject


def columns_of(records: Sequence[JsonObject]) -> dict[str, list[Any]]:
    """The values of each key that a record has, None where one lacks it."""
    names = dict.fromkeys(chain.from_iterable(records))
    return {name: [record.get(name) for record in records] for name in names}


def as_dataset(columns: Mapping[str, list[Any]]) -> datasets.Dataset:
    """A `datasets.Dataset` whose rows are these values.

    Raises:
        DatasetError: it cannot hold one of them.
    """
    import datasets as hf

    found = [_as_arrow(name, values) or _as_json(name, values) for name, values in columns.items()]
    return hf.concatenate_datasets(found, axis=1) if found else hf.Dataset.from_dict({})


def _as_arrow(name: str, values: list[Any]) -> datasets.Dataset | None:
    """The column as Arrow stores it; None where it would come back changed."""
    import datasets as hf
    import pyarrow as pa

    try:
        column = hf.Dataset.from_dict({name: values})
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None
    # Read back and compared: Arrow fills objects up, and changes some values, without a word.
    return column if column[name][:] == values else None


def _as_json(name: str, values: list[Any]) -> datasets.Dataset:
    import datasets as hf

    # Written here: the feature would take a text that happens to be JSON for the value of it.
    if all(value is None or isinstance(value, list) for value in values):
        texts: list[Any] = [None if value is None else list(map(json.dumps, value)) for value in values]
        features = hf.Features({name: hf.List(hf.Json())})
    else:
        texts = [None if value is None else json.dumps(value) for value in values]
        features = hf.Features({name: hf.Json()})
    column = hf.Dataset.from_dict({name: texts}, features=features)
    if column[name][:] != values:
        # Its JSON knows no whole numbers beyond 64 bits.
        raise DatasetError(f"{name!r} holds values that a datasets.Dataset cannot hold; use to_pandas()")
    return column
