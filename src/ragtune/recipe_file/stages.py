"""The stages of a recipe file: each is done once for the same inputs, and goes on where it was interrupted."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ragtune._atomic import write_whole
from ragtune._keys import client_from_anywhere
from ragtune._progress import visible
from ragtune.errors import EvaluationError, RegistryError, SpecError
from ragtune.recipe_file.inspection import inspect
from ragtune.recipe_file.place import LOCAL, OPENAI, folder_name
from ragtune.recipe_file.promotion import refuse
from ragtune.recipe_file.state import State, fingerprint
from ragtune.recipe_file.teaching import in_words
from ragtune.recipe_file.telling import told_from_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import openai

    from ragtune.dataset import Dataset
    from ragtune.evaluation import Scorecard
    from ragtune.model import TunedModel
    from ragtune.recipe_file.file import RecipeFile

__all__ = ["STAGES", "Done", "Stage", "Stages"]

Stage = Literal["build", "tune", "evaluate", "promote"]
STAGES: tuple[Stage, ...] = ("build", "tune", "evaluate", "promote")
# What will be refused for the same words again: such a question stays wrong. All else may have been the server's day.
_FOR_GOOD = ("BadRequestError:", "UnprocessableEntityError:", "EmptyAnswer:")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A stage that is done.

    Attributes:
        stage: its name.
        anew: whether it was done now; else it had been done before.
        told: what came of it, in words.
        result: the same as values.
    """

    stage: Stage
    anew: bool
    told: str
    result: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """The stages of a recipe file on one server.

    Iterate `run()`; what is done stays done, wherever the program ends in between.

    Attributes:
        file: the recipe file.
        to: `local`, `openai` or a URL; None takes what the file says.
        say: told what happens meanwhile, in words.

    Example:
        ```python
        import json
        from pathlib import Path

        from ragtune.recipe_file import RecipeFile, Stages

        sums = [{"q": f"What is {n} + {n}?", "a": str(n + n)} for n in range(12)]
        Path("sums.json").write_text(json.dumps(sums))
        Path("ragtune.toml").write_text('''
        [data]
        rows = "sums.json"
        user = "{q}"
        assistant = "{a}"
        [model]
        base = "tiny-random"
        ''')
        stages = Stages(file=RecipeFile.load("ragtune.toml"))
        print([done.anew for done in stages.run(until="build")], [done.anew for done in stages.run(until="build")])
        #> [True] [False]
        ```
    """

    file: RecipeFile
    to: str | None = None
    say: Callable[[str], object] = lambda words: None

    def run(self, *, until: str | None = None) -> Iterator[Done]:
        """Do the stages that are not done, in order.

        Args:
            until: the last one that is wanted; None is all that the file speaks of.

        Raises:
            RagtuneError: what the stages themselves raise.
        """
        todo = {"tune": self._tune, "evaluate": self._evaluate, "promote": self._promote}
        with self._interrupted(), ExitStack() as opened:
            client: openai.OpenAI | None = None
            inspected = False
            for stage in self.wanted(until):
                if (before := self._before(stage)) is not None:
                    yield before
                    continue
                # Only where something will be done: what is finished needs neither its rows nor its base any more.
                if not inspected:
                    self.inspect()
                    inspected = True
                if stage == "build":
                    yield self._build()
                else:
                    # Not before a stage needs a server: to build takes no key.
                    client = client or opened.enter_context(self._client())
                    yield todo[stage](client)

    def wanted(self, until: str | None = None) -> tuple[Stage, ...]:
        """The stages up to one of them, without those that the file does not speak of.

        Raises:
            SpecError: the last one is none.
        """
        if until is not None and until not in STAGES:
            raise SpecError(f"until: {until!r} is no stage; there are {', '.join(STAGES)}")
        if until == "evaluate" and self.file.evaluation is None:
            raise SpecError(f"{self.file.path} has no table [evaluation], so nothing says what to ask; add one")
        if until == "promote" and self.file.gate is None:
            raise SpecError(f"{self.file.path} has no table [gate], so nothing says which alias is meant; add one")
        last = next((place for place, stage in enumerate(STAGES) if stage == until), len(STAGES))
        left_out = [
            stage for stage, table in (("evaluate", self.file.evaluation), ("promote", self.file.gate)) if table is None
        ]
        return tuple(stage for stage in STAGES[: last + 1] if stage not in left_out)

    def pending(self, *, until: str | None = None) -> list[tuple[Stage, bool]]:
        """The wanted stages, each with whether it would be done now; nothing is sent.

        What comes behind a stage that would be done is done, too.
        """
        found: list[tuple[Stage, bool]] = []
        for stage in self.wanted(until):
            found.append((stage, any(due for _, due in found) or self._before(stage) is None))
        return found

    def inspect(self) -> None:
        """Look at the columns, bases and files that the file names; nothing is written, and no server is asked.

        Raises:
            SpecError: something is not there, or could not be done; all of it is told.
        """
        _ = self.folder
        inspect(self.file, backend_folder=self.backend_folder if self.place == LOCAL else None)

    def _before(self, stage: Stage) -> Done | None:
        """The stage as it was done before for these inputs; those before it are done."""
        if stage == "build":
            found, told = self._built(), f"{self.file.target / 'data'} is built"
        elif self.place == LOCAL and not self.backend_folder.is_dir():
            # Whoever deleted the backend deleted its models, too.
            found, told = None, ""
        elif stage == "tune":
            found = self._state.result(self._of("tune"), self._tune_inputs())
            told = f"{found['model']} is tuned" if found else ""
        elif stage == "evaluate":
            found = self._state.result(self._of("evaluate"), self._evaluate_inputs())
            told = str(found["sentence"]) if found else ""
        else:
            found = self._decided()
            told = str(found["told"]) if found else ""
        return None if found is None else Done(stage=stage, anew=False, told=told, result=found)

    @property
    def place(self) -> str:
        """Who trains and answers: `local`, `openai` or a URL."""
        return self.file.server.to if self.to is None else self.to

    @property
    def folder(self) -> Path:
        """Where this server's job, model and evaluation are kept."""
        return self.file.target / folder_name(self.place)

    @property
    def backend_folder(self) -> Path:
        """Where this machine's backend keeps all."""
        given = self.file.server.folder
        return self.folder / "backend" if given is None else self.file.folder / given

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset that was built."""
        from ragtune.dataset import Dataset

        return Dataset.load(self.file.target / "data")

    @property
    def _state(self) -> State:
        return State(path=self.file.target / "state.json")

    def _of(self, stage: Stage) -> str:
        return f"{stage} {self.folder.name}"

    def _build_inputs(self) -> str:
        return fingerprint("build", *self.file.inputs())

    def _built(self) -> Mapping[str, object] | None:
        found = self._state.result("build", self._build_inputs())
        if found is None or not (self.file.target / "data").is_dir():
            return None
        # Another dataset may have been put into the folder since.
        return found if found["fingerprint"] == self.dataset.fingerprint else None

    def _build(self) -> Done:
        target = self.file.target / "data"
        if self._state.was_done("build"):
            self.say("the rows or what is made of them changed since: the dataset is built anew")
        inputs = self._build_inputs()
        dataset = self.file.build(overwrite=True)
        # In the place of what `dataset` would read: opening it hashes every file once more.
        vars(self)["dataset"] = dataset
        report = dataset.report
        report.save_html(self.file.target / "report.html")
        result = {"folder": str(target), "fingerprint": dataset.fingerprint, "records": report.kept}
        self._state.note("build", inputs, result)
        return Done(stage="build", anew=True, told=f"{report}\n  in {target}", result=result)

    @contextmanager
    def _client(self) -> Iterator[openai.OpenAI]:
        if self.place == LOCAL:
            from ragtune.local import LocalBackend

            model = self.file.model
            # The base has one name everywhere: only this machine's server knows which one stands for it.
            aliases = {} if model.local is None else {model.base: model.local}
            with LocalBackend(self.backend_folder, aliases=aliases) as backend, backend.client() as client:
                yield client
            return
        named = self.file.server.key_file
        key_file = None if named is None else self.file.folder / named
        url = None if self.place == OPENAI else self.place
        with client_from_anywhere(key_file=key_file, base_url=url) as client:
            yield client

    def _tune_inputs(self) -> str:
        model = self.file.model
        stands_for = model.local if self.place == LOCAL else None
        return fingerprint(
            "tune", self.dataset.fingerprint, self.file.job.model_dump(), model.base, stands_for, self.place
        )

    def _tune(self, client: openai.OpenAI) -> Done:
        from ragtune.job import FineTuneJob
        from ragtune.monitor import JobMonitor

        if self._state.was_done(self._of("tune")):
            self.say("the dataset or the job's settings changed since: a new job is made")
        spec = self.file.job.spec(self.file.model.base)
        job = FineTuneJob.create(client, self.dataset, spec, max_cost_usd=self.file.budget.training_usd)
        # Before it is waited for: who is interrupted meanwhile finds it there.
        job.save(self.folder / "job.json")
        found = "ended before" if job.details.is_final else "goes on"
        self.say(f"{job.id} {found if job.reused else 'is made'}")
        # Where a bar is drawn, lines between would tear it.
        model = JobMonitor(job).wait(on_event=None if visible() else told_from_now(client, job, self.say))
        model.save(self.folder / "model.json")
        result = {"job": job.id, "model": model.name}
        self._state.note(self._of("tune"), self._tune_inputs(), result)
        return Done(stage="tune", anew=True, told=f"{model.name} is tuned", result=result)

    def _evaluate_inputs(self) -> str:
        assert self.file.evaluation is not None
        tuned = self._state.result(self._of("tune"), self._tune_inputs())
        model = None if tuned is None else tuned["model"]
        parts = [model, self.dataset.fingerprint, self.file.evaluation.model_dump(), self.file.asked_text()]
        if self.file.evaluation.passages is not None:
            # The dataset knows nothing of a column that no template names.
            parts.append(self.file.data.described(self.file.folder))
        return fingerprint("evaluate", *parts)

    def _evaluate(self, client: openai.OpenAI) -> Done:
        from ragtune.model import TunedModel

        model = TunedModel.load(client, self.folder / "model.json")
        inputs = self._evaluate_inputs()
        # A log of its own for other inputs: answers to other questions do not belong together.
        log = self.folder / f"evaluation-{inputs[:8]}.jsonl"
        card = self._card(client, model, log)
        again = [one for one in card.errors if not one.error.startswith(_FOR_GOOD)]
        if again:
            said = again[-1].error.splitlines()[0][:200]
            message = f"{len(again)} questions have no answer, the last because of {said}; only these are asked again"
            raise EvaluationError(message)
        page = card.to_html(self.folder / "card.html")
        write_whole(self.folder / "card.json", card.to_json() + "\n")
        result = {"sentence": card.sentence, "log": str(log), "page": str(page)}
        self._state.note(self._of("evaluate"), inputs, result)
        return Done(stage="evaluate", anew=True, told=f"{card}\n  the page with every answer: {page}", result=result)

    def _card(self, client: openai.OpenAI, model: TunedModel, log: Path) -> Scorecard:
        from ragtune.evaluation import arms, evaluate
        from ragtune.retrieval import BM25

        asked = self.file.evaluation
        assert asked is not None
        rows = self.file.data.all_rows(self.file.folder) if asked.answer or asked.passages else None
        facts = self.file.asked(self.dataset, rows=rows)
        retriever = None if asked.passages is None else BM25(rows or [], text=asked.passages)
        everybody = arms(base=(client, self.file.model.base) if asked.base else None, tuned=model, retriever=retriever)
        failing = ("tuned, nothing found", "tuned, false passage")
        chosen = {name: arm for name, arm in everybody.items() if asked.failing_retrieval or name not in failing}
        self.say(f"asking {', '.join(chosen)}: {in_words(facts)}")
        return evaluate(
            chosen,
            facts,
            tuple(asked.scorers),
            log=log,
            # This machine bills nothing, and its answers have no price that a limit could be held against.
            max_cost_usd=None if self.place == LOCAL else self.file.budget.evaluation_usd,
            concurrency=asked.concurrency,
            max_tokens=asked.max_tokens,
        )

    def _promote_inputs(self) -> str:
        assert self.file.gate is not None
        return fingerprint("promote", self._evaluate_inputs(), self.file.gate.model_dump())

    def _decided(self) -> Mapping[str, object] | None:
        """What was decided before.

        Raises:
            RegistryError: it was refused, and the model that holds the alias is the same still.
        """
        assert self.file.gate is not None
        found = self._state.result(self._of("promote"), self._promote_inputs())
        if found is not None and found["outcome"] == "refused":
            # Against another holder the same model may pass.
            if found["held"] != self.file.gate.holder(self.file.folder):
                return None
            refuse(found)
        return found

    def _promote(self, client: openai.OpenAI) -> Done:
        from ragtune.evaluation import Scorecard
        from ragtune.model import TunedModel

        gate, asked = self.file.gate, self.file.evaluation
        assert gate is not None
        assert asked is not None
        evaluated = self._state.result(self._of("evaluate"), self._evaluate_inputs())
        assert evaluated is not None
        result = gate.decide(
            TunedModel.load(client, self.folder / "model.json"),
            dataset=self.dataset,
            scorecard=Scorecard.load(evaluated["log"], scorers=tuple(asked.scorers)),
            recipe=self.file.recipes if self.file.recipe else None,
            folder=self.file.folder,
        )
        # A refusal as well, and before it is told: the next run would decide it once more.
        self._state.note(self._of("promote"), self._promote_inputs(), result)
        refuse(result)
        return Done(stage="promote", anew=True, told=str(result["told"]), result=result)

    @contextmanager
    def _interrupted(self) -> Iterator[None]:
        try:
            yield
        except RegistryError:
            # A refusal is an end: nothing goes on behind it.
            raise
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt):
                error.args = ("stopped",)
            if self.file.target.exists():
                to = "" if self.to is None else f" --to {self.to}"
                error.add_note(f"what is done stays in {self.file.target}; `ragtune run {self.file.path}{to}` goes on")
            raise
