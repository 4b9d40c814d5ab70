"""Rows from what people said about answers, over the rows of the dataset before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from ragtune import _arguments as arguments
from ragtune._warn import warn
from ragtune.dataset.bad_rows import BadRows
from ragtune.dataset.leakage.held_out import HeldOut
from ragtune.dataset.sources.readers import Source, batched_rows
from ragtune.errors import DatasetError
from ragtune.feedback import FeedbackStore
from ragtune.feedback.compiling import Compiled, Method, compile_rows
from ragtune.feedback.talk import form_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ragtune.facts import FactSet

__all__ = ["Finished", "as_record", "feedback_source"]

_FORMAT_OF_METHOD: dict[Method, str] = {"supervised": "chat", "preference": "preference", "kto": "unpaired"}


class _Lines(Protocol):
    @property
    def name(self) -> str:
        """`train`, `validation` or `test`."""

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Its lines with their numbers."""


# A protocol: `dataset` stands above its sources.
class Finished(Protocol):
    """A dataset that was built: `ragtune.Dataset` is one."""

    @property
    def folder(self) -> Path:
        """Where it is."""

    @property
    def format(self) -> Any:
        """The kind of its records."""

    @property
    def fingerprint(self) -> str:
        """Names its content."""

    @property
    def system(self) -> str | None:
        """The one system prompt of its records; None where there is none or it varies."""

    @property
    def train(self) -> _Lines:
        """What was learned."""

    @property
    def splits(self) -> Sequence[_Lines]:
        """Its files that hold records."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    record: Mapping[str, Any]
    people: tuple[str, ...] = ()


def feedback_source(
    store: FeedbackStore, previous: Finished | None, method: Method, *, held_out: FactSet | None = None
) -> Source:
    """Rows with one finished `record` each: first what people said, then what the dataset before has beside it.

    Raises:
        DatasetError: the dataset before is of another kind than the method makes, or what people said holds a question
            that an evaluation holds out.
        FeedbackError: the file cannot be read.
    """
    arguments.instance("store", store, FeedbackStore, 'rt.FeedbackStore("feedback.sqlite3") opens one')
    if method not in tuple(_FORMAT_OF_METHOD):
        raise DatasetError(f"method={method!r} must be 'supervised', 'preference' or 'kto'")
    if previous is not None and not hasattr(previous, "splits"):
        raise DatasetError(f"previous={previous!r:.60} must be a dataset; rt.Dataset.load(folder) opens one")
    if previous is not None and previous.format != _FORMAT_OF_METHOD[method]:
        raise DatasetError(
            f"previous: its records are of the format {previous.format}, and {method} feedback makes "
            f"{_FORMAT_OF_METHOD[method]} records; pass a dataset of that kind, or build two and train one after "
            "the other"
        )
    # Now and not when rows are read: what people say meanwhile would make the second reading another one.
    compiled = compile_rows(store.rows(), method=method)
    if held_out is not None and (questions := HeldOut.of(held_out)) is not None:
        _refuse_held_out(compiled, questions)
    rows = [
        _Row(record=_record(row, method), people=tuple(row["by"]))  # type: ignore[arg-type]
        for row in compiled.rows
    ]
    kept: list[_Row] = []
    given_way = 0
    if previous is not None:
        # What people say of a question now goes before what the dataset before taught about it.
        spoken_about = {_asked(row.record) for row in rows}
        before = list(_staying(store, previous))
        kept = [row for row in before if _asked(row.record) not in spoken_about]
        given_way = len(before) - len(kept)
        _warn_of_other_systems(compiled, previous)
    every = [*rows, *kept]

    def built(dataset: Finished) -> None:
        store.built(dataset.fingerprint, dataset.folder, _lines_of(dataset, every))

    return Source(
        name=str(store.path),
        details=_details(store, compiled, method, previous, kept=len(kept), given_way=given_way),
        read=lambda: batched_rows(({"record": row.record} for row in every), str(store.path)),
        paths=(store.path,) if store.path.exists() else (),
        built=built,
    )


def as_record(row: Mapping[str, Any]) -> object:
    """The finished record of a row.

    Raises:
        DatasetError: a step before took it away.
    """
    if "record" not in row:
        raise DatasetError(f"the column 'record', which holds the finished record, is gone; there are {', '.join(row)}")
    return row["record"]


def _staying(store: FeedbackStore, previous: Finished) -> Iterator[_Row]:
    """The training records of the dataset before, but for those of people who left."""
    gone, people = store.withdrawn(), store.people_of(previous.fingerprint)
    for _, line in previous.train.lines():
        digest = digest_of_line(line)
        if digest not in gone:
            yield _Row(record=orjson.loads(line), people=people.get(digest, ()))


def _warn_of_other_systems(compiled: Compiled, previous: Finished) -> None:
    """A model of records with and without a prompt is asked with none, which nobody may have meant."""
    usual = previous.system
    others = sum((row["system"] or None) != usual for row in compiled.rows)
    if usual is not None and others:
        warn(
            f"{others} of {len(compiled.rows)} rows that people spoke about have not the system prompt of the dataset "
            f"before ({usual!r:.60}), so that a model of all of them is asked without one; say system= (a column "
            "'system' in a file) with what people say"
        )


def _refuse_held_out(compiled: Compiled, held_out: HeldOut) -> None:
    """Refuse what would teach a question of the evaluation.

    Raises:
        BadRowsError: some row would; the message says of which answers it is made.
    """
    bad = BadRows()
    for row in compiled.rows:
        said = [(name, str(row.get(name) or "")) for name in ("question", "answer", "rejected")]
        turns: Any = row["history"]
        for name, text in [*said, *(("history", turn["content"]) for turn in turns)]:
            for told in held_out.found(text):
                bad.add(
                    f"{row['source']}, {name}: it holds {told}; take the answer out with store.remove(number), or hold "
                    f"out other wordings, for example held_out=facts.select('reworded')"
                )
    bad.refuse()


def _record(row: Mapping[str, Any], method: Method) -> dict[str, Any]:
    system = [{"role": "system", "content": row["system"]}] if row["system"] else []
    # Nobody judged what the model said earlier: it is read, not learned.
    unjudged = {"weight": 0} if method == "supervised" else {}
    before = [turn | (unjudged if turn["role"] == "assistant" else {}) for turn in row["history"]]
    asked = [*system, *before, {"role": "user", "content": row["question"]}]
    right = {"role": "assistant", "content": row["answer"]}
    if method == "supervised":
        return {"messages": [*asked, right]}
    if method == "kto":
        return {"prompt": asked, "completion": [right], "label": row["label"]}
    wrong = {"role": "assistant", "content": row["rejected"]}
    return {"input": {"messages": asked}, "preferred_output": [right], "non_preferred_output": [wrong]}


def _asked(record: Mapping[str, Any]) -> Hashable:
    """The talk before the last answer of a record, in normal form."""
    messages = record.get("messages") or record.get("prompt") or record.get("input", {}).get("messages") or []
    last = max((place for place, one in enumerate(messages) if one.get("role") == "user"), default=-1)
    return form_of(messages[: last + 1])


def _lines_of(dataset: Finished, rows: Sequence[_Row]) -> Iterator[tuple[str, str]]:
    """Each line of the files whose row somebody stands behind, with that person."""
    for split in dataset.splits:
        told = (dataset.folder / f"{split.name}.rows.txt").read_bytes().splitlines()
        for (_, line), row in zip(split.lines(), told, strict=True):
            number, _, _ = row.partition(b" ")
            # The map numbers the rows as `read` gave them, so its numbers are places in this list, whatever steps came
            # between.
            for person in rows[int(number)].people:
                yield digest_of_line(line), person


def digest_of_line(line: bytes) -> str:
    """By what a store knows a line again."""
    return hashlib.sha256(line.rstrip(b"\r\n")).hexdigest()


def _details(
    store: FeedbackStore, compiled: Compiled, method: Method, previous: Finished | None, *, kept: int, given_way: int
) -> dict[str, object]:
    before = (
        {}
        if previous is None
        else {"previous": previous.fingerprint, "previous_rows": kept, "previous_rows_given_way": given_way}
    )
    return {
        "kind": "feedback",
        "file": store.path.name,
        "method": method,
        "feedback_rows": len(compiled.rows),
        "disagreements": len(compiled.disagreements),
        "doubts": len(compiled.doubts),
        **before,
    }
