"""The registry: models, the aliases that lead to them, and by which decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune._api import synchronous
from ragtune._checked import checked
from ragtune._sync import run
from ragtune.errors import RegistryError
from ragtune.journal import USERS
from ragtune.model import AsyncTunedModel, TunedModel
from ragtune.registry.aliases import Aliases, now
from ragtune.registry.describe import described, named
from ragtune.registry.given import with_given

if TYPE_CHECKING:
    import os

    import openai

    from ragtune._api import Api
    from ragtune.dataset import Dataset
    from ragtune.evaluation import Scorecard
    from ragtune.journal import JournalArgument
    from ragtune.registry.version import ModelVersion

__all__ = ["AsyncRegistry", "Registry"]


@checked("model")
class Registry(Aliases):
    """Which models there are, what each was measured at, and which of them an alias such as `science-prod` leads to.

    Programs ask the alias; people move it, behind a gate, and every decision is kept with who and why. Where MLflow and
    W&B have a registered model or a collection with versions, here each tuned model is a version, and an alias is an
    alias.

    Args:
        path: one SQLite file (`models.sqlite3`), or a folder of JSON that lives in a repository (`models`), made when
            something is first written. Several processes may use it.
        timeout_s: how long to wait for another process that writes, in seconds.

    Raises:
        RegistryError: the path names neither a file nor a folder.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        registry = rt.Registry("models.sqlite3")
        with LocalBackend("runs") as backend:
            model = rt.TunedModel(backend.client(), "tiny-random", system="Answer briefly.")
            registry.add(model)
            try:
                registry.promote("science-prod", model)
            except rt.GateRefused as refusal:
                print(refusal)
                #> science-prod: tiny-random was refused: it has no scorecard; force=True promotes it, with by= and why=
            registry.promote("science-prod", model, force=True, by="anna", why="nothing else is there yet")
            print(registry.model("science-prod", backend.client()).system())
            #> Answer briefly.
        print([row.outcome for row in registry.history("science-prod")])
        #> ['refused', 'forced']
        ```
    """

    # Its own, although it adds nothing: a wrong argument is then told of a Registry, and not of what both faces share.
    def __init__(self, path: str | os.PathLike[str], *, timeout_s: float = 30.0) -> None:
        super().__init__(path, timeout_s=timeout_s)

    def add(
        self,
        model: TunedModel | str,
        *,
        dataset: Dataset | None = None,
        scorecard: Scorecard | str | os.PathLike[str] | None = None,
        recipe: object = None,
        arm: str | None = None,
        cost_usd: float | None = None,
    ) -> ModelVersion:
        """Register a model, or add to what is known of one.

        Server and journal are asked for its account, system prompt, job, cost and end.

        Args:
            model: the model; of a name alone only what the catalogue says is known.
            dataset: what it learned from.
            scorecard: its `rt.evaluate`, or the log of it.
            recipe: an `rt.Recipe`, the name of one, or a dict.
            arm: its name on the card; default: `tuned`, else the arm that is this model.
            cost_usd: what training cost, where the journal does not know.

        Raises:
            RegistryError: the card is of another model, a model of that name on another server is registered, or the
                registry cannot be written.
            EvaluationError: the log cannot be read.
        """
        version = run(described(model._model)) if isinstance(model, TunedModel) else _named(model)
        given = with_given(version, dataset=dataset, scorecard=scorecard, arm=arm, recipe=recipe, cost_usd=cost_usd)
        return self._put(given)

    def model(self, alias: str, client: openai.OpenAI | Api, *, journal: JournalArgument = USERS) -> TunedModel:
        """Return the model that an alias leads to, with the system prompt that it was promoted with.

        Warns with `ExpiryWarning` where the server ends it within the alias's notice.

        Args:
            alias: the alias.
            client: an `openai.OpenAI` for the server that has it.
            journal: as in `TunedModel`.

        Raises:
            RegistryError: there is no such alias, or the server does not have its model (any more).
        """
        return TunedModel._around(run(self._led(alias, synchronous(client), journal)))


@checked("model")
class AsyncRegistry(Aliases):
    """`Registry` with what asks a server awaited: `add` and `model`; everything else is the same.

    Example:
        ```python
        import asyncio

        from ragtune import aio
        from ragtune.local import LocalBackend

        async def main(backend: LocalBackend) -> None:
            registry = aio.AsyncRegistry("models.sqlite3")
            async with backend.async_client() as client:
                version = await registry.add(aio.AsyncTunedModel(client, "tiny-random", system=""))
            print(version.expiry.kind)
            #> never

        with LocalBackend("runs") as backend:
            asyncio.run(main(backend))
        ```
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout_s: float = 30.0) -> None:
        super().__init__(path, timeout_s=timeout_s)

    async def add(
        self,
        model: AsyncTunedModel | str,
        *,
        dataset: Dataset | None = None,
        scorecard: Scorecard | str | os.PathLike[str] | None = None,
        recipe: object = None,
        arm: str | None = None,
        cost_usd: float | None = None,
    ) -> ModelVersion:
        """Register a model; see `Registry.add`."""
        version = await described(model) if isinstance(model, AsyncTunedModel) else _named(model)
        given = with_given(version, dataset=dataset, scorecard=scorecard, arm=arm, recipe=recipe, cost_usd=cost_usd)
        return self._put(given)

    async def model(
        self, alias: str, client: openai.AsyncOpenAI | Api, *, journal: JournalArgument = USERS
    ) -> AsyncTunedModel:
        """Return the model that an alias leads to; see `Registry.model`."""
        return await self._led(alias, client, journal)


def _named(model: object) -> ModelVersion:
    if not isinstance(model, str) or not model:
        raise RegistryError(f"model is {type(model).__name__}; give a model of this face's kind, or its name")
    if not model.isprintable():
        raise RegistryError(f"model is {model!a:.80}, which holds signs that no name has; give its name on the server")
    return named(model, now())
