"""The optional parts of this package, and one guard for them: the first line of a room that needs an extra."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ragtune.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Extra:
    """An optional part of this package.

    Attributes:
        purpose: what it is for.
        modules: top-level modules that it brings.
    """

    purpose: str
    modules: tuple[str, ...]


_SERVER = ("starlette", "uvicorn", "h11", "python_multipart", "jinja2")
EXTRAS: Mapping[str, Extra] = {
    "local": Extra(
        purpose="trains and serves models on this machine",
        modules=(
            "torch",
            "transformers",
            "peft",
            "accelerate",
            "fsspec",
            "trl",
            "gguf",
            *_SERVER,
            "llguidance",
            "psutil",
        ),
    ),
    "gguf": Extra(
        purpose="runs llama.cpp's converter (`ragtune export --gguf`)",
        # `google` is protobuf.
        modules=("gguf", "google", "sentencepiece"),
    ),
    "testing": Extra(purpose="tests programs against a scripted server", modules=_SERVER),
    "plots": Extra(purpose="draws loss curves (`make demo` does)", modules=("matplotlib",)),
    "privacy": Extra(
        purpose="finds secrets and personal data in rows", modules=("kingfisher_sdk", "phonenumbers", "stdnum")
    ),
    "dedup": Extra(purpose="finds near-duplicates", modules=("rensa",)),
    "excel": Extra(purpose="reads Excel workbooks", modules=("python_calamine",)),
    "documents": Extra(
        purpose="reads PDF, Word and HTML files and cuts them into chunks",
        modules=("pypdf", "docx", "trafilatura", "lxml_html_clean", "semantic_text_splitter"),
    ),
    "ray": Extra(purpose="makes records and trains on a cluster", modules=("ray",)),
    "qlora": Extra(purpose="trains on bases that are held in 4 bits", modules=("bitsandbytes",)),
    "evaluation": Extra(purpose="scores answers by ROUGE-L and chrF", modules=("rouge_score", "sacrebleu")),
    "docs": Extra(
        purpose="builds the documentation", modules=("material", "mkdocstrings", "mkdocs_llmstxt", "nbformat")
    ),
    "mutation": Extra(purpose="changes ragtune a little to see whether its tests notice", modules=("cosmic_ray",)),
    "dev": Extra(
        purpose="checks and tests ragtune itself",
        modules=tuple(
            "pytest xdist pytest_timeout pytest_cov coverage pre_commit "
            "importlinter hypothesis ruff mypy build hatchling jsonschema nbclient nbformat ipykernel jupytext "
            "pytest_examples playwright xlsxwriter fpdf".split()
        ),
    ),
}
"""The extras of this package and what they are for."""


def require(extra: str, *modules: str, reason: str) -> None:
    """Raise a clear error when a module of an extra is missing.

    Args:
        extra: name of the extra, for example `local`.
        modules: top-level module names that the extra brings.
        reason: what the caller wanted to do, for the message.

    Raises:
        MissingExtraError: at least one of `modules` cannot be imported.
    """
    # Looked for and not imported: torch alone takes seconds.
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        install = f"python -m pip install 'ragtune[{extra}]'"
        are = "is" if len(missing) == 1 else "are"
        message = f"{reason} needs {', '.join(missing)}, which {are} not installed; run: {install}"
        raise MissingExtraError(message)
