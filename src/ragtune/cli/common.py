"""What the commands share: exit codes, options, how errors are told."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NOT_WELL, NO_KEY, STOPPED = 1, 3, 130
_HOW_TO_GIVE_A_KEY = (
    "set OPENAI_API_KEY in the environment, or name a file that holds the key with --key-file FILE; `ragtune serve` "
    "trains on this machine and prints where its own key is"
)

ALIAS_EXAMPLE = "gpt-4o-mini-2024-07-18=smollm2-135m-instruct"
BASE_EXAMPLE = "qwen=Qwen/Qwen3-0.6B or mine=/models/mine"
BASE_OPTION = typer.Option(
    metavar="NAME=PATH", help="Further base model: a folder, or an id of the Hugging Face Hub; may repeat."
)


def pairs(texts: Iterable[str] | None, *, option: str, example: str) -> dict[str, str]:
    """What an option of the form NAME=BASE says, as often as it was given."""
    found = {}
    for text in texts or ():
        name, sign, base = text.partition("=")
        if not (name and sign and base):
            message = f"{text!r} is not NAME=BASE, for example {example}"
            raise typer.BadParameter(message, param_hint=option)
        found[name] = base
    return found


def check_names(bases: dict[str, str], aliases: dict[str, str]) -> None:
    """See that each name leads to a base before anything is begun."""
    from ragtune.errors import BackendError
    from ragtune.local.models.registry import BaseModels

    try:
        BaseModels(extra=bases, aliases=aliases).check()
    except BackendError as error:
        raise typer.BadParameter(str(error)) from None


def check_options(**given: str | None) -> None:
    """Refuse what can be told from the command line alone; what this machine lacks is no fault of the line."""
    from typing import get_args

    from ragtune.errors import BackendError
    from ragtune.local.auth.sessions import checked_origin
    from ragtune.local.backend import launcher_words
    from ragtune.local.engine.memory import memory_bytes
    from ragtune.local.webhook_sender import check_url
    from ragtune.modelling.hardware import Device, Dtype

    checks = {"memory": memory_bytes, "webhook": check_url, "origin": checked_origin, "launcher": launcher_words}
    words = {"device": get_args(Device), "dtype": get_args(Dtype)}
    for name, value in given.items():
        if value is None:
            continue
        if name in words and value not in words[name]:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(words[name])}", param_hint=f"--{name}")
        try:
            if name in checks:
                checks[name](value)
        except BackendError as error:
            raise typer.BadParameter(str(error), param_hint=f"--{name}") from None


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print what went wrong in words, without a traceback, and leave with its exit code.

    Errors that are neither ours, OpenAI's nor the disk's are mistakes in the program and keep their traceback.
    """
    from ragtune._keys import HOW_TO_GIVE_A_KEY
    from ragtune.errors import MissingKey, RagtuneError

    try:
        yield
    except KeyboardInterrupt as stop:
        typer.echo(str(stop) or "stopped", err=True)
        raise typer.Exit(STOPPED) from None
    except MissingKey as error:
        # The library's way out is Python; here it is the command line.
        problem = str(error).removesuffix(HOW_TO_GIVE_A_KEY)
        typer.echo(f"error: {problem}{_HOW_TO_GIVE_A_KEY}", err=True)
        raise typer.Exit(NO_KEY) from None
    except (RagtuneError, OSError) as error:
        _tell(error)
    except Exception as error:
        # Only if it was loaded can the error be one of its own; loading it takes half a second.
        openai = sys.modules.get("openai")
        if openai is None or not isinstance(error, openai.OpenAIError):
            raise
        _tell(error)


def _tell(error: Exception) -> None:
    for line in [f"error: {error}", *getattr(error, "__notes__", ())]:
        typer.echo(line, err=True)
    raise typer.Exit(NOT_WELL) from None
