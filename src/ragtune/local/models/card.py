"""The model card of an exported model: what it is, what it learned from, how to serve it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.local.models.exported import Exported, Origin
    from ragtune.local.store.schema import JobRow

__all__ = ["model_card", "system_prompt"]

# What the client writes into a job's metadata.
_FINGERPRINT = "ragtune_fingerprint"
_SYSTEM = "ragtune_system"
_SYSTEM_TOO_LONG = "ragtune_system_chars"
_MERGE_FIRST = "`transformers serve` loads whole models: for it export once more with `ragtune export ... --merged`."
_BASE_IS_HERE = (
    "The base is a folder of the machine that wrote this card, and the adapter fits its weights alone, known by their "
    "hash above. Elsewhere, copy that folder too and name it in `adapter_config.json` (`base_model_name_or_path`) and "
    "in the commands, or export once more with `ragtune export ... --merged`, which needs no base."
)
_LOADING = {
    False: "from peft import AutoPeftModelForCausalLM as Model\nfrom transformers import AutoTokenizer",
    True: "from transformers import AutoModelForCausalLM as Model\nfrom transformers import AutoTokenizer",
}
_ASKING = """\
folder = "."  # this one
tokenizer = AutoTokenizer.from_pretrained(folder)
model = Model.from_pretrained(folder, dtype="{dtype}")
messages = [{system}{{"role": "user", "content": "..."}}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**prompt, max_new_tokens=100, do_sample=False)
print(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))"""


def model_card(
    name: str, *, exported: Exported, origin: Origin, job: JobRow | None, metrics: Mapping[str, object]
) -> str:
    """The card as Markdown with the Hub's front matter; what is not known is left out or called unknown.

    Args:
        name: what the backend calls the model.
        exported: where it lies and how it is served.
        origin: its base.
        job: the job that made it.
        metrics: figures of its last step.
    """
    kind = "base and adapter merged into one model" if exported.merged else "a LoRA adapter for its base"
    file = "" if exported.gguf is None else f" `{exported.gguf.name}` is the same as one file."
    parts = [
        _front_matter(exported, origin),
        f"# {name}\n\nTuned with ragtune: {kind}, as safetensors, with tokenizer and chat template.{file}",
        "## Base\n\n"
        + _table({"base": origin.name, "from": origin.location, "revision": origin.revision})
        + (f"\n\nIts weights: {origin.source}." if origin.source else ""),
        "## Training\n\n" + _table(_training(job, metrics)),
        *_system(job),
        "## Licence\n\n" + _licence(origin),
        f"## In Python\n\n```python\n{_python(exported)}\n```",
        "## Serving\n\nNothing here needs code of the model's own. From this folder "
        "(llama.cpp's converters lie in its repository):\n\n"
        + "\n\n".join(f"{server}:\n\n```sh\n{line}\n```" for server, line in exported.commands.items())
        + ("" if exported.merged else f"\n\n{_MERGE_FIRST}"),
    ]
    if not exported.merged and origin.revision.startswith("sha256:"):
        parts.append(_BASE_IS_HERE)
    return "\n\n".join(parts) + "\n"


def system_prompt(job: JobRow | None) -> str | None:
    """The system prompt that a job's client wrote down, None when it wrote none."""
    return None if job is None else (job.metadata or {}).get(_SYSTEM)


def _system(job: JobRow | None) -> list[str]:
    text, length = system_prompt(job), (job.metadata or {}).get(_SYSTEM_TOO_LONG) if job else None
    if text is not None:
        # Indented and not between fences: a prompt may hold a fence of its own.
        indented = "".join(f"    {line}\n" for line in text.splitlines()).rstrip("\n")
        return [f"## System prompt\n\nIts training rows began with it; begin each question with it, too:\n\n{indented}"]
    if length is not None:
        told = f"Its training rows began with one of {length} characters, more than a job's metadata can keep."
        return [f"## System prompt\n\n{told} Take it from the rows, and begin each question with it, too."]
    return []


def _python(exported: Exported) -> str:
    turn = {"role": "system", "content": exported.system}
    # A text in JSON is one in Python as well.
    system = "" if exported.system is None else f"{json.dumps(turn, ensure_ascii=False)}, "
    return f"{_LOADING[exported.merged]}\n\n{_ASKING.format(system=system, dtype=exported.dtype)}"


def _front_matter(exported: Exported, origin: Origin) -> str:
    lines = {
        **({"base_model": origin.hub_id} if origin.hub_id else {}),
        # The Hub writes its licences small.
        "license": (origin.licence or "unknown").lower(),
        "library_name": "transformers" if exported.merged else "peft",
        "pipeline_tag": "text-generation",
    }
    return "---\n" + "".join(f"{key}: {value}\n" for key, value in lines.items()) + "tags: [ragtune]\n---"


def _training(job: JobRow | None, metrics: Mapping[str, object]) -> dict[str, object]:
    if job is None:
        return {"job": "unknown"}
    trained_on = {key: metrics[key] for key in ("device", "dtype") if key in metrics}
    figures = {
        f"{key} at step {metrics['step']}": round(value, 4)
        for key, value in metrics.items()
        if key.startswith(("train_", "full_valid_")) and isinstance(value, float)
    }
    return {
        "job": job.id,
        "method": job.method["type"],
        "data set's fingerprint": (job.metadata or {}).get(_FINGERPRINT, "unknown"),
        "training file's sha256": job.training_sha256,
        "validation file's sha256": job.validation_sha256 or "none",
        **(job.resolved or {}),
        "seed": job.seed,
        **trained_on,
        "trained tokens": "unknown" if job.trained_tokens is None else job.trained_tokens,
        **figures,
    }


def _licence(origin: Origin) -> str:
    of_base = f"The base is under {origin.licence}." if origin.licence else "The licence of the base is not known here."
    return (
        f"{of_base} A tuned model is made from its base and from its training data: what both of their licences ask "
        "holds for it, and who publishes it has to look at them first."
    )


def _table(values: Mapping[str, object]) -> str:
    return "| | |\n|---|---|\n" + "\n".join(f"| {key} | {value} |" for key, value in values.items())
