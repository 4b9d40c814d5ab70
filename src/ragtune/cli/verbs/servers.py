"""`ragtune serve` and `ragtune mock`: servers in the foreground, what they print, what they tell meanwhile."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragtune.cli.common import check_names, check_options, pairs, plain_errors
from ragtune.cli.log_lines import LogFormat, speak
from ragtune.cli.options import ALIAS_EXAMPLE, BASE_EXAMPLE, BASES

if TYPE_CHECKING:
    from ragtune.local import LocalBackend
    from ragtune.local.lifespan.embedded_server import EmbeddedServer
    from ragtune.local.remote_engine import EngineAddress


def register(app: typer.Typer) -> None:
    """Put the verbs of this module onto the application."""
    app.command()(serve)
    app.command()(mock)


_QUIET = Annotated[bool, typer.Option("--quiet", help="Tell only the address and what goes wrong.")]
_LOG_FORMAT = Annotated[LogFormat, typer.Option(help="Lines for people (text), or objects for programs (json).")]

_STATE = Annotated[Path, typer.Argument(help="Where the backend keeps its state; made when it is not there.")]
_HOST = Annotated[str, typer.Option(help="Address to listen on; others than this machine's need a key once.")]
_PORT = Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")]
_KEY_TO_ASK_FOR = Annotated[Path | None, typer.Option(help="File with the API key to ask for; default: made.")]
_NEW_KEY = Annotated[
    bool, typer.Option("--new-key", help="Make a key for other machines, show it once, keep its hash.")
]
_WEBHOOK = Annotated[str | None, typer.Option(metavar="URL", help="Told when a job ends, in OpenAI's signed form.")]
_THREADS = Annotated[int | None, typer.Option(min=1, help="CPU threads for training and answering.")]
_DEVICE = Annotated[
    str | None, typer.Option(help="Where to train and answer: cuda, xpu, mps or cpu; default: the best one here.")
]
_DTYPE = Annotated[
    str | None,
    typer.Option(help="Format of bases: float32, bfloat16, float16; nf4 trains in 4 bits; default: the right one."),
]
_MEMORY = Annotated[str | None, typer.Option(metavar="SIZE", help="Most weights of models in memory, for example 4GB.")]
_MAX_BATCH = Annotated[
    int, typer.Option(min=1, help="Most answers that are written together; 1 makes each the same in any company.")
]
_MANY_STOPS = Annotated[bool, typer.Option(help="Let chat take 64 stop texts, as completions do; OpenAI takes four.")]
_ORIGIN = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where a proxy in front shows the page: https://tunes.example.com."),
]
_WARM = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="Model to load at the start, for a quick first answer; may repeat."),
]
_ALIAS = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=BASE", help="Further name of a base, so that unchanged programs run; may repeat."),
]
_ENGINE = Annotated[
    list[str] | None,
    typer.Option(metavar="KIND=URL", help="Engine that answers; KIND alone, or KIND=BASE, starts one; may repeat."),
]
_ENGINE_KEY_FILE = Annotated[
    Path | None, typer.Option(help="File with the engines' key; else RAGTUNE_ENGINE_KEY, or none.")
]
_LAUNCHER = Annotated[
    str | None,
    typer.Option(
        help="What starts training in place of Python: 'torchrun --nproc_per_node 4', 'ray --workers 4 --gpu'."
    ),
]
_CHECKPOINTS = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Where checkpoints are copied to: a folder, or s3://bucket/runs."),
]


def serve(
    folder: _STATE = Path("ragtune-backend"),
    host: _HOST = "127.0.0.1",
    port: _PORT = 8000,
    key_file: _KEY_TO_ASK_FOR = None,
    new_key: _NEW_KEY = False,
    webhook: _WEBHOOK = None,
    threads: _THREADS = None,
    device: _DEVICE = None,
    dtype: _DTYPE = None,
    memory: _MEMORY = None,
    max_batch: _MAX_BATCH = 16,
    many_stops: _MANY_STOPS = False,
    origin: _ORIGIN = None,
    warm: _WARM = None,
    alias: _ALIAS = None,
    base: BASES = None,
    engine: _ENGINE = None,
    engine_key_file: _ENGINE_KEY_FILE = None,
    launcher: _LAUNCHER = None,
    checkpoints: _CHECKPOINTS = None,
    quiet: _QUIET = False,
    log_format: _LOG_FORMAT = LogFormat.text,
) -> None:
    """Serve the embedded backend to any OpenAI client. In any language, until Ctrl-C; what its jobs do is told."""
    with plain_errors():
        from ragtune.local import serve as run_backend

        key = _key(folder, host=host, key_file=key_file, new_key=new_key)

        # Printed when it listens: a program that reads this line may ask at once.
        def show(backend: LocalBackend) -> None:
            shown = _Announcement.of(
                backend, host=host, key=key, key_file=key_file, new_key=new_key, has_webhook=bool(webhook)
            )
            typer.echo(shown.said(backend, log_format))

        aliases = pairs(alias, option="--alias", example=ALIAS_EXAMPLE)
        bases = pairs(base, option="--base", example=BASE_EXAMPLE)
        check_names(bases, aliases)
        check_options(memory=memory, webhook=webhook, origin=origin, launcher=launcher, device=device, dtype=dtype)
        speak(log_format, quiet=quiet)
        run_backend(
            folder,
            host=host,
            port=port,
            key=key,
            webhook=webhook,
            on_start=show,
            warm=warm or (),
            threads=threads,
            device=device,
            dtype=dtype,
            memory=memory,
            max_batch=max_batch,
            many_stops=many_stops,
            origin=origin,
            launcher=launcher,
            checkpoints=checkpoints,
            aliases=aliases,
            bases=bases,
            engine=_engines(engine, engine_key_file),
        )


def mock(
    script: Annotated[
        Path | None, typer.Option(help="TOML or JSON file: answers by rule, how jobs go, what goes wrong.")
    ] = None,
    port: _PORT = 0,
    key: Annotated[str, typer.Option(help="API key to ask for.")] = "mock-key",
    folder: Annotated[
        Path | None, typer.Option(help="Where its files, jobs and models stay; default: gone with the end.")
    ] = None,
    pace: Annotated[
        str, typer.Option(help="When jobs go on: immediate, poll (with each look at the job), or a number of seconds.")
    ] = "immediate",
    webhook: _WEBHOOK = None,
    quiet: _QUIET = False,
    log_format: _LOG_FORMAT = LogFormat.text,
) -> None:
    """Play OpenAI's fine-tuning for tests in any language.

    Jobs take no time and answers come by script, until Ctrl-C.
    """
    with plain_errors():
        from ragtune.local.lifespan.foreground import stay
        from ragtune.testing import ScriptedBackend
        from ragtune.testing.script_file import ScriptFile

        read = None if script is None else ScriptFile.read(script)
        try:
            seconds = pace if pace in ("immediate", "poll") else float(pace)
            backend = ScriptedBackend(
                folder,
                pace=seconds,  # type: ignore[arg-type]
                answer=(read.rules() or None) if read else None,
                key=key,
                port=port,
                webhook=webhook,
            )
        # Of float(), or of the backend about a number that is no pace.
        except ValueError:
            message = f"{pace!r} is not immediate, poll, or a number of seconds above 0"
            raise typer.BadParameter(message, param_hint="--pace") from None

        def show() -> None:
            if read:
                read.play(backend)
            typer.echo(_Announcement(key=key, mock=True).said(backend, log_format))

        speak(log_format, quiet=quiet)
        stay(backend, show)


def _key(folder: Path, *, host: str, key_file: Path | None, new_key: bool) -> str | None:
    """The key that requests must carry; None for the one that the folder keeps."""
    from ragtune._keys import read_key
    from ragtune.local.auth.account import keeps_hash
    from ragtune.local.auth.account import new_key as make_key
    from ragtune.local.http.limits import LOOPBACK

    if new_key and (key_file or host in LOOPBACK):
        message = "is for a --host that other machines can reach, and without --key-file"
        raise typer.BadParameter(message, param_hint="--new-key")
    key = read_key(key_file) if key_file else make_key() if new_key else None
    # A hash in the folder is of a key that an earlier start made, and that somebody has.
    if key is None and host not in LOOPBACK and not keeps_hash(folder):
        message = (
            f"{host!r} can be reached from other machines: say with --key-file FILE which key may come in, or let "
            "--new-key make one"
        )
        raise typer.BadParameter(message, param_hint="--host")
    return key


def _engines(given: list[str] | None, key_file: Path | None) -> list[str | EngineAddress] | None:
    """The engines that answer, with their key; None for this program itself."""
    from ragtune._keys import read_key
    from ragtune.errors import BackendError
    from ragtune.local.remote_engine import EngineAddress, engines_of

    if not given:
        if key_file is not None:
            raise typer.BadParameter("is for an --engine, and there is none", param_hint="--engine-key-file")
        return None
    try:
        found = engines_of(given)
    except BackendError as error:
        raise typer.BadParameter(str(error), param_hint="--engine") from None
    # No option takes the key itself: options stand in lists of processes and in histories.
    key = read_key(key_file) if key_file else os.environ.get("RAGTUNE_ENGINE_KEY")
    return [replace(one, key=key) if isinstance(one, EngineAddress) else str(one) for one in found]


@dataclass(frozen=True, kw_only=True)
class _Announcement:
    """Where a started server is and how to come in: the first that it prints.

    Attributes:
        kept: the file that holds the key.
        key: the key itself, where it stands in no file.
        secret: the file with which webhook messages are signed.
        mock: whether it is a server for tests, whose key is no secret.
    """

    kept: Path | None = None
    key: str | None = None
    secret: Path | None = None
    mock: bool = False

    @classmethod
    def of(
        cls,
        backend: LocalBackend,
        *,
        host: str,
        key: str | None,
        key_file: Path | None,
        new_key: bool,
        has_webhook: bool,
    ) -> _Announcement:
        """What there is to say of a backend: who may come in, and where that is written."""
        from ragtune.local.auth.account import KEY_FILE, WEBHOOK_SECRET_FILE
        from ragtune.local.http.limits import LOOPBACK

        own = key is None and host in LOOPBACK
        return cls(
            kept=key_file or (backend.folder / KEY_FILE if own else None),
            key=key if new_key else None,
            secret=backend.folder / WEBHOOK_SECRET_FILE if has_webhook else None,
        )

    def said(self, server: EmbeddedServer, log_format: LogFormat) -> str:
        """What is printed."""
        return self.json(server) if log_format is LogFormat.json else self.text(server)

    def text(self, server: EmbeddedServer) -> str:
        """Lines for a person, and for a shell what to set."""
        page = server.base_url.removesuffix("/v1")
        if self.kept:
            place = f"the API key is in {self.kept}"
        else:
            place = f"the API key is {self.key}" if self.mock else "it keeps a hash of its API key"
        lines = [
            f"{page} is the page; serving {server.folder} at {server.base_url}; {place}; Ctrl-C stops",
            f"export OPENAI_BASE_URL={server.base_url}",
        ]
        if self.kept:
            # By its file: what is printed ends in logs, and what is typed in a shell's history.
            lines.append(f'export OPENAI_API_KEY="$(cat {shlex.quote(str(self.kept))})"')
        elif self.key:
            lines.append(
                f"export OPENAI_API_KEY={shlex.quote(self.key)}" + ("" if self.mock else "  # shown this once")
            )
        if self.secret:
            lines.append(f'export OPENAI_WEBHOOK_SECRET="$(cat {shlex.quote(str(self.secret))})"')
        return "\n".join(lines)

    def json(self, server: EmbeddedServer) -> str:
        """One line for a program."""
        files = {"api_key_file": self.kept, "webhook_secret_file": self.secret}
        told = {
            "event": "serving",
            "page": server.base_url.removesuffix("/v1"),
            "base_url": server.base_url,
            "folder": str(server.folder),
            "api_key": self.key,
            **{name: None if path is None else str(path) for name, path in files.items()},
        }
        return json.dumps({name: value for name, value in told.items() if value is not None})
