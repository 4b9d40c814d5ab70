"""What may be asked of training: the body of a new fine-tuning job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ragtune.limits import MAX_BATCH_SIZE, MAX_BETA, MAX_EPOCHS, MAX_SEED, MAX_SUFFIX
from ragtune.local.http.errors import invalid
from ragtune.local.wire.base import Metadata, RequestBody, Strict

if TYPE_CHECKING:
    from ragtune.local.store.schema import TrainingMethod

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
    # Not among OpenAI's: whether held-out questions are asked while the job trains, and end it.
    evaluate_every: _Epochs | None = None
    early_stop: _Epochs | None = None

    @model_validator(mode="after")
    def _ask_before_stopping(self) -> Self:
        if self.early_stop is not None and self.evaluate_every is None:
            message = "Invalid 'early_stop': it counts the times of 'evaluate_every'; send both."
            raise invalid(message, param="early_stop", code="invalid_value")
        return self


class _Supervised(Strict):
    hyperparameters: _SupervisedHyperparameters | None = None


class _DPO(Strict):
    hyperparameters: _DPOHyperparameters | None = None


class _MethodRequest(RequestBody):
    unserved: ClassVar = {"reinforcement": ()}

    type: Literal["supervised", "dpo"]
    supervised: _Supervised | None = None
    dpo: _DPO | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_trained(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("type") == "reinforcement":
            message = (
                "Unsupported method: this server trains supervised and dpo runs, not reinforcement ones; "
                "send the type 'supervised' or 'dpo', or the job to another server."
            )
            raise invalid(message, param="method", code="unsupported_method")
        return data

    @model_validator(mode="after")
    def _is_one_method(self) -> Self:
        other = "dpo" if self.type == "supervised" else "supervised"
        if getattr(self, other) is not None:
            message = f"Invalid 'method': its type is '{self.type}', but it describes '{other}'; leave that out."
            raise invalid(message, param=f"method.{other}", code="invalid_value")
        return self


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
        chosen: _Hyperparameters
        if self.method is not None and self.method.type == "dpo":
            own = None if self.method.dpo is None else self.method.dpo.hyperparameters
            chosen = own or _DPOHyperparameters(**common)
            return {"type": "dpo", "dpo": {"hyperparameters": chosen.model_dump(exclude_none=True)}}
        described = None if self.method is None else self.method.supervised
        chosen = (described and described.hyperparameters) or _Hyperparameters(**common)
        return {"type": "supervised", "supervised": {"hyperparameters": chosen.model_dump(exclude_none=True)}}
