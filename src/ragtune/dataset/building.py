"""The build itself: render, group, split, write, verify."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import orjson

import ragtune
from ragtune.dataset.filters import Tally
from ragtune.dataset.folder import MANIFEST, FileFacts, LineFile, new_folder, refuse_occupied
from ragtune.dataset.near import near_keys
from ragtune.dataset.overlap import Overlap, constants, fields_of_lines, find_overlap
from ragtune.dataset.splits import SPLITS, Grouping, SplitPlan, assign, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ragtune.dataset.batches import Selection
    from ragtune.records import RecordFormat

_COPY_LINES = 8_192


class Recipe(Protocol):
    """What a build needs of a builder."""

    def selections(self, tally: Tally, /) -> Iterator[Selection]:
        """The rows that are kept, batch by batch."""
        ...

    def described(self, tally: Tally, /) -> dict[str, Any]:
        """Source and steps for the manifest, with what each step dropped."""
        ...


class LineMaker(Protocol):
    """Makes the lines of selected rows, and the keys by which rows belong together."""

    @property
    def format(self) -> RecordFormat:
        """The record kind; known once lines were made."""
        ...

    @property
    def system(self) -> str | None:
        """The system prompt, when it is the same for all rows."""
        ...

    def lines(self, rows: Selection, /) -> bytes:
        """One line per row, each with its line feed and without other line separators."""
        ...

    def texts(self, rows: Selection, /) -> Iterator[Sequence[str]]:
        """The texts of each row's facts, without a template's constant words; asked after `lines`."""
        ...

    def keys(self, rows: Selection, /) -> list[list[int]]:
        """The keys of each row's facts; asked after `lines` for the same rows."""
        ...


def build_folder(
    recipe: Recipe,
    maker: LineMaker,
    folder: Path,
    *,
    plan: SplitPlan,
    overwrite: bool,
) -> dict[str, Any]:
    """Write the files of a dataset, its manifest last, and return the manifest."""
    refuse_occupied(folder, overwrite=overwrite)
    tally = Tally()
    with new_folder(folder, overwrite=overwrite) as workshop:
        overlap = None
        if plan.validation or plan.test:
            files, overlap = _write_splits(recipe, maker, workshop, tally, plan)
            if plan.shared_runs:
                overlap |= _shared(files, workshop, recipe.described(tally)).to_dict()
        else:
            files = _write_all(recipe, maker, workshop, tally)
        report = {"read": tally.read, "dropped": tally.dropped, "rows": {name: files[name].rows for name in files}}
        manifest = {
            "manifest": 1,
            "format": maker.format,
            **recipe.described(tally),
            "system": maker.system,
            "split": {
                "validation": plan.validation,
                "test": plan.test,
                "seed": plan.seed,
                "group_by": list(plan.group_by),
                "near_duplicates": plan.near_duplicates,
            },
            "rows": {"read": tally.read, "kept": sum(facts.rows for facts in files.values()), "dropped": tally.dropped},
            "files": {name: {"name": f"{name}.jsonl", **_facts(facts)} for name, facts in files.items()},
            "overlap": overlap,
            "versions": _versions(),
        }
        _write_json(workshop / "report.json", report)
        _write_json(workshop / MANIFEST, manifest)
    return manifest


def _write_all(recipe: Recipe, maker: LineMaker, workshop: Path, tally: Tally) -> dict[str, FileFacts]:
    file, origin = LineFile(workshop / "train.jsonl"), LineFile(workshop / "train.rows.txt")
    try:
        for rows in recipe.selections(tally):
            file.write(maker.lines(rows), len(rows))
            origin.write(_number_lines(rows), len(rows))
        facts = file.close()
        origin.close()
    finally:
        file.abandon()
        origin.abandon()
    if not facts.rows:
        tally.refuse_nothing_left()
    return {"train": facts}


def _write_splits(
    recipe: Recipe, maker: LineMaker, workshop: Path, tally: Tally, plan: SplitPlan
) -> tuple[dict[str, FileFacts], dict[str, Any]]:
    paths = [workshop / f"all.{ending}" for ending in ("jsonl", "rows", "keys", "wishes")]
    lines_path, origin_path, *_ = paths
    with ExitStack() as stack:
        lines_file, origin_file, keys_file, wishes_file = (stack.enter_context(path.open("wb")) for path in paths)
        grouping, wishes = Grouping(keys_file), Grouping(wishes_file)
        for rows in recipe.selections(tally):
            lines_file.write(maker.lines(rows))
            origin_file.write(_number_lines(rows))
            grouping.add(maker.keys(rows))
            if plan.group_by or plan.near_duplicates:
                wishes.add(_wished(maker, rows, plan))
        if not grouping.rows:
            tally.refuse_nothing_left()
        splits = assign(grouping.groups(wishes), plan)
        overlap = grouping.overlap(splits)
    chosen = splits.tolist()
    with lines_path.open("rb") as lines, origin_path.open("rb") as origin:
        facts = _distribute(lines, chosen, workshop, "jsonl")
        _distribute(origin, chosen, workshop, "rows.txt")
    for path in paths:
        path.unlink()
    return facts, overlap


def _shared(files: Iterable[str], workshop: Path, described: dict[str, Any]) -> Overlap:
    """What the written files share, field by field."""

    def fields(name: str) -> Iterator[Mapping[str, Sequence[str]]]:
        with (workshop / f"{name}.jsonl").open("rb") as lines:
            yield from fields_of_lines(lines)

    readers = {name: partial(fields, name) for name in files}
    return find_overlap(readers, readers, ignored=constants(described))


def _wished(maker: LineMaker, rows: Selection, plan: SplitPlan) -> list[list[int]]:
    """Keys of what the user wants to keep together as well: columns, near-duplicates."""
    keys = list(near_keys(list(maker.texts(rows)))) if plan.near_duplicates else [[] for _ in range(len(rows))]
    for name in plan.group_by:
        for own, value in zip(keys, rows.column(name), strict=True):
            own.append(key_of(f"{name}={value}".encode("utf-8", "surrogatepass")))
    return keys


def _distribute(lines: BinaryIO, chosen: Sequence[int], workshop: Path, ending: str) -> dict[str, FileFacts]:
    """Copy each line to the file of its split."""
    used = sorted(set(chosen))
    files = {split: LineFile(workshop / f"{SPLITS[split]}.{ending}") for split in used}
    try:
        waiting: dict[int, list[bytes]] = {split: [] for split in used}
        for split, line in zip(chosen, lines, strict=True):
            waiting[split].append(line)
            if len(waiting[split]) == _COPY_LINES:
                files[split].write(b"".join(waiting[split]), _COPY_LINES)
                waiting[split] = []
        for split in used:
            files[split].write(b"".join(waiting[split]), len(waiting[split]))
        return {SPLITS[split]: files[split].close() for split in used}
    finally:
        for file in files.values():
            file.abandon()


def _number_lines(rows: Selection) -> bytes:
    """The source row of each selected row, a line each."""
    return b"".join([b"%d\n" % number for number in rows.numbers()])


def _facts(facts: FileFacts) -> dict[str, Any]:
    return {"sha256": facts.sha256, "bytes": facts.bytes, "rows": facts.rows}


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0], "ragtune": ragtune.__version__}
    for name in ("datasets", "orjson", "pyarrow", "rensa"):
        if name in sys.modules:
            versions[name] = version(name)
    return versions


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
