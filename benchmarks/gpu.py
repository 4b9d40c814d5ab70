"""Training and answering on a GPU in each number format, beside plain TRL and plain `generate`, in one run.

    python benchmarks/gpu.py [--base FOLDER] [--layers 28] [--examples 512] [--epochs 3] [--batch 16] [--tokens 64]

Without `--base` a base in the shape of Qwen2.5-1.5B (1.5 billion numbers) is made with random weights: speed and memory
do not depend on what weights know. It takes the tokenizer of `--tokenizer`. `--layers 24 --hidden 896 --wide 4864
--heads 14` is the shape of its sister of half a billion.

Every training runs in a process of its own on the same chat records, with the same adapter (rank 16 on every linear
layer), rate, schedule, batch and seed. Tokens per second are those of the median step from the third on; memory is the
most that torch had allocated. `ragtune` is the worker of a job with its events; it writes a checkpoint after each
epoch, which the median leaves out. `TRL` is `SFTTrainer` with its defaults, which compute activations twice to save
memory, and without that; both write nothing. Losses are those of the first and the last step.

The last table gives tokens per second of answers, base and adapter: one, eight and 32 at once over HTTP by the official
client, beside `generate` of transformers with a batch of as many, with PEFT for the adapter.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SEED, RATE = 7, 2e-4
FORMATS = ("float32", "bfloat16", "nf4")
TRAINERS = ("ragtune", "TRL", "TRL, activations once")
AT_ONCE = (1, 8, 32)


def random_base(folder: Path, tokenizer: str, options: argparse.Namespace) -> Path:
    """A base of the asked shape, saved in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from ragtune.modelling.base_model import load_tokenizer
    from ragtune.modelling.bases import resolve_base

    kept: Any = load_tokenizer(Path(tokenizer) if Path(tokenizer).is_dir() else resolve_base(tokenizer))
    kept.save_pretrained(folder)
    torch.manual_seed(SEED)
    config = Qwen2Config(
        vocab_size=max(151_936, len(kept)),
        hidden_size=options.hidden,
        intermediate_size=options.wide,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        eos_token_id=kept.eos_token_id,
        bos_token_id=kept.bos_token_id,
    )
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    return folder


def records(count: int) -> list[dict[str, Any]]:
    """Chat records of the demo facts, each with several passages so that they are as long as real ones."""
    from ragtune import demo_file

    facts = [json.loads(line) for line in demo_file().read_text(encoding="utf-8").splitlines()]
    rows = []
    for number in range(count):
        fact, others = facts[number % len(facts)], [facts[(number + n) % len(facts)]["support"] for n in range(1, 7)]
        question = f"{' '.join(others)}\n\n{number}. {fact['question']}"
        answer = f"{fact['support']} So the answer is: {fact['correct_answer']}."
        rows.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
    return rows


def by_worker(base: Path, dtype: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """The worker of a job, in this process."""
    import torch

    from ragtune.train import events
    from ragtune.train.run import run
    from ragtune.train.spec import TrainSpec

    file = folder / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in records(options.examples)), encoding="utf-8")
    spec: Any = {"dtype": dtype, "device": options.device}
    code = run(
        TrainSpec(
            job_id="gpu", output_dir=folder / "out", base_path=base, training_file=file, n_epochs=options.epochs,
            batch_size=options.batch, learning_rate=RATE, seed=SEED, save_every_steps=options.examples // options.batch,
            **spec,
        )
    )  # fmt: skip
    told, _ = events.read_from(folder / "out" / "events.jsonl")
    if code:
        raise RuntimeError(told[-1])
    start, steps = next(e for e in told if e["type"] == "start"), [e for e in told if e["type"] == "metrics"]
    took = [b["time"] - a["time"] for a, b in pairwise(steps[2:])]
    return {
        "tokens_s": start["n_tokens"] * options.epochs / len(steps) / statistics.median(took),
        "memory": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        "foretold": start["memory_bytes"],
        "first": steps[0]["train_loss"],
        "last": steps[-1]["train_loss"],
    }


def by_trl(base: Path, dtype: str, folder: Path, options: argparse.Namespace, *, twice: bool) -> dict[str, float]:
    """TRL's trainer, as its guide shows it."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    computed = "float32" if dtype == "float32" else "bfloat16"
    quantized: Any = {}
    if dtype == "nf4":
        four: Any = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
        quantized["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            **four, bnb_4bit_compute_dtype=torch.bfloat16
        )
    if options.device == "cuda":
        quantized["device_map"] = {"": 0}
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, computed), **quantized)
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = [{"prompt": row["messages"][:1], "completion": row["messages"][1:]} for row in records(options.examples)]
    at: list[float] = []
    losses: list[float] = []

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            at.append(time.time())

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            losses.extend([logs["loss"]] if "loss" in logs else [])

    steps = -(-options.examples // options.batch) * options.epochs
    settings = {
        "output_dir": str(folder), "num_train_epochs": options.epochs, "per_device_train_batch_size": options.batch,
        "learning_rate": RATE, "lr_scheduler_type": "cosine", "warmup_steps": -(-steps // 20), "seed": SEED,
        "data_seed": SEED, "save_strategy": "no", "logging_steps": 1, "max_length": None, "report_to": [],
        "disable_tqdm": True, "bf16": computed == "bfloat16", "use_cpu": options.device == "cpu",
        "completion_only_loss": True, "activation_checkpointing": twice,
    }  # fmt: skip
    arguments = SFTConfig(**settings)
    adapter = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear", lora_dropout=0.0)
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
        peft_config=adapter, callbacks=[Watch()],
    )  # fmt: skip
    trainer.train()
    # The tokens of an epoch, counted as the worker counts them: those of the template, without filler.
    texts = [tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=False) for row in rows]
    tokens = sum(map(len, tokenizer(texts)["input_ids"]))
    return {
        "tokens_s": tokens * options.epochs / steps / statistics.median(b - a for a, b in pairwise(at[2:])),
        "memory": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        "first": losses[0],
        "last": losses[-1],
    }


def trained(base: Path, options: argparse.Namespace) -> None:
    """The table of trainings."""
    print("| base held in | trainer | tokens/s | ratio | most memory | foretold | first loss | last loss |")
    print("|---|---|---|---|---|---|---|---|")
    for dtype in options.formats:
        slowest = 0.0
        for trainer in (one for one in reversed(TRAINERS) if one in options.trainers):
            command = [sys.executable, __file__, *sys.argv[1:], "--base", str(base), "--only", f"{dtype}/{trainer}"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                print(f"| {dtype} | {trainer} | failed with {done.returncode} |  |  |  |  |  |", flush=True)
                continue
            got = json.loads(done.stdout.splitlines()[-1])
            slowest = slowest or got["tokens_s"]
            foretold = f"{got['foretold'] / 1e9:.1f} GB" if "foretold" in got else ""
            print(
                f"| {dtype} | {trainer} | {got['tokens_s']:,.0f} | {got['tokens_s'] / slowest:.2f} "
                f"| {got['memory'] / 1e9:.1f} GB | {foretold} | {got['first']:.3f} | {got['last']:.3f} |",
                flush=True,
            )


def one_training(base: Path, what: str, options: argparse.Namespace) -> dict[str, float]:
    """What a child process measures."""
    dtype, _, trainer = what.partition("/")
    with tempfile.TemporaryDirectory() as folder:
        if trainer == "ragtune":
            return by_worker(base, dtype, Path(folder), options)
        return by_trl(base, dtype, Path(folder), options, twice=trainer == "TRL")


def answered(base: Path, options: argparse.Namespace) -> None:
    """The table of answers."""
    print("\n| base held in | model | at once | plain generate, tokens/s | ragtune, tokens/s | ratio |")
    print("|---|---|---|---|---|---|")
    for dtype in (one for one in options.formats if one != "nf4"):  # what was trained on nf4 answers in another format
        with tempfile.TemporaryDirectory() as scratch:
            adapter = Path(scratch, "adapter")
            plain = _by_generate(base, dtype, adapter, options)
            ours = _by_backend(base, dtype, adapter, options)
        for (kind, count), rate in plain.items():
            mine = ours[kind, count]
            print(f"| {dtype} | {kind} | {count} | {rate:.0f} | {mine:.0f} | {mine / rate:.2f} |", flush=True)


def _by_generate(base: Path, dtype: str, adapter: Path, options: argparse.Namespace) -> dict[tuple[str, int], float]:
    """Plain transformers; leaves an adapter in a folder, which changes no answer as it is fresh."""
    import torch
    from peft import LoraConfig, get_peft_model

    from ragtune.modelling.base_model import load_model, load_tokenizer

    tokenizer: Any = load_tokenizer(base)
    tokenizer.padding_side = "left"
    model: Any = load_model(base, dtype=dtype).to(options.device).eval()  # type: ignore[arg-type]
    settings = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    found = _rates("base", _generate(model, tokenizer, options.tokens))
    tuned: Any = get_peft_model(model, settings).eval()
    tuned.save_pretrained(adapter)
    found |= _rates("adapter", _generate(tuned, tokenizer, options.tokens))
    del model, tuned
    if options.device == "cuda":
        torch.cuda.empty_cache()
    return found


def _by_backend(base: Path, dtype: Any, adapter: Path, options: argparse.Namespace) -> dict[tuple[str, int], float]:
    """The base over HTTP, the adapter through the engine."""
    from ragtune.local import LocalBackend
    from ragtune.local.engine import Engine, GenerateRequest

    engine = Engine(max_batch=max(AT_ONCE), device=options.device, dtype=dtype)
    backend = LocalBackend(adapter.parent / "backend", engine=engine, bases={"big": base})
    with backend, backend.client(max_retries=0, timeout=600) as client, ThreadPoolExecutor(max(AT_ONCE)) as threads:

        def asked(number: int) -> int:
            made = client.chat.completions.create(
                model="big", messages=_question(number), max_tokens=options.tokens, temperature=0
            )
            return made.usage.completion_tokens if made.usage else 0

        def by_engine(count: int) -> int:
            common: Any = {"base_path": base, "adapter_path": adapter, "max_tokens": options.tokens, "temperature": 0}
            under_way = [engine.submit(GenerateRequest(messages=_question(n), **common)) for n in range(count)]
            return sum(one.result().completion_tokens for one in under_way)

        found = _rates("base", lambda count: sum(threads.map(asked, range(count))))
        found |= _rates("adapter", by_engine)
    engine.close()
    return found


def _question(number: int) -> Any:
    return [{"role": "user", "content": f"Tell me a long story about the number {number}."}]


def _generate(model: Any, tokenizer: Any, tokens: int) -> Callable[[int], int]:
    def ask(count: int) -> int:
        encoded = tokenizer.apply_chat_template(
            [_question(number) for number in range(count)], add_generation_prompt=True, padding=True,
            return_tensors="pt", return_dict=True,
        ).to(model.device)  # fmt: skip
        written = model.generate(**encoded, max_new_tokens=tokens, do_sample=False)
        return int((written[:, encoded["input_ids"].shape[1] :] != tokenizer.pad_token_id).sum())

    return ask


def _rates(kind: str, ask: Callable[[int], int]) -> dict[tuple[str, int], float]:
    """Tokens per second, the better of two rounds after one to warm up."""
    found = {}
    for count in AT_ONCE:
        ask(count)
        best = 0.0
        for _ in range(2):
            began = time.perf_counter()
            best = max(best, ask(count) / (time.perf_counter() - began))
        found[kind, count] = best
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--tokenizer", default="smollm2-135m-instruct", help="name or folder of a base that has it")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--hidden", type=int, default=1536)
    parser.add_argument("--wide", type=int, default=8960)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--examples", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--trainers", nargs="+", choices=TRAINERS, default=list(TRAINERS))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu only tries the script itself")
    parser.add_argument("--skip", nargs="*", choices=("training", "answers"), default=())
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(one_training(options.base, options.only, options)))
        return
    import torch

    from ragtune.modelling.hardware.machine import this_machine

    with tempfile.TemporaryDirectory() as folder:
        base = options.base or random_base(Path(folder, "base"), options.tokenizer, options)
        size = sum(file.stat().st_size for file in base.glob("*.safetensors")) / 2e9
        print(f"{this_machine().name}, torch {torch.__version__}; base of {size:.2f} billion numbers, "
              f"{options.examples} examples, {options.epochs} epochs, batch {options.batch}\n")  # fmt: skip
        if "training" not in options.skip:
            trained(base, options)
        if "answers" not in options.skip:
            answered(base, options)


if __name__ == "__main__":
    main()
