"""Loading a base model and its tokenizer from a folder: never code, never pickles, never the network.

Imports torch and transformers only when something is loaded.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ragtune._extras import require
from ragtune.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from ragtune.modelling.encoding.tokenizer import Tokenizer
    from ragtune.modelling.hardware.formats import Dtype

__all__ = [
    "Configuration",
    "context_length",
    "load_configuration",
    "load_model",
    "load_tokenizer",
    "quiet",
    "saved_dtype",
    "share_the_processor",
]


def share_the_processor() -> None:
    """Let waiting threads sleep; works when it is called before torch is imported for the first time.

    By default OpenMP's threads spin while they wait for each other. On two cores that other programs used too, a
    training step then took seven times the CPU time and nine times as long (measured: 12.1 CPU-seconds instead of
    1.7). A setting of the user's own stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and a later fork do not go together


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and notices off the caller's terminal, and leave its settings as they were."""
    require("local", "torch", "transformers", reason="running models on this machine")
    share_the_processor()
    import transformers

    chatter: Any = transformers.utils.logging
    verbosity, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity(logging.ERROR)
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(verbosity)
        if bars:
            chatter.enable_progress_bar()


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a base, which must be one of the Rust-backed ones.

    Raises:
        BackendError: the folder holds no tokenizer that can be used.
    """
    with quiet():
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            message = (
                f"{folder}: its tokenizer cannot be loaded ({_first_line(error)}); give a folder with tokenizer.json"
            )
            raise BackendError(message) from error
    if not tokenizer.is_fast:
        message = (
            f"{folder}: its tokenizer has no fast version, which training needs; give a folder with tokenizer.json"
        )
        raise BackendError(message)
    return cast("Tokenizer", tokenizer)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What the files beside a model's weights say.

    Attributes:
        model: its configuration, as transformers has it.
        vocabulary: how many token ids it knows, None where nothing says so.
        eos: the tokens at which it ends, None where nothing says so.
    """

    model: object
    vocabulary: int | None
    eos: int | list[int] | None


def load_configuration(folder: str | Path) -> Configuration:
    """The configuration in a folder, without the weights.

    Raises:
        BackendError: the folder holds no configuration of a causal language model.
    """
    _require_causal(folder)
    with quiet():
        from transformers import AutoConfig, GenerationConfig

        try:
            config: Any = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            message = (
                f"{folder}: its configuration cannot be read ({_first_line(error)}); give a folder with config.json"
            )
            raise BackendError(message) from error
        try:
            generation: Any = GenerationConfig.from_pretrained(str(folder), local_files_only=True)
        except OSError:
            generation = GenerationConfig.from_model_config(config)
    text: Any = config.get_text_config()
    return Configuration(
        model=config, vocabulary=getattr(text, "vocab_size", None), eos=getattr(generation, "eos_token_id", None)
    )


def load_model(folder: str | Path, *, dtype: Dtype, **how: object) -> PreTrainedModel:
    """The causal language model in a folder, in evaluation mode.

    Args:
        folder: where it lies.
        dtype: number format of the weights, other than `nf4` (`ragtune.modelling.four_bit` loads that).
        how: further arguments of transformers' `from_pretrained`.

    Raises:
        BackendError: the folder holds no causal language model as safetensors.
    """
    _require_causal(folder)
    with quiet():
        import torch
        from transformers import AutoModelForCausalLM

        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=getattr(torch, dtype),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                **how,
            )
        except (OSError, ValueError, KeyError) as error:
            message = (
                f"{folder}: no causal language model can be loaded from it ({_first_line(error)}); "
                "give a folder with config.json and *.safetensors that needs no code of its own"
            )
            raise BackendError(message) from error
    model: PreTrainedModel = loaded.eval()
    return model


def _require_causal(folder: str | Path) -> None:
    """Refuse encoders and classifiers, some of which would load with a head that was never trained."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        config = json.loads(Path(folder, "config.json").read_bytes())
    except (OSError, ValueError):
        return  # loading says what is wrong with it
    named = config.get("architectures") or []
    if named and "auto_map" not in config and not set(named) & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        message = (
            f"{folder}: it is a {named[0]}, not a causal language model; trained and served are models that go on "
            "with a text, so give one of those (encoders and classifiers need another program)"
        )
        raise BackendError(message)


def context_length(config: object) -> int:
    """Tokens that the model can look at, prompt and answer together; 2048 where its configuration does not say."""
    # Models that also see keep the figures of their language part one level deeper.
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    known = getattr(text_config, "max_position_embeddings", None)
    return int(known) if known and known > 0 else 2048


def saved_dtype(folder: str | Path) -> Dtype:
    """The number format that a model's weights were saved in; float32 where its configuration does not say."""
    config = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
    saved = config.get("dtype") or config.get("torch_dtype")
    return saved if saved in ("bfloat16", "float16") else "float32"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
