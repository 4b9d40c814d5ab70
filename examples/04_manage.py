"""Stage 4 of 4: look at jobs and events, then put the tuned model and its files away.

Run: python examples/04_manage.py [--job out/job.json] [--delete] [--base-url URL --key-file api_key.txt] [--dry-run]
Nothing is deleted without --delete; with --dry-run the plan of the deletions is printed instead.
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
    """List first; delete only when asked twice: by flag and by the guard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=Path, default=Path("out/job.json"), help="what stage 2 saved")
    parser.add_argument("--delete", action="store_true", help="delete the job's tuned model and training file")
    parser.add_argument("--base-url")
    parser.add_argument("--key-file", type=Path, default=Path("api_key.txt"))
    parser.add_argument("--data", type=Path, default=Path("out/backend"), help="folder of the embedded backend")
    parser.add_argument("--dry-run", action="store_true", help="print what would be deleted, delete nothing")
    args = parser.parse_args()

    with ExitStack() as stack:
        client = connect(stack, args)
        job = rt.FineTuneJob.load(client, args.job)
        maintenance = rt.Maintenance(client, enabled=args.delete)
        print(rt.JobMonitor.table(client, limit=10).to_pandas().to_string(index=False))
        for event in maintenance.events(job.id, limit=5):
            print(f"  {event.message}")
        if not (args.delete or args.dry_run):
            print("nothing deleted; give --delete, or --dry-run to see the plan")
            return
        model, file = job.details.fine_tuned_model, job.details.training_file
        if model is None:
            print(f"{job.id} is {job.status}: it has no tuned model to delete")
        else:
            print(maintenance.delete_model(model, checkpoints=True, dry_run=args.dry_run))
        if file is not None:
            print(maintenance.delete_file(file, dry_run=args.dry_run))
        print(f"tuned models now: {[entry.id for entry in maintenance.models() if entry.id.startswith('ft:')]}")


if __name__ == "__main__":
    try:
        main()
    except (rt.RagtuneError, openai.OpenAIError) as error:
        sys.exit("\n  ".join([f"error: {error}", *getattr(error, "__notes__", [])]))
