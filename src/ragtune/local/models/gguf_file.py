"""A model as one GGUF file: made by llama.cpp's own converter, and read back before anybody gets it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune._extras import require
from ragtune.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ragtune.modelling.encoding.tokenizer import Tokenizer
    from ragtune.modelling.hardware.formats import Dtype

__all__ = ["GGUF_TYPES", "find_converter", "read_back", "write_gguf"]

GGUF_TYPES: Mapping[Dtype, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
"""What llama.cpp's converters call the number formats."""

_NAME = "convert_hf_to_gguf.py"


def find_converter(given: str | Path | None = None) -> list[str]:
    """The words that start llama.cpp's converter.

    Args:
        given: it, or the folder of llama.cpp's source in which it lies; None looks for it on the `PATH`.

    Raises:
        BackendError: there is none.
        MissingExtraError: a package that it needs is not installed.
    """
    wanted = Path(given or _NAME).expanduser()
    path = wanted / _NAME if wanted.is_dir() else wanted
    # A Python file need not be marked as a program: `which` alone would pass it over.
    found = str(path.resolve()) if given is not None and path.is_file() else shutil.which(str(path))
    if found is None:
        where = "is not on the PATH" if given is None else "is not there"
        message = (
            f"converter: {path} {where}; it comes with llama.cpp's source "
            f"(git clone https://github.com/ggml-org/llama.cpp): give its path, --converter llama.cpp/{_NAME}"
        )
        raise BackendError(message)
    if not found.endswith(".py"):
        return [found]
    require("gguf", "gguf", "sentencepiece", reason=_NAME)
    return [sys.executable, found]


def write_gguf(folder: Path, target: Path, *, converter: Sequence[str], dtype: Dtype, title: str) -> None:
    """Let the converter make one file of a whole model.

    Args:
        folder: the model as transformers loads it.
        target: the file to make.
        converter: as `find_converter` found it.
        dtype: number format of the weights.
        title: what the file calls the model.

    Raises:
        BackendError: the converter does not know such a model, or did not come to its end.
    """
    words = [*converter, str(folder), "--outfile", str(target), "--outtype", GGUF_TYPES[dtype], "--model-name", title]
    try:
        done = subprocess.run(
            words, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise BackendError(f"converter: {converter[-1]} cannot be started ({error}); give another one") from error
    if done.returncode or not target.is_file():
        told = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        message = (
            f"{converter[-1]} cannot make a GGUF file of this model: {told[-1] if told else 'it said nothing'} "
            f"(exit code {done.returncode}); take a newer llama.cpp, or export with --merged, which other servers load"
        )
        raise BackendError(message)


def read_back(file: Path, *, tokenizer: Tokenizer) -> str:
    """Whether a file asks and ends as its model was trained; gives the token that engines put before every prompt.

    Args:
        file: the GGUF file.
        tokenizer: that of the folder which the file was made from.

    Raises:
        BackendError: the file cannot be read, or says something else than the model's folder.
    """
    from gguf import GGUFReader

    try:
        fields = GGUFReader(file).fields
        # Single values alone: the lists are the vocabulary, which nobody looks at here.
        told = {name: field.contents() for name, field in fields.items() if not field.data or len(field.data) == 1}
    # Whatever a reader stumbles over in a file that is none.
    except (ValueError, LookupError, OSError) as error:
        message = f"{file.name}: what the converter wrote cannot be read ({error}); take another llama.cpp"
        raise BackendError(message) from error
    expected = {"chat_template": tokenizer.chat_template, "ggml.eos_token_id": tokenizer.eos_token_id}
    for name, value in expected.items():
        if told.get(f"tokenizer.{name}") != value:
            message = (
                f"{file.name}: the converter wrote {told.get(f'tokenizer.{name}')!r:.60} as tokenizer.{name}, and the "
                f"model was trained with {value!r:.60}; take another llama.cpp"
            )
            raise BackendError(message)
    # What engines do with a file that does not say it: SentencePiece's vocabularies begin with one.
    begins = told.get("tokenizer.ggml.add_bos_token", told.get("tokenizer.ggml.model") == "llama")
    number = told.get("tokenizer.ggml.bos_token_id")
    return tokenizer.decode([number]) if begins and number is not None else ""
