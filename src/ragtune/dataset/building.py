"""The build itself: render, group, split, write, verify."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

import ragtune
from ragtune.dataset.folder import MANIFEST, FileFacts, LineFile, new_folder, refuse_occupied
from ragtune.dataset.overlap import Overlap, constants, fields_of_lines, find_overlap
from ragtune.dataset.splits import SPLITS, Grouping, SplitPlan, assign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ragtune.dataset.batches import Made
    from ragtune.dataset.filters import Tally

_COPY_LINES = 8_192


def build_folder(
    batches: Iterable[Made],
    tally: Tally,
    described: Callable[[], dict[str, Any]],
    folder: Path,
    *,
    plan: SplitPlan,
    overwrite: bool,
) -> dict[str, Any]:
    """Write the files of a dataset, its manifest last, and return the manifest.

    Args:
        batches: the lines, in the order of the rows; nothing is read before the folder is known to be free.
        tally: knows about them what there is to know, once they were read.
        described: gives source and steps for the manifest.
        folder: where the files go.
        plan: how lines are split.
        overwrite: whether a dataset in the folder is replaced.
    """
    refuse_occupied(folder, overwrite=overwrite)
    with new_folder(folder, overwrite=overwrite) as workshop:
        overlap = None
        if plan.validation or plan.test:
            files, overlap = _write_splits(batches, workshop, tally, plan)
            if plan.shared_runs:
                overlap |= _shared(files, workshop, described()).to_dict()
        else:
            files = _write_all(batches, workshop, tally)
        report = {"read": tally.read, "dropped": tally.dropped, "rows": {name: files[name].rows for name in files}}
        manifest = {
            "manifest": 1,
            "format": tally.format,
            **described(),
            "system": tally.system,
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


def _write_all(batches: Iterable[Made], workshop: Path, tally: Tally) -> dict[str, FileFacts]:
    file, origin = LineFile(workshop / "train.jsonl"), LineFile(workshop / "train.rows.txt")
    try:
        for made in batches:
            file.write(made.data, len(made.numbers))
            origin.write(_number_lines(made), len(made.numbers))
        facts = file.close()
        origin.close()
    finally:
        file.abandon()
        origin.abandon()
    if not facts.rows:
        tally.refuse_nothing_left()
    return {"train": facts}


def _write_splits(
    batches: Iterable[Made], workshop: Path, tally: Tally, plan: SplitPlan
) -> tuple[dict[str, FileFacts], dict[str, Any]]:
    paths = [workshop / f"all.{ending}" for ending in ("jsonl", "rows", "keys", "wishes")]
    lines_path, origin_path, *_ = paths
    with ExitStack() as stack:
        lines_file, origin_file, keys_file, wishes_file = (stack.enter_context(path.open("wb")) for path in paths)
        grouping, wishes = Grouping(keys_file), Grouping(wishes_file)
        for made in batches:
            lines_file.write(made.data)
            origin_file.write(_number_lines(made))
            grouping.add(made.keys)
            wishes.add(made.wishes)
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


def _number_lines(made: Made) -> bytes:
    """The source row of each line, a line each."""
    return b"".join([b"%d\n" % number for number in made.numbers])


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
