"""What the commands share: exit codes, the server that is meant, how results and errors are told."""

from __future__ import annotations

import errno
import json
import os
import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import typer

from ragtune.cli.options import REGISTRY_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import openai

    from ragtune.plan import Plan

# 2 is click's own. The last two are what a shell says of a program that a signal ended: 128 and SIGINT, or SIGPIPE.
NOT_WELL, NO_KEY, STOPPED, CLOSED = 1, 3, 130, 141
# The command that runs, as Typer made it of a function that does not know it.
RUNNING: ContextVar[Any] = ContextVar("running", default=None)
# Completes the commands that a message proposes.
IN_PLACE: ContextVar[Callable[[str], str]] = ContextVar("in_place", default=str)
_HOW_TO_GIVE_A_KEY = (
    "set OPENAI_API_KEY in the environment, or name a file that holds the key with --key-file FILE; or train on this "
    "machine with --folder DIR; `ragtune serve` does so for other programs and prints where its own key is"
)
_KEYS_OF_RUNS = (
    "set OPENAI_API_KEY in the environment, or name a file that holds the key as key_file in [server] of the recipe "
    "file; or train on this machine with --to local"
)

# Of a server's answers: long, and all that they say stands in the other fields.
_LEFT_OUT = ("raw",)


@contextmanager
def server(
    *,
    folder: Path | None,
    base_url: str | None,
    key_file: Path | None,
    timeout_s: float | None = None,
    make: bool = False,
    keyless: bool = False,
) -> Iterator[openai.OpenAI]:
    """A client of the server that the options mean.

    Args:
        folder: the embedded backend's, started for this command unless one runs there.
        base_url: another server's address.
        key_file: its key.
        timeout_s: seconds to wait for an answer; None leaves it to the client.
        make: make the folder where it is missing; else that is a mistake.
        keyless: whether no key is a key, too, for what sends nothing.
    """
    options = {} if timeout_s is None else {"timeout": timeout_s}
    if folder is None:
        with _client(key_file=key_file, base_url=base_url, keyless=keyless, **options) as client:
            yield client
        return
    if base_url or key_file:
        raise typer.BadParameter(
            "is a server on this machine; leave --base-url and --key-file out", param_hint="--folder"
        )
    # A slip in the path would begin an empty backend, which knows of no job.
    if not make and not folder.is_dir():
        message = in_flags(f"there is no folder {str(folder)!r}; `ragtune tune` makes it")
        raise typer.BadParameter(message, param_hint="--folder")
    from ragtune.local import LocalBackend

    with LocalBackend(folder) as backend, backend.client(**options) as client:
        yield client


def _client(*, key_file: Path | None, base_url: str | None, keyless: bool, **options: Any) -> openai.OpenAI:
    from ragtune._keys import client_from_anywhere
    from ragtune.errors import MissingKey

    try:
        return client_from_anywhere(key_file=key_file, base_url=base_url, **options)
    except MissingKey:
        if not keyless or key_file is not None:
            raise
        import openai

        # The client is not made without a key, although nothing will be sent.
        return openai.OpenAI(api_key="none, since nothing is sent", base_url=base_url, **options)


def again(command: str, *, folder: Path | None, base_url: str | None, key_file: Path | None) -> str:
    """A command line that goes on with the same server."""
    import shlex

    given = {"--folder": folder, "--base-url": base_url, "--key-file": key_file}
    options = [f"{name} {shlex.quote(str(value))}" for name, value in given.items() if value is not None]
    return " ".join(["ragtune", command, *options])


def allowed(plan: Callable[[], Plan], *, yes: bool, dry_run: bool, as_json: bool) -> bool:
    """Whether to go on with what cannot be taken back; else its plan is shown.

    Raises:
        typer.Exit: it was neither wanted nor waved through.
    """
    if yes and not dry_run:
        return True
    shown = plan()
    tell(shown, as_json=as_json, text=in_flags(str(shown)))
    if not dry_run:
        # What a deletion warns of is why it would be refused.
        words = "--yes --force" if shown.warnings else "--yes"
        typer.echo(f"nothing was done; the same command with {words} does it", err=True)
        # A script that left --yes out must not go on as if it were done.
        raise typer.Exit(NOT_WELL)
    return False


def tell(value: object, *, as_json: bool, text: str | None = None) -> None:
    """Print a result: as JSON, or as `text`, by default in its own words."""
    typer.echo(as_line(value) if as_json else str(value) if text is None else text)


def as_line(value: object) -> str:
    """A value as one line of JSON."""
    return json.dumps(plain(value), ensure_ascii=False)


def plain(value: object) -> object:
    """A value as JSON holds it: what is frozen becomes an object of its fields, times become ISO 8601."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value) if one.name not in _LEFT_OUT}
    if isinstance(value, dict):
        return {str(name): plain(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain(held) for held in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float) else str(value)


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
    from ragtune.local.engine.memory import memory_bytes
    from ragtune.local.runner.launcher import launcher_words
    from ragtune.local.webhook_sender import check_url
    from ragtune.modelling.hardware.formats import Device, Dtype

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
            raise typer.BadParameter(in_flags(str(error)), param_hint=f"--{name}") from None


def protecting(registry: Path | None) -> Path | None:
    """The registry whose aliases protect models: the one that is named, else the usual one where it is."""
    return REGISTRY_FILE if registry is None and REGISTRY_FILE.exists() else registry


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
        _say(in_flags(str(stop)) or "stopped", stop)
        raise typer.Exit(STOPPED) from None
    except MissingKey as error:
        # The library's way out is Python; here it is the command line.
        problem = str(error).removesuffix(HOW_TO_GIVE_A_KEY)
        typer.echo(f"error: {problem}{_ways_to_a_key()}", err=True)
        raise typer.Exit(NO_KEY) from None
    # Before OSError, which it is as well: nobody is left to be told.
    except BrokenPipeError:
        _drop_output()
        raise typer.Exit(CLOSED) from None
    except OSError as error:
        place = "" if error.filename is None else f" ({error.filename})"
        words = f"{error.strerror}{place}" if error.strerror else str(error)
        _fail(f"the disk is full{place}" if error.errno == errno.ENOSPC else words, error)
    except RagtuneError as error:
        _fail(in_flags(str(error)), error)
    except Exception as error:
        if (wrong := _wrong_value(error)) is not None:
            raise typer.BadParameter(in_flags(wrong)) from None
        # Only if it was loaded can the error be one of its own; loading it takes half a second.
        openai = sys.modules.get("openai")
        if openai is None or not isinstance(error, openai.OpenAIError):
            raise
        _fail(str(error), error)


def _wrong_value(error: Exception) -> str | None:
    """What a table of a recipe file refuses of an option, which Typer takes: `nan` is a number to it."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(error, pydantic.ValidationError) or not error.title.endswith("Section"):
        return None
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}={first['input']!r:.60}: {first['msg'][:1].lower()}{first['msg'][1:]}"


def warn_plainly() -> None:
    """Let warnings be lines for people: Python shows a place in our code with each."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        typer.echo(f"warning: {in_flags(str(message))}", err=True)

    warnings.showwarning = show


@contextmanager
def kept_quiet() -> Iterator[None]:
    """Let a command end without a traceback when nobody takes its output: `| head`, or a disk that is full."""
    try:
        try:
            yield
        finally:
            # Here: at Python's own end a full disk could be told only as an exception that is ignored.
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        sys.exit(CLOSED)
    except OSError as error:
        _drop_output()
        typer.echo(f"error: the output cannot be written: {error.strerror or error}", err=True)
        sys.exit(NOT_WELL)


def _ways_to_a_key() -> str:
    command = RUNNING.get()
    return _KEYS_OF_RUNS if command is not None and command.name == "run" else _HOW_TO_GIVE_A_KEY


def _drop_output() -> None:
    # Python flushes once more at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(words: str, error: BaseException) -> None:
    _say(f"error: {words}", error)
    raise typer.Exit(NOT_WELL) from None


def _say(words: str, error: BaseException) -> None:
    for line in [words, *map(in_flags, getattr(error, "__notes__", ()))]:
        typer.echo(line, err=True)


def in_flags(words: str) -> str:
    """What the library says to a program, in the words of the command that runs."""
    command = RUNNING.get()
    if command is None:
        return words
    from ragtune.cli.spelling import spelled

    return IN_PLACE.get()(spelled(words, command))
