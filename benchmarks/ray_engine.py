"""From which size on a build on Ray pays, on this machine.

    python benchmarks/ray_engine.py PATH/TO/sciq/train.jsonl [--times 1 10] [--cpus 2]

Three recipes, cheap to dear per row: a template, a template behind the masking of private data (extra `privacy`), and
a function that waits on Python for a millisecond. Each is built in this process and on a local Ray that is running
already; the time that Ray takes to start is given apart. Wall times, since that is what more machines buy.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ragtune as rt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SYSTEM = "Given a science question, give the correct answer with a detailed explanation."


def has_support(row: Mapping[str, Any]) -> bool:
    return bool(row["support"])


def dear(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose making keeps Python busy for a millisecond."""
    end = time.process_time() + 0.001
    while time.process_time() < end:
        pass
    return {"prompt": f"{row['question']} ->", "completion": f" {row['correct_answer']}"}


def recipes(source: Path) -> dict[str, rt.DatasetBuilder]:
    rows = rt.DatasetBuilder.from_parquet(source).filter(has_support, reason="no support")
    answer = "{correct_answer} Explanation: {support}"
    return {
        "template": rows.chat(system=SYSTEM, user="{question}", assistant=answer),
        "private data masked": rows.mask_private().chat(system=SYSTEM, user="{question}", assistant=answer),
        "a function of 1 ms": rows.records(dear),
    }


def replicated(source: Path, times: int, folder: Path) -> Path:
    """The rows so many times over, as Parquet, with distinct questions."""
    import orjson
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [orjson.loads(line) for line in source.read_bytes().split(b"\n") if line]
    path = folder / f"{times}.parquet"
    with pq.ParquetWriter(path, pa.Table.from_pylist(rows[:1]).schema) as writer:
        for number in range(times):
            new = [{**row, "question": f"{row['question']} ({number})"} for row in rows]
            writer.write_table(pa.Table.from_pylist(new))
    return path


def timed(call: Callable[[], rt.Dataset]) -> tuple[float, rt.Dataset]:
    start = time.perf_counter()
    dataset = call()
    return time.perf_counter() - start, dataset


def main() -> None:
    """Build every recipe at every size both ways and print the table."""
    import ray

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--cpus", type=int, default=2)
    args = parser.parse_args()
    start = time.perf_counter()
    ray.init(num_cpus=args.cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    print(f"Ray {ray.__version__} on {args.cpus} CPUs starts in {time.perf_counter() - start:.1f} s\n")
    print("| recipe | records | in process s | on Ray s | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, times in enumerate(args.times):
            source = replicated(args.source, times, folder)
            for recipe, builder in recipes(source).items():
                if not index and recipe == "template":
                    builder.build(folder / "warm", engine="ray")
                here, first = timed(partial(builder.build, folder / "here", overwrite=True))
                there, second = timed(partial(builder.build, folder / "there", overwrite=True, engine="ray"))
                assert first.fingerprint == second.fingerprint
                print(
                    f"| {recipe} | {len(first.train):,} | {here:.2f} | {there:.2f} | {here / there:.2f}x |", flush=True
                )
    ray.shutdown()


if __name__ == "__main__":
    main()
