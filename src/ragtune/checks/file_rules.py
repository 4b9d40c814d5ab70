"""Rules about a training file as a whole: its name, its size, and whether a model takes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ragtune.checks.problems import Problem, Severity
from ragtune.limits import MAX_FILE_BYTES, MAX_IMAGE_EXAMPLES, MAX_REINFORCEMENT_EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ragtune.catalog import ModelInfo
    from ragtune.records import RecordFormat

_METHODS = {"chat": "supervised", "preference": "dpo", "unpaired": "kto", "reinforcement": "reinforcement"}
_WAYS_IN = {
    **dict.fromkeys((".csv", ".tsv"), "make records of its rows: ragtune.DatasetBuilder.from_csv"),
    ".parquet": "make records of its rows: ragtune.DatasetBuilder.from_parquet",
    ".json": "one JSON document is read by ragtune.DatasetBuilder.from_json; rename it if each line is an object",
    **dict.fromkeys((".xlsx", ".xls"), "make records of its rows: ragtune.DatasetBuilder.from_excel"),
    **dict.fromkeys((".gz", ".zip", ".zst", ".bz2", ".xz"), "unpack it first"),
}


def file_problem(code: str, message: str, hint: str, *, severity: Severity = "error") -> Problem:
    """A problem of the whole file."""
    return Problem(line=None, byte_offset=None, path="", code=code, message=message, hint=hint, severity=severity)


def name_problems(path: Path) -> Iterator[Problem]:
    """A name that says that this is something else."""
    # What comes out of a pipe has no name.
    if path.suffix != ".jsonl" and path.is_file() and path != Path("/dev/stdin"):
        hint = _WAYS_IN.get(path.suffix.lower(), "rename it")
        text = f"the name ends in {path.suffix!r}; an upload needs a name that ends in '.jsonl'"
        yield file_problem("not-jsonl-name", text, hint, severity="warning")


def size_problems(format: RecordFormat | None, size: int, *, examples: int, with_images: int) -> Iterator[Problem]:
    """More than the server takes at once."""
    if size > MAX_FILE_BYTES:
        text = f"{size / 2**20:,.0f} MB; one upload takes at most {MAX_FILE_BYTES // 2**20} MB"
        yield file_problem("file-too-large", text, "split the file or shorten the records")
    if with_images > MAX_IMAGE_EXAMPLES:
        text = f"{with_images:,} examples with images; at most {MAX_IMAGE_EXAMPLES:,} are taken"
        yield file_problem("too-many-examples", text, "leave some out")
    if format == "reinforcement" and examples > MAX_REINFORCEMENT_EXAMPLES:
        text = f"{examples:,} examples; reinforcement takes at most {MAX_REINFORCEMENT_EXAMPLES:,}"
        yield file_problem("too-many-examples", text, "leave some out")
    if format == "preference" and with_images:
        text = f"{with_images:,} pair(s) with images; OpenAI's guide says that preference pairs are text only"
        yield file_problem(
            "images-in-preference", text, "describe the images, or try with a small file", severity="warning"
        )


def model_problems(
    format: RecordFormat | None, *, with_images: int, model: str | None, info: ModelInfo | None
) -> Iterator[Problem]:
    """A model that does not take such records."""
    if model is None:
        return
    if info is None:
        text = f"model {model!r} is not in the catalogue, so its context and price are unknown"
        yield file_problem(
            "unknown-model", text, "check the name, or pass a catalogue that has it", severity="suggestion"
        )
        return
    takes_completions = info.formats is not None and "completion" in info.formats
    # A price and no formats of its own: one of OpenAI's chat models. A base that nobody bills takes both kinds.
    if format == "completion" and info.formats is None and info.training_usd_per_million:
        text = f"{model} is a chat model; it takes no prompt/completion pairs"
        yield file_problem("format-not-for-model", text, "build chat records")
    elif format is not None and takes_completions and format != "completion":
        text = f"{model} takes prompt/completion pairs only, this file is {format}"
        yield file_problem("format-not-for-model", text, "build completion records or choose a chat model")
    elif format is not None and info.methods and _METHODS.get(format, info.methods[0]) not in info.methods:
        text = f"{model} is trained by {' and '.join(info.methods)}; {format} records are for {_METHODS[format]}"
        way = (
            "pair each bad answer with a good one to the same question, .preference(...), and train with rt.DPO()"
            if format == "unpaired" and "dpo" in info.methods
            else "build other records or choose another model"
        )
        yield file_problem("format-not-for-model", text, way)
    if with_images and info.methods and not info.vision:
        text = f"{with_images:,} example(s) with images; the catalogue knows no training of {model} on images"
        yield file_problem(
            "images-not-for-model", text, "choose a model with vision, or leave the images out", severity="warning"
        )
