"""Ollama's Modelfile, whose template is of another language: it is read off what the base's own template writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from ragtune.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.modelling.encoding.chat_template import ChatTemplate, Turns

__all__ = ["TurnTexts", "modelfile"]

# What Ollama does not know of: it would take its own figures, and older ones punish repetitions.
_SAMPLING = {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "repeat_penalty": 1}
# A longer prompt is cut without a word, and the room for a whole context is taken at once.
_MOST_CONTEXT = 8192
# Between a system text and the first user message, where the template has no place for it.
_JOINT = "\n\n"
_WORDS = {"system": "Systemprobe", "user": "Userprobe", "assistant": "Answerprobe"}
# The first and the last turn are where templates differ, and an answer that stands between two questions.
_CONVERSATIONS = ("user", "system user", "user assistant user", "system user assistant user assistant user")


@dataclass(frozen=True, kw_only=True)
class TurnTexts:
    r"""What a chat template writes around the messages of a conversation, where that depends on their roles alone.

    Attributes:
        begin: what stands first where no system message does.
        turns: before and after a message, by its role; without `system` where its text opens the first user message.
        open_turn: what the model goes on from.

    Example:
        ```python
        from ragtune.local.models.ollama import TurnTexts
        from ragtune.modelling.base_model import load_tokenizer
        from ragtune.modelling.bases import resolve_base
        from ragtune.modelling.encoding.chat_template import ChatTemplate

        found = TurnTexts.of(ChatTemplate(load_tokenizer(resolve_base("tiny-random"))))
        print(found.turns["user"])
        #> ('<|im_start|>user\n', '<|im_end|>\n')
        ```
    """

    begin: str
    turns: Mapping[str, tuple[str, str]]
    open_turn: str

    @classmethod
    def of(cls, template: ChatTemplate) -> TurnTexts:
        """Read it off a few conversations.

        Raises:
            BackendError: the template writes something that depends on more than each message's role.
            RecordError: it refuses a conversation that begins with a system message.
        """
        begin, _ = _around(template, "user", open_turn=True)
        *_, after_user, after_answer, last = _around(template, "user assistant user", open_turn=True)
        # Some close the conversation as a whole, too: only what stands there in its middle belongs to a turn.
        user_end = _shared_beginning(_around(template, "user")[-1], after_user)
        answer_end = _shared_beginning(_around(template, "user assistant")[-1], after_answer)
        before_user = after_answer.removeprefix(answer_end)
        turns = {"user": (before_user, user_end), "assistant": (after_user.removeprefix(user_end), answer_end)}
        asked = _turns("system user")
        if template.render(asked, None, open_turn=True) != template.render(_joined(asked), None, open_turn=True):
            before_system, after_system, _ = _around(template, "system user", open_turn=True)
            turns["system"] = (before_system, after_system.removesuffix(before_user))
        found = cls(begin=begin.removesuffix(before_user), turns=turns, open_turn=last.removeprefix(user_end))
        for roles in _CONVERSATIONS:
            if found.render(_turns(roles)) != template.render(_turns(roles), None, open_turn=True):
                raise BackendError(
                    "what its chat template writes around a message depends on more than the message's role"
                )
        return found

    def render(self, messages: Turns) -> str:
        """A conversation up to where the model is to speak."""
        shown = messages if "system" in self.turns else _joined(messages)
        text = "" if shown[0]["role"] == "system" else self.begin
        for message in shown:
            before, after = self.turns[message["role"]]
            text += before + message["content"] + after
        return text + self.open_turn

    def in_go(self, *, without: str = "") -> str:
        """The same as a template of Go's text/template.

        Args:
            without: the token that the engine puts before every prompt by itself.
        """
        begin, written = _literal(self.begin.removeprefix(without)), []
        for role, (before, after) in self.turns.items():
            head = _literal(before.removeprefix(without) if role == "system" else before)
            if role == "user" and "system" not in self.turns:
                # Ollama puts its own system prompt in front, as a message.
                head += f"{{{{ if and $.System (eq $i 1) }}}}{{{{ $.System }}}}{_literal(_JOINT)}{{{{ end }}}}"
            written.append(f'if eq .Role "{role}" }}}}{head}{{{{ .Content }}}}{_literal(after)}')
        if "system" in self.turns:
            begin = f"{{{{ if not .System }}}}{begin}{{{{ end }}}}" if begin else ""
        cases = "{{ else ".join(written)
        loop = f"{{{{ range $i, $message := .Messages }}}}{{{{ {cases}{{{{ end }}}}{{{{ end }}}}"
        return f"{begin}{loop}{_literal(self.open_turn)}"


def modelfile(template: ChatTemplate, *, model: str, context_tokens: int, begin_token: str, system: str | None) -> str:
    """The file from which `ollama create` makes a model that is asked as it was trained.

    Args:
        template: how it was asked in training.
        model: the GGUF file, relative to this one.
        context_tokens: what the model can look at.
        begin_token: the token that the GGUF file says to put before every prompt; empty for none.
        system: the system prompt of its training rows.

    Raises:
        BackendError: Ollama's language cannot say the template or the system prompt.
        RecordError: the template takes no system message.
    """
    turns = TurnTexts.of(template)
    lines = [f"FROM ./{model}", f'TEMPLATE """{turns.in_go(without=begin_token)}"""']
    if system is not None:
        # Between quotation marks, since one at an end of the text would close it with those around it.
        if '"""' in f'"{system}"' or any(not (letter.isprintable() or letter in "\n\t") for letter in system):
            raise BackendError('its system prompt has quotation marks at its ends, """ or letters that do not print')
        lines.append(f'SYSTEM """{system}"""')
    end = turns.turns["assistant"][1].strip()
    if end:
        lines.append(f'PARAMETER stop "{end}"')
    lines += [f"PARAMETER {name} {value}" for name, value in _SAMPLING.items()]
    return "\n".join([*lines, f"PARAMETER num_ctx {min(context_tokens, _MOST_CONTEXT)}"]) + "\n"


def _turns(roles: str) -> Turns:
    return [{"role": role, "content": f"{_WORDS[role]} {place}."} for place, role in enumerate(roles.split())]


def _around(template: ChatTemplate, roles: str, *, open_turn: bool = False) -> list[str]:
    """What stands before, between and behind the messages of a conversation."""
    turns = _turns(roles)
    text = template.render(turns, None, open_turn=open_turn)
    found = []
    for turn in turns:
        before, _, text = text.partition(turn["content"])
        found.append(before)
    return [*found, text]


def _joined(messages: Turns) -> Turns:
    """The same with a system text in the first user message."""
    if [message["role"] for message in messages[:2]] != ["system", "user"]:
        return messages
    system, user = messages[0]["content"], messages[1]
    return [{**user, "content": f"{system}{_JOINT}{user['content']}"}, *messages[2:]]


def _shared_beginning(left: str, right: str) -> str:
    """What two texts begin with, up to a token that is whole in both."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))
    return re.sub(r"<[^<>]*$", "", "".join(one for one, _ in pairs))


def _literal(text: str) -> str:
    """A text as an action of Go's templates; in ASCII, since Modelfiles lose what does not print."""
    if not text:
        return ""
    letters = {'"': r"\"", "\\": r"\\", "\n": r"\n"}
    written = "".join(
        letters.get(letter) or (letter if " " <= letter <= "~" else f"\\U{ord(letter):08x}") for letter in text
    )
    return f'{{{{ "{written}" }}}}'
