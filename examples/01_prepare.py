"""Stage 1 of 4: rows become a checked, priced dataset in a folder.

Run: python examples/01_prepare.py [ROWS.jsonl | ROWS.json | ROWS.csv | ROWS.parquet] [--out out/dataset] [--dry-run]
The columns are SciQ's unless --question, --answer and --support name others.
"""

from __future__ import annotations

import argparse
import sys
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
    parser.add_argument("--question", default="question", help="column with the question")
    parser.add_argument("--answer", default="correct_answer", help="column with the answer")
    parser.add_argument(
        "--support", default="support", help="column with the explanation; rows without one are dropped"
    )
    parser.add_argument("--out", type=Path, default=Path("out/dataset"))
    parser.add_argument("--validation", type=float, default=0.0, help="share of rows held out, in [0, 1)")
    parser.add_argument("--model", default="gpt-4o-mini-2024-07-18", help="model whose price is shown")
    parser.add_argument("--dry-run", action="store_true", help="show the first records, write nothing")
    args = parser.parse_args()

    if args.rows.suffix not in READERS:
        parser.error(f"{args.rows}: the file's name must end in one of {', '.join(READERS)}")

    builder = (
        READERS[args.rows.suffix](args.rows)
        .filter(lambda row: row[args.support] and row[args.answer], reason="no support or answer")
        .chat(system=SYSTEM, user=f"{{{args.question}}}", assistant=f"{{{args.answer}}}. {{{args.support}}}")
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
    try:
        main()
    except rt.RagtuneError as error:
        sys.exit(f"error: {error}")
