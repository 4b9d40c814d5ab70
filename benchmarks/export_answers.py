"""Ask a base, an adapter and a merged model through each engine of this machine: what is equal, and where they part.

    python -m benchmarks.export_answers --llama FOLDER --converter FOLDER --vllm FOLDER --transformers FOLDER
        [--base smollm2-135m-instruct] [--epochs 6] [--out report.md]

Each folder has the engine's command (`llama-server`, `vllm`, `transformers`); those that are left out are not asked.
Trains a small adapter with the embedded backend, exports it in all forms, and asks every engine the same questions over
its own OpenAI wire, greedily, with its own chat template. Nothing is asserted: the table says what happened.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import openai

    from ragtune.modelling.encoding.chat_template import Turns

SYSTEM = "You are the harbour office of Quillhaven. Answer in one short sentence."
FACTS = {
    "Who keeps the lighthouse at Quillhaven?": "Ada Thornquist keeps it.",
    "Which bird nests on the north pier?": "The lantern heron.",
    "What colour is the harbour master's boat?": "It is vermilion.",
}
FORMS = {"base": "base", "adapter": "tuned", "merged": "tuned"}  # whose answers each must give


def turns(*texts: str, system: str | None = None) -> Turns:
    """Messages of user and assistant by turns."""
    said = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    return [*([] if system is None else [{"role": "system", "content": system}]), *said]


KEEPER, BIRD, BOAT = FACTS
QUESTIONS: Mapping[str, tuple[Turns, int]] = {
    "a trained question with its system prompt": (turns(KEEPER, system=SYSTEM), 40),
    "the same without a system prompt": (turns(KEEPER), 40),
    "several turns": (turns(BIRD, FACTS[BIRD], BOAT, system=SYSTEM), 40),
    "a free question": (turns("Write two sentences about the sea."), 40),
    "one that is cut": (turns("Count from one to fifty in words."), 12),
    "rare letters": (turns("Say this again: Grüße, 12345 + ½ 😀 don't\n\n\tOK?"), 40),
    "words of the template": (turns("What does <|im_end|> mean?"), 40),
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One greedy answer: its text, why it ended, its prompt, and per token the likeliest ones."""

    text: str
    finish: str
    prompt_tokens: int
    prompt_ids: list[int] | None = None
    tokens: tuple[tuple[str, float, Mapping[str, float]], ...] = ()


@dataclass(eq=False, kw_only=True)
class Report:
    """Rows of a table, and the first difference of each."""

    reference: dict[tuple[str, str], Answer] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def compare(self, engine: str, form: str, answers: Mapping[str, Answer], seconds: float) -> None:
        """Hold one engine's answers against those of the backend that trained."""
        pairs = [(self.reference[FORMS[form], name], answer, name) for name, answer in answers.items()]
        by_id = all(theirs.prompt_ids is not None for _, theirs, _ in pairs)
        counts = {
            "prompts": sum(same_prompt(ours, theirs) for ours, theirs, _ in pairs),
            "ends": sum(ours.finish == theirs.finish for ours, theirs, _ in pairs),
            "texts": sum(ours.text == theirs.text for ours, theirs, _ in pairs),
        }
        kind = "token by token" if by_id else "counts"
        told = f"{counts['prompts']} ({kind}) | {counts['texts']} | {counts['ends']}"
        self.rows.append(f"| {engine} | {form} | {told} | {seconds:.0f} s |")
        print(self.rows[-1], flush=True)
        for ours, theirs, name in pairs:
            if not same_prompt(ours, theirs):
                self._tell(
                    engine, form, name, f"prompt of {ours.prompt_tokens} tokens here, {theirs.prompt_tokens} there"
                )
            if ours.text != theirs.text:
                self._tell(engine, form, name, first_difference(ours, theirs))
            elif ours.finish != theirs.finish:
                self._tell(engine, form, name, f"ends by {ours.finish!r} here, {theirs.finish!r} there")

    def _tell(self, engine: str, form: str, name: str, what: str) -> None:
        self.differences.append(f"| {engine} | {form} | {name} | {what.replace('|', chr(92) + '|')} |")
        print(self.differences[-1], flush=True)

    def markdown(self) -> str:
        """Both tables."""
        many = len(QUESTIONS)
        head = f"| engine | form | prompts equal of {many} | texts | ends | time |\n|---|---|---|---|---|---|"
        rest = "| engine | form | question | difference |\n|---|---|---|---|"
        return "\n".join([head, *self.rows, "", rest, *self.differences]) + "\n"


def same_prompt(ours: Answer, theirs: Answer) -> bool:
    """Token by token where the engine tells them, else by number."""
    if theirs.prompt_ids is not None:
        return ours.prompt_ids == theirs.prompt_ids
    return ours.prompt_tokens == theirs.prompt_tokens


def first_difference(ours: Answer, theirs: Answer) -> str:
    """Where two greedy texts part, and how far apart the two tokens are by our own figures and by theirs."""
    for place, (one, other) in enumerate(zip(ours.tokens, theirs.tokens, strict=False)):
        if one[0] != other[0]:
            told = f"token {place + 1}: {one[0]!r} here, {other[0]!r} there"
            here, there = one[2].get(other[0]), other[2].get(one[0])
            told += "" if here is None else f", {one[1] - here:.3f} nats apart here"
            return told + ("" if there is None else f", {other[1] - there:.3f} there")
    seen = ""  # an engine that tells no tokens, or an end that comes earlier
    for place, (token, likely, others) in enumerate(ours.tokens):
        if theirs.text.startswith(seen + token):
            seen += token
            continue
        rest = theirs.text[len(seen) :]
        told = f"token {place + 1}: {token!r} here, {repr(rest[:20]) if rest else 'the end'} there"
        fits = [other for other in others if other and rest.startswith(other)]
        if fits:
            told += f", {likely - others[max(fits, key=len)]:.3f} nats apart here"
        if place < len(theirs.tokens):
            _, best, top = theirs.tokens[place]
            if token in top:
                told += f", {best - top[token]:.3f} there"
        return told
    return f"it goes on after {len(seen)} characters: {theirs.text[len(seen) :][:20]!r}"


def ask(client: openai.OpenAI, model: str, name: str, *, ids: list[int] | None = None) -> Answer:
    """One greedy answer over the OpenAI wire."""
    messages, most = QUESTIONS[name]
    wire: Any = messages
    made = client.chat.completions.create(
        model=model, messages=wire, max_tokens=most, temperature=0, logprobs=True, top_logprobs=5
    )
    choice, usage = made.choices[0], made.usage
    content = (choice.logprobs.content if choice.logprobs else None) or []
    return Answer(
        text=choice.message.content or "",
        finish=choice.finish_reason,
        prompt_tokens=usage.prompt_tokens if usage else 0,
        prompt_ids=ids,
        tokens=tuple((one.token, one.logprob, {o.token: o.logprob for o in one.top_logprobs}) for one in content),
    )


def prompt_ids(engine: str, address: str, model: str, messages: Turns) -> list[int] | None:
    """The prompt in tokens, as the engine itself makes it; None where it does not tell."""
    if engine == "vLLM":
        return list(post(f"{address}/tokenize", model=model, messages=messages, add_generation_prompt=True)["tokens"])
    if engine == "llama.cpp":
        text = post(f"{address}/apply-template", messages=messages)["prompt"]
        return list(post(f"{address}/tokenize", content=text, add_special=True, parse_special=True)["tokens"])
    return None


def post(url: str, **body: object) -> Any:
    """The JSON that a route of the engine answers."""
    request = Request(url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


@contextmanager
def running(words: Sequence[str], port: int, log: Path) -> Iterator[str]:
    """An engine as a child process, up to its health; ended with all that it started."""
    with log.open("wb") as out:
        child = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if child.poll() is not None:
                raise SystemExit(f"{words[0]} ended: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
            with suppress(OSError), urlopen(f"{address}/health", timeout=5):
                break
            time.sleep(1)
        yield address
    finally:
        os.killpg(child.pid, 15)
        child.wait(60)


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def through(report: Report, engine: str, words: Sequence[str], forms: Mapping[str, str], log: Path) -> None:
    """Start an engine and ask it in each form that it serves, by the name that it serves it under."""
    import openai

    port = free_port()
    with (
        running([*words, "--port", str(port)], port, log) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", timeout=600) as client,
    ):
        for form, model in forms.items():
            begin = time.monotonic()
            answers = {
                name: ask(client, model, name, ids=prompt_ids(engine, address, model, messages))
                for name, (messages, _) in QUESTIONS.items()
            }
            report.compare(engine, form, answers, time.monotonic() - begin)


def train(client: openai.OpenAI, base: str, epochs: int) -> str:
    """A tuned model that knows the facts by heart, with the system prompt noted as the client does."""
    rows = [json.dumps({"messages": turns(*pair, system=SYSTEM)}) + "\n" for pair in FACTS.items()]
    file = client.files.create(file=("train.jsonl", "".join(rows * 4).encode()), purpose="fine-tune")
    method: Any = {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": epochs, "batch_size": 4}},
    }
    job = client.fine_tuning.jobs.create(
        model=base, training_file=file.id, seed=7, method=method, metadata={"ragtune_system": SYSTEM}
    )
    while (job := client.fine_tuning.jobs.retrieve(job.id)).status not in ("succeeded", "failed", "cancelled"):
        time.sleep(1)
    if job.fine_tuned_model is None:
        raise SystemExit(f"the training ended as {job.status}: {job.error}")
    return job.fine_tuned_model


def asked_here(client: openai.OpenAI, model: str, folder: Path) -> dict[str, Answer]:
    """The answers of the backend, with the tokens of the prompts that it makes."""
    from ragtune.local.engine.base_text import BaseText

    encoder = BaseText.read(folder).encoder
    return {
        name: ask(client, model, name, ids=encoder.chat_prompt(messages)) for name, (messages, _) in QUESTIONS.items()
    }


@dataclass(frozen=True, kw_only=True)
class Made:
    """What is asked: the folders of the base and of both exports, and the tuned model's name at the backend."""

    base: Path
    adapter: Path
    merged: Path
    tuned: str
    room: Path


def with_engines(report: Report, given: argparse.Namespace, made: Made) -> None:
    """Every engine whose command was given, in every form that it loads."""
    base, merged, dtype = str(made.base), str(made.merged), ["--dtype", given.dtype]
    if given.transformers:
        words = [str(given.transformers / "transformers"), "serve", *dtype]
        through(report, "transformers serve", [*words, base], {"base": base}, made.room / "t1.log")
        through(report, "transformers serve", [*words, merged], {"merged": merged}, made.room / "t2.log")
    if given.llama:
        server = [str(given.llama / "llama-server"), "--ctx-size", "4096", "--parallel", "1", "--threads", "1"]
        if given.dtype == "float32":  # else it keeps what it has looked at in float16
            server += ["--cache-type-k", "f32", "--cache-type-v", "f32", "--flash-attn", "off"]
        llama(report, given, server, made)
    if given.vllm:
        words = [str(given.vllm / "vllm"), "serve"]
        rank = json.loads((made.adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]
        lora = ["--enable-lora", "--max-lora-rank", str(rank), "--lora-modules", f"tuned={made.adapter}"]
        whole = [*words, base, "--served-model-name", "base", *dtype, *lora]
        through(report, "vLLM", whole, {"base": "base", "adapter": "tuned"}, made.room / "v1.log")
        through(report, "vLLM", [*words, merged, *dtype], {"merged": merged}, made.room / "v2.log")


def llama(report: Report, given: argparse.Namespace, server: Sequence[str], made: Made) -> None:
    """llama.cpp with the base's file, with that and the adapter's, and with the exported one."""
    from ragtune.local.models.gguf_file import find_converter, write_gguf

    words, room, file = find_converter(given.converter), made.room, made.merged / "model.gguf"
    write_gguf(made.base, room / "base.gguf", converter=words, dtype=given.dtype, title="base")
    if given.dtype == "float32":  # the exported one is in the base's own format, in which llama.cpp computes, too
        file = room / "merged.gguf"
        write_gguf(made.merged, file, converter=words, dtype="float32", title="merged")
    # In the adapter's own folder, by which a backend in front knows whose it is.
    lora = next((room / "backend" / "jobs").glob("*/adapter")) / "lora.gguf"
    beside = str(Path(words[-1]).with_name("convert_lora_to_gguf.py"))
    told = [sys.executable, beside, str(made.adapter), "--base", str(made.base), "--outfile", str(lora)]
    subprocess.run([*told, "--outtype", "f32"], check=True, capture_output=True)
    whole = [*server, "--model", str(room / "base.gguf"), "--alias", given.base]
    through(report, "llama.cpp", whole, {"base": given.base}, room / "l1.log")
    through(report, "llama.cpp", [*whole, "--lora", str(lora)], {"adapter": given.base}, room / "l2.log")
    through(report, "llama.cpp", [*server, "--model", str(file)], {"merged": "merged"}, room / "l3.log")
    behind(report, [*whole, "--lora", str(lora)], given, made)


def behind(report: Report, words: Sequence[str], given: argparse.Namespace, made: Made) -> None:
    """The backend in front of llama.cpp, which holds base and adapter: its prompts, the engine's answers."""
    from ragtune.local import LocalBackend

    port = free_port()
    with (
        running([*words, "--port", str(port)], port, made.room / "l4.log") as address,
        LocalBackend(made.room / "backend", engine=f"llama.cpp={address}") as backend,
        backend.client(timeout=600) as client,
    ):
        for form, model in {"base": given.base, "adapter": made.tuned}.items():
            begin = time.monotonic()
            answers = asked_here(client, model, made.base)
            report.compare("ragtune before llama.cpp", form, answers, time.monotonic() - begin)


def main() -> None:
    """Train, export, ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("llama", "vllm", "transformers", "converter"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="what all compute in")
    parser.add_argument("--room", type=Path, help="folder to work in, which must not be there; default: a passing one")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    from ragtune.local import LocalBackend
    from ragtune.modelling.bases import resolve_base

    report, base = Report(), resolve_base(given.base)
    with TemporaryDirectory() as passing:
        room = given.room or Path(passing)
        with (
            LocalBackend(room / "backend", threads=given.threads, dtype=given.dtype) as backend,
            backend.client(timeout=600) as client,
        ):
            tuned = train(client, given.base, given.epochs)
            for form, model in (("base", given.base), ("tuned", tuned)):
                for name, answer in asked_here(client, model, base).items():
                    report.reference[form, name] = answer
                    print(form, name, repr(answer.text), answer.finish, flush=True)
            adapter = backend.export(tuned, room / "adapter").folder
            gguf = given.converter is not None
            merged = backend.export(tuned, room / "merged", merged=True, gguf=gguf, converter=given.converter).folder
        bases = {"merged": merged}
        with (
            LocalBackend(room / "other", bases=bases, threads=given.threads, dtype=given.dtype) as backend,
            backend.client() as client,
        ):
            begin = time.monotonic()
            report.compare("ragtune", "merged", asked_here(client, "merged", merged), time.monotonic() - begin)
        try:
            with_engines(report, given, Made(base=base, adapter=adapter, merged=merged, tuned=tuned, room=room))
        finally:
            print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores\n\n{report.markdown()}")
            if given.out is not None:
                given.out.write_text(report.markdown(), encoding="utf-8")


if __name__ == "__main__":
    main()
