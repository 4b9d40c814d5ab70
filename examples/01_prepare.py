"""Stage 1 of 4: rows in SciQ's columns become a checked, priced dataset in a folder.

Run: python examples/01_prepare.py [ROWS.jsonl | ROWS.json | ROWS.csv | ROWS.parquet] [--out out/dataset] [--dry-run]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ragtune as rt

SYSTEM = "Given a question, give the correct answer with a short explanation."
READERS = {
    ".jsonl": rt.DatasetBuilder.from_jsonl,
    ".json": rt.DatasetBuilder.from_json,
    ".csv": rt.DatasetBuilder.from_csv,
    ".parquet": rt.DatasetBuilder.from_parquet,
}


def main() -> None:
    """Build, or with --dry-run only show what would be built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="?", type=Path, default=rt.demo_file(), help="default: the invented demo facts")
    parser.add_argument("--out", type=Path, default=Path("out/dataset"))
    parser.add_argument("--validation", type=float, default=0.0, help="share of rows held out, in [0, 1)")
    parser.add_argument("--model", default="gpt-4o-mini-2024-07-18", help="model whose price is shown")
    parser.add_argument("--dry-run", action="store_true", help="show the first records, write nothing")
    args = parser.parse_args()

    builder = (
        READERS[args.rows.suffix](args.rows)
        .filter(lambda row: row["support"] and row["correct_answer"], reason="no support or answer")
        .drop_columns("distractor1", "distractor2", "distractor3")
        .chat(system=SYSTEM, user="{question}", assistant="{correct_answer}. {support}")
    )
    if args.dry_run:
        print(builder.preview(3))
        print(f"dry run: nothing written; without --dry-run the dataset goes to {args.out}")
        return
    dataset = builder.build(args.out, validation=args.validation, seed=7, overwrite=True)
    print(dataset.report)
    print(dataset.cost(args.model))
    print(f"saved to {args.out}; next: python examples/02_finetune.py --dataset {args.out}")


if __name__ == "__main__":
    main()
