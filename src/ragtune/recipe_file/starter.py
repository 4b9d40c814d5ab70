"""A first recipe file, as `ragtune init` and `ragtune demo` write it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ragtune._atomic import write_whole
from ragtune.errors import DatasetError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ragtune.recipe_file.data import DataSection

__all__ = ["Starter", "proposed", "read_as", "tables_in", "template_of", "write_demo"]

Settings = dict[str, object]
_YAML = (".yaml", ".yml")
_TABLES = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx")
# Names that columns of questions and answers go by, the likeliest first.
_QUESTIONS = ("question", "questions", "prompt", "query", "user", "instruction", "input", "q", "frage", "soru")
_ANSWERS = ("answer", "answers", "response", "completion", "assistant", "output", "reply", "a", "antwort", "cevap")
_HEAD = "# What `ragtune run` does, in order; `ragtune schema` describes every key. Keys of servers never stand here.\n"


@dataclass(frozen=True, kw_only=True)
class Starter:
    """What a recipe file has to say at least, and its text.

    Attributes:
        rows: file of rows, relative to the recipe file.
        user: template of the question.
        assistant: template of the answer.
        system: system prompt.
        base: base model.
        data: further keys of `[data]`.
        job: keys of `[job]`.
        evaluation: keys of `[evaluation]`.
    """

    rows: str
    user: str
    assistant: str
    system: str | None
    base: str
    data: Settings = field(default_factory=dict)
    job: Settings = field(default_factory=dict)
    evaluation: Settings = field(default_factory=lambda: {"questions": 30})

    def tables(self) -> Mapping[str, Settings]:
        """The tables of the file."""
        data: Settings = {"rows": self.rows, "user": self.user, "assistant": self.assistant}
        if self.system is not None:
            data["system"] = self.system
        tables: dict[str, Settings] = {"data": data | self.data, "model": {"base": self.base}, "job": self.job}
        tables |= {"server": {"to": "local"}, "evaluation": self.evaluation, "budget": {"training_usd": 5.0}}
        return {name: table for name, table in tables.items() if table}

    def text(self, ending: str = ".toml") -> str:
        """The file: YAML where its name ends so, else TOML."""
        mark, head, sign = ("  ", "{}:", ": ") if ending in _YAML else ("", "[{}]", " = ")
        parts = []
        for name, table in self.tables().items():
            # JSON's texts, numbers and lists are TOML's as well as YAML's.
            lines = [f"{mark}{key}{sign}{json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
            parts.append("\n".join([head.format(name), *lines]))
        return _HEAD + "\n\n".join(parts) + "\n"

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the file.

        Raises:
            SpecError: it is there already, or cannot be written.
        """
        if path.exists() and not overwrite:
            raise SpecError(f"{path} is there already; give another name, or --overwrite")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.text(path.suffix))
        except OSError as error:
            raise SpecError(f"{path} cannot be written: {error.strerror}; give a path in a folder of yours") from error


def tables_in(folder: Path) -> list[str]:
    """The files of a folder that rows can be read from, by name."""
    names = (path.name for path in folder.glob("*") if path.is_file() and path.suffix.lower() in _TABLES)
    return sorted(name for name in names if not name.startswith("."))


def read_as(data: DataSection, *, folder: Path) -> tuple[DataSection, tuple[str, ...]]:
    """How a file of rows is read, and its columns by its first row.

    Returns:
        `data`, for a CSV file with the delimiter that parts its first line, and the columns.

    Raises:
        DatasetError: it does not exist, cannot be read or has no rows.
    """
    # Where the comma is the decimal sign, spreadsheets write CSV with semicolons.
    ways = [data] if data.delimiter else [data, *(data.model_copy(update={"delimiter": sign}) for sign in ";\t|")]
    first: DatasetError | None = None
    for way in ways:
        try:
            columns = tuple(way.first_row(folder))
        except DatasetError as error:
            first = first or error
            continue
        # One column by a guessed sign means that the sign is not there.
        if way is data or len(columns) > 1:
            return way, columns
    assert first is not None, "what is read as it was said has returned"
    raise first


def proposed(columns: Sequence[str]) -> tuple[str | None, str | None]:
    """The columns that are most likely question and answer: by their names, else the first two; None for none."""
    # Reversed, so that of several names that are one in small letters the first column is meant.
    named = {column.strip().casefold(): column for column in reversed(columns)}
    question = next((named[name] for name in _QUESTIONS if name in named), None)
    answer = next((named[name] for name in _ANSWERS if name in named and named[name] != question), None)
    left = [column for column in columns if column not in (question, answer)]
    question = question or (left.pop(0) if left else None)
    return question, answer or (left.pop(0) if left else None)


def template_of(name: str, given: str, columns: Sequence[str]) -> str:
    """A template from what a person gave: a column's name, or a template.

    Raises:
        DatasetError: it is neither.
    """
    if given in columns:
        if signs := [sign for sign in "{}[].!:" if sign in given]:
            raise DatasetError(
                f"{name}: column {given!r} cannot stand in a template, for it holds {' '.join(signs)}; rename it in "
                "the file"
            )
        return "{" + given + "}"
    if "{" in given:
        from ragtune.dataset.render.templates import text

        return text(name, given).source
    raise DatasetError(
        f"{name}: there is no column {given!r}; the columns are {', '.join(map(repr, columns))}, and a template holds "
        "them in braces: '{Answer} (see {Source})'"
    )


def write_demo(folder: Path, *, base: str, questions: int) -> Path:
    """Write the demo's rows, facts and recipe file into a folder; files that are there stay.

    Args:
        folder: made where it is missing.
        base: base model.
        questions: facts that are asked for: in the trained words, and in other ones.

    Returns:
        The recipe file.
    """
    from ragtune.data import demo_file
    from ragtune.facts import FactSet, demo_facts

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "ragtune.toml"
    if target.exists():
        return target
    rows = [json.loads(line) for line in demo_file().read_text(encoding="utf-8").splitlines()]
    taught = [row["question"] for row in rows if row["support"] and row["correct_answer"]][:questions]
    known = [fact for fact in demo_facts() if fact.wordings[0].question in taught]
    facts = FactSet(facts=tuple(replace(fact, wordings=fact.wordings[:2]) for fact in known))
    write_whole(folder / "rows.jsonl", demo_file().read_bytes())
    facts.to_jsonl(folder / "facts.jsonl")
    Starter(
        rows="rows.jsonl",
        user="{question}",
        assistant="{correct_answer}. {support}",
        system="Answer the question about the town of Quillhaven.",
        base=base,
        data={"require": ["support", "correct_answer"], "seed": 7},
        job={"n_epochs": 8, "batch_size": 4, "seed": 7, "suffix": "quillhaven"},
        evaluation={"facts": "facts.jsonl", "passages": "support", "max_tokens": 32, "concurrency": 16},
    ).write(target)
    return target
