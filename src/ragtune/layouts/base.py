"""What a layout is: the keys it knows, what it gives, and how it tells that a row is not one of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ragtune import _arguments as arguments
from ragtune.errors import DatasetError, RecordError
from ragtune.records import AnyRecord, RecordFormat

Row = Mapping[str, object]
Converted = AnyRecord | dict[str, Any]
LayoutKind = RecordFormat | Literal["rows"]


class MisfitError(ValueError):
    """A value inside a row is not what its layout needs there; the public functions turn it into a `DatasetError`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySet:
    """The exact keys of one spelling of a layout.

    Attributes:
        required: keys that a row must have with a value other than None.
        optional: keys that are used where they have a value.
        ignored: keys of well-known datasets that carry no training text: ids, scores, rendered prompts.
        convert: turns a row with these keys into its records or plain rows.

    Example:
        ```python
        from ragtune.layouts import get_layout

        keys = get_layout("alpaca").keys[0]
        print(sorted(keys.required), sorted(keys.optional))
        #> ['instruction', 'output'] ['history', 'input', 'system']
        ```
    """

    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    convert: Callable[[Row], Iterator[Converted]]

    @property
    def known(self) -> frozenset[str]:
        """Every key that a row with this spelling may have."""
        return self.required | self.optional | self.ignored


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How well a row's keys fit one spelling of a layout.

    Attributes:
        layout: name of the layout.
        missing: required keys that the row lacks, sorted.
        unknown: keys of the row that the layout does not know, sorted.

    Example:
        ```python
        from ragtune.layouts import detect

        print(detect({"instruction": "Add 7 and 5.", "answer": "12"})[0])
        #> alpaca (missing: 'output'; not known: 'answer')
        ```
    """

    layout: str
    missing: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether the row has every required key and none that is unknown."""
        return not self.missing and not self.unknown

    def __str__(self) -> str:
        lacks = f"missing: {', '.join(map(repr, self.missing))}" if self.missing else ""
        extra = f"not known: {', '.join(map(repr, self.unknown))}" if self.unknown else ""
        reasons = "; ".join(filter(None, (lacks, extra)))
        return f"{self.layout} ({reasons})" if reasons else self.layout


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A spelling of training data that people have, and the way to plain rows or typed records.

    Attributes:
        name: what `get_layout` calls it.
        about: one sentence.
        kind: what `convert` yields: a record format, or `rows` for plain rows that still need a template.
        keys: its spellings; a row must have exactly the keys of one of them.

    Example:
        ```python
        from ragtune.layouts import get_layout

        alpaca = get_layout("alpaca")
        record = next(alpaca.convert({"instruction": "Capital?", "input": "", "output": "Oslo"}))
        print([message.text for message in record.messages])
        #> ['Capital?', 'Oslo']
        ```
    """

    name: str
    about: str
    kind: LayoutKind
    keys: tuple[KeySet, ...]

    def convert(self, row: Row, *, number: int | None = None, ignore: Collection[str] = ()) -> Iterator[Converted]:
        """Turn one row into its records or plain rows.

        Keys whose value is None count as absent, because tables store an absent key that way.

        Args:
            row: the row as its source has it; it is not changed.
            number: the row's number for messages, as the caller counts; None leaves it out.
            ignore: further keys of the row that carry nothing to train on.

        Raises:
            DatasetError: the keys are not the layout's, or a value inside is not what it needs; the message names the
                row, the key and the way out.
        """
        present = without_none(row)
        for key in arguments.texts("ignore", ignore):
            present.pop(key, None)
        where = f"layout {self.name!r}" + ("" if number is None else f", row {number}")
        keys = self._spelling(present, where)
        try:
            yield from keys.convert(present)
        except MisfitError as misfit:
            place = f", {misfit.path}" if misfit.path else ""
            # Only here is known which layout and row it was; a converter knows no more than the place inside.
            raise DatasetError(f"{where}{place}: {misfit.message}") from None
        except RecordError as error:
            raise DatasetError(f"{where}: the {self.kind} record that it gives breaks a rule: {error}") from error

    def fits(self, row: Row) -> tuple[Fit, ...]:
        """How well the row's keys fit each spelling, in the order of `keys`."""
        found = frozenset(without_none(row))
        return tuple(
            Fit(
                layout=self.name,
                missing=tuple(sorted(keys.required - found)),
                unknown=tuple(sorted(found - keys.known)),
            )
            for keys in self.keys
        )

    def _spelling(self, present: Row, where: str) -> KeySet:
        fits = self.fits(present)
        for keys, fit in zip(self.keys, fits, strict=True):
            # Nothing unknown may be left over: a key that nobody reads could hold half of what is to be learned.
            if fit.exact:
                return keys
        spellings = "; or ".join(", ".join(map(repr, sorted(keys.required))) for keys in self.keys)
        best = min(fits, key=closeness)
        way_out = (
            f"pass ignore={list(best.unknown)!r} if they carry nothing to train on"
            if not best.missing
            else f"it needs {spellings}"
        )
        raise DatasetError(f"{where}: keys found: {key_list(present)}; {best}; {way_out}")


def closeness(fit: Fit) -> tuple[int, int]:
    """The sort key of fits: what is missing weighs more than what is unknown."""
    return len(fit.missing), len(fit.unknown)


def key_list(row: Row) -> str:
    """The row's keys as a message shows them."""
    return ", ".join(map(repr, row)) or "none"


def without_none(row: Row) -> dict[str, object]:
    """The entries of a mapping that have a value.

    Raises:
        DatasetError: it is no mapping.
    """
    if not isinstance(row, Mapping):
        raise DatasetError(f"a row is a mapping of keys to values, got {type(row).__name__} {short(row)}")
    # Tables give every row every column: None is their word for a key that is not there.
    return {key: value for key, value in row.items() if value is not None}


def short(value: object, *, limit: int = 60) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def text_at(value: object, path: str) -> str:
    """The value itself, when it is text."""
    if not isinstance(value, str):
        raise MisfitError(path, f"must be text, got {short(value)}")
    return value


def list_at(value: object, path: str) -> list[object]:
    """The value as a list: lists, tuples and the arrays that pandas and numpy hold."""
    if isinstance(value, list):
        return value
    if isinstance(value, tuple):
        return list(value)
    # Asked for by its method: numpy need not be there, and is not imported for it.
    # A single number of NumPy has the method as well, and gives no list.
    if hasattr(value, "tolist") and isinstance(values := value.tolist(), list):
        return values
    raise MisfitError(path, f"must be a list, got {short(value)}")


def mapping_at(value: object, path: str) -> dict[str, object]:
    """The value as a dict without absent entries."""
    if not isinstance(value, Mapping):
        raise MisfitError(path, f"must be an object, got {short(value)}")
    return without_none(value)


def is_list(value: object) -> bool:
    """Whether `list_at` takes the value."""
    return isinstance(value, list | tuple) or (hasattr(value, "tolist") and isinstance(value.tolist(), list))
