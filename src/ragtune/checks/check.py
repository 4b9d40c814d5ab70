"""A training file checked, and repaired where that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune import _arguments as arguments
from ragtune import catalog
from ragtune.checks.file_rules import file_problem
from ragtune.checks.fixing import Fixed, repairs_of, write_fixed
from ragtune.checks.one_pass import Pass
from ragtune.checks.opening.binary import binary_kind
from ragtune.checks.opening.looks import other_kind
from ragtune.checks.opening.training_file import open_training_file, refuse_pipe
from ragtune.checks.problems import ProblemList
from ragtune.checks.report import CheckReport
from ragtune.limits import MIN_EXAMPLES
from ragtune.records import FORMATS, RecordFormat

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ragtune.catalog import ModelInfo
    from ragtune.privacy import Scanner

__all__ = ["check_file"]


def check_file(
    path: str | Path,
    *,
    format: RecordFormat | None = None,
    model: str | None = None,
    max_problems: int = 1000,
    min_examples: int = MIN_EXAMPLES,
    fix: bool | str | Sequence[str] = False,
    privacy: bool = False,
    mask: bool = False,
    catalogue: catalog.Catalog | None = None,
) -> CheckReport:
    """Read a training file to its end and report every problem in it.

    Args:
        path: a JSONL file, a pipe, or `-` for what is piped in.
        format: `chat`, `completion`, `preference`, `unpaired` or `reinforcement`; None takes it from the first record.
        model: base model to check for: its training context and its format. None leaves these rules out.
        max_problems: how many problems the report keeps; the rest is counted.
        min_examples: fewer examples than this are an error. A training file needs 10 (OpenAI's number); a validation
            file may be shorter: pass 1.
        fix: write a repaired copy beside the file, checked again before it is handed out; `report.fixed` is its path,
            None when there was nothing that could be repaired by itself. True changes no word. What does is applied by
            name, as the suggestions say it with their before and after: `fix=["prompt-suffix", "completion-space"]`.
        privacy: report secrets and personal data, too, see `ragtune.privacy`; the report shows no such value whole, in
            no other message either. Needs the extra `privacy`.
        mask: put `[EMAIL]` and the like in their place in the repaired copy; takes `fix` and `privacy` as given.
        catalogue: facts about models; None takes those that ship with this version.

    Raises:
        DatasetError: there is no such file, it is a folder, or it cannot be read; or the copy cannot be written; or
            `fix` names no repair.
        MissingExtraError: `privacy` or `mask` without the extra `privacy`.

    Example:
        ```python
        from pathlib import Path

        import ragtune as rt

        path = Path("broken.jsonl")
        path.write_text('{"messages": [{"role": "bot", "content": "Hi"}]}')
        print(rt.check_file(path).problems[0].path)
        #> messages[0].role
        ```
    """
    path = arguments.path("path", path)
    if format is not None:
        arguments.one_of("format", format, FORMATS)
    if model is not None:
        arguments.text("model", model)
    max_problems = arguments.whole_number("max_problems", max_problems)
    min_examples = arguments.whole_number("min_examples", min_examples)
    privacy, mask = arguments.flag("privacy", privacy), arguments.flag("mask", mask)
    if catalogue is not None:
        arguments.instance("catalogue", catalogue, catalog.Catalog, "ragtune.catalog.load(path) reads one")
    info = None if model is None else (catalogue or catalog.load()).find(model)
    scanner = _scanner() if privacy or mask else None
    repairs = repairs_of(fix)
    if fix or mask:
        # Before the first byte is read: a repair reads the file several times.
        refuse_pipe(path)
    asked = _Asked(format=format, model=model, info=info, max_problems=max_problems, min_examples=min_examples)
    check = asked.passed(path, called=path, scanner=scanner)
    fixed = Fixed(path=None)
    if (fix or mask) and ("error", "not-text") not in check.problems.counts:
        fixed = write_fixed(
            path,
            check.format,
            # Only the counts are used, so nothing in the copy has to be looked for or masked.
            lambda copy, called: asked.passed(copy, called=called, scanner=None).problems.counts,
            counts=check.problems.counts,
            repairs=repairs,
            mask=scanner.mask if scanner and mask else None,
        )
    return CheckReport(
        path=path,
        problems=check.problems.kept(),
        counts=check.problems.counts,
        stats=check.stats(),
        model=model,
        fixed=fixed.path,
        left_out=fixed.left_out,
    )


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a file is checked for, the same for the file and for its repaired copy."""

    format: RecordFormat | None
    model: str | None
    info: ModelInfo | None
    max_problems: int
    min_examples: int

    def passed(self, at: Path, *, called: Path, scanner: Scanner | None) -> Pass:
        """Read a file to its end; `called` is the name that it is to have."""
        with open_training_file(at) as file:
            problems = ProblemList(self.max_problems, mask=scanner.mask if scanner else None)
            check = Pass(problems=problems, format=self.format, info=self.info, scanner=scanner, source=at)
            # A pipe cannot go back to its start, nor does it know how much came out of it.
            start = file.peek(16)
            if (binary := binary_kind(start)) is not None:
                problems.add(file_problem("not-text", f"this is {binary[0]}, not JSONL", binary[1]))
                return check
            check.other = other_kind(start, called)
            check.read(file)
            check.finish(called, size=check.offset, model=self.model, min_examples=self.min_examples)
        return check


def _scanner() -> Scanner:
    from ragtune.privacy import Scanner

    return Scanner()
