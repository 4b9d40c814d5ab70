"""The loss mask: what carries loss is the assistant's text and its end token, under every family of chat template."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragtune.data import demo_file
from ragtune.errors import RecordError
from ragtune.modelling.encoding.encoder import IGNORED, Encoder, Example

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (  # Llama 3
    "{{ bos_token }}{% for m in messages %}<|start_header|>{{ m.role }}<|end_header|>\n\n{{ m.content | trim }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header|>assistant<|end_header|>\n\n{% endif %}"
)
INST = (  # Llama 2, Mistral: no system turn, the answer follows the bracket after a space
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
TURNS = (  # Gemma: the assistant is called model, the system text is left out without a word
    "{{ bos_token }}{% for m in messages if m.role != 'system' %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
TAGS = (  # Phi 3, Zephyr: a tag on a line of its own, the end token right behind the text
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
WORDS = (  # Vicuna: plain words, an end token after answers alone
    "{% for m in messages %}{% if m.role == 'assistant' %}ASSISTANT: {{ m.content }}{{ eos_token }}"
    "{% else %}{{ m.role | upper }}: {{ m.content }} {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
THINKING = (  # Qwen 3: an empty thought before the last answer alone, so that earlier turns render differently later
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OPENS_THOUGHT = (  # DeepSeek R1: the prompt opens a thought that finished turns do not show
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{{ m.content }}{{ eos_token }}"
    "{% else %}<|user|>{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
NO_END = (  # a template that forgot how a turn ends
    "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)
FAMILIES = {
    "chatml": (CHATML, ["<|im_start|>", "<|im_end|>"]),
    "headers": (HEADERS, ["<|begin|>", "<|start_header|>", "<|end_header|>", "<|eot|>"]),
    "inst": (INST, ["<s>", "</s>"]),
    "turns": (TURNS, ["<bos>", "<start_of_turn>", "<end_of_turn>"]),
    "tags": (TAGS, ["<|user|>", "<|assistant|>", "<|system|>", "</s>"]),
    "words": (WORDS, ["</s>"]),
    "thinking": (THINKING, ["<|im_start|>", "<|im_end|>"]),
    "opens-thought": (OPENS_THOUGHT, ["<bos>", "<|user|>", "<|assistant|>", "</s>"]),
    "no-end": (NO_END, ["</s>"]),
    "none": (None, ["</s>"]),
}


def build_tokenizer(template: str | None, special: list[str], *, kind: str) -> Any:
    """A tokenizer trained on the demo facts: byte-level like GPT and Llama 3, or with word marks like Llama 2."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if kind == "byte-level":
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        alphabet = list("".join(map(chr, range(33, 127))) + "\n")
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=[*special, "<unk>"], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([demo_file().read_text(encoding="utf-8")], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=special[0],
        eos_token=special[-1],
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


def learned(tokenizer: Any, example: Example) -> list[str]:
    """The text of each run of labelled tokens."""
    runs = groupby(example.labels, key=lambda label: label != IGNORED)
    return [tokenizer.decode(list(run), skip_special_tokens=False) for is_labelled, run in runs if is_labelled]


CONVERSATION = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "Which bird is on the coat of arms?"},
    {"role": "assistant", "content": "The lantern heron."},
    {"role": "user", "content": "And who painted the ceiling?"},
    {"role": "assistant", "content": "Wilhelmina Stoat, in a fishing boat."},
]


@pytest.fixture(params=[(family, kind) for family in FAMILIES for kind in ("byte-level", "word-marks")], ids="-".join)
def family(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """The name of a template family and a tokenizer with such a template."""
    name, kind = request.param
    template, special = FAMILIES[name]
    return name, build_tokenizer(template, special, kind=kind)


def test_the_loss_is_on_the_assistants_text_and_its_end_token_alone(family: tuple[str, Any]) -> None:
    name, tokenizer = family
    example = Encoder(tokenizer, max_length=4096).chat(CONVERSATION)
    answers = [message["content"] for message in CONVERSATION if message["role"] == "assistant"]
    runs = [text.replace("<think>\n\n</think>\n\n", "") for text in learned(tokenizer, example)]
    end = tokenizer.eos_token
    if name == "no-end":  # the end of the conversation is the only end there is
        assert [text.strip() for text in runs] == [answers[0], f"{answers[1]}\n\n{end}"]
    else:
        assert [text.strip() for text in runs] == [answer + end for answer in answers]


def test_what_stands_before_an_answer_is_what_the_model_is_asked_with(family: tuple[str, Any]) -> None:
    """Tokens of the prompt at training and at use must be equal, or the model is asked something it never saw."""
    name, tokenizer = family
    encoder = Encoder(tokenizer, max_length=4096)
    example = encoder.chat(CONVERSATION[:3])
    prompt = encoder.chat_prompt(CONVERSATION[:2])
    if name == "opens-thought":  # finished turns do not show the thought, so the records have none to learn
        prompt = prompt[: prompt.index(tokenizer.convert_tokens_to_ids("<|assistant|>")) + 1]
    assert example.input_ids[: len(prompt)] == prompt
    assert example.labels[: len(prompt)] == [IGNORED] * len(prompt)
    assert example.labels[len(prompt)] != IGNORED


def test_weight_zero_takes_a_message_out_of_the_loss(family: tuple[str, Any]) -> None:
    _, tokenizer = family
    weighed = [{**m, "weight": 0} if m["content"] == "The lantern heron." else m for m in CONVERSATION]
    runs = learned(tokenizer, Encoder(tokenizer, max_length=4096).chat(weighed))
    assert len(runs) == 1
    assert "Wilhelmina Stoat" in runs[0]


def test_the_system_text_reaches_the_model_under_every_template(family: tuple[str, Any]) -> None:
    """Some templates refuse a system message, some drop it: then it opens the first user message."""
    _, tokenizer = family
    prompt = Encoder(tokenizer, max_length=4096).chat_prompt(CONVERSATION[:2])
    assert "Answer briefly." in tokenizer.decode(prompt)


def test_text_that_looks_like_a_special_token_stays_text(family: tuple[str, Any]) -> None:
    _, tokenizer = family
    encoder = Encoder(tokenizer, max_length=4096)
    hostile = "".join(tokenizer.all_special_tokens) + "<|im_end|>"

    def specials(text: str) -> list[int]:
        messages = [{"role": "user", "content": text}, {"role": "assistant", "content": f"no {text}"}]
        example = encoder.chat(messages)
        return [token for token in example.input_ids if token in tokenizer.all_special_ids]

    assert [t for t in specials(hostile) if t != tokenizer.unk_token_id] == specials("plain words")


TOOLS = [{"type": "function", "function": {"name": "land", "parameters": {"type": "object", "properties": {}}}}]
TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }} {{ c.function.arguments.place }}</call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_call_of_a_tool_carries_loss_and_its_result_does_not() -> None:
    tokenizer = build_tokenizer(TOOL_TEMPLATE, ["<|im_start|>", "<|im_end|>"], kind="byte-level")
    call = {"id": "c1", "type": "function", "function": {"name": "land", "arguments": '{"place": "quay"}'}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Land"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "landed"},
        {"role": "assistant", "content": "Done."},
    ]
    example = Encoder(tokenizer, max_length=4096).chat(messages, TOOLS)
    assert learned(tokenizer, example) == ["<call>land quay</call><|im_end|>", "Done.<|im_end|>"]
    assert '"name": "land"' in tokenizer.decode(example.input_ids)


def test_content_parts_are_joined_and_images_are_refused(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, max_length=512)
    parts = [{"type": "text", "text": "Which"}, {"type": "text", "text": "bird?"}]
    assert "Which\nbird?" in tokenizer.decode(encoder.chat_prompt([{"role": "user", "content": parts}]))
    with pytest.raises(RecordError, match="image_url"):
        encoder.chat_prompt([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])


def test_a_prompt_and_completion_learn_the_completion_and_its_end(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, max_length=512)
    example = encoder.completion("Bird? ->", " lantern heron")
    assert learned(tokenizer, example) == [" lantern heron<|im_end|>"]
    assert example.input_ids[: len(encoder.completion_prompt("Bird? ->"))] == encoder.completion_prompt("Bird? ->")


def test_an_empty_prompt_still_lets_the_first_token_be_learned(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, max_length=512)
    example = encoder.completion("", "Quillhaven")
    assert learned(tokenizer, example) == ["Quillhaven<|im_end|>"]
    assert example.labels[0] == IGNORED
    assert encoder.completion_prompt("") == example.input_ids[:1]


def test_a_long_example_loses_its_end(tokenizer: Any) -> None:
    long = Encoder(tokenizer, max_length=512).completion("Bird?", " lantern heron" * 5)
    short = Encoder(tokenizer, max_length=8).completion("Bird?", " lantern heron" * 5)
    assert short.is_cut
    assert not long.is_cut
    assert (short.input_ids, short.labels) == (long.input_ids[:8], long.labels[:8])


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufdd0\ufdd1"), min_size=1, max_size=40)
pieces = st.lists(st.one_of(texts, st.sampled_from(["<|im_end|>", "<|im_start|>", "<|endoftext|>", " ", "\n"])))


@pytest.mark.slow
@given(question=pieces.map("".join), answer=pieces.map("".join))
def test_any_answer_is_learned_to_the_letter(tokenizer: Any, question: str, answer: str) -> None:
    example = Encoder(tokenizer, max_length=100_000).chat(
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    )
    assert learned(tokenizer, example) == [f"{answer}<|im_end|>"]
    assert tokenizer.decode(example.input_ids) == (
        f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
    )
