"""A recipe file as a value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError

from ragtune.recipe_file.reading import parse, refused
from ragtune.recipe_file.sections import Budget, Data, Evaluation, Job, Model, Section, Server

if TYPE_CHECKING:
    import os

__all__ = ["RecipeFile"]


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
    data: Data
    model: Model
    job: Job = Job()
    server: Server = Server()
    evaluation: Evaluation | None = Field(default=None, description="Leave the table out, and nothing is asked.")
    budget: Budget = Budget()

    _path: Path = PrivateAttr(Path("ragtune.toml"))

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
            raise refused(Path(path), error, places, cls) from None
        made._path = Path(path)
        return made

    @classmethod
    def schema_of(cls) -> dict[str, Any]:
        """The JSON schema of a recipe file, for editors and assistants."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | cls.model_json_schema()

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
