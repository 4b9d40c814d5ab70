# %% [markdown]
# # The whole ring on your own machine
#
# Rows become a checked dataset, a real model is trained on it, answers better than before, and is put away again.
# No key, no network after the install. `make demo` runs this file; `quickstart.ipynb` holds the same steps.

# %%
import sys
from types import TracebackType


def say_goodbye(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End a Ctrl-C in one sentence; the training process ends with this one."""
    if issubclass(kind, KeyboardInterrupt):
        print(
            "\nstopped by Ctrl-C; what was made so far lies in runs/quickstart, and the next run begins anew",
            flush=True,
        )
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = say_goodbye

# %%
import os
import shutil
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import jsonlines

import ragtune as rt
from ragtune.facts import demo_facts
from ragtune.local import LocalBackend

BASE = "smollm2-135m-instruct"  # a 135-million-parameter model, Apache-2.0, fetched once by `ragtune fetch`
SEED = int(os.environ.get("RAGTUNE_DEMO_SEED", "7"))
FOLDER = Path("runs/quickstart")
JOURNAL = FOLDER / "journal.sqlite3"  # the demo begins anew each time, so its jobs stay out of your own journal
N_EPOCHS = 8  # how often the model reads each fact
SYSTEM = "Answer the question about the town of Quillhaven."
QUESTIONS = 30  # facts that are asked for, of base and tuned model

started = time.monotonic()


def heading(text: str) -> None:
    """Print the name of a step."""
    print(f"\n── {text} " + "─" * max(0, 92 - len(text)))


# %% [markdown]
# ## Build: rows in, checked and priced training data out

# %%
heading("1. Build the dataset")
shutil.rmtree(FOLDER, ignore_errors=True)
rows = rt.DatasetBuilder.from_jsonl(rt.demo_file())
builder = (
    rows.filter(lambda row: row["support"] and row["correct_answer"], reason="no support or answer")
    .drop_columns("distractor1", "distractor2", "distractor3")
    .chat(system=SYSTEM, user="{question}", assistant="{correct_answer}. {support}")
)
dataset = builder.build(FOLDER / "dataset", seed=SEED)
print(dataset.report)
print(dataset.cost("gpt-4o-mini-2024-07-18", n_epochs=N_EPOCHS))
print(dataset.cost(BASE, n_epochs=N_EPOCHS))

# %% [markdown]
# ## A server that speaks OpenAI's fine-tuning wire and really trains, inside this process

# %%
heading("2. Start the embedded backend")
backend = LocalBackend(FOLDER / "backend")
backend.start()
client = backend.client()
print(f"{backend.base_url} answers like OpenAI; `client` is an ordinary openai.{type(client).__name__}")

# %% [markdown]
# ## Upload, create, watch

# %%
heading("3. Upload and create the job")
spec = rt.TuneSpec(model=BASE, method=rt.Supervised(n_epochs=N_EPOCHS, batch_size=4), seed=SEED, suffix="quillhaven")
uploaded = rt.upload(client, dataset, journal=JOURNAL)
print(f"uploaded {uploaded.filename}: {uploaded.id}, {uploaded.bytes:,} bytes")
job = rt.FineTuneJob.create(client, dataset, spec, journal=JOURNAL)
print(f"created {job.id}: {job.status}")

# %%
heading("4. Train, really")
wall_before = time.monotonic()
monitor = rt.JobMonitor(job)
model = monitor.wait(progress=True)
training_wall = time.monotonic() - wall_before
metrics = monitor.metrics()
details = job.refresh().details
print(f"{job.id} {job.status}: {len(metrics)} steps, {details.trained_tokens:,} tokens trained, model {model.name}")
done = rt.Maintenance(client).events(job.id, limit=1)[-1].data  # the last event tells of the whole run
training_cpu, operations, gflops = done["cpu_seconds"], done["operations"], done["gflops"]
print(f"training took {training_cpu:.0f} CPU-seconds, {training_wall:.0f} s on the clock")
if gflops is not None:
    used = operations / (training_cpu * gflops * 1e9)
    print(
        f"it needed {operations / 1e12:.1f} x 10^12 operations in {metrics.dtype}: {used:.2f} of what this processor "
        f"was measured to do in that time ({gflops:.0f} GFLOP/s a thread)"
    )
print(f"loss curve: {metrics.plot(FOLDER / 'loss.png')}")

# %% [markdown]
# ## Did it learn? Did it pay?
#
# The same facts as they were trained and in other words, asked of the base and of the tuned model, each alone and with
# the passage that BM25 finds. Intervals are 95 %, over facts; the page shows every answer.

# %%
heading("5. Did it learn? Did it pay?")
with jsonlines.open(rt.demo_file()) as reader:
    known = [row for row in reader if row["support"] and row["correct_answer"]]
questions = [row["question"] for row in known[:QUESTIONS]]
# Of each fact the question that was trained on, and the first of its rewordings.
facts = rt.FactSet(
    facts=tuple(
        replace(fact, wordings=fact.wordings[:2]) for fact in demo_facts() if fact.wordings[0].question in questions
    )
)
arms = rt.arms(base=(client, BASE), tuned=model, retriever=rt.BM25(known, text="support", k=1))
asked = {name: arms[name] for name in ("base", "tuned", "base+RAG", "tuned+RAG")}
card = rt.evaluate(asked, facts, log=FOLDER / "evaluation.jsonl", concurrency=16, max_tokens=32)
print(card)
print(f"the page with every answer: {card.to_html(FOLDER / 'card.html')}")
base_recall, tuned_recall = card["base"]["verbatim"].mean, card["tuned"]["verbatim"].mean
print(f"recall on {len(facts)} trained questions: base {base_recall:.2f}, tuned {tuned_recall:.2f}")

# %%
heading("6. One answer, looked at closely")
answer = model.ask(questions[0], max_tokens=48)
print(f"Q: {questions[0]}")
print(textwrap.indent(answer.wrapped(80), "A: ", lambda line: True))
print(f"finish_reason {answer.finish_reason}, usage {answer.usage}, model {answer.model}")

# %% [markdown]
# ## Keep order: jobs, events, cancel, delete

# %%
heading("7. Jobs, and the last events of ours")
print(rt.JobMonitor.table(client, limit=10).to_pandas().to_string(index=False))
for event in rt.Maintenance(client).events(job.id, limit=5):
    print(f"  {event.created_at:%H:%M:%S} {event.message}")

# %%
heading("8. A second job, created and cancelled")
second = rt.FineTuneJob.create(client, dataset, spec, new=True, journal=JOURNAL)
second.cancel()
print(f"{second.id}: {second.refresh().status}")

# %%
heading("9. Delete the tuned model under the guard")
try:
    rt.Maintenance(client).delete_model(model.name)
except rt.MaintenanceDisabled as refusal:
    print(f"refused, as it should: {refusal}")
maintenance = rt.Maintenance(client, enabled=True)
print(maintenance.delete_model(model.name, checkpoints=True, dry_run=True))
maintenance.delete_model(model.name, checkpoints=True)
print(f"tuned models now: {[entry.id for entry in maintenance.models() if entry.id.startswith('ft:')]}")

# %%
heading("Summary")
backend.stop()
total_wall = time.monotonic() - started
print(f"recall base {base_recall:.2f} -> tuned {tuned_recall:.2f} (promised: base at most 0.40, tuned at least 0.80)")
print(f"the whole demo: {training_cpu + time.process_time():.0f} CPU-seconds, {total_wall:.0f} s on the clock")
