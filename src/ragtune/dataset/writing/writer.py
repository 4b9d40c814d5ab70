"""The build itself: render, group, split, write, verify."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING

import orjson

from ragtune._version import __version__
from ragtune.checks.private import masked
from ragtune.dataset.masking import left_in
from ragtune.dataset.render.rendered import BuildCounts
from ragtune.dataset.writing.folder import FileFacts, LineFile, new_folder
from ragtune.dataset.writing.replacement import MANIFEST, REPORT
from ragtune.dataset.writing.split_files import write_splits
from ragtune.dataset.writing.written import WrittenFiles, counted, number_lines, refuse_nothing_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ragtune.dataset.leakage.grouping import SplitPlan
    from ragtune.dataset.render.rendered import Made
    from ragtune.privacy import Scanner

__all__ = ["build_folder"]

# What every build writes. The files of other splits are looked at when they have been written.
_CERTAIN = (MANIFEST, REPORT, "train.jsonl", "train.rows.txt")


def build_folder(
    batches: Iterable[Made],
    describe: Callable[[BuildCounts], Mapping[str, object]],
    folder: Path,
    *,
    plan: SplitPlan,
    overwrite: bool,
    sources: Sequence[Path] = (),
    scanner: Scanner | None = None,
) -> tuple[dict[str, object], BuildCounts]:
    """Write the files of a dataset, its manifest last, and return the manifest and the counts.

    Args:
        batches: the lines, in the order of the rows; nothing is read before the folder is known to be free.
        describe: gives source and steps for the manifest.
        folder: where the files go.
        plan: how lines are split.
        overwrite: whether a dataset in the folder is replaced.
        sources: the files that the rows come from, which are never replaced.
        scanner: looks through the written files, whose texts were masked; None where they were not.

    Returns:
        The manifest, and the counts; their tokens are those of the training file.

    Raises:
        DatasetError: the folder is occupied or cannot be written, no row is left, or records are of two kinds.
    """
    is_split = bool(plan.validation or plan.test)
    try:
        with new_folder(folder, _CERTAIN, overwrite=overwrite, sources=sources) as workshop:
            own = _owned(batches)
            written = write_splits(own, workshop, plan) if is_split else _write_all(own, workshop)
            if scanner is not None:
                # The manifest quotes texts of rows (what ties nothing, classes), and is shown around like the records.
                split = {key: masked(value, scanner.mask) for key, value in written.split.items()}
                written = replace(written, counts=written.counts.without(scanner.mask), split=split)
            rows = {name: facts.rows for name, facts in written.files.items()}
            report = _json({**_rows(written.counts), "gaps": dict(written.counts.gaps), "rows": rows})
            (workshop / REPORT).write_bytes(report)
            manifest = {
                **_manifest(written, describe, plan),
                **({} if scanner is None else {"private": _private(written, workshop, scanner)}),
                "report": {"name": REPORT, "sha256": sha256(report).hexdigest(), "bytes": len(report)},
            }
            # Last, since it names the sha256 of all others: a folder with a manifest is whole.
            content = _json(manifest)
            (workshop / MANIFEST).write_bytes(content)
    except _OfTheRows as error:
        # What a source or a function of the user's says of a file of its own is no word about this folder.
        raise error.error from None
    # As it is read back, so that a dataset says the same of itself after a build and after `load`.
    return orjson.loads(content), written.counts


class _OfTheRows(Exception):
    """Carries an OSError of a source or of a user's function past those who speak of the folder."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _asking_the_rows() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _OfTheRows(error) from error


def _owned(batches: Iterable[Made]) -> Iterator[Made]:
    """The same batches; their errors stay apart from those of the folder."""
    with _asking_the_rows():
        yield from batches


def _manifest(
    written: WrittenFiles, describe: Callable[[BuildCounts], Mapping[str, object]], plan: SplitPlan
) -> dict[str, object]:
    counts, files, maps = written.counts, written.files, written.row_maps
    with _asking_the_rows():
        described = describe(counts)
    return {
        "manifest": 1,
        "format": counts.format,
        **described,
        "system": counts.system,
        "split": {
            "validation": plan.validation,
            "test": plan.test,
            "seed": plan.seed,
            "group_by": list(plan.group_by[0]) if len(plan.group_by) == 1 else list(map(list, plan.group_by)),
            "near_duplicates": plan.near_duplicates,
            "stratify_by": plan.stratify_by,
            **({} if plan.fact_id is None else {"fact_id": plan.fact_id}),
            **written.split,
        },
        "rows": {**_rows(counts), "kept": sum(facts.rows for facts in files.values())},
        "gaps": dict(counts.gaps),
        **({"recipes": _recipes(counts)} if counts.origins else {}),
        "files": {name: {"name": f"{name}.jsonl", **_facts(facts)} for name, facts in files.items()},
        "row_maps": {name: {"name": f"{name}.rows.txt", **_facts(facts)} for name, facts in maps.items()},
        "overlap": written.overlap,
        "versions": _versions(),
    }


def _private(written: WrittenFiles, workshop: Path, scanner: Scanner) -> dict[str, object]:
    """What was covered, and what a scan of the files found all the same."""
    left = left_in([workshop / f"{name}.jsonl" for name in written.files], scanner)
    covered: dict[str, int] = {}
    where: dict[str, dict[str, int]] = {}
    for (place, kind), number in written.counts.masked.items():
        covered[kind] = covered.get(kind, 0) + number
        where.setdefault(place, {})[kind] = number
    return {"masked": covered, "where": where, "left": dict(left.counts), "places": list(left.places)}


def _rows(counts: BuildCounts) -> dict[str, object]:
    return {"read": counts.read, "dropped": counts.reasons}


def _recipes(counts: BuildCounts) -> dict[str, dict[str, int]]:
    """How many records each wording made, by recipe."""
    found: dict[str, dict[str, int]] = {}
    for (wording, recipe), number in counts.origins.items():
        found.setdefault(recipe, {})[wording] = number
    return found


def _write_all(batches: Iterable[Made], workshop: Path) -> WrittenFiles:
    file, row_map = LineFile(workshop / "train.jsonl"), LineFile(workshop / "train.rows.txt")
    counts = BuildCounts()
    try:
        for made in batches:
            counts = counted(counts, made)
            file.write(made.data, len(made.numbers))
            row_map.write(number_lines(made), len(made.numbers))
        facts, map_facts = file.close(), row_map.close()
    finally:
        file.abandon()
        row_map.abandon()
    if not facts.rows:
        refuse_nothing_left(counts)
    return WrittenFiles(counts=counts, files={"train": facts}, row_maps={"train": map_facts})


def _facts(facts: FileFacts) -> dict[str, object]:
    return asdict(facts)


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0], "ragtune": __version__}
    # What was not loaded had no part in it.
    for name in ("datasets", "orjson", "pyarrow", "rensa"):
        if (module := sys.modules.get(name)) is not None:
            # To read a package's metadata takes a twentieth of a build of ten thousand rows.
            versions[name] = getattr(module, "__version__", None) or version(name)
    return versions


def _json(value: object) -> bytes:
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    try:
        return orjson.dumps(value, option=option)
    except orjson.JSONEncodeError:
        # Half a surrogate pair in a reason, a query or a column's name. Every row is written by now and sound, so that
        # a sign of a name is lost rather than the build.
        return orjson.dumps(orjson.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace")), option=option)
