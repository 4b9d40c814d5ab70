"""Thoughts in training rows: rendered as the base's template has them, and trained, masked or left out by choice."""

from __future__ import annotations

from typing import Any

import pytest

from ragtune.errors import RecordError
from ragtune.modelling.encoding.chat_template import ChatTemplate
from ragtune.modelling.encoding.encoder import Encoder

from .conftest import MakeSpec, chat_lines, write_lines
from .test_encoder import CHATML, build_tokenizer, learned
from .test_real_templates import tokenizer_of
from .test_run import read, run

SPECIAL = ["<|im_start|>", "<|im_end|>"]
THINKS = (  # in the manner of Qwen 3: thoughts of the last answer alone, an empty one where there is none
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n{{ m.reasoning_content | default('', true) | trim }}"
    "\n</think>\n\n{% endif %}{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPENS = (  # in the manner of DeepSeek R1: the prompt opens a thought, finished answers have lost theirs
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
NAMES_IT_THINKING = THINKS.replace("reasoning_content", "thinking")
OPTIONAL = (  # asked without thinking here, since an answer without a thought does not begin as the prompt ends
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and m.reasoning_content %}<think>\n"
    "{{ m.reasoning_content }}\n</think>\n\n{% elif m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>\n{% endif %}"
    "{% endif %}"
)
TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Which bird?"},
    {"role": "assistant", "content": "A stork.", "reasoning_content": "Storks are large."},
    {"role": "user", "content": "Are you sure?"},
    {"role": "assistant", "content": "No: the lantern heron.", "reasoning_content": "The coat of arms shows a heron."},
]
BARE = [{key: value for key, value in message.items() if key != "reasoning_content"} for message in TALK]
TAGGED = [*BARE[:3], {**BARE[3], "content": f"<think>{TALK[3]['reasoning_content']}</think>{BARE[3]['content']}"}]
THOUGHT = "The coat of arms shows a heron."
ANSWER = "No: the lantern heron.<|im_end|>"


def encoder(template: str, reasoning: Any = None) -> Encoder:
    tokenizer = build_tokenizer(template, SPECIAL, kind="byte-level")
    return Encoder(tokenizer, max_length=4096, reasoning=reasoning)


def taught(one: Encoder, messages: list[dict[str, Any]]) -> list[str]:
    return learned(one.tokenizer, one.chat(messages))


def whole(one: Encoder, messages: list[dict[str, Any]]) -> str:
    return str(one.tokenizer.decode(one.chat(messages).input_ids))


@pytest.mark.parametrize("template", [THINKS, NAMES_IT_THINKING], ids=["reasoning_content", "thinking"])
@pytest.mark.parametrize("messages", [TALK, TAGGED], ids=["beside", "in tags"])
def test_a_template_that_writes_thoughts_has_them_trained_masked_or_left_out(
    template: str, messages: list[dict[str, Any]]
) -> None:
    """Only the last answer's, as the template has it; what is asked stands before what is learned."""
    thought = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"
    for chosen in (None, "train"):
        assert taught(encoder(template, chosen), messages) == ["A stork.<|im_end|>", thought]
    masked = encoder(template, "mask")
    assert taught(masked, messages) == ["A stork.<|im_end|>", ANSWER]
    assert f"<think>\n{THOUGHT}\n</think>\n\n" in whole(masked, messages)
    dropped = encoder(template, "drop")
    assert THOUGHT not in whole(dropped, messages)
    assert taught(dropped, messages) == ["A stork.<|im_end|>", f"<think>\n\n</think>\n\n{ANSWER}"]
    assert [encoder(template).chat(some).thinks for some in (messages, BARE)] == [True, False]


def test_an_empty_thought_is_learned_unless_thoughts_are_masked() -> None:
    """It is the template that writes it; a row that brings one along says no more than a row without."""
    empty = [*BARE[:3], {**BARE[3], "content": f"<think>\n\n</think>\n\n{BARE[3]['content']}"}]
    for messages in (BARE, empty):
        assert taught(encoder(THINKS), messages)[-1] == f"<think>\n\n</think>\n\n{ANSWER}"
        assert taught(encoder(THINKS, "mask"), messages)[-1] == ANSWER
    assert taught(encoder(CHATML), empty)[-1] == ANSWER


@pytest.mark.parametrize("messages", [TALK, TAGGED], ids=["beside", "in tags"])
def test_a_thought_that_the_prompt_opens_goes_on_from_there(messages: list[dict[str, Any]]) -> None:
    """Finished answers of such a template have no thought: the last one's is put behind the prompt."""
    one = encoder(OPENS)
    assert taught(one, messages) == ["A stork.<|im_end|>", f"{THOUGHT}\n</think>\n\n{ANSWER}"]
    asked = one.tokenizer.decode(one.chat_prompt(messages[:3]))
    assert whole(one, messages).startswith(asked)
    assert asked.endswith("<think>\n")
    assert taught(encoder(OPENS, "mask"), messages) == ["A stork.<|im_end|>", ANSWER]
    assert taught(encoder(OPENS, "drop"), messages) == taught(encoder(OPENS), BARE)


@pytest.mark.parametrize("template", [CHATML, OPTIONAL], ids=["knows none", "asked without"])
def test_a_template_that_writes_no_thoughts_leaves_them_out_and_says_so(template: str) -> None:
    example = encoder(template).chat(TALK)
    assert (example.thinks, example.leaves_thoughts) == (False, True)
    assert taught(encoder(template), TALK) == taught(encoder(template), BARE)
    assert not encoder(template, "drop").chat(TALK).leaves_thoughts
    for chosen in ("train", "mask"):
        with pytest.raises(RecordError, match=r"writes no thoughts as it is asked here.*choose reasoning='drop'"):
            encoder(template, chosen).chat(TALK)


def test_a_special_token_in_a_thought_stays_text() -> None:
    sly = [*TALK[:3], {**TALK[3], "reasoning_content": "I end <|im_end|> here."}]
    one = encoder(THINKS)
    end: Any = one.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert one.chat(sly).input_ids.count(end) == 4


@pytest.mark.parametrize("name", ["qwen3", "qwen3_6", "gptoss", "qwen3_5_think", "glm4moe"])
def test_real_templates_have_their_thoughts_trained_and_masked(name: str) -> None:
    tokenizer = tokenizer_of(name)
    if not ChatTemplate(tokenizer).thinks:
        pytest.skip(f"{name} writes no thoughts as it is asked here")
    trained = learned(tokenizer, Encoder(tokenizer, max_length=100_000, reasoning="train").chat(TALK))[-1]
    assert THOUGHT in trained
    assert "No: the lantern heron." in trained
    masked = Encoder(tokenizer, max_length=100_000, reasoning="mask")
    (*_, answer) = learned(tokenizer, masked.chat(TALK))
    assert THOUGHT not in answer
    assert answer.startswith("No: the lantern heron.")
    assert THOUGHT in tokenizer.decode(masked.chat(TALK).input_ids)


@pytest.mark.train
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_a_run_says_that_thoughts_are_left_out_before_it_trains(make_spec: MakeSpec, tmp_path: Any) -> None:
    """`tiny-random` thinks nothing; the choice to drop them is no reason for a warning."""
    lines = chat_lines(12)
    for line in lines:
        line["messages"][1]["reasoning"] = "I know that."
    file = write_lines(tmp_path / "thoughts.jsonl", lines)
    told = []
    for name, chosen in (("left", None), ("dropped", "drop")):
        spec = make_spec(name, training_file=file, n_epochs=1, reasoning=chosen)
        run(spec)
        told.append([event["message"] for event in read(spec, "message") if event["level"] == "warn"])
    assert len(told[0]) == 1
    assert told[0][0].startswith("12 examples hold thoughts that are left out")
    assert told[1] == []


def test_a_base_that_thinks_is_warned_of_rows_without_thoughts(make_spec: MakeSpec) -> None:
    from ragtune.train.examples.advice import thoughts_advice

    thinking, plain = encoder(THINKS), encoder(CHATML)
    without, having = [thinking.chat(BARE)], [thinking.chat(TALK)]
    told = thoughts_advice(make_spec(), without, thinking.tokenizer)
    assert told is not None
    assert "it may unlearn thinking" in told
    assert thoughts_advice(make_spec(), having, thinking.tokenizer) is None
    assert thoughts_advice(make_spec(reasoning="mask"), without, thinking.tokenizer) is None
    assert thoughts_advice(make_spec(), [plain.chat(BARE)], plain.tokenizer) is None
