"""Chat templates, rendered in one way for training and for asking; loads no torch.

Templates differ in what they take: some open a thought that finished answers do not show, some tell the date, some
write calls of tools only when their arguments are a text. What a template needs is found by trying it, so there is no
list of model families.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from ragtune.errors import RecordError
from ragtune.modelling.encoding.thoughts import THOUGHT_OPEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.modelling.encoding.tokenizer import Tokenizer
    from ragtune.records.base import JsonMapping, JsonObject

__all__ = ["PLAIN_TEMPLATE", "PROBE_ID", "PROBE_NAME", "ChatTemplate", "Turns", "probe_answer"]

# For bases without a chat template. The answer begins after the colon, so that its first word keeps its space.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""The chat template for bases that have none."""

# For programs that render the template alone: here `Encoder` does it.
_SYSTEM_TO_USER = (
    "{%- if messages[0]['role'] == 'system' and messages | length > 1 and messages[1]['role'] == 'user' -%}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\n\n' + messages[1]['content']}]"
    " + messages[2:] -%}{%- endif -%}"
)

Turns = list["JsonObject"]

# Llama's templates tell this day where there is no clock; with today's a run could not be repeated tomorrow.
_DAY = "26 Jul 2024"
_NO_THOUGHT = {"enable_thinking": False}
# llama.cpp's server sets each of them, to think and to keep all thoughts.
_THOUGHT_SWITCHES = (
    "enable_thinking",
    "preserve_thinking",
    "clear_thinking",
    "truncate_history_thinking",
    "drop_thinking",
)
# Qwen, DeepSeek and most servers; newer servers; gpt-oss.
_THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking")
PROBE_NAME = "ragtune_probe"
"""The tool that is called to see how a template writes calls."""
PROBE_ID = "ragtune01"  # nine letters and digits: some templates take no other length
"""The id of such a call."""


def probe_answer(arguments: Mapping[str, str] | str, *, calls: int = 1) -> JsonObject:
    """An answer that calls the probe, once or several times, with arguments as an object or as JSON text."""
    function = {"name": PROBE_NAME, "arguments": arguments}
    call = {"id": PROBE_ID, "type": "function", "function": function}
    return {"role": "assistant", "content": "", "tool_calls": [call] * calls}


class ChatTemplate:
    """The chat template of a tokenizer, or a plain one where it has none.

    Args:
        tokenizer: a Hugging Face tokenizer.

    Example:
        ```python
        from ragtune.modelling.bases import resolve_base
        from ragtune.modelling.base_model import load_tokenizer
        from ragtune.modelling.encoding.chat_template import ChatTemplate

        template = ChatTemplate(load_tokenizer(resolve_base("tiny-random")))
        print(template.render([{"role": "user", "content": "Hi"}], None, open_turn=True).splitlines())
        #> ['<|im_start|>user', 'Hi<|im_end|>', '<|im_start|>assistant']
        print(template.writes_calls)
        #> False
        ```
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def render(self, messages: Turns, tools: Turns | None, *, open_turn: bool = False) -> str:
        """The text of a conversation; `open_turn` ends it where the model is to speak.

        Raises:
            RecordError: the template refuses these messages.
        """
        return self._render(messages, tools, open_turn=open_turn, settings=self.settings)

    @cached_property
    def settings(self) -> Mapping[str, bool]:
        """Variables under which what a model is asked with is what its finished answers begin with.

        Empty where the template does so by itself, or under no setting that is known.
        """
        asked = [{"role": "user", "content": "Probe."}]
        finished = [*asked, {"role": "assistant", "content": "Found."}]
        # Without any first: templates are told only what they need.
        for settings in ({}, _NO_THOUGHT):
            try:
                prompt = self._render(asked, None, open_turn=True, settings=settings)
                if self._render(finished, None, open_turn=False, settings=settings).startswith(prompt):
                    return settings
            except RecordError:
                continue
        return {}

    @property
    def writes_calls(self) -> bool:
        """Whether the template writes calls of tools; others leave them out without a word."""
        return self._arguments_as_text is not None

    @cached_property
    def thought_key(self) -> str | None:
        """The key of a message from which this template writes a thought behind the prompt; None without one."""
        asked = [{"role": "user", "content": "Probe."}]
        for key in _THOUGHT_KEYS:
            answer = {"role": "assistant", "content": "Found.", key: PROBE_NAME}
            try:
                text = self.render([*asked, answer], None)
                # A thought that does not follow what the model is asked with here would never be asked for.
                if PROBE_NAME in text and text.startswith(self.render(asked, None, open_turn=True)):
                    return key
            except RecordError:
                continue
        return None

    @cached_property
    def opens_thought(self) -> bool:
        """Whether the prompt ends inside a thought, for the model to go on with."""
        try:
            prompt = self.render([{"role": "user", "content": "Probe."}], None, open_turn=True)
        except RecordError:
            return False
        return prompt.rstrip().endswith(THOUGHT_OPEN)

    @property
    def thinks(self) -> bool:
        """Whether thoughts can stand before an answer, as this template is asked here."""
        return self.thought_key is not None or self.opens_thought

    def with_calls(self, message: JsonObject) -> JsonObject:
        """A message whose calls are as this template wants them."""
        if not message.get("tool_calls") or not self._arguments_as_text:
            return message
        functions = [call["function"] for call in message["tool_calls"]]
        texts = [f if isinstance(f.get("arguments"), str) else {**f, "arguments": _as_text(f)} for f in functions]
        calls = [{**call, "function": text} for call, text in zip(message["tool_calls"], texts, strict=True)]
        return {**message, "tool_calls": calls}

    @property
    def source(self) -> str:
        """The template as text, for other programs: it asks as here."""
        own = self._tokenizer.chat_template or PLAIN_TEMPLATE
        variables = {**self._spelled_out, **({"date_string": _DAY} if "date_string" in own else {})}
        fixed = "".join(f"{{%- set {name} = {json.dumps(value)} %}}" for name, value in variables.items())
        return f"{fixed}{'' if self._takes_system else _SYSTEM_TO_USER}{own}"

    @cached_property
    def _spelled_out(self) -> dict[str, bool]:
        """The settings, with what the template itself takes for switches that are left open."""
        found = dict(self.settings)
        asked = {"role": "user", "content": "Probe."}
        answer = {"role": "assistant", "content": "Found.", (self.thought_key or _THOUGHT_KEYS[0]): PROBE_NAME}
        turns: Turns = [asked, answer, asked]
        for name in _THOUGHT_SWITCHES:
            if name not in (self._tokenizer.chat_template or "") or name in found:
                continue
            with suppress(RecordError):  # a template that refuses the probe
                open_left = self._render(turns, None, open_turn=True, settings=found)
                for value in (True, False):
                    if self._render(turns, None, open_turn=True, settings={**found, name: value}) == open_left:
                        found[name] = value
        return found

    @cached_property
    def _takes_system(self) -> bool:
        """Whether a system message reaches the model; some templates refuse it and some leave it out without a word."""
        asked = [{"role": "system", "content": PROBE_NAME}, {"role": "user", "content": "Probe."}]
        try:
            return PROBE_NAME in self.render(asked, None)
        except RecordError:
            return False

    @cached_property
    def _arguments_as_text(self) -> bool | None:
        """Whether the arguments of calls must be JSON text, not an object; None when calls are not written at all."""
        for arguments in ({"word": "probe"}, '{"word": "probe"}'):
            try:
                if PROBE_NAME in self.render([{"role": "user", "content": "Probe."}, probe_answer(arguments)], None):
                    return isinstance(arguments, str)
            except RecordError:
                continue
        return None

    def _render(
        self,
        messages: Turns,
        tools: Turns | None,
        *,
        open_turn: bool,
        settings: Mapping[str, bool],
    ) -> str:
        import jinja2

        template = None if self._tokenizer.chat_template else PLAIN_TEMPLATE
        try:
            rendered = self._tokenizer.apply_chat_template(
                messages,
                tools=tools,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=open_turn,
                date_string=_DAY,
                **settings,
            )
        # What templates raise on purpose, and what they stumble over in messages that they do not expect.
        except (jinja2.TemplateError, TypeError, ValueError, LookupError) as error:
            message = (
                f"the chat template of this base cannot render these messages: {error}; change their roles or order"
            )
            raise RecordError(message) from error
        return str(rendered)


def _as_text(function: JsonMapping) -> str:
    return json.dumps(function.get("arguments"), ensure_ascii=False)
