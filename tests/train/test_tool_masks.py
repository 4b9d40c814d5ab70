"""The loss mask with tools: calls carry loss, definitions and results do not, under the ways families write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ragtune.modelling.encoding.encoder import Encoder

from .test_encoder import build_tokenizer, learned

HERMES = (  # Qwen, Hermes: JSON between tags
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}\n"
    "</tool_response><|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (  # Llama 3.1: a bare object, an end of its own for calls, results from `ipython`
    "{{ bos_token }}{% if tools %}<|start_header|>system<|end_header|>\n\n{% for t in tools %}{{ t | tojson }}"
    "{% endfor %}<|eot|>{% endif %}{% for m in messages %}"
    "<|start_header|>{{ 'ipython' if m.role == 'tool' else m.role }}<|end_header|>\n\n"
    "{% if m.tool_calls %}{% set f = m.tool_calls[0].function %}"
    '{"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}<|eom|>'
    "{% else %}{{ m.content }}<|eot|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header|>assistant<|end_header|>\n\n{% endif %}"
)
BRACKETS = (  # Mistral: tools before the last question, a list of calls, results in brackets
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "{% if tools and loop.first %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST] {{ m.content }} [/INST]{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]"
    "{% elif m.tool_calls %}[TOOL_CALLS]{{ m.tool_calls | map(attribute='function') | list | tojson }}{{ eos_token }}"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
TURNS = (  # Gemma: turns of `model`, calls as code in a fence
    "{{ bos_token }}{% if tools %}<start_of_turn>developer\n{{ tools | tojson }}<end_of_turn>\n{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}```call\n{{ c.function.name }}"
    "({% for k, v in c.function.arguments.items() %}{{ k }}={{ v | tojson }}{% endfor %})\n```{% endfor %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MARKS = (  # DeepSeek: special tokens of their own around calls
    "{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}"
    "{% if m.role == 'user' %}<|user|>{{ m.content }}{% elif m.role == 'tool' %}<|output|>{{ m.content }}<|output_end|>"
    "{% else %}<|assistant|>{{ m.content }}{% if m.tool_calls %}<|calls|>{% for c in m.tool_calls %}<|call|>"
    "{{ c.function.name }}<|sep|>{{ c.function.arguments | tojson }}<|call_end|>{% endfor %}<|calls_end|>{% endif %}"
    "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKING = HERMES.replace(  # Qwen 3: an empty thought before the last answer alone
    "<|im_start|>{{ m.role }}\n{{ m.content }}",
    "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}",
)
ARGUMENTS = {"place": "quay"}
CALL = {"name": "land", "arguments": ARGUMENTS}
FAMILIES = {
    "hermes": (HERMES, ["<|im_start|>", "<|im_end|>"], f"<tool_call>\n{json.dumps(CALL)}\n</tool_call><|im_end|>"),
    "headers": (
        HEADERS,
        ["<|begin|>", "<|start_header|>", "<|end_header|>", "<|eom|>", "<|eot|>"],
        '{"name": "land", "parameters": {"place": "quay"}}<|eom|>',
    ),
    "brackets": (BRACKETS, ["<s>", "[TOOL_CALLS]", "[TOOL_RESULTS]", "</s>"], f"[TOOL_CALLS][{json.dumps(CALL)}]</s>"),
    "turns": (
        TURNS,
        ["<bos>", "<start_of_turn>", "<end_of_turn>"],
        '```call\nland(place="quay")\n```<end_of_turn>',
    ),
    "marks": (
        MARKS,
        "<bos> <|user|> <|assistant|> <|output|> <|output_end|> <|calls|> <|call|> <|sep|> <|call_end|> "
        "<|calls_end|> </s>".split(),
        f"<|calls|><|call|>land<|sep|>{json.dumps(ARGUMENTS)}<|call_end|><|calls_end|></s>",
    ),
    "thinking": (THINKING, ["<|im_start|>", "<|im_end|>"], f"<tool_call>\n{json.dumps(CALL)}\n</tool_call><|im_end|>"),
}
TOOLS = [{"type": "function", "function": {"name": "land", "parameters": {"type": "object", "properties": {}}}}]
CONVERSATION: list[dict[str, Any]] = [
    {"role": "user", "content": "Land the heron."},
    {
        "role": "assistant",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "land", "arguments": '{"place": "quay"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "landed at noon"},
    {"role": "assistant", "content": "It has landed."},
]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """A tokenizer with the template of a family, and how that writes the call."""
    template, special, call = FAMILIES[request.param]
    return build_tokenizer(template, special, kind="byte-level"), call


def plain(runs: list[str]) -> list[str]:
    """Without the empty thought that some templates put before an answer."""
    return [text.replace("<think>\n\n</think>\n\n", "").strip() for text in runs]


def test_a_call_and_the_answer_after_it_carry_loss_and_nothing_else(family: tuple[Any, str]) -> None:
    tokenizer, call = family
    example = Encoder(tokenizer, max_length=4096).chat(CONVERSATION, TOOLS)
    answer, last = plain(learned(tokenizer, example))
    assert answer == call
    assert last == f"It has landed.{tokenizer.eos_token}"
    assert "landed at noon" in tokenizer.decode(example.input_ids)
    assert '"name": "land"' in tokenizer.decode(example.input_ids), "the tool's definition is told"


def test_the_legacy_way_to_write_a_call_is_learned_alike(family: tuple[Any, str]) -> None:
    """`function_call` and the role `function` say what `tool_calls` and `tool` say."""
    tokenizer, _ = family
    question, call, result, answer = CONVERSATION
    legacy = [
        question,
        {"role": "assistant", "function_call": call["tool_calls"][0]["function"]},
        {"role": "function", "name": "land", "content": result["content"]},
        answer,
    ]
    encoder = Encoder(tokenizer, max_length=4096)
    assert encoder.chat(legacy, TOOLS) == encoder.chat(CONVERSATION, TOOLS)


def test_weight_zero_takes_a_call_out_of_the_loss(family: tuple[Any, str]) -> None:
    tokenizer, _ = family
    weighed = [{**turn, "weight": 0} if turn.get("tool_calls") else turn for turn in CONVERSATION]
    runs = plain(learned(tokenizer, Encoder(tokenizer, max_length=4096).chat(weighed, TOOLS)))
    assert runs == [f"It has landed.{tokenizer.eos_token}"]


def test_a_call_at_the_end_is_learned_to_its_end(family: tuple[Any, str]) -> None:
    """A record may end with the call: the model learns to stop there and wait for the result."""
    tokenizer, call = family
    (run,) = plain(learned(tokenizer, Encoder(tokenizer, max_length=4096).chat(CONVERSATION[:2], TOOLS)))
    assert run == call
