"""How a model shall learn: the methods and their hyperparameters; every limit is checked when the value is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from typing import ClassVar, Literal, TypeVar

from ragtune import limits
from ragtune._ranges import make_numbers_plain, require_number, require_whole
from ragtune.errors import SpecError
from ragtune.spec.learning_rate import Absolute, Auto, LearningRate, Multiplier

__all__ = ["DPO", "KTO", "METHODS", "Method", "Reinforcement", "Supervised", "given", "in_words"]

S = TypeVar("S")
Reasoning = Literal["train", "mask", "drop"]
REASONING: tuple[Reasoning, ...] = ("train", "mask", "drop")
EFFORTS = ("default", "low", "medium", "high")


def in_words(**missing: str) -> Callable[[type[S]], type[S]]:
    """Answer a setting without its name, or in the wrong place, with a sentence instead of Python's TypeError.

    Args:
        missing: settings that have to be given, each with the sentence that says so.
    """

    def say(kind: type[S]) -> type[S]:
        return _in_words(kind, missing)

    return say


def _in_words(kind: type[S], missing: Mapping[str, str]) -> type[S]:
    # What `dataclass` has made: this decorator stands above that one.
    plain = kind.__init__

    @wraps(plain)
    def init(self: S, *values: object, **settings: object) -> None:
        names = [one.name for one in fields(kind) if one.init]  # type: ignore[arg-type]
        if values:
            way = f"{kind.__name__}({names[0]}={values[0]!r})" if names else f"{kind.__name__}()"
            raise SpecError(f"{kind.__name__}({values[0]!r}): each setting goes by its name: {way}")
        for name in settings:
            if name not in names:
                raise SpecError(f"{kind.__name__} has no {name}; {_place_of(name, settings[name], names)}")
        for name, sentence in missing.items():
            if name not in settings:
                raise SpecError(sentence)
        plain(self, **settings)

    kind.__init__ = init  # type: ignore[method-assign, assignment]
    return kind


def _place_of(name: str, value: object, names: list[str]) -> str:
    if "method" in names and any(one.name == name for one in fields(Supervised)):
        return f"it is a setting of the method: TuneSpec(model=..., method=rt.Supervised({name}={value!r}))"
    if name in ("model", "seed", "suffix", "metadata"):
        return f"it is a setting of the job: rt.TuneSpec({name}={value!r}, method=...)"
    return f"it has {', '.join(names)}"


@in_words()
@dataclass(frozen=True, kw_only=True)
class Supervised:
    """Learn to answer as the examples do.

    Attributes:
        n_epochs: passes over the training file, 1 to 50, or "auto" (the server chooses).
        batch_size: examples per step, 1 to 256, or "auto".
        learning_rate: `Multiplier`, `Absolute` or "auto".
        evaluate_every: epochs after which the model is asked the validation file's questions; the share of right
            answers comes as `valid_fact_accuracy`. None asks nothing. The embedded backend alone does this.
        early_stop: times in a row without a better share after which the job ends; its model is then the one that
            answered best. Asks after every epoch unless `evaluate_every` says otherwise; while nothing was ever right
            it goes on; None trains all epochs.
        reasoning: what becomes of the thoughts (`reasoning_content`) in the rows: "train" learns them with the answers;
            "mask" lets them stand before the answers and learns these alone, also where the template of the base
            writes an empty thought; "drop" leaves them out. None trains them where the template writes thoughts and
            leaves them out elsewhere, with a warning. The embedded backend alone has the choice.

    Raises:
        SpecError: a value is out of range.

    Example:
        ```python
        import ragtune as rt

        print(rt.Supervised(n_epochs=3).hyperparameters())
        #> {'n_epochs': 3}
        try:
            rt.Supervised(n_epochs=51)
        except rt.SpecError as error:
            print(error)
            #> n_epochs: 51 is out of range; it must be "auto" or a whole number from 1 to 50
        ```
    """

    type: ClassVar[str] = "supervised"
    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    learning_rate: LearningRate = "auto"
    evaluate_every: int | None = None
    early_stop: int | None = None
    reasoning: Reasoning | None = None

    def __post_init__(self) -> None:
        make_numbers_plain(self)
        _check_common(self)
        if self.reasoning is not None and self.reasoning not in REASONING:
            raise SpecError(f"reasoning: {self.reasoning!r} is not one of {', '.join(REASONING)}, or None")
        for name in ("evaluate_every", "early_stop"):
            if getattr(self, name) is not None:
                require_whole(name, getattr(self, name), low=1, high=limits.MAX_EPOCHS, auto=False)

    @property
    def asks_while_training(self) -> bool:
        """Whether the job is to ask its model held-out questions."""
        return self.evaluate_every is not None or self.early_stop is not None

    def hyperparameters(self) -> dict[str, object]:
        """Return what goes over the wire; "auto" is what a server does anyway and stays out."""
        # To stop early it has to ask; after each epoch, where nothing else was said.
        every = 1 if self.early_stop is not None and self.evaluate_every is None else self.evaluate_every
        return _common(self) | given(evaluate_every=every, early_stop=self.early_stop, reasoning=self.reasoning)


@in_words()
@dataclass(frozen=True, kw_only=True)
class DPO:
    """Learn to prefer one answer over another (direct preference optimisation).

    Attributes:
        beta: how closely to stay with the model as it was, in (0, 2], or "auto"; OpenAI's guide uses 0.1.
        n_epochs: as in `Supervised`.
        batch_size: as in `Supervised`.
        learning_rate: as in `Supervised`.

    Raises:
        SpecError: a value is out of range.

    Example:
        ```python
        import ragtune as rt

        print(rt.DPO(beta=0.1, n_epochs=1).hyperparameters())
        #> {'n_epochs': 1, 'beta': 0.1}
        ```
    """

    type: ClassVar[str] = "dpo"
    beta: float | Auto = "auto"
    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    learning_rate: LearningRate = "auto"

    def __post_init__(self) -> None:
        make_numbers_plain(self)
        _check_common(self)
        if self.beta != "auto":
            require_number("beta", self.beta, low=0.0, high=limits.MAX_BETA, auto=True)

    def hyperparameters(self) -> dict[str, object]:
        """Return what goes over the wire; "auto" stays out."""
        return _common(self) | given(beta=self.beta)


@in_words()
@dataclass(frozen=True, kw_only=True)
class KTO:
    """Learn from answers that were called good or bad one by one (Kahneman-Tversky optimisation).

    The embedded backend trains so; OpenAI's wire has no such method. Where only pairs are taken, put a bad answer
    beside a good one to the same question and use `DPO`.

    Attributes:
        beta: how closely to stay with the model as it was, in (0, 2], or "auto" (0.1, TRL's number).
        desirable_weight: how much good answers count, above 0.
        undesirable_weight: how much bad answers count, above 0. Where there are more of one kind, weigh the other up:
            `check` says by how much.
        n_epochs: as in `Supervised`.
        batch_size: as in `Supervised`, from 2: the answers of a batch are compared with one another's questions.
        learning_rate: as in `Supervised`.

    Raises:
        SpecError: a value is out of range.

    Example:
        ```python
        import ragtune as rt

        print(rt.KTO(n_epochs=3, undesirable_weight=2.5).hyperparameters())
        #> {'n_epochs': 3, 'desirable_weight': 1.0, 'undesirable_weight': 2.5}
        ```
    """

    type: ClassVar[str] = "kto"
    beta: float | Auto = "auto"
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    learning_rate: LearningRate = "auto"

    def __post_init__(self) -> None:
        make_numbers_plain(self)
        _check_common(self)
        # How far a model has moved KTO tells by questions and answers of one batch that do not belong together: one
        # alone makes no such pair.
        require_whole("batch_size", self.batch_size, low=2, high=limits.MAX_BATCH_SIZE)
        if self.beta != "auto":
            require_number("beta", self.beta, low=0.0, high=limits.MAX_BETA, auto=True)
        for name in ("desirable_weight", "undesirable_weight"):
            require_number(name, getattr(self, name), low=0.0, hint="1.0 where both kinds count alike")

    def hyperparameters(self) -> dict[str, object]:
        """Return what goes over the wire; "auto" stays out."""
        weights = {"desirable_weight": self.desirable_weight, "undesirable_weight": self.undesirable_weight}
        return _common(self) | given(beta=self.beta) | weights


@in_words()
@dataclass(frozen=True, kw_only=True)
class Reinforcement:
    """Learn from the marks of a grader.

    Attributes:
        grader: OpenAI's grader object, for example `{"type": "string_check", ...}`.
        response_format: JSON schema that answers must keep to, or None.
        reasoning_effort: default, low, medium or high, or None for the server's choice.
        compute_multiplier: how much to explore, in (1e-5, 10], or "auto".
        eval_interval: steps between two validation runs, at least 1, or "auto".
        eval_samples: samples per validation run, at least 1, or "auto".
        n_epochs: as in `Supervised`.
        batch_size: as in `Supervised`.
        learning_rate: as in `Supervised`.

    Raises:
        SpecError: a value is out of range.

    Example:
        ```python
        import ragtune as rt

        grader = {"type": "string_check", "name": "same", "operation": "eq",
                  "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
        print(rt.Reinforcement(grader=grader, eval_samples=2).hyperparameters())
        #> {'eval_samples': 2}
        ```
    """

    type: ClassVar[str] = "reinforcement"
    grader: Mapping[str, object]
    response_format: Mapping[str, object] | None = None
    reasoning_effort: str | None = None
    compute_multiplier: float | Auto = "auto"
    eval_interval: int | Auto = "auto"
    eval_samples: int | Auto = "auto"
    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    learning_rate: LearningRate = "auto"

    def __post_init__(self) -> None:
        make_numbers_plain(self)
        _check_common(self)
        if not isinstance(self.grader, Mapping) or not self.grader.get("type"):
            raise SpecError(f"grader: {self.grader!r} has no 'type'; for example {{'type': 'string_check', ...}}")
        if self.reasoning_effort is not None and self.reasoning_effort not in EFFORTS:
            raise SpecError(f"reasoning_effort: {self.reasoning_effort!r} is not one of {', '.join(EFFORTS)}")
        if self.compute_multiplier != "auto":
            low, high = limits.MIN_COMPUTE_MULTIPLIER, limits.MAX_COMPUTE_MULTIPLIER
            require_number("compute_multiplier", self.compute_multiplier, low=low, high=high, auto=True)
        require_whole("eval_interval", self.eval_interval, low=1)
        require_whole("eval_samples", self.eval_samples, low=1)

    def hyperparameters(self) -> dict[str, object]:
        """Return what goes over the wire; "auto" and None stay out."""
        return _common(self) | given(
            reasoning_effort=self.reasoning_effort,
            compute_multiplier=self.compute_multiplier,
            eval_interval=self.eval_interval,
            eval_samples=self.eval_samples,
        )


Method = Supervised | DPO | KTO | Reinforcement
METHODS = "Supervised(...), DPO(...), KTO(...), Reinforcement(...)"
"""All of them, for a message."""


def _check_common(method: Method) -> None:
    require_whole("n_epochs", method.n_epochs, low=1, high=limits.MAX_EPOCHS)
    require_whole("batch_size", method.batch_size, low=1, high=limits.MAX_BATCH_SIZE)
    rate: object = method.learning_rate
    if rate != "auto" and not isinstance(rate, Multiplier | Absolute):
        raise SpecError(
            f"learning_rate: {rate!r} does not say what it means; it must be "
            '"auto", Multiplier(1.8) (a factor) or Absolute(1e-4) (a rate)'
        )


def _common(method: Method) -> dict[str, object]:
    rate = method.learning_rate
    return given(
        n_epochs=method.n_epochs,
        batch_size=method.batch_size,
        learning_rate_multiplier=rate.value if isinstance(rate, Multiplier) else None,
        learning_rate=rate.value if isinstance(rate, Absolute) else None,
    )


def given(**values: object) -> dict[str, object]:
    """The values that say something: neither None nor "auto"."""
    return {name: value for name, value in values.items() if value is not None and value != "auto"}
