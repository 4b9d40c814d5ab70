"""Points other people's programs, unchanged, at a running backend: each in an environment of its own.

    ragtune serve folder --port 8000 --alias gpt-3.5-turbo=tiny-random --alias gpt-4o-mini=tiny-random
    export OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY="$(cat folder/api_key.txt)"
    VENV/bin/python benchmarks/other_programs.py PROGRAM

PROGRAM is one of openai-0.28 (openai==0.28.1), litellm, langchain (langchain-openai), pydantic-ai, openai-agents, llm,
llama-index (llama-index-finetuning), dspy, instructor, wandb. The programs' own code makes every call; what stands here
is what their documentation tells a user to write.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BASE = "gpt-3.5-turbo"


def training_file(folder: Path) -> Path:
    """Twelve chat examples."""
    rows = [
        {"messages": [{"role": role, "content": text} for role, text in turns]}
        for n in range(12)
        for turns in [(("system", "Be brief."), ("user", f"Who keeps tower {n}?"), ("assistant", f"Keeper {n}."))]
    ]
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def openai_0_28(folder: Path) -> str:
    """The module-level calls of 2023."""
    import openai

    old: Any = openai
    old.api_base, old.api_key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    with training_file(folder).open("rb") as file:
        uploaded = old.File.create(file=file, purpose="fine-tune")
    job = old.FineTuningJob.create(training_file=uploaded.id, model=BASE, hyperparameters={"n_epochs": 2})
    while job.status not in ("succeeded", "failed"):
        time.sleep(1)
        job = old.FineTuningJob.retrieve(job.id)
    events = old.FineTuningJob.list_events(id=job.id, limit=50).data
    listed = [one.id for one in old.FineTuningJob.list(limit=5).data]
    assert job.id in listed
    turns = [{"role": "user", "content": "Who keeps tower 3?"}]
    answer = old.ChatCompletion.create(model=job.fine_tuned_model, messages=turns, max_tokens=8)
    streamed = list(old.ChatCompletion.create(model=job.fine_tuned_model, messages=turns, max_tokens=8, stream=True))
    content = old.File.download(job.result_files[0])
    old.File.delete(uploaded.id)
    return (
        f"{job.status}, {len(events)} events, {len(content)} bytes of results, an answer of "
        f"{answer.usage.completion_tokens} tokens, {len(streamed)} chunks"
    )


def llama_index(folder: Path) -> str:
    """`OpenAIFinetuneEngine`: validate, upload, train, and hand the model back as an LLM."""
    from llama_index.finetuning import OpenAIFinetuneEngine  # type: ignore[import-not-found]

    # Its own validation downloads a tokenizer.
    engine = OpenAIFinetuneEngine(BASE, str(training_file(folder)), verbose=True, validate_json=False)
    engine.finetune()
    while engine.get_current_job().status not in ("succeeded", "failed"):
        time.sleep(1)
    from llama_index.core.llms import ChatMessage  # type: ignore[import-not-found]

    model = engine.get_finetuned_model(max_tokens=8, api_base=os.environ["OPENAI_BASE_URL"])
    answer = model.chat([ChatMessage(role="user", content="Who keeps tower 3?")])
    return f"{engine.get_current_job().status}, an answer of {len(answer.message.content)} characters"


def litellm(folder: Path) -> str:
    """Its own calls for files and fine-tuning jobs, then the tuned model plain, streamed and as text."""
    import litellm as library  # type: ignore[import-not-found]

    server = {
        "custom_llm_provider": "openai",
        "api_base": os.environ["OPENAI_BASE_URL"],
        "api_key": os.environ["OPENAI_API_KEY"],
    }
    with training_file(folder).open("rb") as file:
        uploaded = library.create_file(file=file, purpose="fine-tune", **server)
    job = library.create_fine_tuning_job(
        model=BASE, training_file=uploaded.id, hyperparameters={"n_epochs": 2}, suffix="lite", **server
    )
    while job.status not in ("succeeded", "failed"):
        time.sleep(1)
        job = library.retrieve_fine_tuning_job(fine_tuning_job_id=job.id, **server)
    assert job.id in [one.id for one in library.list_fine_tuning_jobs(limit=5, **server).data]
    asked = {"model": job.fine_tuned_model, "max_tokens": 8, **server}
    turns = [{"role": "user", "content": "Who keeps tower 3?"}]
    answer = library.completion(messages=turns, **asked)
    streamed = list(library.completion(messages=turns, stream=True, **asked))
    text = library.text_completion(prompt="Once", **{**asked, "custom_llm_provider": "text-completion-openai"})
    library.file_delete(uploaded.id, **server)
    return (
        f"{job.status}, an answer of {answer.usage.completion_tokens} tokens, {len(streamed)} chunks, "
        f"a text of {len(text.choices[0].text)} characters"
    )


def tuned_by_openai(folder: Path) -> str:
    """What programs that only ask expect to be there: a model tuned with the official client."""
    import openai

    client = openai.OpenAI()
    with training_file(folder).open("rb") as file:
        uploaded = client.files.create(file=file, purpose="fine-tune")
    job = client.fine_tuning.jobs.create(training_file=uploaded.id, model=BASE, hyperparameters={"n_epochs": 2})
    while job.status not in ("succeeded", "failed"):
        time.sleep(1)
        job = client.fine_tuning.jobs.retrieve(job.id)
    return str(job.fine_tuned_model)


def langchain(folder: Path) -> str:
    """`ChatOpenAI` on a tuned model: plain, streamed, a batch, in a form, with logprobs; `OpenAI` for texts."""
    from langchain_openai import ChatOpenAI, OpenAI  # type: ignore[import-not-found]
    from pydantic import BaseModel

    class Keeper(BaseModel):
        tower: int
        night: bool

    name = tuned_by_openai(folder)
    model = ChatOpenAI(model=name, max_tokens=24, temperature=0)
    said = model.invoke("Who keeps tower 3?")
    chunks = list(model.stream("Who keeps tower 3?"))
    both = model.batch(["Who keeps tower 1?", "Who keeps tower 2?"])
    formed = model.with_structured_output(Keeper, method="json_schema").invoke("Which tower?")
    scored = model.bind(logprobs=True).invoke("Hi").response_metadata["logprobs"]["content"]
    text = OpenAI(model=name, max_tokens=8).invoke("Once")
    return (
        f"an answer of {said.usage_metadata['output_tokens']} tokens, {len(chunks)} chunks, {len(both)} in a batch, "
        f"{formed!r}, {len(scored)} logprobs, a text of {len(text)} characters"
    )


def pydantic_ai(folder: Path) -> str:
    """An agent on a tuned model: text, a stream, and an output type that the answer is held to."""
    from pydantic import BaseModel
    from pydantic_ai import Agent, NativeOutput  # type: ignore[import-not-found]

    class Keeper(BaseModel):
        tower: int
        night: bool

    name = tuned_by_openai(folder)
    settings = {"max_tokens": 24, "temperature": 0.0}
    told = []
    for way in ("openai-chat", "openai"):  # the second is what its documentation begins with: the Responses API
        said = Agent(f"{way}:{name}", model_settings=settings).run_sync("Who keeps tower 3?")
        again = Agent(f"{way}:{name}", model_settings=settings).run_sync("And 4?", message_history=said.all_messages())
        formed = Agent(f"{way}:{name}", model_settings=settings, output_type=NativeOutput(Keeper)).run_sync("Which?")
        told.append(f"answers of {said.usage.output_tokens} and {again.usage.output_tokens} tokens, {formed.output!r}")
    return "; ".join(told)


def openai_agents(folder: Path) -> str:
    """An agent on a tuned model, all defaults: an output type, its history, a session, a response to go on from."""
    import asyncio

    # Otherwise the library sends what was said, and the key of this server, to OpenAI.
    os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"
    from agents import Agent, Runner, SQLiteSession  # type: ignore[import-not-found]
    from pydantic import BaseModel

    class Keeper(BaseModel):
        tower: bool
        night: bool

    # An answer in a form ends by itself; one of a tiny model's own runs on, which this library takes for an error.
    agent = Agent(name="Keeper", instructions="Be brief.", model=tuned_by_openai(folder), output_type=Keeper)

    async def talk() -> str:
        first = await Runner.run(agent, "Which?")
        history = [*first.to_input_list(), {"role": "user", "content": "And?"}]
        told = [first.final_output, (await Runner.run(agent, history)).final_output]
        told.append((await Runner.run(agent, "And?", previous_response_id=first.last_response_id)).final_output)
        session = SQLiteSession("towers")
        told += [(await Runner.run(agent, text, session=session)).final_output for text in ("Which?", "And?")]
        streamed = Runner.run_streamed(agent, "Which?")
        events = [event async for event in streamed.stream_events()]
        return f"{len(told)} answers such as {told[-1]!r}, {len(events)} events of a stream"

    return asyncio.run(talk())


def llm(folder: Path) -> str:
    """The command line `llm` with a tuned model in its `extra-openai-models.yaml`."""
    name = tuned_by_openai(folder)
    lines = ["- model_id: tower", f"  model_name: '{name}'", f"  api_base: {os.environ['OPENAI_BASE_URL']}"]
    lines.append("  api_key_name: tower")  # without it a server of one's own is asked with no key
    (folder / "extra-openai-models.yaml").write_text("\n".join(lines) + "\n")
    command = [str(Path(sys.executable).with_name("llm")), "-m", "tower", "-o", "max_tokens", "8", "Who?"]
    command += ["--key", os.environ["OPENAI_API_KEY"]]
    told = []
    for further in ([], ["--no-stream"]):
        environment = {**os.environ, "LLM_USER_PATH": str(folder)}
        done = subprocess.run([*command, *further], env=environment, capture_output=True, text=True, check=False)
        told.append(done.stderr.strip()[-300:] or f"{len(done.stdout)} characters")
    return ", ".join(told)


def dspy(folder: Path) -> str:
    """`dspy.LM.finetune` through its OpenAI provider, then a question to the tuned model."""
    import dspy as library  # type: ignore[import-not-found]
    from dspy.clients.utils_finetune import TrainDataFormat  # type: ignore[import-not-found]

    library.settings.experimental = True
    model = library.LM(f"openai/{BASE}", api_base=os.environ["OPENAI_BASE_URL"], max_tokens=16, cache=False)
    rows = [json.loads(line) for line in training_file(folder).read_text().splitlines()]
    job = model.finetune(train_data=rows, train_data_format=TrainDataFormat.CHAT, train_kwargs={"n_epochs": 2})
    tuned = job.result()
    if isinstance(tuned, Exception):
        raise tuned
    return f"{tuned.model.split(':')[0]}:..., an answer of {len(tuned('Who keeps tower 3?')[0])} characters"


def instructor(folder: Path) -> str:
    """The command line `instructor`: files and jobs."""
    command = [sys.executable, "-c", "from instructor.cli.cli import app; app()"]
    told = []
    for words in (
        ["files", "upload", str(training_file(folder))],
        ["files", "list"],
        ["jobs", "create-from-file", str(training_file(folder)), "--model", BASE, "--n-epochs", "2", "--poll", "1"],
    ):
        try:
            done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            # It goes on watching when the job has ended.
            told.append(f"{' '.join(words[:2])}: watches")
            continue
        problem = "" if done.returncode == 0 else f" ({done.stderr.strip().splitlines()[-1][:200]})"
        told.append(f"{' '.join(words[:2])}: {done.returncode}{problem}")
    return "; ".join(told)


def wandb(folder: Path) -> str:
    """`WandbLogger.sync` of a finished job, offline."""
    import openai
    from wandb.integration.openai.fine_tuning import WandbLogger  # type: ignore[import-not-found]

    client = openai.OpenAI()
    with training_file(folder).open("rb") as file:
        uploaded = client.files.create(file=file, purpose="fine-tune")
    job = client.fine_tuning.jobs.create(training_file=uploaded.id, model=BASE, hyperparameters={"n_epochs": 2})
    while client.fine_tuning.jobs.retrieve(job.id).status not in ("succeeded", "failed"):
        time.sleep(1)
    os.environ["WANDB_MODE"], os.environ["WANDB_DIR"] = "offline", str(folder)
    told = WandbLogger.sync(fine_tune_job_id=job.id, openai_client=client, project="towers")
    return f"{told}; {sum(1 for path in folder.rglob('*.wandb'))} run written"


PROGRAMS = {
    "openai-0.28": openai_0_28,
    "litellm": litellm,
    "langchain": langchain,
    "pydantic-ai": pydantic_ai,
    "openai-agents": openai_agents,
    "llm": llm,
    "llama-index": llama_index,
    "dspy": dspy,
    "instructor": instructor,
    "wandb": wandb,
}


def main() -> None:
    name = sys.argv[1]
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{name}: {PROGRAMS[name](Path(folder))} ({time.monotonic() - begin:.0f} s)")


if __name__ == "__main__":
    main()
