"""`ragtune serve`."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragtune.cli.common import ALIAS_EXAMPLE, BASE_EXAMPLE, BASE_OPTION, check_names, pairs, plain_errors

if TYPE_CHECKING:
    from ragtune.local import LocalBackend


def serve(
    folder: Annotated[
        Path, typer.Argument(help="Where the backend keeps its state; made when it is not there.")
    ] = Path("ragtune-backend"),
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's need a key once.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8000,
    key_file: Annotated[Path | None, typer.Option(help="File with the API key to ask for; default: made.")] = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make a key for other machines, show it once, keep its hash.")
    ] = False,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Told when a job ends, in OpenAI's signed form.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads for training and answering.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to train and answer: cuda, xpu, mps or cpu; default: the best one here.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="Number format of bases: float32, bfloat16 or float16; default: the right one there."),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Most weights of models in memory, for example 4GB.")
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=BASE", help="Further name of a base, so that unchanged programs run; may repeat."),
    ] = None,
    base: Annotated[list[str] | None, BASE_OPTION] = None,
    launcher: Annotated[
        str | None,
        typer.Option(help="What starts training in place of Python, for example 'torchrun --nproc_per_node 4'."),
    ] = None,
) -> None:
    """Serve the embedded backend to any OpenAI client, in any language, until Ctrl-C."""
    with plain_errors():
        from ragtune._keys import read_key
        from ragtune.local import serve as run_backend
        from ragtune.local.auth.account import KEY_FILE, WEBHOOK_SECRET_FILE, keeps_hash
        from ragtune.local.auth.account import new_key as make_key
        from ragtune.local.http.limits import LOOPBACK

        if new_key and (key_file or host in LOOPBACK):
            message = "is for a --host that other machines can reach, and without --key-file"
            raise typer.BadParameter(message, param_hint="--new-key")
        key = read_key(key_file) if key_file else make_key() if new_key else None
        if key is None and host not in LOOPBACK and not keeps_hash(folder):
            message = (
                f"{host!r} can be reached from other machines: say with --key-file FILE which key may come in, or let "
                "--new-key make one"
            )
            raise typer.BadParameter(message, param_hint="--host")

        def show(backend: LocalBackend) -> None:
            where = key_file or (backend.folder / KEY_FILE if key is None and host in LOOPBACK else None)
            place = f"the API key is in {where}" if where else "it keeps a hash of its API key"
            typer.echo(f"serving {backend.folder} at {backend.base_url}; {place}; Ctrl-C stops")
            typer.echo(f"export OPENAI_BASE_URL={backend.base_url}")
            if where:
                typer.echo(f'export OPENAI_API_KEY="$(cat {shlex.quote(str(where))})"')
            elif new_key:
                typer.echo(f"export OPENAI_API_KEY={key}  # shown this once")
            if webhook:
                typer.echo(
                    f'export OPENAI_WEBHOOK_SECRET="$(cat {shlex.quote(str(backend.folder / WEBHOOK_SECRET_FILE))})"'
                )

        aliases = pairs(alias, option="--alias", example=ALIAS_EXAMPLE)
        bases = pairs(base, option="--base", example=BASE_EXAMPLE)
        check_names(bases, aliases)
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")  # what the server has to say, to stderr
        options: dict[str, Any] = {
            "threads": threads,
            "device": device,
            "dtype": dtype,
            "memory": memory,
            "launcher": launcher,
        }
        options |= {"aliases": aliases, "bases": bases}
        run_backend(folder, host=host, port=port, key=key, webhook=webhook, on_start=show, **options)
