"""What a fine-tuning job shall be: model, method, hyperparameters; every limit is checked when the value is made.

The limits are OpenAI's, from `ragtune.limits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from ragtune import limits
from ragtune._checked import checked
from ragtune._ranges import require_number, require_whole
from ragtune.dialects import GENERIC
from ragtune.errors import SpecError, Unsupported

if TYPE_CHECKING:
    from ragtune.dialects import Dialect

__all__ = ["DPO", "Absolute", "Method", "Multiplier", "Reinforcement", "Supervised", "TuneSpec"]

S = TypeVar("S")
Auto = Literal["auto"]
EFFORTS = ("default", "low", "medium", "high")


def in_words(kind: type[S]) -> type[S]:
    """Answer a setting without its name, or in the wrong place, with a sentence instead of Python's TypeError."""
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
        if kind is TuneSpec and "model" not in settings:
            raise SpecError("TuneSpec names no model; for example TuneSpec(model='gpt-4o-mini-2024-07-18')")
        plain(self, **settings)

    kind.__init__ = init  # type: ignore[method-assign, assignment]
    return kind


def _place_of(name: str, value: object, names: list[str]) -> str:
    if "method" in names and any(one.name == name for one in fields(Supervised)):
        return f"it is a setting of the method: TuneSpec(model=..., method=rt.Supervised({name}={value!r}))"
    if name in ("model", "seed", "suffix", "metadata"):
        return f"it is a setting of the job: rt.TuneSpec({name}={value!r}, method=...)"
    return f"it has {', '.join(names)}"


@dataclass(frozen=True)
class Multiplier:
    """A learning rate as a factor on the rate that the server would choose; above 0.

    OpenAI's way. 1.8 on OpenAI and 1.8 on another server are different rates, and neither is 1.8.

    Example:
        ```python
        import ragtune as rt

        method = rt.Supervised(learning_rate=rt.Multiplier(1.8))
        print(method.hyperparameters())
        #> {'learning_rate_multiplier': 1.8}
        ```
    """

    value: float

    def __post_init__(self) -> None:
        require_number("learning_rate", self.value, low=0.0, hint="a factor such as Multiplier(1.8)")


@dataclass(frozen=True)
class Absolute:
    """A learning rate as the optimiser uses it, for example 1e-4; in (0, 1).

    For servers that take it (see `ragtune.dialects`); OpenAI does not.

    Example:
        ```python
        import ragtune as rt

        print(rt.Supervised(learning_rate=rt.Absolute(1e-4)).hyperparameters())
        #> {'learning_rate': 0.0001}
        ```
    """

    value: float

    def __post_init__(self) -> None:
        require_number(
            "learning_rate", self.value, low=0.0, high=1.0, high_open=True, hint="for example Absolute(1e-4)"
        )


LearningRate = Multiplier | Absolute | Auto


@in_words
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

    def __post_init__(self) -> None:
        _check_common(self)
        for name in ("evaluate_every", "early_stop"):
            if getattr(self, name) is not None:
                require_whole(name, getattr(self, name), low=1, high=limits.MAX_EPOCHS, auto=False)

    @property
    def asks_while_training(self) -> bool:
        """Whether the job is to ask its model held-out questions."""
        return self.evaluate_every is not None or self.early_stop is not None

    def hyperparameters(self) -> dict[str, object]:
        """Return what goes over the wire; "auto" is what a server does anyway and stays out."""
        every = 1 if self.early_stop is not None and self.evaluate_every is None else self.evaluate_every
        return _common(self) | _set(evaluate_every=every, early_stop=self.early_stop)


@in_words
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
        _check_common(self)
        if self.beta != "auto":
            require_number("beta", self.beta, low=0.0, high=limits.MAX_BETA, auto=True)

    def hyperparameters(self) -> dict[str, object]:
        """Return what goes over the wire; "auto" stays out."""
        return _common(self) | _set(beta=self.beta)


@in_words
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
        return _common(self) | _set(
            reasoning_effort=self.reasoning_effort,
            compute_multiplier=self.compute_multiplier,
            eval_interval=self.eval_interval,
            eval_samples=self.eval_samples,
        )


Method = Supervised | DPO | Reinforcement


@checked()
@in_words
@dataclass(frozen=True, kw_only=True)
class TuneSpec:
    """One fine-tuning job, apart from its data.

    Attributes:
        model: base model, or a tuned one to train further.
        method: `Supervised` (default), `DPO` or `Reinforcement`.
        seed: 0 to 2147483647, or None for the server's choice; same seed and settings should give the same model.
        suffix: up to 64 characters that go into the tuned model's name, or None.
        metadata: up to 16 pairs to find the job by; keys up to 64 and values up to 512 characters. A few pairs are
            ragtune's own and begin with `ragtune_`.

    Raises:
        SpecError: a value is out of range; the message names field, value and rule.

    Example:
        ```python
        import ragtune as rt

        spec = rt.TuneSpec(model="gpt-4o-mini-2024-07-18", method=rt.Supervised(n_epochs=3), seed=7, suffix="sciq")
        print(spec.request()["method"])
        #> {'type': 'supervised', 'supervised': {'hyperparameters': {'n_epochs': 3}}}
        ```
    """

    model: str
    method: Method = field(default_factory=Supervised)
    seed: int | None = None
    suffix: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise SpecError(f"model: {self.model!r} is no model's name; for example 'gpt-4o-mini-2024-07-18'")
        if not isinstance(self.method, Supervised | DPO | Reinforcement):
            raise SpecError(f"method: {self.method!r} is not one of Supervised(...), DPO(...), Reinforcement(...)")
        if self.seed is not None:
            require_whole("seed", self.seed, low=0, high=limits.MAX_SEED, auto=False)
        _check_suffix(self.suffix)
        check_metadata(self.metadata)

    def request(self, dialect: Dialect = GENERIC) -> dict[str, Any]:
        """Return the body of the create request, apart from the files; what is None is not in it.

        Raises:
            Unsupported: the server is known not to take the method, the kind of learning rate, or the suffix.
        """
        _check_dialect(self, dialect)
        settings: dict[str, Any] = {}
        values = self.method.hyperparameters()
        if values and dialect.hyperparameters == "method":
            settings["hyperparameters"] = values
        if isinstance(self.method, Reinforcement):
            settings |= _set(grader=dict(self.method.grader), response_format=self.method.response_format)
        method = {"type": self.method.type} | ({self.method.type: settings} if settings else {})
        beside = values if dialect.hyperparameters == "body" else {}
        return {"model": self.model, "method": method} | _set(
            hyperparameters=beside or None,
            seed=self.seed,
            suffix=self.suffix,
            metadata=dict(self.metadata) or None,
            extra_body=dict(dialect.extra_body) or None,
        )


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Check OpenAI's limits on metadata, which every server with its wire copies.

    Raises:
        SpecError: too many pairs, or a key or value that is too long or no text.
    """
    pairs, longest_key, longest = limits.MAX_METADATA_PAIRS, limits.MAX_METADATA_KEY, limits.MAX_METADATA_VALUE
    if not isinstance(metadata, Mapping):
        raise SpecError(f"metadata: {metadata!r} is no dict; for example {{'dataset': 'sciq'}}")
    if len(metadata) > pairs:
        raise SpecError(f"metadata: {len(metadata)} pairs are too many; {pairs} are allowed, ragtune's own included")
    for key, value in metadata.items():
        if not isinstance(key, str) or not 1 <= len(key) <= longest_key:
            raise SpecError(f"metadata: key {key!r} must be text of 1 to {longest_key} characters")
        if not isinstance(value, str) or len(value) > longest:
            raise SpecError(f"metadata[{key!r}]: {value!r} must be text of at most {longest} characters")


def _check_suffix(suffix: str | None) -> None:
    longest = limits.MAX_SUFFIX
    if suffix is not None and not (isinstance(suffix, str) and 1 <= len(suffix) <= longest):
        raise SpecError(f"suffix: {suffix!r} must have 1 to {longest} characters, or be None")


def _check_dialect(spec: TuneSpec, dialect: Dialect) -> None:
    method = spec.method
    if method.type not in dialect.methods:
        raise Unsupported(dialect.name, f"the method {method.type}", f"it takes {', '.join(sorted(dialect.methods))}")
    if isinstance(method.learning_rate, Absolute) and dialect.learning_rate == "multiplier":
        raise Unsupported(dialect.name, "an absolute learning rate", "it takes a factor: learning_rate=Multiplier(...)")
    if isinstance(method.learning_rate, Multiplier) and dialect.learning_rate == "absolute":
        raise Unsupported(dialect.name, "a learning rate multiplier", "it takes a rate: learning_rate=Absolute(...)")
    if isinstance(method, Supervised) and method.asks_while_training and not dialect.asks_while_training:
        way_out = "leave evaluate_every and early_stop out, and ask the job's checkpoints afterwards"
        raise Unsupported(dialect.name, "asking held-out questions while it trains", way_out)
    if spec.suffix is None:
        return
    if dialect.suffix == "refused":
        raise Unsupported(dialect.name, "a suffix", "it names tuned models itself: leave suffix out")
    if len(spec.suffix) > dialect.longest_suffix:
        reason = f"it takes at most {dialect.longest_suffix} characters"
        raise Unsupported(dialect.name, f"a suffix of {len(spec.suffix)} characters", reason)


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
    return _set(
        n_epochs=method.n_epochs,
        batch_size=method.batch_size,
        learning_rate_multiplier=rate.value if isinstance(rate, Multiplier) else None,
        learning_rate=rate.value if isinstance(rate, Absolute) else None,
    )


def _set(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None and value != "auto"}
