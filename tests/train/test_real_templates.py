"""The loss mask under the chat templates of real models, as TRL carries them; the tokenizers are made here."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ragtune.errors import RecordError
from ragtune.modelling.encoding.chat_template import ChatTemplate
from ragtune.modelling.encoding.encoder import Encoder

from .test_encoder import CONVERSATION, build_tokenizer, learned
from .test_tool_masks import CONVERSATION as CALLING

_SPECIAL = re.compile(
    r"<\|[^|<>{}'\" ]+\|>|<｜[^｜]+｜>|<(?:start_of_turn|end_of_turn|bos|eos|turn\|)>|<\|turn>|<turn\|>|\[gMASK\]|<sop>"
)
_ENDS = "<|im_end|> <|eot_id|> <end_of_turn> <turn|> <|END_OF_TURN_TOKEN|> <|return|> <｜end▁of▁sentence｜>".split()
# What may stand between the prompt and the text of an answer, and be learned with it.
_HEADS = re.compile(r"\s*(<think>\s*)?</think>\s*|\s*<\|channel\|>final<\|message\|>| to=user<\|message\|>|\s*")

TOOLS = [
    {
        "type": "function",
        "function": {"name": "land", "description": "Land.", "parameters": {"type": "object", "properties": {}}},
    }
]
TEXT = [
    "cohere", "cohere2", "deepseekv3", "gemma", "gemma3", "gemma4", "glm4moe", "gptoss", "lfm2", "llama3",
    "llama3_1", "llama3_2", "nemotron_3_nano", "nemotron_3_super", "phi3", "phi3_5", "qwen2_5", "qwen3",
    "qwen3_5_nothink", "qwen3_5_think", "qwen3_6", "qwen3_instruct_2507",
]  # fmt: skip
CALLS = [
    "deepseekv3", "gemma4", "glm4moe", "gptoss", "llama3_1", "llama3_2", "nemotron_3_nano", "qwen2_5", "qwen3",
    "qwen3_5_nothink", "qwen3_6", "qwen3_instruct_2507",
]  # fmt: skip


def tokenizer_of(name: str) -> Any:
    """A byte-level tokenizer with a model's chat template and the special tokens that are named in it."""
    found = find_spec("trl")
    if found is None or found.origin is None:
        pytest.skip("trl is not installed")
    path = Path(found.origin).parent / "chat_templates" / f"{name}.jinja"
    if not path.exists():
        pytest.skip(f"this version of trl carries no template {name}")
    template = path.read_text(encoding="utf-8")
    end = next((token for token in _ENDS if token in template), "<eos>")
    special = sorted({*_SPECIAL.findall(template)} - {end})
    return build_tokenizer(template, ["<begin>", *special, end], kind="byte-level")


def bare(run: str) -> str:
    """An answer without what a template writes before and after its text."""
    head = _HEADS.match(run)
    return _SPECIAL.sub("", run[head.end() if head else 0 :]).removesuffix("<eos>").strip()


@pytest.mark.parametrize("name", TEXT)
def test_the_answers_alone_are_learned(name: str) -> None:
    tokenizer = tokenizer_of(name)
    encoder = Encoder(tokenizer, max_length=100_000)
    runs = learned(tokenizer, encoder.chat(CONVERSATION))
    assert [bare(run) for run in runs] == ["The lantern heron.", "Wilhelmina Stoat, in a fishing boat."]
    weighed = [{**m, "weight": 0} if m["content"] == "The lantern heron." else m for m in CONVERSATION]
    assert learned(tokenizer, encoder.chat(weighed)) == runs[1:]


@pytest.mark.parametrize("name", [name for name in TEXT if name != "deepseekv3"])
def test_a_model_is_asked_with_what_stood_before_its_answers(name: str) -> None:
    """Also under templates that open a thought unless they are told not to. (DeepSeek's always opens one.)"""
    tokenizer = tokenizer_of(name)
    encoder = Encoder(tokenizer, max_length=100_000)
    prompt, example = encoder.chat_prompt(CONVERSATION[:2]), encoder.chat(CONVERSATION[:3])
    assert example.input_ids[: len(prompt)] == prompt
    assert "Answer briefly." in tokenizer.decode(prompt)


@pytest.mark.parametrize("name", ["nemotron_3_nano", "qwen2_5"])
def test_other_programs_ask_an_exported_model_as_it_was_trained(name: str) -> None:
    """What the template needs to be told here stands in the template that is handed on."""
    tokenizer = tokenizer_of(name)
    prompt = Encoder(tokenizer, max_length=100_000).chat_prompt(CONVERSATION[:2])
    tokenizer.chat_template = ChatTemplate(tokenizer).source
    asked = tokenizer.apply_chat_template(CONVERSATION[:2], add_generation_prompt=True, tokenize=False)
    assert asked == tokenizer.decode(prompt)


@pytest.mark.parametrize("name", TEXT)
def test_an_exported_template_asks_elsewhere_as_here(name: str) -> None:
    """Rendered by transformers alone: Gemma's has no place for a system text, and Llama 3.2's tells today's date.

    Whatever llama.cpp's server says of thoughts by itself.
    """
    tokenizer = tokenizer_of(name)
    source = ChatTemplate(tokenizer).source
    llama_cpp = {
        "enable_thinking": True,
        "preserve_thinking": True,
        "clear_thinking": False,
        "truncate_history_thinking": False,
        "drop_thinking": False,
    }
    for messages in (CONVERSATION[:2], CONVERSATION[1:2], CONVERSATION[:4]):
        for switches in ({}, llama_cpp):
            there = tokenizer.apply_chat_template(
                messages, chat_template=source, add_generation_prompt=True, return_dict=True, **switches
            )
            assert there["input_ids"] == Encoder(tokenizer, max_length=100_000).chat_prompt(messages)


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_learned_and_their_results_are_not(name: str) -> None:
    tokenizer = tokenizer_of(name)
    call, answer = learned(tokenizer, Encoder(tokenizer, max_length=100_000).chat(CALLING, TOOLS))
    assert "land" in call
    assert "quay" in call
    assert bare(answer) == "It has landed."
    assert "noon" not in call + answer


@pytest.mark.parametrize("name", ["deepseek_r1_distill", "lfm2", "llama3", "phi3"])
def test_a_template_that_leaves_calls_out_is_not_trained_on_them(name: str) -> None:
    """Otherwise the model would learn to say nothing."""
    encoder = Encoder(tokenizer_of(name), max_length=100_000)
    with pytest.raises(RecordError, match="writes no calls of tools"):
        encoder.chat(CALLING, TOOLS)


@pytest.mark.parametrize("name", ["idefics3", "smolvlm"])
def test_a_template_that_leaves_texts_out_is_not_trained_on(name: str) -> None:
    """Templates for pictures that read nothing but lists of parts."""
    with pytest.raises(RecordError, match="leaves out the text"):
        Encoder(tokenizer_of(name), max_length=100_000).chat(CONVERSATION)


def test_the_date_in_a_prompt_does_not_change_from_day_to_day() -> None:
    """A run that is repeated tomorrow must have the same tokens."""
    tokenizer = tokenizer_of("llama3_2")
    assert "26 Jul 2024" in tokenizer.decode(Encoder(tokenizer, max_length=512).chat_prompt(CONVERSATION[:2]))
