"""Stage 2 of 4: the dataset folder becomes a tuned model; the job is saved as soon as it exists.

Run: python examples/02_finetune.py [--dataset out/dataset] [--base-url URL --key-file api_key.txt] [--dry-run]
Without --base-url the embedded backend trains on this machine, in the folder that --data names.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

import openai

import ragtune as rt
from ragtune.local import LocalBackend


def connect(stack: ExitStack, args: argparse.Namespace) -> openai.OpenAI:
    """A client of the server that was asked for, or of the embedded backend."""
    if args.base_url:
        return rt.client_from_key_file(args.key_file, base_url=args.base_url)
    return stack.enter_context(LocalBackend(args.data)).client()


def main() -> None:
    """Create the job (or hand back the one that exists for the same data and settings), wait, save the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=Path("out/dataset"))
    parser.add_argument("--model", default="smollm2-135m-instruct", help="base model")
    parser.add_argument("--epochs", type=int, default=None, help="default: auto")
    parser.add_argument("--max-cost-usd", type=float, default=5.0)
    parser.add_argument("--job", type=Path, default=Path("out/job.json"), help="where the job is saved")
    parser.add_argument("--out", type=Path, default=Path("out/model.json"), help="where the tuned model is saved")
    parser.add_argument("--base-url")
    parser.add_argument("--key-file", type=Path, default=Path("api_key.txt"))
    parser.add_argument("--data", type=Path, default=Path("out/backend"), help="folder of the embedded backend")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, send nothing")
    args = parser.parse_args()

    dataset = rt.Dataset.load(args.dataset)
    spec = rt.TuneSpec(model=args.model, method=rt.Supervised(n_epochs=args.epochs or "auto"), seed=7, suffix="demo")
    with ExitStack() as stack:
        client = connect(stack, args)
        if args.dry_run:
            print(rt.FineTuneJob.plan(client, dataset, spec))
            return
        job = rt.FineTuneJob.create(client, dataset, spec, max_cost_usd=args.max_cost_usd)
        job.save(args.job)
        print(f"{'found' if job.reused else 'created'} {job.id}, saved to {args.job}")
        model = rt.JobMonitor(job).wait(on_event=lambda event: print(f"  {event.message}"))
        model.save(args.out)
        print(f"tuned {model.name}, saved to {args.out}; next: python examples/03_use.py")


if __name__ == "__main__":
    try:
        main()
    except (rt.RagtuneError, openai.OpenAIError) as error:
        sys.exit("\n  ".join([f"error: {error}", *getattr(error, "__notes__", [])]))
