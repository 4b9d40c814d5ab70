"""`python -m ragtune.train spec.json`: train as the spec says."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings

from ragtune.errors import SpecError
from ragtune.modelling.base_model import share_the_processor
from ragtune.train.spec import EXIT_FAILED, TrainSpec
from ragtune.train.stop import StopRequest


def main() -> int:
    """Run one spec; the exit codes are those of `ragtune.train.spec`."""
    parser = argparse.ArgumentParser(prog="python -m ragtune.train", description="Train as a spec file says.")
    parser.add_argument("spec", help="JSON file that ragtune.train.spec.TrainSpec.save wrote")
    path = parser.parse_args().spec
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        spec = TrainSpec.load(path)
    except SpecError as error:
        logging.getLogger("ragtune").error("%s", error)
        return EXIT_FAILED
    # Before torch, whose import takes seconds: a stop that comes meanwhile must be heard.
    stop = StopRequest()
    stop.on_signals()
    if spec.lifeline == "stdin":
        stop.on_end_of_stdin()

    prepare()
    from ragtune.train.run import run

    return run(spec, stop)


def prepare() -> None:
    """Set up a process that trains, before torch is imported in it."""
    # The versions of these libraries are our matter, and their warnings nobody's who reads the log of a run.
    warnings.filterwarnings("ignore", module=r"(transformers|peft|accelerate|torch|trl)\b")
    # A run reads folders alone. Online, TRL would report it, and the Hub's client would ask questions of its own.
    os.environ["HF_HUB_OFFLINE"] = "1"
    share_the_processor()


if __name__ == "__main__":
    sys.exit(main())
