"""Tools: how bases write calls is read from their templates, and a random model is made to call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import openai
import pytest

from ragtune.local import LocalBackend
from ragtune.local.engine.decoding.tool_calls import ARGUMENTS, ID, NAME, CallFormat, CallReader, find_call_format
from ragtune.modelling.base_model import load_tokenizer
from ragtune.modelling.bases import resolve_base
from tests.local.judge import Judge
from tests.local.kit import trainer

Ask = Callable[..., Any]

# Ours, in the manner of three families: marks around each call, none at all, and one mark (a special token) for a list.
_HEAD = (
    "{% for m in messages %}{% if loop.first and tools %}Tools: {{ tools | tojson }}\n{% endif %}"
    "<|im_start|>{{ m.role }}\n"
)
_TAIL = "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
_EACH = "{{ m.content }}{% for c in m.tool_calls or [] %}"
TEMPLATES = {
    "marked": _HEAD
    + _EACH
    + '{{ "\n" if not loop.first }}<call>{"name": "{{ c.function.name }}", '
    + '"arguments": {{ c.function.arguments | tojson }}}</call>{% endfor %}'
    + _TAIL,
    "bare": _HEAD
    + "{% if m.tool_calls and m.tool_calls | length > 1 %}{{ raise_exception('one call') }}{% endif %}"
    + _EACH
    + '{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}{% endfor %}'
    + _TAIL,
    "listed": _HEAD
    + "{{ m.content }}{% if m.tool_calls %}<|im_start|>[{% for c in m.tool_calls %}{{ ', ' if not loop.first }}"
    + '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}'
    + "{% endfor %}]{% endif %}"
    + _TAIL,
    "tagged": _HEAD
    + _EACH
    + "<function={{ c.function.name }}>{{ c.function.arguments.items() | list }}</function>{% endfor %}"
    + _TAIL,
}

SUPPLIES = {"type": "integer", "minimum": 0, "maximum": 99}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Looks.",
            "parameters": {
                "type": "object",
                "properties": {"colour": {"enum": ["red", "green"]}, "supplies": SUPPLIES},
                "required": ["colour", "supplies"],
                "additionalProperties": False,
            },
        },
    }
    for name in ("look_up", "count")
]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny base under each of the templates."""
    made = {}
    for name, template in TEMPLATES.items():
        folder = made[name] = tmp_path_factory.mktemp(name)
        for file in resolve_base("tiny-random").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        tokenizer = load_tokenizer(folder)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)
    return made


@pytest.fixture(scope="module")
def chat(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask one of the bases, with the tools above."""
    folder = tmp_path_factory.mktemp("backend")
    with (
        LocalBackend(folder, trainer=trainer(), threads=1, bases=bases) as backend,
        backend.client(max_retries=0) as client,
    ):
        turns = [{"role": "user", "content": "Hi"}]
        shared: dict[str, Any] = {"messages": turns, "tools": TOOLS, "max_tokens": 200, "temperature": 1, "seed": 2}
        yield lambda base, **options: client.chat.completions.create(**{"model": base, **shared, **options})


def check(call: Any) -> None:
    """A call has an id, a known name, and arguments that fit the tool."""
    assert call.id.startswith("call_")
    tool = next(tool["function"] for tool in TOOLS if tool["function"]["name"] == call.function.name)
    jsonschema.validate(json.loads(call.function.arguments), tool["parameters"])


@pytest.mark.slow
@pytest.mark.parametrize("base", ["marked", "bare", "listed"])
def test_a_model_that_must_call_does(chat: Ask, base: str) -> None:
    """A random model under `required`: whole calls, no text, and the reason says so."""
    choice = chat(base, tool_choice="required", parallel_tool_calls=False).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    check(call)


@pytest.mark.parametrize("parameters", [{}, {"parameters": {}}, {"parameters": {"type": "object", "properties": {}}}])
def test_a_tool_without_parameters_is_called_with_none(chat: Ask, parameters: dict[str, Any]) -> None:
    ping = {"type": "function", "function": {"name": "ping", **parameters}}
    choice = chat("marked", tools=[ping], tool_choice="required", parallel_tool_calls=False).choices[0]
    assert [call.function.arguments for call in choice.message.tool_calls] == ["{}"]


@pytest.mark.slow
@pytest.mark.parametrize("base", ["marked", "listed"])
def test_one_answer_may_call_several_times(chat: Ask, base: str) -> None:
    """Over some seeds at least one answer calls twice; ids differ."""
    answers = [
        choice.message.tool_calls
        for choice in chat(base, tool_choice="required", n=12, max_tokens=400).choices
        if choice.finish_reason == "tool_calls"
    ]
    assert max(map(len, answers)) > 1
    for calls in answers:
        assert len({call.id for call in calls}) == len(calls)
        for call in calls:
            check(call)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["marked", "bare", "listed"])
def test_a_tool_can_be_named(chat: Ask, base: str) -> None:
    """Each seed calls that one, once; as at OpenAI such an answer ends with `stop`."""
    by_name = {"type": "function", "function": {"name": "count"}}
    some = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [by_name]}}
    for choice in chat(base, tool_choice=by_name, n=4).choices:
        assert [call.function.name for call in choice.message.tool_calls] == ["count"]
        assert choice.finish_reason == "stop"
    allowed = chat(base, tool_choice=some, parallel_tool_calls=False).choices[0]
    assert (allowed.message.tool_calls[0].function.name, allowed.finish_reason) == ("count", "tool_calls")


def test_a_stream_tells_the_same_calls_in_pieces(chat: Ask) -> None:
    """Name and id first, then the arguments, all under the index of the call."""
    options: dict[str, Any] = {"tool_choice": "required", "max_tokens": 400, "seed": 5}
    whole = chat("marked", **options).choices[0].message.tool_calls
    calls: dict[int, dict[str, Any]] = {}
    reasons = []
    for chunk in chat("marked", **options, stream=True):
        choice = chunk.choices[0]
        reasons.append(choice.finish_reason)
        for part in choice.delta.tool_calls or []:
            if part.id:
                calls[part.index] = {"name": part.function.name, "arguments": part.function.arguments}
            else:
                calls[part.index]["arguments"] += part.function.arguments
        assert not choice.delta.content
    assert reasons[-1] == "tool_calls"
    assert [calls[index] for index in sorted(calls)] == [
        {"name": call.function.name, "arguments": call.function.arguments} for call in whole
    ]


@pytest.mark.slow
def test_a_call_that_runs_into_the_limit_comes_with_what_there_is_of_it(chat: Ask) -> None:
    note = {"type": "object", "properties": {"text": {"type": "string", "minLength": 400}}, "required": ["text"]}
    options: dict[str, Any] = {
        "tools": [{"type": "function", "function": {"name": "note", "parameters": note}}],
        "tool_choice": "required",
        "max_tokens": 60,
    }
    choice = chat("marked", **options).choices[0]
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content, call.function.name) == ("length", "", "note")
    assert call.function.arguments.startswith('{"text": "')
    parts = [chunk.choices[0] for chunk in chat("marked", **options, stream=True)]
    told = [part for choice in parts for part in choice.delta.tool_calls or []]
    assert "".join(part.function.arguments for part in told) == call.function.arguments
    assert not any(choice.delta.content for choice in parts)


@pytest.mark.parametrize("base", ["marked", "bare", "listed"])
def test_an_answer_calls_or_keeps_to_its_form(chat: Ask, base: str) -> None:
    """As agents with tools and a type of answer ask: over some seeds, each answer is one or the other."""
    form = {
        "type": "object",
        "properties": {"legs": {"enum": [2, 4]}},
        "required": ["legs"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "bird", "strict": True, "schema": form}}
    for choice in chat(base, response_format=wanted, parallel_tool_calls=False, n=8).choices:
        if choice.finish_reason == "tool_calls":
            check(choice.message.tool_calls[0])
        else:
            assert choice.finish_reason == "stop"
            assert json.loads(choice.message.content)["legs"] in (2, 4)


@pytest.mark.slow
def test_a_free_choice_and_no_choice_are_plain_answers_of_this_model(chat: Ask) -> None:
    """It never learned to call. `none` does not even show it the tools: the prompt is shorter."""
    free, none = chat("marked"), chat("marked", tool_choice="none")
    assert free.choices[0].message.tool_calls is None
    assert none.usage.prompt_tokens < free.usage.prompt_tokens


@pytest.mark.slow
def test_calls_and_their_results_stand_in_the_conversation(chat: Ask) -> None:
    """A second turn with the call and the tool's answer is longer by what they say."""
    made = chat("marked", tool_choice="required", parallel_tool_calls=False)
    call = made.choices[0].message.tool_calls[0]
    turns = [
        {"role": "user", "content": "Hi"},
        made.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "42"},
    ]
    assert chat("marked", messages=turns).usage.prompt_tokens > made.usage.prompt_tokens + 20


@pytest.mark.parametrize("base", ["tiny-random", "tagged"])
def test_a_base_that_cannot_call_is_named(chat: Ask, base: str, bases: dict[str, Path]) -> None:
    """Its template knows no tools, or writes calls in a way that is not read."""
    with pytest.raises(openai.BadRequestError) as caught:
        chat(base)
    assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")
    assert bases.get(base, resolve_base("tiny-random")).name in caught.value.message


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "fly"}}}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": "no blanks"}}]}, "tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}
                ]
            },
            "tools",
        ),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.[0].tool_call_id"),
        ({"functions": [{"name": "f"}]}, "functions"),
    ],
)
def test_wrong_tools_are_refused_by_name(chat: Ask, change: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat("marked", **change)
    assert (caught.value.param or "").startswith(param)


MARKED = CallFormat(
    begin="<call>", between="</call>\n<call>", end="</call>", fields=(("name", NAME), ("arguments", ARGUMENTS))
)
BARE = CallFormat(begin="", between=None, end="", fields=(("name", NAME), ("parameters", ARGUMENTS)))
LISTED = CallFormat(
    begin="<|im_start|>[", between=", ", end="]", fields=(("name", NAME), ("arguments", ARGUMENTS), ("id", ID))
)
ONE = '{"name": "f", "arguments": {"a": "}"}}'


@pytest.mark.parametrize(
    ("form", "text", "shown", "names"),
    [
        (MARKED, f"Let me look.\n<call>{ONE}</call>", "Let me look.", ["f"]),
        (MARKED, f"<call>{ONE}</call>\n<call>{ONE}</call>", "", ["f", "f"]),
        (MARKED, f"<call>{ONE}</call> Done.", "Done.", ["f"]),
        (MARKED, "a < b <call me> </call>", "a < b <call me> </call>", []),
        (MARKED, "<call>not JSON</call>", "<call>not JSON</call>", []),
        (MARKED, '<call>{"name": 3}</call>', '<call>{"name": 3}</call>', []),
        (MARKED, '<call>{"name": "f", "argu', '<call>{"name": "f", "argu', []),
        (BARE, ' {"name": "f", "parameters": {}}', "", ["f"]),
        (BARE, '{"answer": 42}', '{"answer": 42}', []),
        (BARE, 'It is {"name": "f", "parameters": {}}', 'It is {"name": "f", "parameters": {}}', []),
        (BARE, "", "", []),
        (LISTED, '<|im_start|>[{"name": "f", "arguments": {}, "id": "abcdefghi"}]', "", ["f"]),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_calls_are_told_from_text_however_the_text_comes(
    form: CallFormat, text: str, shown: str, names: list[str], size: int
) -> None:
    """Letter by letter and at once: the same text and the same calls."""
    reader, told = CallReader(form), ""
    called: list[Any] = []
    for start in range(0, len(text), size):
        piece, calls = reader.push(text[start : start + size])
        told, called = told + piece, called + [call.name for call in calls]
    assert (told + reader.close()[0], called) == (shown, names)


@pytest.mark.parametrize(
    ("form", "text", "arguments"),
    [
        (MARKED, '<call>{"name": "f", "arguments": {"a": "b', '{"a": "b'),
        (MARKED, '<call>{"name": "f", "arguments": {"a": 1}', '{"a": 1}'),
        (MARKED, '<call>{"name": "f", "argu', ""),
        (MARKED, '<call>{"name": "f', None),
        (MARKED, "<call>", None),
        (BARE, '{"name": "f", "parameters": {"a', '{"a'),
        (LISTED, '<|im_start|>[{"name": "f", "arguments": {', "{"),
    ],
)
def test_a_call_that_is_cut_off_is_told_as_far_as_it_came(form: CallFormat, text: str, arguments: str | None) -> None:
    """Never its marks as text; what has no name yet is nothing."""
    reader = CallReader(form)
    assert reader.push(text) == ("", [])
    shown, call = reader.close(cut=True)
    assert (shown, call and call.name, call and call.arguments) == (
        "",
        (arguments is not None and "f") or None,
        arguments,
    )


def test_an_object_that_is_cut_off_and_no_call_stays_text() -> None:
    reader = CallReader(BARE)
    reader.push('{"name": "Ada", "age": 3')
    assert reader.close(cut=True) == ('{"name": "Ada", "age": 3', None)


@pytest.mark.parametrize(
    ("name", "begin", "keys"),
    [
        ("qwen2_5", "<tool_call>\n", ["name", "arguments"]),
        ("qwen3", "<think>\n\n</think>\n\n<tool_call>\n", ["name", "arguments"]),
        ("llama3_1", "", ["name", "parameters"]),
        ("llama3_2", "", ["name", "parameters"]),
        ("llama3", None, []),
        ("gemma3", None, []),
        ("glm4moe", None, []),
        ("qwen3_6", None, []),
    ],
)
def test_the_templates_of_families_are_read(name: str, begin: str | None, keys: list[str]) -> None:
    """As TRL carries them; those that write no JSON, or know no tools, give nothing."""
    file = Path(str(files("trl"))) / "chat_templates" / f"{name}.jinja"
    if not file.exists():
        pytest.skip(f"needs TRL's copy of {name}.jinja")
    tokenizer = load_tokenizer(resolve_base("tiny-random"))
    tokenizer.chat_template = file.read_text(encoding="utf-8")
    found = find_call_format(tokenizer)
    assert (None if found is None else found.begin) == begin
    assert ([] if found is None else [key for key, _ in found.fields]) == keys


@pytest.mark.slow
def test_calls_are_valid_by_openais_schema(shared: Path, bases: dict[str, Path], tmp_path: Path) -> None:
    """Whole and streamed, free and required."""
    judge = Judge(shared / "wire" / "openapi-finetune.server.json")

    def look(response: httpx2.Response) -> None:
        sent = response.request
        judge(sent.method, sent.url.path, response.status_code, response.headers["content-type"], response.read())

    http = httpx2.Client(event_hooks={"response": [look]})
    backend = LocalBackend(tmp_path, trainer=trainer(), threads=1, bases=bases)
    with backend, backend.client(http_client=http, max_retries=0) as client:
        turns: Any = [{"role": "user", "content": "Hi"}]
        asked: Any = {"model": "marked", "messages": turns, "tools": TOOLS, "max_tokens": 200}
        for choice in ("required", "auto"):
            client.chat.completions.create(**asked, tool_choice=choice)
            list(client.chat.completions.create(**asked, tool_choice=choice, stream=True))
    assert judge.seen == {"POST /v1/chat/completions 200"}
