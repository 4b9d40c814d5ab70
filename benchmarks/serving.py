"""How fast the embedded backend answers, beside plain transformers `generate`, in one run on one machine.

    python benchmarks/serving.py [--base smollm2-135m-instruct] [--rounds 3] [--tokens 64] [--threads 1]

Every round runs all cases one after the other, so that what else the machine does meets all of them. The backend is
asked over HTTP by the official client in the same process: its CPU time holds server, client and model. Tuned models
(rank 16 on every linear layer) are asked through the engine itself; beside them stands `generate` of transformers with
PEFT for one of them. The table gives the tokens per second of CPU time
and of wall time, the median of the rounds, and the ratio to plain `generate` with one prompt at a time: the median of
the ratios within each round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import openai

    from ragtune.local.engine import Engine

PLAIN = "plain generate, one prompt at a time"
SAMPLED = {"temperature": 0.8, "top_p": 0.9, "seed": 7}
Rates = tuple[float, float]  # tokens per second of CPU time, of wall time


def messages(number: int) -> Any:
    """A question with a long answer."""
    return [{"role": "user", "content": f"Tell me a long story about the number {number}."}]


def plain(base: str, tokens: int, threads: int, adapter: Path | None = None) -> Callable[[list[int], bool], int]:
    """Plain transformers, with PEFT for an adapter: answers a few questions; gives the number of tokens written."""
    import torch

    from ragtune.modelling.base_model import load_model, load_tokenizer
    from ragtune.modelling.bases import resolve_base

    torch.set_num_threads(threads)
    folder = resolve_base(base)
    tokenizer: Any = load_tokenizer(folder)
    model: Any = load_model(folder, dtype="bfloat16")
    if adapter is not None:
        from peft import PeftModel

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            model = PeftModel.from_pretrained(model, str(adapter)).eval()

    def ask(numbers: list[int], sampled: bool = False) -> int:
        told = {key: value for key, value in SAMPLED.items() if key != "seed"} if sampled else {}
        encoded = tokenizer.apply_chat_template(
            [messages(number) for number in numbers],
            add_generation_prompt=True,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            return_dict=True,
        )
        written = model.generate(**encoded, max_new_tokens=tokens, do_sample=sampled, **told)
        return int((written[:, encoded["input_ids"].shape[1] :] != tokenizer.pad_token_id).sum())

    return ask


def streamed(client: openai.OpenAI, base: str, tokens: int, number: int, **sampling: Any) -> int:
    """One streamed answer of the backend."""
    options: Any = {"temperature": 0, **sampling, "stream_options": {"include_usage": True}}
    stream = client.chat.completions.create(
        model=base, messages=messages(number), max_tokens=tokens, stream=True, **options
    )
    chunks = list(stream)
    return int(chunks[-1].usage.completion_tokens)


def adapters(base: str, folder: Path, count: int) -> list[Path]:
    """Adapters in the shape of trained ones; fresh, they change no answer."""
    from peft import LoraConfig, get_peft_model

    from ragtune.modelling.base_model import load_model
    from ragtune.modelling.bases import resolve_base

    made = [folder / f"adapter-{number}" for number in range(count)]
    settings = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        tuned: Any = get_peft_model(load_model(resolve_base(base), dtype="bfloat16"), settings)
    for path in made:
        tuned.save_pretrained(str(path))
    return made


def mixed(engine: Engine, base: str, tokens: int, models: Sequence[Path | None]) -> int:
    """One answer of each model, all at once."""
    from ragtune.local.engine import GenerateRequest
    from ragtune.modelling.bases import resolve_base

    under_way = [
        engine.submit(
            GenerateRequest(
                base_path=resolve_base(base),
                adapter_path=model,
                messages=messages(number),
                max_tokens=tokens,
                temperature=0,
            )
        )
        for number, model in enumerate(models)
    ]
    return sum(generation.result().completion_tokens for generation in under_way)


def measured(case: Callable[[], int]) -> Rates:
    """Run a case once."""
    cpu, wall = time.process_time(), time.perf_counter()
    tokens = case()
    return tokens / (time.process_time() - cpu), tokens / (time.perf_counter() - wall)


def cases(
    client: openai.OpenAI, engine: Engine, base: str, tokens: int, threads: int, folder: Path
) -> Mapping[str, Callable[[], int]]:
    """What is compared, in the order of the table."""
    tuned = adapters(base, folder, 4)
    generate, with_peft = plain(base, tokens, threads), plain(base, tokens, threads, tuned[0])
    together = ThreadPoolExecutor(8)

    def eight(**sampling: Any) -> int:
        return sum(together.map(lambda number: streamed(client, base, tokens, number, **sampling), range(8)))

    return {
        PLAIN: lambda: generate([0], False) + generate([1], False),
        "plain generate, a batch of eight": lambda: generate(list(range(8)), False),
        "backend, one stream": lambda: sum(streamed(client, base, tokens, number) for number in (0, 1)),
        "backend, one stream, sampled": lambda: sum(
            streamed(client, base, tokens, number, **SAMPLED) for number in (0, 1)
        ),
        "backend, eight streams at once": eight,
        "backend, eight streams at once, sampled": lambda: eight(**SAMPLED),
        "plain generate with PEFT, one tuned model": lambda: with_peft([0], False) + with_peft([1], False),
        "engine, one tuned model, one stream": lambda: mixed(engine, base, tokens, tuned[:1]),
        "engine, eight streams of one tuned model": lambda: mixed(engine, base, tokens, tuned[:1] * 8),
        "engine, base and four tuned models, eight streams": lambda: mixed(
            engine, base, tokens, [None, *tuned, None, *tuned[:2]]
        ),
    }


def table(rounds: list[dict[str, Rates]]) -> str:
    """The medians as a Markdown table."""
    lines = ["| case | tokens per CPU-second | ratio | tokens per second | ratio |", "|---|---|---|---|---|"]
    for name in rounds[0]:
        cells = []
        for kind in (0, 1):
            rate = statistics.median(found[name][kind] for found in rounds)
            ratio = statistics.median(found[name][kind] / found[PLAIN][kind] for found in rounds)
            cells.append(f"{rate:.1f} | {ratio:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Warm every case up, run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)

    from ragtune.local import LocalBackend
    from ragtune.local.engine import Engine

    engine = Engine(threads=asked.threads)
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalBackend(Path(folder, "backend"), engine=engine) as backend,
        backend.client(max_retries=0, timeout=600) as client,
    ):
        compared = cases(client, engine, asked.base, asked.tokens, asked.threads, Path(folder))
        for case in compared.values():
            case()
        rounds = [{name: measured(case) for name, case in compared.items()} for _ in range(asked.rounds)]
    print(table(rounds))


if __name__ == "__main__":
    main()
