"""What may follow `ray` in `--launcher`: apart from the program, for a server looks at it before a job needs it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NoReturn

from ragtune.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_options", "ray_options"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SpecError(f"ray: {message}; the options are --workers, --gpu, --cpus, --address and --retries")


def check_options(words: Sequence[str]) -> None:
    """Look at the options of `--launcher ray` before a job needs them.

    Raises:
        SpecError: one is unknown, or its value is none that it takes.
    """
    ray_options(["-m", "ragtune.train", "spec.json", *words])


def ray_options(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of one run.

    Raises:
        SpecError: one is unknown, or its value is none that it takes.
    """
    parser = _Parser(
        prog="ray", description="Train as a spec says, in the workers of a Ray cluster.", allow_abbrev=False
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that train together (default 1)")
    parser.add_argument("--gpu", action="store_true", help="a GPU for each worker")
    parser.add_argument("--cpus", type=float, default=1.0, help="CPUs that Ray reserves for each worker (default 1)")
    parser.add_argument("--address", help="the cluster's address (default RAY_ADDRESS, else a Ray on this machine)")
    parser.add_argument("--retries", type=int, default=3, help="how often lost workers are started again (default 3)")
    parser.add_argument("-m", dest="module", required=True, choices=["ragtune.train"], help=argparse.SUPPRESS)
    parser.add_argument("spec", help="JSON file that ragtune.train.spec.TrainSpec.save wrote")
    options = parser.parse_args(words)
    if options.workers < 1 or options.retries < 0 or options.cpus <= 0:
        parser.error("--workers is 1 or more, --retries 0 or more, --cpus above 0")
    return options
