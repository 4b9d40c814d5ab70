"""One fine-tuning job, apart from its data, and the request that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ragtune import limits
from ragtune._checked import checked
from ragtune._ranges import make_numbers_plain, require_whole
from ragtune.dialects import GENERIC
from ragtune.errors import SpecError, Unsupported
from ragtune.spec.learning_rate import Absolute, Multiplier
from ragtune.spec.methods import METHODS, Method, Reinforcement, Supervised, given, in_words

if TYPE_CHECKING:
    from ragtune.dialects import Dialect

__all__ = ["TuneSpec", "check_metadata"]


@checked()
@in_words(model="TuneSpec names no model; for example TuneSpec(model='gpt-4o-mini-2024-07-18')")
@dataclass(frozen=True, kw_only=True)
class TuneSpec:
    """One fine-tuning job, apart from its data.

    Attributes:
        model: base model, or a tuned one to train further.
        method: `Supervised` (default), `DPO`, `KTO` or `Reinforcement`.
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
        make_numbers_plain(self)
        if not isinstance(self.model, str) or not self.model.strip():
            raise SpecError(f"model: {self.model!r} is no model's name; for example 'gpt-4o-mini-2024-07-18'")
        if not isinstance(self.method, Method):
            raise SpecError(f"method: {self.method!r} is not one of {METHODS}")
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
            # As a plain dict: JSON takes no other mapping.
            settings |= given(grader=dict(self.method.grader), response_format=self.method.response_format)
        method = {"type": self.method.type} | ({self.method.type: settings} if settings else {})
        beside = values if dialect.hyperparameters == "body" else {}
        return {"model": self.model, "method": method} | given(
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
    # First: whoever speaks another wire takes no part of this request, whatever stands in it.
    if dialect.wire != "openai":
        raise Unsupported(
            dialect.name, "OpenAI's calls for fine-tuning", "rt.replay(archive, job, client) speaks its own"
        )
    if method.type not in dialect.methods:
        way = f"it takes {', '.join(sorted(dialect.methods))}"
        if method.type == "kto" and "dpo" in dialect.methods:
            way += "; pair each bad answer with a good one to the same question, .preference(...), and train with DPO()"
        raise Unsupported(dialect.name, f"the method {method.type}", way)
    if isinstance(method.learning_rate, Absolute) and dialect.learning_rate == "multiplier":
        raise Unsupported(dialect.name, "an absolute learning rate", "it takes a factor: learning_rate=Multiplier(...)")
    if isinstance(method.learning_rate, Multiplier) and dialect.learning_rate == "absolute":
        raise Unsupported(dialect.name, "a learning rate multiplier", "it takes a rate: learning_rate=Absolute(...)")
    if isinstance(method, Supervised) and method.asks_while_training and not dialect.asks_while_training:
        way_out = "leave evaluate_every and early_stop out, and ask the job's checkpoints afterwards"
        raise Unsupported(dialect.name, "asking held-out questions while it trains", way_out)
    if isinstance(method, Supervised) and method.reasoning is not None and not dialect.chooses_reasoning:
        raise Unsupported(
            dialect.name, "a choice for thoughts (reasoning)", "leave it out, and thoughts out of the rows"
        )
    if spec.suffix is None:
        return
    if dialect.suffix == "refused":
        raise Unsupported(dialect.name, "a suffix", "it names tuned models itself: leave suffix out")
    if len(spec.suffix) > dialect.longest_suffix:
        reason = f"it takes at most {dialect.longest_suffix} characters"
        raise Unsupported(dialect.name, f"a suffix of {len(spec.suffix)} characters", reason)
