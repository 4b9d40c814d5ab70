"""What may be asked of training: the body of a new fine-tuning job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ragtune.limits import MAX_BATCH_SIZE, MAX_BETA, MAX_EPOCHS, MAX_SEED, MAX_SUFFIX
from ragtune.local.http.errors import invalid
from ragtune.local.wire.base import Metadata, RequestBody, Strict
from ragtune.modelling.encoding.thoughts import ReasoningUse  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from ragtune.local.store.schema import MethodSettings, TrainingMethod

__all__ = ["JobRequest"]

_Auto = Literal["auto"]
_Epochs = Annotated[int, Field(ge=1, le=MAX_EPOCHS)]
_BatchSize = Annotated[int, Field(ge=1, le=MAX_BATCH_SIZE)]
_Multiplier = Annotated[float, Field(gt=0)]


class _Hyperparameters(Strict):
    n_epochs: _Epochs | _Auto = "auto"
    batch_size: _BatchSize | _Auto = "auto"
    learning_rate_multiplier: _Multiplier | _Auto = "auto"
    # Not among OpenAI's: servers that copied the wire take the rate itself.
    learning_rate: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _say_the_rate_once(self) -> Self:
        if self.learning_rate is not None and self.learning_rate_multiplier != "auto":
            message = "Invalid 'learning_rate': it is the rate that 'learning_rate_multiplier' gives; send one of them."
            raise invalid(message, param="learning_rate", code="invalid_value")
        return self


class _DPOHyperparameters(_Hyperparameters):
    beta: Annotated[float, Field(gt=0, le=MAX_BETA)] | _Auto = "auto"


class _SupervisedHyperparameters(_Hyperparameters):
    # Not among OpenAI's: what becomes of thoughts; whether held-out questions are asked meanwhile, and end the job.
    reasoning: ReasoningUse | None = None
    evaluate_every: _Epochs | None = None
    early_stop: _Epochs | None = None

    @model_validator(mode="after")
    def _ask_before_stopping(self) -> Self:
        if self.early_stop is not None and self.evaluate_every is None:
            message = "Invalid 'early_stop': it counts the times of 'evaluate_every'; send both."
            raise invalid(message, param="early_stop", code="invalid_value")
        return self


class _KTOHyperparameters(_Hyperparameters):
    beta: Annotated[float, Field(gt=0, le=MAX_BETA)] | _Auto = "auto"
    desirable_weight: Annotated[float, Field(gt=0)] = 1.0
    undesirable_weight: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _compare_within_a_batch(self) -> Self:
        if self.batch_size == 1:
            message = "Invalid 'batch_size': kto compares the answers of a batch with one another; send 2 or more."
            raise invalid(message, param="batch_size", code="invalid_value")
        return self


class _Supervised(Strict):
    hyperparameters: _SupervisedHyperparameters | None = None


class _DPO(Strict):
    hyperparameters: _DPOHyperparameters | None = None


class _KTO(Strict):
    hyperparameters: _KTOHyperparameters | None = None


_Kind = Literal["supervised", "dpo", "kto"]
_KINDS: dict[_Kind, type[_Hyperparameters]] = {
    # Of the deprecated ones at the top alone, which know nothing that came later.
    "supervised": _Hyperparameters,
    "dpo": _DPOHyperparameters,
    "kto": _KTOHyperparameters,
}


class _MethodRequest(RequestBody):
    unserved: ClassVar = {"reinforcement": ()}

    type: _Kind
    supervised: _Supervised | None = None
    dpo: _DPO | None = None
    # Not among OpenAI's: answers that were called good or bad one by one.
    kto: _KTO | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_trained(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("type") == "reinforcement":
            message = (
                "Unsupported method: this server trains supervised, dpo and kto runs, not reinforcement ones; "
                "send the type 'supervised', 'dpo' or 'kto', or the job to another server."
            )
            raise invalid(message, param="method", code="unsupported_method")
        return data

    @model_validator(mode="after")
    def _is_one_method(self) -> Self:
        for other in _KINDS:
            if other != self.type and getattr(self, other) is not None:
                message = f"Invalid 'method': its type is '{self.type}', but it describes '{other}'; leave that out."
                raise invalid(message, param=f"method.{other}", code="invalid_value")
        return self

    @property
    def settings(self) -> _Hyperparameters | None:
        """The hyperparameters that stand under the method's name."""
        described: _Supervised | _DPO | _KTO | None = getattr(self, self.type)
        return None if described is None else described.hyperparameters


class JobRequest(RequestBody):
    """Body of `POST /v1/fine_tuning/jobs`."""

    unserved: ClassVar = {"integrations": ([],)}

    model: Annotated[str, Field(min_length=1)]
    training_file: str
    validation_file: str | None = None
    method: _MethodRequest | None = None
    hyperparameters: _Hyperparameters | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=MAX_SUFFIX)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _hold_questions_out(self) -> Self:
        described = None if self.method is None else self.method.supervised
        asked = described and described.hyperparameters and described.hyperparameters.evaluate_every
        if asked and self.validation_file is None:
            message = "Invalid 'evaluate_every': the held-out questions come from a 'validation_file'; send one."
            raise invalid(message, param="validation_file", code="missing_required_parameter")
        return self

    def full_method(self) -> TrainingMethod:
        """The method with all hyperparameters written out; its own count before the deprecated top-level ones."""
        common = {} if self.hyperparameters is None else self.hyperparameters.model_dump(exclude_none=True)
        kind: _Kind = "supervised" if self.method is None else self.method.type
        given = None if self.method is None else self.method.settings
        values: MethodSettings = {"hyperparameters": (given or _KINDS[kind](**common)).model_dump(exclude_none=True)}
        match kind:
            case "supervised":
                return {"type": kind, "supervised": values}
            case "dpo":
                return {"type": kind, "dpo": values}
            case "kto":
                return {"type": kind, "kto": values}
