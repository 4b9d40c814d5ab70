"""What a build did, as a text, as values and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune import _arguments as arguments
from ragtune._atomic import write_whole
from ragtune._html import markup, page, table, wide
from ragtune.checks.html import problems_by_kind
from ragtune.dataset.leakage.overlap import overlap_table
from ragtune.dataset.report.html import bubbles, contradictions, histogram, prices
from ragtune.dataset.report.samples import Contradiction, Samples
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from ragtune.checks import CheckReport
    from ragtune.cost import CostEstimate

# Lines that the printed report names for each kind of problem.
_LINES = 5
# Texts that the printed report names.
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    """Counts of a dataset: rows read, kept and dropped by reason, rows per split, tokens, problems.

    Attributes:
        format: the record kind.
        read: rows that were read from the source, None for files made elsewhere.
        dropped: rows that were dropped, by reason.
        gaps: records whose answer has nothing where its template names a column, by column.
        rows: rows per split.
        tokens: tokens of the training file.
        longest: tokens of its longest example.
        encoding: the vocabulary that they were counted in.
        checks: the verdict on each file.
        split: the manifest's word on the split: shares asked and given, texts that tie nothing, classes, notes.
        overlap: texts that stand in more than one split, None when there is one split only.
        lengths: tokens of each training example.
        context: the training context that they are compared with.
        costs: what training would cost on models whose price is known.
        samples: training records to look at: the first, the longest, and some with signs beyond ASCII.
        private: what a masked build covered, and what a scan of its files found; None where nothing was masked.
        contradictions: the first questions of the training file that are answered in two ways.
        title: the name of the folder.
        source: where the rows come from.
        written: the day on which the training file was written.
        fingerprint: of the dataset.

    Example:
        ```python
        import ragtune as rt

        rows = [{"question": f"What is {n} + 1?", "answer": f"{n + 1}"} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}").build("out")
        print(dataset.report.rows["train"])
        #> 12
        ```
    """

    format: str
    read: int | None
    dropped: Mapping[str, int]
    rows: Mapping[str, int]
    tokens: int
    longest: int
    encoding: str
    checks: Mapping[str, CheckReport]
    gaps: Mapping[str, int] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    overlap: Mapping[str, Any] | None = None
    lengths: tuple[int, ...] = field(default=(), repr=False)
    # OpenAI's for its chat models since gpt-4o, as the catalogue has them.
    context: int = 65_536
    costs: tuple[CostEstimate, ...] = field(default=(), repr=False)
    samples: Samples = field(default=Samples(), repr=False)
    private: Mapping[str, Any] | None = None
    contradictions: tuple[Contradiction, ...] = field(default=(), repr=False)
    title: str = "Dataset"
    source: str | None = None
    written: dt.date | None = None
    fingerprint: str | None = None

    @property
    def kept(self) -> int:
        """Records in all splits together."""
        return sum(self.rows.values())

    def __str__(self) -> str:
        lines = [
            f"{self.kept:,} {self.format} records" + (f" from {self.read:,} rows" if self.read is not None else "")
        ]
        lines += [f"  dropped {number:,}: {reason}" for reason, number in self.dropped.items()]
        lines.append("  " + ", ".join(f"{split} {rows:,}" for split, rows in self.rows.items() if rows))
        lines += [f"  {note}" for note in split_notes(self)]
        lines += [f"  {number:,} x warning {gap_text(column)}" for column, number in self.gaps.items()]
        lines += [f"  {told}" for told in masking_told(self)]
        lines.append(f"  {self.tokens:,} training tokens ({self.encoding}), longest example {self.longest:,}")
        for split, report in self.checks.items():
            found = [(number, severity, code) for (severity, code), number in report.counts.items()]
            for number, severity, code in sorted(found, key=lambda item: item[1]):
                lines.append(f"  {split}: {number:,} x {severity} {code}{_where(report, code, number=number)}")
        if not self.gaps and all(not report.counts for report in self.checks.values()):
            lines.append("  no problems found")
        elif any(report.counts for report in self.checks.values()):
            lines.append("  each with its reason and what to do: print(dataset.report.checks['train']), or .to_html()")
        return "\n".join(lines)

    def to_html(self) -> str:
        """The report as one page without scripts: works offline, in one file."""
        return report_page(self)

    def save_html(self, path: str | Path) -> Path:
        """Write the page of `to_html` to a file, to be sent to somebody; returns its path.

        Raises:
            DatasetError: it cannot be written.
        """
        target = arguments.path("path", path)
        try:
            write_whole(target, self.to_html())
        except OSError as error:
            raise DatasetError(
                f"{target} cannot be written: {error.strerror or error}; give a path in a folder"
            ) from error
        return target

    def _repr_html_(self) -> str:
        return figures(self) + prices(self.costs)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, ready for JSON."""
        return {
            "title": self.title,
            "source": self.source,
            "written": None if self.written is None else self.written.isoformat(),
            "fingerprint": self.fingerprint,
            "format": self.format,
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "gaps": dict(self.gaps),
            "rows": dict(self.rows),
            "tokens": self.tokens,
            "longest": self.longest,
            "encoding": self.encoding,
            "split": dict(self.split),
            "overlap": None if self.overlap is None else dict(self.overlap),
            "private": None if self.private is None else dict(self.private),
            "contradictions": [asdict(item) for item in self.contradictions],
            "checks": {split: report.to_dict() for split, report in self.checks.items()},
        }


def report_page(report: DatasetReport) -> str:
    """The whole page."""
    sections = [
        _origin(report),
        figures(report),
        shared_texts(report),
        f"<h2>Length of the training examples</h2>{histogram(report.lengths, report.context)}",
        f"<h2>Price</h2>{prices(report.costs)}",
        "<h2>Problems</h2>",
        *(problems_by_kind(check.summary(), check.problems, check.counts) for check in report.checks.values()),
        contradictions(report.contradictions),
        f"<h2>Sample records</h2>{bubbles(report.samples.first)}",
        *(
            f"<h3>{what}</h3>{bubbles(records)}"
            for what, records in (
                ("The longest", report.samples.longest),
                ("With signs beyond ASCII", report.samples.beyond_ascii),
            )
            if records
        ),
    ]
    return page(f"Dataset report: {report.title}", "".join(sections))


def _origin(report: DatasetReport) -> str:
    """Where the rows come from, when they were written, and which dataset it is."""
    said = [
        f"from {report.source}" if report.source else "",
        f"written on {report.written.isoformat()}" if report.written else "",
        f"fingerprint {report.fingerprint[:16]}" if report.fingerprint else "",
    ]
    return f"<p>{markup('; '.join(filter(None, said)))}</p>"


def source_text(source: Mapping[str, Any], file: Path) -> str:
    """Where rows come from, for people.

    Args:
        source: what the manifest says about it; empty for files made elsewhere.
        file: the training file.
    """
    if parts := source.get("parts"):
        return " and ".join(source_text(part["source"], file) for part in parts)
    files = [str(item["file"]) for item in source.get("files", ()) if isinstance(item, Mapping)]
    named = [
        str(source.get("hub") or source.get("file") or ""),
        ", ".join(files[:_NAMED]) + (f" and {len(files) - _NAMED:,} more files" if len(files) > _NAMED else ""),
        f"split {source['split']}" if source.get("split") else "",
        f"sheet {source['sheet']}" if source.get("sheet") else "",
        str(source.get("query") or ""),
    ]
    return ", ".join(filter(None, named)) or (f"{source['kind']} in memory" if "kind" in source else file.name)


def given_way(source: Mapping[str, Any]) -> dict[str, int]:
    """How many records of a dataset before what people said took the place of, with the reason; {} for none."""
    found = [source, *(part["source"] for part in source.get("parts", ()))]
    number = sum(one.get("previous_rows_given_way", 0) for one in found)
    return {"in the dataset before, and what people said takes its place": number} if number else {}


def figures(report: DatasetReport) -> str:
    """Rows read, dropped and kept, splits, and what the splits share."""
    rows = [("records", f"{report.kept:,} ({report.format})")]
    if report.read is not None:
        rows.append(("rows read", f"{report.read:,}"))
    rows += [(f"dropped: {reason}", f"{number:,}") for reason, number in report.dropped.items()]
    rows += [(f"answers with nothing in place of {{{name}}}", f"{number:,}") for name, number in report.gaps.items()]
    rows += [(split, f"{number:,}") for split, number in report.rows.items() if number]
    rows += [("secrets and personal data", told) for told in masking_told(report)]
    rows.append((f"training tokens ({report.encoding})", f"{report.tokens:,}"))
    # Files made elsewhere were compared, but nothing proved how they were parted.
    if report.overlap is not None and "in_more_than_one_split" in report.overlap:
        rows.append(("normalised texts in more than one split", f"{report.overlap['in_more_than_one_split']:,}"))
    if report.overlap is not None and "facts" in report.overlap:
        shared = report.overlap["facts_in_more_than_one_split"]
        rows.append(("facts in more than one split", f"{shared:,} of {report.overlap['facts']:,}"))
    rows += [("split", note) for note in split_notes(report)]
    return table(rows)


def split_notes(report: DatasetReport) -> list[str]:
    """What is otherwise than asked for, and which texts tie no rows together."""
    notes = list(report.split.get("notes", ()))
    if shared := (report.overlap or {}).get("in_more_than_one_split"):
        notes.append(f"{shared:,} normalised texts stand in more than one split, see the overlap")
    left_out = report.split.get("left_out", ())
    if left_out:
        named = ", ".join(f"{item['text']!r:.60} ({item['rows']:,} rows)" for item in left_out[:_NAMED])
        more = ", ..." if len(left_out) > _NAMED else ""
        notes.append(f"so many rows have these texts that they keep none together: {named}{more}")
    return notes


def shared_texts(report: DatasetReport) -> str:
    """What the splits share, field by field."""
    fields = (report.overlap or {}).get("fields")
    if not fields:
        return ""
    note = (
        "Questions count at any length, other texts from five words on; a run is a piece of another text. "
        "Two characters of a script without spaces count as a word."
    )
    return f"<h2>What the splits share</h2>{wide(overlap_table(fields), unbroken=True)}<p>{note}</p>"


def _where(report: CheckReport, code: str, *, number: int) -> str:
    """The first lines on which a rule spoke; nothing where it speaks of the whole file."""
    found = [str(problem.line) for problem in report.problems if problem.code == code and problem.line is not None]
    more = ", ..." if number > _LINES else ""
    return f" (line{'' if number == 1 else 's'} {', '.join(found[:_LINES])}{more})" if found else ""


def masking_told(report: DatasetReport) -> list[str]:
    """What was covered, and what stands in the files all the same."""
    if report.private is None:
        return []
    covered = ", ".join(f"{number:,} {kind}" for kind, number in report.private["masked"].items())
    told = [f"covered: {covered or 'nothing, for nothing was found'}"]
    for place, kinds in report.private.get("where", {}).items():
        told.append(f"covered in {place}: {', '.join(f'{number:,} {kind}' for kind, number in kinds.items())}")
    places = "; ".join(report.private["places"][:_LINES])
    for kind, number in report.private["left"].items():
        told.append(f"warning: {number:,} {kind} was found in the written files all the same: {places}")
    return told


def gap_text(column: str) -> str:
    """What a blank column in an answer means, and the way out."""
    return (
        f"an answer has nothing in place of {{{column}}}, and the model learns the gap; drop such rows with "
        f".filter(lambda row: row[{column!r}].strip(), reason=...)"
    )
