"""What a model answered, and whatever the server said about it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ragtune._api.fields import object_of, objects, text, thoughts, whole, words
from ragtune._api.times import moment
from ragtune._checked import checked
from ragtune._html import Markup, markup
from ragtune.errors import EmptyAnswer
from ragtune.model.response import as_completion, has_ended, was_given_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ragtune._api.calls import Json

__all__ = ["Answer", "Choice", "Usage"]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens that an answer took; None where the server does not say.

    Example:
        ```python
        from ragtune.model import Usage

        print(Usage(prompt_tokens=12, completion_tokens=3, total_tokens=15))
        #> 12 + 3 = 15 tokens
        ```
    """

    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None

    def __str__(self) -> str:
        prompt, completion, total = (
            "?" if count is None else count for count in (self.prompt_tokens, self.completion_tokens, self.total_tokens)
        )
        return f"{prompt} + {completion} = {total} tokens"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of the answers to one question.

    Attributes:
        index: its number, from 0.
        text: the text, None for a refusal or a tool call.
        finish_reason: `stop`, `length`, `tool_calls`, `content_filter`, or None.
        logprobs: log probabilities as the server sent them, or None.
        refusal: the words of a refusal, or None.
        tool_calls: the tools that the model wants called.
        thinking: what the model thought before it spoke, where the server tells it; no part of the text.

    Example:
        ```python
        from ragtune.model import Choice

        print(Choice(index=0, text="Pressure.", finish_reason="stop").text)
        #> Pressure.
        ```
    """

    index: int
    text: str | None
    finish_reason: str | None = None
    logprobs: Any = None
    refusal: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    thinking: str | None = None


@checked()
@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model answered.

    Attributes:
        choices: the answers; more than one when `n` asked for more.
        usage: tokens that it took, or None where the server does not say.
        id: the server's name for the answer.
        model: the model that answered.
        created: when (UTC).
        object: what the server calls this kind of answer.
        raw: the server's whole JSON; of a stream, what its chunks add up to.
        broken_off: whether the stream ended before the server said that the answer ends, or the server gave it up.
        sent: the messages that were asked with, the system prompt among them; () where nobody kept them.

    Example:
        ```python
        import ragtune as rt

        answer = rt.Answer.from_wire({
            "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "ft:x",
            "choices": [{"index": 0, "text": "Winds turn because the Earth does", "finish_reason": "length"}],
        })
        print(answer.text, "|", answer.hint)
        #> Winds turn because the Earth does | cut off at max_tokens; raise it for the rest
        ```
    """

    choices: tuple[Choice, ...]
    usage: Usage | None = None
    id: str | None = None
    model: str | None = None
    created: datetime | None = None
    object: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    broken_off: bool = False
    sent: tuple[Mapping[str, Any], ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def from_wire(cls, body: Json, *, streamed: bool = False) -> Answer:
        """Read a chat completion or a legacy completion.

        Args:
            body: the server's answer.
            streamed: whether it came in chunks, which `body` adds up; only such an answer can break off.
        """
        usage = object_of(body.get("usage"))
        counts = ("prompt_tokens", "completion_tokens", "total_tokens")
        choices = tuple(_choice(choice, index) for index, choice in enumerate(objects(body.get("choices"))))
        return cls(
            choices=choices,
            usage=Usage(**{count: whole(usage.get(count)) for count in counts}) if usage else None,
            id=text(body.get("id")),
            model=text(body.get("model")),
            created=moment(body.get("created")),
            object=text(body.get("object")),
            raw=body,
            # A whole answer ends with a reason, whichever server gives it.
            broken_off=streamed and (not choices or choices[0].finish_reason is None),
        )

    @classmethod
    def from_response(cls, body: Json, *, streamed: bool = False) -> Answer:
        """Read an answer of the Responses API; its output items become one choice.

        Args:
            body: the server's answer.
            streamed: whether it came as events, which `body` adds up; one that just ends has broken off as well.
        """
        # By its status: the choice that is made of it may have a reason although events are missing.
        broken_off = not has_ended(body) if streamed else was_given_up(body)
        return replace(cls.from_wire(as_completion(body)), raw=body, broken_off=broken_off)

    @property
    def question(self) -> str | None:
        """The last thing that the user said before this answer; None where it is not known or no text."""
        return self._said_by(("user",), last=True)

    @property
    def system(self) -> str | None:
        """The system prompt that went with the question; None for none."""
        return self._said_by(("system", "developer"), last=False)

    def _said_by(self, roles: tuple[str, ...], *, last: bool) -> str | None:
        texts = [message.get("content") for message in self.sent if message.get("role") in roles]
        found = texts[-1 if last else 0] if texts else None
        return found if isinstance(found, str) else None

    @property
    def text(self) -> str:
        """The first choice's text.

        Raises:
            EmptyAnswer: there is none; the message says whether the model refused, wants a tool, or sent no choice.
        """
        if not self.choices:
            message = f"the server sent no choice at all ({_complaint(self.raw) or self.id}); look at answer.raw"
            raise EmptyAnswer(message)
        first = self.choices[0]
        if first.text is not None:
            return first.text
        if first.refusal:
            message = f"the model refused: {first.refusal!r}; there is no text, look at answer.choices[0].refusal"
        elif first.tool_calls:
            names = ", ".join(str(object_of(call.get("function")).get("name")) for call in first.tool_calls)
            message = (
                f"the model wants to call {names} instead of saying something; look at answer.choices[0].tool_calls"
            )
        elif first.thinking:
            message = (
                f"the model thought ({len(first.thinking):,} characters) and said nothing (finish_reason "
                f"{first.finish_reason!r}); raise max_tokens, or look at answer.choices[0].thinking"
            )
        else:
            message = f"the answer has no text (finish_reason {first.finish_reason!r}); look at answer.raw"
        raise EmptyAnswer(message)

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended: `stop`, `length`, `tool_calls`, `content_filter`; None when it is not said."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def logprobs(self) -> Any:
        """Log probabilities of the first choice as the server sent them, or None."""
        return self.choices[0].logprobs if self.choices else None

    @property
    def hint(self) -> str | None:
        """A word to the reader about how the answer ended, or None when it simply ended."""
        if self.broken_off:
            return "the answer broke off before its end; ask again"
        # Not every server has OpenAI's word for it.
        if self.finish_reason in ("length", "model_length", "max_tokens"):
            limit = "max_output_tokens" if self.object == "response" else "max_tokens"
            return f"cut off at {limit}; raise it for the rest"
        if self.finish_reason == "content_filter":
            return "the server's content filter ended this answer"
        return None

    def wrapped(self, width: int = 80) -> str:
        """Return the text in lines of at most `width` characters, with the hint in brackets below it.

        Raises:
            EmptyAnswer: there is no text.
        """
        paragraphs = [*self.text.splitlines(), *([f"[{self.hint}]"] if self.hint else [])]
        return "\n".join(textwrap.fill(paragraph, width, replace_whitespace=False) for paragraph in paragraphs)

    def __str__(self) -> str:
        return self.text

    @property
    def said(self) -> str:
        """The text, or a word about what there is in its place; never raises."""
        try:
            return self.text
        except EmptyAnswer as empty:
            return f"[{empty}]"

    def _repr_html_(self) -> str:
        told = [self.model, self.hint or self.finish_reason, None if self.usage is None else str(self.usage)]
        text = Markup(f"<div style='white-space:pre-wrap'>{markup(self.said)}</div>")
        return Markup(f"{text}<small>{markup(' · '.join(filter(None, told)))}</small>")


def assembled(chunks: Iterable[Json]) -> Json:
    """Return the answer that the chunks of a chat stream add up to, in the shape of an unstreamed one."""
    body: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        # The last chunk has the token counts and no choices; those before it say null for them.
        body |= {key: value for key, value in chunk.items() if key != "choices" and value is not None}
        for part in objects(chunk.get("choices")):
            index = whole(part.get("index")) or 0
            choice = choices.setdefault(index, {"index": index, "message": {"role": "assistant"}, "logprobs": None})
            _add_delta(choice["message"], object_of(part.get("delta")))
            _add_logprobs(choice, object_of(part.get("logprobs")))
            # Null in every chunk but the one that ends the choice.
            choice["finish_reason"] = text(part.get("finish_reason")) or choice.get("finish_reason")
    for choice in choices.values():
        # The wire has them as a list; until here they were told apart by number.
        if calls := choice["message"].get("tool_calls"):
            choice["message"]["tool_calls"] = [calls[index] for index in sorted(calls)]
    return body | {"object": "chat.completion", "choices": [choices[index] for index in sorted(choices)]}


def _complaint(body: Json | Mapping[str, Any]) -> str | None:
    """What servers say that answer with status 200 and an error: in OpenAI's envelope or in their own."""
    error = body.get("error")
    said = (words(object_of(error).get("message")), words(error), words(body.get("message")), words(body.get("detail")))
    return next(filter(None, said), None)


def _add_delta(message: Json, delta: Json) -> None:
    # A key that never came stays away, so that an answer without text differs from one whose text is empty.
    for key in ("content", "refusal"):
        if (said := words(delta.get(key))) is not None:
            message[key] = message.get(key, "") + said
    if (thought := thoughts(delta)) is not None:
        message["reasoning_content"] = message.get("reasoning_content", "") + thought
    for part in objects(delta.get("tool_calls")):
        # By number until all are there: servers number from 0 or from 1, and mix the pieces of several.
        calls = message.setdefault("tool_calls", {})
        call = calls.setdefault(whole(part.get("index")) or 0, {"function": {"name": "", "arguments": ""}})
        function = object_of(part.get("function"))
        # Only the first piece of a call has them; what later ones hold in their place is empty.
        call |= {key: part[key] for key in ("id", "type") if part.get(key)}
        for key in ("name", "arguments"):
            call["function"][key] += text(function.get(key)) or ""


def _add_logprobs(choice: Json, logprobs: Json) -> None:
    if logprobs:
        kept = choice["logprobs"] or {"content": []}
        choice["logprobs"] = kept | {"content": kept["content"] + objects(logprobs.get("content"))}


def _choice(body: Json, position: int) -> Choice:
    message, index, reason = object_of(body.get("message")), whole(body.get("index")), text(body.get("finish_reason"))
    return Choice(
        index=position if index is None else index,
        # Legacy completions have their text in the choice itself.
        text=words(body["text"] if "text" in body else message.get("content")),
        # Servers that copied the wire may write it in capitals.
        finish_reason=None if reason is None else reason.lower(),
        logprobs=body.get("logprobs"),
        refusal=words(message.get("refusal")),
        tool_calls=tuple(objects(message.get("tool_calls"))),
        thinking=thoughts(message),
    )
