"""The build itself: render, group, split, write, verify."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from itertools import compress
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from ragtune._version import __version__
from ragtune.dataset.folder import MANIFEST, FileFacts, LineFile, new_folder, refuse_occupied
from ragtune.dataset.leakage.grouping import SPLITS, Grouping, SplitPlan, assign, groups, shared_keys
from ragtune.dataset.leakage.overlap import FieldNumbers, Overlap, find_overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from ragtune.dataset.render.filters import Tally
    from ragtune.dataset.render.rows import Made

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
            files, origins, overlap = _write_splits(batches, workshop, tally, plan)
        else:
            files, origins = _write_all(batches, workshop, tally)
        rows = {"read": tally.read, "dropped": tally.dropped}
        report = {**rows, "gaps": dict(tally.gaps), "rows": {name: files[name].rows for name in files}}
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
            "rows": {**rows, "kept": sum(facts.rows for facts in files.values())},
            "gaps": dict(tally.gaps),
            "files": {name: {"name": f"{name}.jsonl", **_facts(facts)} for name, facts in files.items()},
            "row_maps": {name: {"name": f"{name}.rows.txt", **_facts(facts)} for name, facts in origins.items()},
            "overlap": overlap,
            "versions": _versions(),
        }
        _write_json(workshop / "report.json", report)
        _write_json(workshop / MANIFEST, manifest)
    return manifest


def _write_all(
    batches: Iterable[Made], workshop: Path, tally: Tally
) -> tuple[dict[str, FileFacts], dict[str, FileFacts]]:
    file, origin = LineFile(workshop / "train.jsonl"), LineFile(workshop / "train.rows.txt")
    try:
        for made in batches:
            file.write(made.data, len(made.numbers))
            origin.write(_number_lines(made), len(made.numbers))
        facts, map_facts = file.close(), origin.close()
    finally:
        file.abandon()
        origin.abandon()
    if not facts.rows:
        tally.refuse_nothing_left()
    return {"train": facts}, {"train": map_facts}


def _write_splits(
    batches: Iterable[Made], workshop: Path, tally: Tally, plan: SplitPlan
) -> tuple[dict[str, FileFacts], dict[str, FileFacts], dict[str, Any]]:
    import numpy as np

    from ragtune.dataset.leakage import text_hashes as numbered

    paths = [workshop / f"all.{ending}" for ending in ("jsonl", "rows", "facts", "keys", "wishes")]
    with ExitStack() as stack:
        lines, origin, facts, keys_file, wishes_file = (stack.enter_context(path.open("w+b")) for path in paths)
        keys, wishes = Grouping(keys_file), Grouping(wishes_file)
        count = 0
        for made in batches:
            lines.write(made.data)
            origin.write(_number_lines(made))
            if made.facts is not None:
                numbered.write(made.facts, facts)
                keys.add(made.facts.texts, count + np.repeat(np.arange(len(made.numbers)), made.facts.per_row))
            wished = [(key, row) for row, own in enumerate(made.wishes, count) for key in own]
            wishes.add(np.array([key for key, _ in wished], np.uint64), np.array([row for _, row in wished], np.int64))
            count += len(made.numbers)
        if not count:
            tally.refuse_nothing_left()
        splits = assign(groups(count, keys, wishes), plan)
        overlap = {**shared_keys(keys, splits), **_shared(facts, splits).to_dict()}
        tally.tokens = list(compress(tally.tokens, (splits == 0).tolist()))
        written = _distribute(lines, splits, workshop, "jsonl")
        origins = _distribute(origin, splits, workshop, "rows.txt")
    for path in paths:
        path.unlink()
    return written, origins, overlap


def _shared(file: BinaryIO, splits: npt.NDArray[np.uint8]) -> Overlap:
    """What the splits share, field by field."""
    from ragtune.dataset.leakage import text_hashes as numbered

    def fields(split: int) -> Iterator[dict[str, FieldNumbers]]:
        file.seek(0)
        row = 0
        for facts in numbered.read(file):
            inside = splits[row : row + len(facts.per_row)] == split
            # Equal texts have equal normal forms, and those are on one side: there is nothing left to tell apart.
            yield {
                name: FieldNumbers(exact=texts, normal=texts, runs=runs)
                for name, texts, runs in facts.of(inside).by_field()
            }
            row += len(facts.per_row)

    readers = {name: partial(fields, split) for split, name in enumerate(SPLITS) if (splits == split).any()}
    return find_overlap(readers, readers)


def _distribute(lines: BinaryIO, splits: npt.NDArray[np.uint8], workshop: Path, ending: str) -> dict[str, FileFacts]:
    """Copy each line to the file of its split."""
    import numpy as np

    used = np.flatnonzero(np.bincount(splits)).tolist()
    files = {split: LineFile(workshop / f"{SPLITS[split]}.{ending}") for split in used}
    lines.seek(0)
    try:
        for start in range(0, len(splits), _COPY_LINES):
            chosen = splits[start : start + _COPY_LINES].tolist()
            waiting: dict[int, list[bytes]] = {split: [] for split in used}
            for split, line in zip(chosen, lines, strict=False):
                waiting[split].append(line)
            for split, some in waiting.items():
                files[split].write(b"".join(some), len(some))
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
    versions = {"python": sys.version.split()[0], "ragtune": __version__}
    for name in ("datasets", "orjson", "pyarrow", "rensa"):
        if (module := sys.modules.get(name)) is not None:
            # To read a package's metadata takes a twentieth of a build of ten thousand rows.
            versions[name] = getattr(module, "__version__", None) or version(name)
    return versions


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
