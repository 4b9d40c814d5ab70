"""Stage 3 of 4: ask the saved model, whole and streamed.

Run: python examples/03_use.py ["a question"] [--model out/model.json] [--dry-run]
With --base-url and --key-file the model is asked on another server than the embedded backend.
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
    """Ask once for the whole answer and once for a stream of pieces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default="What is the town of Quillhaven known for?")
    parser.add_argument("--model", type=Path, default=Path("out/model.json"), help="what stage 2 saved")
    parser.add_argument("--max-tokens", type=int, default=60)
    parser.add_argument("--base-url")
    parser.add_argument("--key-file", type=Path, default=Path("api_key.txt"))
    parser.add_argument("--data", type=Path, default=Path("out/backend"), help="folder of the embedded backend")
    parser.add_argument("--dry-run", action="store_true", help="print the request, send nothing")
    args = parser.parse_args()

    with ExitStack() as stack:
        model = rt.TunedModel.load(connect(stack, args), args.model)
        if args.dry_run:
            print(model.ask(args.question, max_tokens=args.max_tokens, dry_run=True))
            return
        answer = model.ask(args.question, max_tokens=args.max_tokens)
        print(answer.wrapped(80))
        print(f"[{answer.finish_reason}; {answer.usage}; {answer.model}]")
        with model.stream(args.question, max_tokens=args.max_tokens) as stream:
            for piece in stream:
                print(piece, end="", flush=True)
        print(f"\n[streamed; {stream.answer.finish_reason}]; next: python examples/04_manage.py")


if __name__ == "__main__":
    try:
        main()
    except (rt.RagtuneError, openai.OpenAIError) as error:
        sys.exit("\n  ".join([f"error: {error}", *getattr(error, "__notes__", [])]))
