"""The build itself: render, group, split, write, verify."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from itertools import chain, compress
from typing import TYPE_CHECKING, BinaryIO

import orjson

from ragtune._version import __version__
from ragtune.checks.private import masked
from ragtune.dataset.folder import FileFacts, LineFile, new_folder
from ragtune.dataset.leakage.assignment import assign
from ragtune.dataset.leakage.grouping import SPLITS, Grouping, SplitPlan, groups, keyed
from ragtune.dataset.leakage.overlap import FieldNumbers, Overlap, find_overlap
from ragtune.dataset.masking import left_in
from ragtune.dataset.render.rendered import BuildCounts, two_kinds
from ragtune.dataset.replacement import MANIFEST, REPORT
from ragtune.errors import DatasetError
from ragtune.text import NORMAL_FORM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from ragtune.dataset.leakage.shingles import Numbers, Places
    from ragtune.dataset.render.rendered import Made
    from ragtune.privacy import Scanner

_COPY_LINES = 8_192
# What waits in a file of its own until lines are split.
_WAITING = ("lines", "row_map", "facts", "texts", "keys", "group_keys")
_CERTAIN = (MANIFEST, REPORT, "train.jsonl", "train.rows.txt")


@dataclass(frozen=True, kw_only=True)
class _Written:
    """What was written: counts of all rows, each file with its map of source rows, and what the files share."""

    counts: BuildCounts
    files: Mapping[str, FileFacts]
    row_maps: Mapping[str, FileFacts]
    overlap: Mapping[str, object] | None = None
    split: Mapping[str, object] = field(default_factory=dict)


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
            written = _write_splits(own, workshop, plan) if is_split else _write_all(own, workshop)
            if scanner is not None:
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
            (workshop / MANIFEST).write_bytes(_json(manifest))
    except _OfTheRows as error:
        raise error.error from None
    return manifest, written.counts


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
    written: _Written, describe: Callable[[BuildCounts], Mapping[str, object]], plan: SplitPlan
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


def _private(written: _Written, workshop: Path, scanner: Scanner) -> dict[str, object]:
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


def _counted(counts: BuildCounts, made: Made) -> BuildCounts:
    """The counts with those of a further batch, whose records are of the same kind."""
    kind = made.counts.format
    if kind is not None and counts.format not in (None, kind):
        raise DatasetError(two_kinds(made.numbers[0], kind, counts.format))
    return counts.plus(made.counts)


def _refuse_nothing_left(counts: BuildCounts) -> None:
    reasons = ", ".join(f"{number:,} for {reason!r}" for reason, number in counts.reasons.items() if number)
    raise DatasetError(f"all {counts.read:,} rows were dropped ({reasons}); loosen the filters")


def _write_all(batches: Iterable[Made], workshop: Path) -> _Written:
    file, row_map = LineFile(workshop / "train.jsonl"), LineFile(workshop / "train.rows.txt")
    counts = BuildCounts()
    try:
        for made in batches:
            counts = _counted(counts, made)
            file.write(made.data, len(made.numbers))
            row_map.write(_number_lines(made), len(made.numbers))
        facts, map_facts = file.close(), row_map.close()
    finally:
        file.abandon()
        row_map.abandon()
    if not facts.rows:
        _refuse_nothing_left(counts)
    return _Written(counts=counts, files={"train": facts}, row_maps={"train": map_facts})


def _write_splits(batches: Iterable[Made], workshop: Path, plan: SplitPlan) -> _Written:
    from ragtune.dataset.leakage import text_hashes
    from ragtune.dataset.leakage.proof import METHOD

    paths = {what: workshop / f"all.{what}" for what in _WAITING}
    with ExitStack() as stack:
        waiting = _Waiting(**{what: stack.enter_context(path.open("w+b")) for what, path in paths.items()})
        for made in batches:
            waiting.add(made)
        counts = waiting.counts
        if not waiting.rows:
            _refuse_nothing_left(counts)
        found = groups(waiting.rows, waiting.keys, waiting.group_keys)
        left_out = text_hashes.named(waiting.facts, waiting.texts, found.left_out)
        assigned = assign(found.first_rows, plan, waiting.classes)
        splits = assigned.splits
        # Nobody pays for validation and test.
        tokens = list(compress(chain.from_iterable(counts.tokens), (splits == 0).tolist()))
        written = _Written(
            counts=replace(counts, tokens=(tokens,)),
            files=_distribute(waiting.lines, splits, workshop, "jsonl"),
            row_maps=_distribute(waiting.row_map, splits, workshop, "rows.txt"),
            overlap={
                "normal_form": NORMAL_FORM,
                "normalised_texts": found.keys[0],
                "in_more_than_one_split": waiting.shared_texts(splits, found.left_out),
                "proof": METHOD,
                **({} if plan.fact_id is None else _shared_facts(workshop)),
                **_shared(waiting.facts, splits).to_dict(),
            },
            split={
                "given": assigned.given,
                "largest_group": assigned.largest_group,
                "notes": list(assigned.notes),
                "classes": assigned.classes,
                "left_out": left_out,
            },
        )
    for path in paths.values():
        path.unlink()
    return written


class _Waiting:
    """Lines and keys that wait on disk: to which file a line belongs is known only when the last row was seen."""

    def __init__(
        self,
        *,
        lines: BinaryIO,
        row_map: BinaryIO,
        facts: BinaryIO,
        texts: BinaryIO,
        keys: BinaryIO,
        group_keys: BinaryIO,
    ) -> None:
        self.lines, self.row_map, self.facts, self.texts = lines, row_map, facts, texts
        self.keys, self.group_keys = Grouping(keys), Grouping(group_keys)
        self.counts, self.rows = BuildCounts(), 0
        self.classes: list[str] = []
        self._begins: list[npt.NDArray[np.uint32]] = []
        self._per_row: list[Places] = []
        self._numbered: list[Numbers] = []

    def add(self, made: Made) -> None:
        """Put a batch behind the others."""
        import numpy as np

        from ragtune.dataset.leakage import text_hashes

        self.counts = _counted(self.counts, made)
        self.lines.write(made.data)
        self.row_map.write(_number_lines(made))
        if made.facts is not None:
            text_hashes.write(made.facts, self.facts, self.texts)
            self._begins.append(made.facts.begins)
            self._per_row.append(made.facts.per_row)
            self._numbered.append(keyed(made.facts.texts, np.zeros(len(made.facts.texts), np.uint8)))
            numbers = keyed(made.facts.texts, made.facts.kinds)
            self.keys.add(numbers, self.rows + np.repeat(np.arange(len(made.numbers)), made.facts.per_row))
        self.group_keys.add(*_flat(made.group_keys, self.rows))
        self.classes += made.classes
        self.rows += len(made.numbers)

    def shared_texts(self, splits: npt.NDArray[np.uint8], left_out: Iterable[int]) -> int:
        """How many texts stand in more than one split, apart from those that were left out of the grouping."""
        import numpy as np

        from ragtune.dataset.leakage import text_hashes
        from ragtune.dataset.leakage.proof import shared_texts

        return shared_texts(
            text_hashes.read_texts(self.texts),
            np.repeat(splits, np.concatenate(self._per_row)),
            np.concatenate(self._begins),
            ~np.isin(np.concatenate(self._numbered), np.fromiter(left_out, np.uint64)),
        )


def _flat(keys: Sequence[Sequence[int]], first: int) -> tuple[Numbers, Places]:
    """The keys of all rows, and beside each key the number of its row, counted from `first`."""
    import numpy as np

    rows = np.arange(first, first + len(keys))
    flat = np.fromiter(chain.from_iterable(keys), np.uint64)
    return flat, np.repeat(rows, np.fromiter(map(len, keys), np.int64, len(keys)))


def _shared(file: BinaryIO, splits: npt.NDArray[np.uint8]) -> Overlap:
    """What the splits share, field by field."""
    from ragtune.dataset.leakage import text_hashes

    def fields(split: int) -> Iterator[dict[str, FieldNumbers]]:
        file.seek(0)
        row = 0
        for facts in text_hashes.read(file):
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
            # Not strict: the file goes on behind these lines.
            for split, line in zip(chosen, lines, strict=False):
                waiting[split].append(line)
            for split, some in waiting.items():
                files[split].write(b"".join(some), len(some))
        return {SPLITS[split]: files[split].close() for split in used}
    finally:
        for file in files.values():
            file.abandon()


def _number_lines(made: Made) -> bytes:
    """The source row of each line, a line each, with its fact, wording and recipe where they are known."""
    if not made.fact_ids:
        return b"".join([b"%d\n" % number for number in made.numbers])
    ids = map(orjson.dumps, made.fact_ids)
    if not made.origins:
        return b"".join([b"%d %s\n" % told for told in zip(made.numbers, ids, strict=True)])
    origins = map(orjson.dumps, made.origins)
    return b"".join([b"%d %s %s\n" % told for told in zip(made.numbers, ids, origins, strict=True)])


def _shared_facts(workshop: Path) -> dict[str, int]:
    """How many facts the finished row maps name, and how many of them stand in more than one split."""
    stands = Counter[bytes]()
    for path in workshop.glob("*.rows.txt"):
        with path.open("rb") as file:
            stands.update({_told_fact(line) for line in file})
    return {"facts": len(stands), "facts_in_more_than_one_split": sum(times > 1 for times in stands.values())}


def _told_fact(line: bytes) -> bytes:
    """The fact in a line of a row map, without the wording and recipe behind it."""
    _, _, told = line.rstrip(b"\n").partition(b" ")
    return told.rpartition(b" [")[0] if told.endswith(b"]") else told


def _facts(facts: FileFacts) -> dict[str, object]:
    return asdict(facts)


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0], "ragtune": __version__}
    for name in ("datasets", "orjson", "pyarrow", "rensa"):
        if (module := sys.modules.get(name)) is not None:
            # To read a package's metadata takes a twentieth of a build of ten thousand rows.
            versions[name] = getattr(module, "__version__", None) or version(name)
    return versions


def _json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
