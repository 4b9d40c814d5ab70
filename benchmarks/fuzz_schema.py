"""Every operation of OpenAI's schema at a backend, by schemathesis: examples, coverage, fuzzing, stateful runs.

`python benchmarks/fuzz_schema.py SCHEMA [--examples 30] [--seed 0] [--st st]` starts a backend in a process of its own
and points the program `st` (https://schemathesis.readthedocs.io, `pip install schemathesis` in an environment of its
own) at it. SCHEMA is an OpenAPI document whose operations describe their errors, too. It fails when an answer is 5xx or
has a status, content type or body that the schema does not allow, and when the key did not open every operation.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.fuzz_server import SERVER, sound

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def campaign(
    base_url: str, key: str, *, schema: Path, examples: int, seed: int, st: str = "st", phases: str | None = None
) -> tuple[int, str]:
    """Run it against a server; gives how many answers were judged, and what was wrong ("" for nothing)."""
    command = [st, "--config-file", "/dev/null", "run", str(schema), "--url", base_url.removesuffix("/v1")]
    command += ["-H", f"Authorization: Bearer {key}", "--max-examples", str(examples), "--seed", str(seed)]
    command += ["--checks", CHECKS, *(["--phases", phases] if phases else [])]
    with tempfile.TemporaryDirectory() as folder:  # it keeps its examples where it runs
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    judged = int(counted[2]) if counted else 0
    closed = re.search(r"Authentication failed: (\d+) operation", done.stdout)
    opened = closed is None or closed[1] == "1"  # 403 alone: the bases, which are not to be deleted
    well = done.returncode == 0 and counted is not None and counted[1] == counted[2] and opened
    return judged, "" if well else f"{done.stdout[-6000:]}{done.stderr[-2000:]}"


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("schema", type=Path)
    options.add_argument("--examples", type=int, default=30)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--st", default="st")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-c", SERVER, folder]
        with log.open("wb") as err, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True) as server:
            assert server.stdout is not None
            base_url, key = server.stdout.readline().split()
            judged, wrong = campaign(
                base_url, key, schema=asked.schema.resolve(), examples=asked.examples, seed=asked.seed, st=asked.st
            )
            well = sound(int(base_url.rsplit(":", 1)[1].split("/")[0]), key)
            server.terminate()
            server.wait(30)
        stumbles = log.read_text(errors="replace").count("Traceback")
    print(wrong or f"{judged:,} answers, seed {asked.seed}: all as the schema allows, none 5xx")
    print(f"tracebacks in the log: {stumbles}; sound request afterwards: {'served' if well else 'NOT SERVED'}")
    return int(bool(wrong or stumbles or not well))


if __name__ == "__main__":
    sys.exit(main())
