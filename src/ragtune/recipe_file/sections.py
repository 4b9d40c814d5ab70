"""The tables of a recipe file, each with what the library makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ragtune.errors import DatasetError, SpecError

if TYPE_CHECKING:
    from ragtune.dataset import Dataset
    from ragtune.dataset.render.batches import SourceRow
    from ragtune.facts import FactSet
    from ragtune.spec import TuneSpec

__all__ = ["BudgetSection", "EvaluationSection", "JobSection", "ModelSection", "ServerSection"]

# Below 1: all rows for validation would leave none to train on.
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Usd = Annotated[float, Field(ge=0)]

# Settings of some methods only.
_OF_METHODS = {"beta": ("kto", "dpo"), "desirable_weight": ("kto",), "undesirable_weight": ("kto",)}


class Section(BaseModel):
    """A table: keys that it does not know are refused, and values must be of their kind."""

    # Strict: TOML and YAML have kinds of their own, so that a number in quotes is a slip. No nan: as a limit it would
    # never be exceeded, for every comparison with it is false.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ModelSection(Section):
    """`[model]`: what is trained."""

    base: str = Field(description="Base model, for example gpt-4o-mini-2024-07-18 or smollm2-135m-instruct.")
    local: str | None = Field(
        default=None, description="The base that stands for it where this machine trains; default: base itself."
    )


class JobSection(Section):
    """`[job]`: how it is trained; what is left out the server chooses."""

    method: Literal["supervised", "dpo", "kto"] = Field(default="supervised", description="How it learns.")
    # OpenAI's limits here and below, which `ragtune.limits` dates.
    n_epochs: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = Field(
        default="auto", description="Passes over the data."
    )
    batch_size: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default="auto", description="Examples per step."
    )
    learning_rate_multiplier: float | None = Field(
        default=None, description="Factor on the server's own rate (OpenAI)."
    )
    learning_rate: float | None = Field(default=None, description="The rate itself, where the server takes one.")
    beta: float | None = Field(default=None, description="dpo, kto: how closely to stay with the model as it was.")
    desirable_weight: float | None = Field(default=None, description="kto: how much good answers count; default 1.")
    undesirable_weight: float | None = Field(default=None, description="kto: how much bad answers count; default 1.")
    seed: int | None = Field(default=None, description="Same seed and settings should give the same model.")
    suffix: str | None = Field(default=None, description="Part of the tuned model's name.")

    def spec(self, base: str) -> TuneSpec:
        """The job on a base model.

        Raises:
            SpecError: settings that do not go together or are out of range.
        """
        from ragtune.spec import DPO, KTO, Absolute, Multiplier, Supervised, TuneSpec

        if self.learning_rate is not None and self.learning_rate_multiplier is not None:
            raise SpecError("learning_rate and learning_rate_multiplier are both given; leave one of them out")
        rate: Absolute | Multiplier | Literal["auto"] = "auto"
        if self.learning_rate is not None:
            rate = Absolute(self.learning_rate)
        if self.learning_rate_multiplier is not None:
            rate = Multiplier(self.learning_rate_multiplier)
        own = {name: value for name in _OF_METHODS if (value := getattr(self, name)) is not None}
        for name in own:
            if self.method not in (methods := _OF_METHODS[name]):
                raise SpecError(
                    f"{name} is a setting of {' and '.join(methods)}; leave it out, or set method to {methods[-1]!r}"
                )
        kind: type[Supervised | DPO | KTO] = {"supervised": Supervised, "dpo": DPO, "kto": KTO}[self.method]
        method = kind(n_epochs=self.n_epochs, batch_size=self.batch_size, learning_rate=rate, **own)
        return TuneSpec(model=base, method=method, seed=self.seed, suffix=self.suffix)


class ServerSection(Section):
    """`[server]`: who trains and answers. Keys are never in this file."""

    to: str = Field(
        default="local", description="local (this machine), openai, or the URL of a server that speaks its wire."
    )
    folder: str | None = Field(
        default=None, description="Folder of this machine's backend; default: in the folder of the run."
    )
    key_file: str | None = Field(default=None, description="File with the API key; default: OPENAI_API_KEY.")


class EvaluationSection(Section):
    """`[evaluation]`: what base and tuned model are asked, and who says what is right."""

    facts: str | None = Field(default=None, description="JSONL file of facts; default: what the dataset teaches.")
    split: Literal["train", "validation", "test"] = Field("train", description="Part of the dataset that is asked.")
    answer: str | None = Field(default=None, description="Column of the answer, where the template holds more than it.")
    passages: str | None = Field(
        default=None, description="Column of passages: base and tuned are asked with them as well."
    )
    failing_retrieval: bool = Field(
        default=False, description="With passages: also ask with none, and with false ones."
    )
    reword: Annotated[int, Field(ge=0)] = Field(default=1, description="Rewordings per question, made by rules.")
    questions: Count | None = Field(default=None, description="At most so many facts.")
    scorers: list[str] = Field(default=["contains", "f1"], description="The first one is shown.")
    max_tokens: Count = Field(default=64, description="Most tokens of an answer.")
    concurrency: Count = Field(default=8, description="Questions under way at once.")
    base: bool = Field(default=True, description="Ask the base model as well.")

    def facts_of(
        self, dataset: Dataset | None, *, rows: list[SourceRow] | None = None, folder: Path = Path()
    ) -> FactSet:
        """The facts that are asked for.

        Args:
            dataset: what was trained on, where `facts` names no file.
            rows: the rows that it was built of, where columns are named.
            folder: what relative paths start from.

        Raises:
            DatasetError: there are none.
        """
        from ragtune.facts import FactSet

        if self.facts is not None:
            facts = FactSet.from_jsonl(folder / self.facts)
        elif dataset is None:
            raise DatasetError("nothing says what to ask: name a file of facts, or a dataset")
        else:
            by_column = self.answer is not None
            facts = FactSet.from_dataset(
                dataset,
                split=self.split,
                rows=rows if by_column else None,
                answer=self.answer,
                context=self.passages if by_column else None,
                # A dataset may teach one question in several rows; it is asked once.
                repeats="merge",
                unfit="skip",
            )
        if self.questions is not None:
            facts = FactSet(facts=facts.facts[: self.questions])
        # Other words that the file has are better than those that rules make.
        if self.reword and "reworded" not in facts.counts:
            facts = facts.with_wordings(kind="reworded", make="rules", per_fact=self.reword)
        return facts


class BudgetSection(Section):
    """`[budget]`: what may be spent at most, in US dollars; above it nothing is sent."""

    training_usd: Usd | None = Field(default=None, description="Of one training job.")
    evaluation_usd: Usd | None = Field(default=None, description="Of all answers of the evaluation.")
