"""Features of `datasets` inside Arrow schemas: what is stored in one way and shown in another."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

_METADATA = b"huggingface"
_TYPE = re.compile(rb'"_type": ?"(\w+)"')
# Those that are shown as Arrow shows them; to look here saves the import of datasets.
_AS_STORED = frozenset(
    b"Value ClassLabel List LargeList Sequence Translation TranslationVariableLanguages "
    b"Array2D Array3D Array4D Array5D".split()
)


def shown_otherwise(schema: pa.Schema) -> Mapping[str, Any]:
    """The features of the columns whose values `datasets` does not show as Arrow stores them, such as Json and Image.

    Empty where `datasets` did not write the schema.
    """
    noted = (schema.metadata or {}).get(_METADATA, b"")
    return _decoding(schema) if not set(_TYPE.findall(noted)) <= _AS_STORED else {}


@lru_cache(maxsize=16)
def _decoding(schema: pa.Schema) -> Mapping[str, Any]:
    import datasets as hf
    from datasets.features.features import require_decoding

    features = hf.Features.from_arrow_schema(schema)
    return {name: feature for name, feature in features.items() if require_decoding(feature)}


def decoded(values: Sequence[Any], name: str, feature: Any) -> list[Any]:
    """Stored values of a column as `datasets` shows them.

    Raises:
        DatasetError: one of them cannot be decoded, or what decodes it is not installed.
    """
    import datasets as hf

    features = hf.Features({name: feature})
    shown: list[Any] = []
    for value in values:
        try:
            shown.append(None if value is None else features.decode_example({name: value})[name])
        except Exception as error:
            # Each kind of media raises its own types: of Pillow, of torchcodec, of the file system.
            kind = type(feature).__name__
            raise DatasetError(
                f"column {name!r}: a value cannot be shown as {kind}: {str(error)[:200] or type(error).__name__}; "
                f"take it as it is stored with dataset.cast_column({name!r}, datasets.{kind}(decode=False)), "
                f"or leave the column out with dataset.remove_columns({name!r})"
            ) from error
    return shown


def without_padding(values: Sequence[Any], kind: pa.DataType) -> Sequence[Any]:
    """Values of a column without the None entries with which Arrow fills structs that lack a key.

    Lists keep theirs, and what is stored as JSON is what somebody wrote.
    """
    sparse = _sparse(kind)
    return values if sparse is None else [sparse(value) for value in values]


@lru_cache(maxsize=256)
def _sparse(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """What takes the padding out of one value; None where this type has no structs inside."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        inner = {field.name: _sparse(field.type) for field in kind.fields}
        # What was decoded is something else by now, an image for example.
        return lambda value: _filled_entries(value, inner) if isinstance(value, dict) else value
    if isinstance(kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType | pa.ListViewType | pa.LargeListViewType):
        item = _sparse(kind.value_type)
        if item is not None:
            return lambda value: [item(each) for each in value] if isinstance(value, list) else value
    return None


def _filled_entries(value: Mapping[str, Any], inner: Mapping[str, Callable[[Any], Any] | None]) -> dict[str, Any]:
    found = {}
    for key, entry in value.items():
        if entry is not None:
            sparse = inner[key]
            found[key] = entry if sparse is None else sparse(entry)
    return found
