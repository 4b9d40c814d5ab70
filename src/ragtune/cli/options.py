"""Options and arguments that several verbs have: each is declared once, so that all say the same of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ALIAS_EXAMPLE = "gpt-4o-mini-2024-07-18=smollm2-135m-instruct"
BASE_EXAMPLE = "qwen=Qwen/Qwen3-0.6B or mine=/models/mine"
BASES = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=PATH", help="Further base model: a folder, or an id of the Hugging Face Hub; may repeat."
    ),
]

FOLDER = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="This machine trains and answers, and keeps all in DIR; a server that runs there already is asked.",
    ),
]
BASE_URL = Annotated[str | None, typer.Option(help="Server; default: OPENAI_BASE_URL, else OpenAI.")]
KEY_FILE = Annotated[Path | None, typer.Option(help="File with the API key; default: OPENAI_API_KEY.")]
JOURNAL = Annotated[
    Path | None, typer.Option(help="Journal file; default: RAGTUNE_JOURNAL, else the one in your state folder.")
]
REGISTRY_FILE = Path("models.sqlite3")
REGISTRY = Annotated[
    Path | None,
    typer.Option(
        envvar="RAGTUNE_REGISTRY",
        help=f"Registry whose aliases protect models; {REGISTRY_FILE} where that is there.",
    ),
]
FORCE = Annotated[bool, typer.Option("--force", help="Although an alias leads to it, or a living model needs it.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="JSON for programs instead of text.")]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do none of it.")]
YES = Annotated[bool, typer.Option("--yes", help="Really do it; without it the plan is shown.")]

MODEL = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Its name, an alias of the registry, a file that holds a saved model, or 'latest'."
    ),
]
NAME_OR_ALIAS = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name, or an alias of the registry.")]
ALIASES = Annotated[
    Path | None,
    typer.Option(
        "--registry",
        envvar="RAGTUNE_REGISTRY",
        help=f"Registry whose aliases are models, too; default: {REGISTRY_FILE} where that is there.",
    ),
]

DATA = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of a dataset, or a training file (JSONL).")]
EPOCHS = Annotated[int | None, typer.Option(min=1, max=50, help="Passes over the data; default: auto.")]
BATCH_SIZE = Annotated[int | None, typer.Option(min=1, max=256, help="Examples per step; default: auto.")]
MAX_TOKENS = Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")]
