"""A recipe file as a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from ragtune.errors import DatasetError
from ragtune.recipe_file.data import DataSection  # noqa: TC001 (pydantic reads the annotations)
from ragtune.recipe_file.promotion import GateSection  # noqa: TC001 (pydantic reads the annotations)
from ragtune.recipe_file.reading import Places, parse, place_of, refused
from ragtune.recipe_file.sections import (
    BudgetSection,
    EvaluationSection,
    JobSection,
    ModelSection,
    Section,
    ServerSection,
)
from ragtune.recipe_file.teaching import FactsSection, RecipeSection, Teaching, together

if TYPE_CHECKING:
    import os

    from ragtune.dataset import Dataset, DatasetBuilder
    from ragtune.dataset.render.batches import SourceRow
    from ragtune.facts import FactSet
    from ragtune.recipes import Recipe as Made

__all__ = ["RecipeFile"]


def _as_list(given: object) -> object:
    return [given] if isinstance(given, Mapping) else given


Recipes = Annotated[
    # The schema has to allow what the validator takes, or editors would mark a single table as wrong.
    list[RecipeSection], BeforeValidator(_as_list, json_schema_input_type=RecipeSection | list[RecipeSection])
]


class RecipeFile(Section):
    """Everything about one tuned model, from its rows to its evaluation, as `ragtune.toml` says it.

    The same text trains on this machine and at OpenAI. Keys are never in it: they come from the environment or from a
    file that `server.key_file` names.

    Example:
        ```python
        from pathlib import Path

        from ragtune.recipe_file import RecipeFile

        Path("ragtune.toml").write_text('''
        [data]
        rows = "faq.csv"
        user = "{Question}"
        assistant = "{Answer}"
        [model]
        base = "tiny-random"
        ''')
        file = RecipeFile.load("ragtune.toml")
        print(file.model.base, file.data.rows, file.job.n_epochs)
        #> tiny-random faq.csv auto
        ```
    """

    model_config = ConfigDict(title="ragtune recipe file", protected_namespaces=())

    out: str = Field(default="ragtune-out", description="Folder of all that is made; relative to this file.")
    data: DataSection
    facts: FactsSection | None = Field(default=None, description="What the columns of a row are to a recipe.")
    recipe: Recipes = Field(default=[], description="A recipe, or several in order: an array of tables.")
    model: ModelSection
    job: JobSection = JobSection()
    server: ServerSection = ServerSection()
    evaluation: EvaluationSection | None = Field(default=None, description="Leave the table out, and nothing is asked.")
    gate: GateSection | None = Field(default=None, description="Leave the table out, and no alias is moved.")
    budget: BudgetSection = BudgetSection()

    # No keys of the file, and no part of what its stages depend on.
    _path: Path = PrivateAttr(Path("ragtune.toml"))
    _places: Places = PrivateAttr({})

    @model_validator(mode="after")
    def _belongs_together(self) -> RecipeFile:
        if self.facts is not None and not self.recipe:
            raise PydanticCustomError("ragtune", "[facts] is what a recipe makes rows of; add a table [recipe]")
        if self.gate is not None and self.evaluation is None:
            raise PydanticCustomError("ragtune", "[gate] holds its limits against an evaluation; add [evaluation]")
        return self

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RecipeFile:
        """Read a file: YAML where its name ends so, else TOML.

        Raises:
            SpecError: it cannot be read, is broken, or holds keys or values that do not belong there; the message names
                line and column, and for an unknown key the nearest known one.
        """
        values, places = parse(Path(path))
        try:
            made = cls(**values)
        except ValidationError as error:
            # Without pydantic's own text behind it, which tells the same once more in names of its own.
            raise refused(Path(path), error, places, cls) from None
        made._path, made._places = Path(path), places
        return made

    @classmethod
    def schema_of(cls) -> dict[str, Any]:
        """The JSON schema of a recipe file, for editors and assistants."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | cls.model_json_schema()

    def build(self, *, overwrite: bool = False) -> Dataset:
        """Build the dataset of `[data]`, by `[recipe]` where there is one, into `target / "data"`."""
        builder = None
        if self.recipe:
            builder = self.data.templated(self._teaching.rows(self._kept, self.held_out), recipe=True)
        return self.data.build(self.target / "data", folder=self.folder, builder=builder, overwrite=overwrite)

    def inputs(self) -> list[object]:
        """All that the dataset depends on, as values.

        Raises:
            DatasetError: a file that it names cannot be read; the message says where it is named.
        """
        with self._named_at("data", "rows"):
            described = self.data.described(self.folder)
        parts: list[object] = [self.data.model_dump(), described]
        if self.recipe:
            files: list[str] = []
            for number, one in enumerate(self.recipe):
                with self._named_at("recipe", str(number), "path"):
                    # What stands in them and not when they were written: the same words again change no dataset.
                    files += map(_utf8, one.files(self.folder))
            # What is asked decides which wordings become no row.
            asked = None if self.evaluation is None else [self.evaluation.reword, self.asked_text()]
            parts += [[one.model_dump() for one in self.recipe], self._teaching.facts.model_dump(), files, asked]
        return parts

    def asked_text(self) -> str | None:
        """The file of facts that the evaluation names."""
        named = None if self.evaluation is None else self.evaluation.facts
        with self._named_at("evaluation", "facts"):
            return None if named is None else _utf8(self.folder / named)

    @cached_property
    def held_out(self) -> FactSet | None:
        """The wordings that `[evaluation]` keeps for itself, so that no recipe makes a row of them.

        Raises:
            DatasetError: the facts cannot be read.
        """
        from ragtune.facts import KINDS

        if self.evaluation is None or not self.recipe:
            return None
        # Questions in the words of the training are asked because they are trained: they stay.
        held = self._asked.select([kind for kind in KINDS if kind != "verbatim"])
        return held if len(held) else None

    def asked(self, dataset: Dataset, *, rows: list[SourceRow] | None = None) -> FactSet:
        """The facts that `[evaluation]` asks for.

        Args:
            dataset: what was trained on.
            rows: the rows that it was built of, where `[evaluation]` names columns.

        Raises:
            DatasetError: there are none.
        """
        from ragtune.facts import FactSet
        from ragtune.facts.taught import row_map

        assert self.evaluation is not None
        if not self.recipe:
            return self.evaluation.facts_of(dataset, rows=rows, folder=self.folder)
        facts = self._asked.facts
        if self.evaluation.facts is None:
            within = {fact for _, fact, _ in row_map(dataset, self.evaluation.split)}
            facts = tuple(fact for fact in facts if fact.id in within)
        return FactSet(facts=facts[: self.evaluation.questions])

    @cached_property
    def _asked(self) -> FactSet:
        """All that may be asked: of the file, or of the rows."""
        assert self.evaluation is not None
        if self.evaluation.facts is not None:
            return self.evaluation.facts_of(None, folder=self.folder)
        return self._teaching.asked(self._teaching.taught(self._kept), reword=self.evaluation.reword)

    @property
    def recipes(self) -> Made:
        """All recipes, one after the other."""
        return together(one.made(self.folder) for one in self.recipe)

    @property
    def _teaching(self) -> Teaching:
        return Teaching(
            recipe=self.recipes,
            facts=self.facts or FactsSection(),
            fact_id=self.data.fact_id,
            seed=self.data.seed,
        )

    @property
    def _kept(self) -> DatasetBuilder:
        facts = self._teaching.facts
        answer = facts.answer if isinstance(facts.answer, str) else facts.answer[0]
        return self.data.kept(self.folder, question=[facts.question], answer=answer)

    @contextmanager
    def _named_at(self, *keys: str) -> Iterator[None]:
        try:
            yield
        except DatasetError as error:
            raise DatasetError(f"{self.where(*keys)}: {error}") from error

    def where(self, *keys: str) -> str:
        """Where a key stands in its text, for people."""
        return place_of(self._path, keys, self._places)

    @property
    def path(self) -> Path:
        """Where it was read from."""
        return self._path

    @property
    def folder(self) -> Path:
        """What relative paths in it start from."""
        return self._path.parent

    @property
    def target(self) -> Path:
        """The folder of all that is made."""
        return self.folder / self.out


def _utf8(path: Path) -> str:
    """The text of a file.

    Raises:
        DatasetError: it cannot be read, or is not UTF-8; the message names the line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(f"{path} line {line}: is not UTF-8 ({error.reason}); save it as UTF-8") from None
