"""What the engines' wires have in common, OpenAI's completions, and what each kind adds to it.

Prompts go out as token ids, made here as in training: whatever template an engine was started with changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ragtune.local.engine.request import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ragtune.local.engine.base_text import BaseText
    from ragtune.local.engine.prompt import Prompt
    from ragtune.local.engine.request import GenerateRequest
    from ragtune.local.remote_engine.address import EngineKind

__all__ = ["WIRES", "Wire", "body_of", "lora_of", "refuse_unserved"]


@dataclass(frozen=True, kw_only=True)
class Wire:
    """How one kind of engine differs.

    Attributes:
        owner: what it calls itself in its list of models.
        load: route that loads an adapter, None where adapters come with the engine's start.
        unload: route that drops one.
        plain: switches off what the engine does to sampling by itself.
        several: whether one request may ask for several answers.
        counts: whether each chunk of a stream can tell the tokens so far.
        start: how to start it so that adapters can come and go.
    """

    owner: str
    load: str | None = None
    unload: str | None = None
    plain: Mapping[str, object] = field(default_factory=dict)
    several: bool = True
    counts: bool = True
    start: str


# Read in vLLM's docs/features/lora.md, SGLang's docs/advanced_features/lora and llama.cpp's tools/server/README.md.
WIRES: Mapping[EngineKind, Wire] = {
    "vllm": Wire(
        owner="vllm",
        load="/v1/load_lora_adapter",
        unload="/v1/unload_lora_adapter",
        plain={"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "return_tokens_as_token_ids": True},
        start="start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
    ),
    "sglang": Wire(
        owner="sglang",
        load="/load_lora_adapter",
        unload="/unload_lora_adapter",
        plain={"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
        start="start it with --enable-lora, --max-lora-rank and --lora-target-modules",
    ),
    "llama.cpp": Wire(
        owner="llamacpp",
        plain={"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
        several=False,
        counts=False,
        start="convert it to GGUF inside its own folder and start the engine with --lora FILE",
    ),
}


def refuse_unserved(asked: GenerateRequest, kind: EngineKind) -> None:
    """Refuse what this kind of engine lacks, by name.

    Raises:
        RequestError: it lacks something that is asked for.
    """
    must_call = bool(asked.shown_tools) and asked.tool_choice == "required"
    lacks = {
        "echo": ("'echo' together with 'logprobs'", asked.echo and asked.logprobs),
        "n": ("'n' or 'best_of' above 1", asked.n > 1 and not WIRES[kind].several),
        "tool_choice": ("A 'tool_choice' that makes the model call", must_call),
        "response_format": ("'response_format' together with 'tools'", asked.json_schema and asked.shown_tools),
    }
    for param, (what, wanted) in lacks.items():
        if wanted:
            message = f"{what} is not served through the {kind} engine that answers here; leave it out"
            raise RequestError(message, param=param, code="unsupported_parameter")


def body_of(
    asked: GenerateRequest,
    prompt: Prompt,
    base: BaseText,
    *,
    kind: EngineKind,
    model: str,
    lora: Mapping[str, object],
) -> dict[str, object]:
    """The body of `POST /v1/completions`, beside `model`, `prompt` and `stream`.

    Args:
        asked: what is asked.
        prompt: as the base reads it.
        base: how the base is spoken to.
        kind: of the engine.
        model: the engine's own name of what answers.
        lora: how this kind of engine is told which adapter answers.
    """
    wire = WIRES[kind]
    usage = {"include_usage": True, **({"continuous_usage_stats": True} if wire.counts else {})}
    body: dict[str, object] = {
        "model": model,
        "prompt": prompt.tokens,
        "max_tokens": prompt.room,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "frequency_penalty": asked.frequency_penalty,
        "presence_penalty": asked.presence_penalty,
        "n": asked.n,
        "stream_options": usage,
        **wire.plain,
        **lora,
    }
    if asked.seed is not None:
        body["seed"] = asked.seed if kind == "vllm" else asked.seed % 2**31
    if asked.stop:
        body["stop"] = list(asked.stop)
    if asked.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in asked.logit_bias.items()}
    if asked.logprobs:
        body["logprobs"] = asked.top_logprobs
    if kind != "llama.cpp":  # which finds the end tokens in its file
        body["stop_token_ids"] = sorted(base.end_tokens)
        # Calls of tools are marked with special tokens in some families; elsewhere these are no part of an answer.
        body["skip_special_tokens"] = prompt.calls is None
    return body | _form(asked.json_schema, kind)


def _form(schema: Mapping[str, object] | None, kind: EngineKind) -> dict[str, object]:
    """How the form of an answer is asked for."""
    if schema is None:
        return {}
    if kind == "vllm":
        form = {"name": "answer", "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    return {"json_schema": json.dumps(schema) if kind == "sglang" else schema}


def lora_of(kind: EngineKind, name: str | None, *, known: Sequence[tuple[int, str]] = ()) -> dict[str, object]:
    """How an engine is told which of its adapters answers, beside the model's name.

    Args:
        kind: of the engine.
        name: the adapter, None for the base itself.
        known: number and name of the adapters that a llama.cpp engine was started with; all others are left out.
    """
    if kind == "sglang":
        return {} if name is None else {"lora_path": name}
    if kind == "llama.cpp":
        told: dict[str, object] = {"lora": [{"id": number, "scale": float(one == name)} for number, one in known]}
        # It takes a prompt for read whichever adapter was on then: https://github.com/ggml-org/llama.cpp/issues/26207
        return {**told, "cache_prompt": False} if known else told
    return {}
