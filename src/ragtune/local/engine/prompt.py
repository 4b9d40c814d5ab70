"""From a request to what a row needs to begin: its prompt, its room, its form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ragtune.local.engine.batch_row import Start, told_token
from ragtune.local.engine.decoding.detokenizer import TextStream
from ragtune.local.engine.decoding.grammar import Constraint, json_grammar
from ragtune.local.engine.request import ContextOverflowError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ragtune.local.engine.base_text import BaseText
    from ragtune.local.engine.decoding.tool_calls import CallFormat
    from ragtune.local.engine.generation import TokenLogprob
    from ragtune.local.engine.model_cache import LoadedBase
    from ragtune.local.engine.request import GenerateRequest

__all__ = ["Prompt", "prompt_of", "start_of"]

# In float32 they take 50 MB where the vocabulary has 49,152 tokens.
_SCORED_AT_ONCE = 256  # tokens of a prompt whose log-probabilities are computed together


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What a base reads before it writes.

    Attributes:
        tokens: token ids to start from.
        room: most tokens of the answer.
        calls: how this base writes calls of tools, None when it was shown none.
    """

    tokens: list[int]
    room: int
    calls: CallFormat | None


def prompt_of(asked: GenerateRequest, base: BaseText) -> Prompt:
    """Write the prompt, as the base was trained to read it, and see that it fits.

    Raises:
        RequestError: this model cannot do what was asked.
        RecordError: the chat template cannot render the messages.
    """
    calls = _call_format(asked, base)
    _refuse_what_never_fits(asked, base)
    tokens = _tokens(asked, base)
    left = base.context_tokens - len(tokens)
    # Who has a prompt scored and wants no token more needs no room for one.
    if left < (0 if asked.max_tokens == 0 else 1):
        raise ContextOverflowError(len(tokens), base.context_tokens)
    _check_tokens(asked.logit_bias, base, param="logit_bias")
    room = left if asked.max_tokens is None else min(left, asked.max_tokens)
    return Prompt(tokens=tokens, room=room, calls=calls if asked.shown_tools else None)


def start_of(asked: GenerateRequest, base: LoadedBase) -> Start:
    """Prepare one answer.

    Raises:
        RequestError: this model cannot do what was asked.
        RecordError: the chat template cannot render the messages.
    """
    prompt = prompt_of(asked, base)
    return Start(
        prompt=prompt.tokens,
        room=prompt.room,
        end_tokens=base.end_tokens,
        constraint=_constraint(asked, base, prompt.calls),
        calls=prompt.calls,
        echo=_echo(asked, base, prompt.tokens) if asked.echo else None,
    )


def _refuse_what_never_fits(asked: GenerateRequest, base: BaseText) -> None:
    """Look at the beginning of a long text first: to tokenise megabytes takes minutes, in which all others wait.

    Only what begins with twice as many tokens as fit is refused, since where a text is cut changes its tokens.
    """
    text = "".join(_texts([asked.messages, asked.shown_tools, asked.prompt if isinstance(asked.prompt, str) else None]))
    # English has about four letters a token: this much has twice as many tokens as fit.
    length = 8 * base.context_tokens
    while length < len(text):
        tokens = len(base.tokenizer(text[:length], add_special_tokens=False, verbose=False)["input_ids"])
        if tokens > 2 * base.context_tokens:
            raise ContextOverflowError(tokens, base.context_tokens, at_least=True)
        length *= 2


def _texts(value: object) -> Iterator[str]:
    """Every text in a value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _tokens(asked: GenerateRequest, base: BaseText) -> list[int]:
    if asked.messages is not None:
        return base.encoder.chat_prompt(asked.messages, asked.shown_tools)
    if asked.prompt and not isinstance(asked.prompt, str):
        _check_tokens(asked.prompt, base, param="prompt")
        return list(asked.prompt)
    return base.encoder.completion_prompt(str(asked.prompt or ""))


def _check_tokens(tokens: Iterable[int], base: BaseText, *, param: str) -> None:
    outside = next((token for token in tokens if not 0 <= token < base.vocabulary), None)
    if outside is not None:
        message = f"Invalid token in '{param}': {outside}; this model's tokens are 0 to {base.vocabulary - 1}"
        raise RequestError(message, param=param)


def _call_format(asked: GenerateRequest, base: BaseText) -> CallFormat | None:
    """How this base writes calls, when the request has to do with any."""
    past_calls = any(message.get("tool_calls") for message in asked.messages or ())
    if not asked.shown_tools and not past_calls:
        return None
    found = base.call_format
    if found is None:
        message = (
            f"The base model {base.folder.name} does not serve tools: its chat template knows none, or writes calls in "
            "a way that is not read here; leave them out, or take a base whose template does"
        )
        raise RequestError(message, param="tools" if asked.shown_tools else None, code="unsupported_parameter")
    return found


def _constraint(asked: GenerateRequest, base: LoadedBase, calls: CallFormat | None) -> Constraint | None:
    told, must_call = asked.json_schema, asked.tool_choice == "required"
    form = None
    if told is not None and not (must_call and asked.shown_tools):
        form = Constraint(base.token_table, json_grammar(told), param="response_format")
    if calls is None or not asked.shown_tools or not (must_call or form is not None):
        return form
    named = asked.allowed_tools
    tools = [tool for tool in asked.shown_tools if named is None or tool["function"]["name"] in named]
    several, answer = asked.parallel_tool_calls, None if must_call else told
    grammar = calls.grammar(tools, several=several, special=base.special_tokens, answer=answer)
    return Constraint(base.token_table, grammar, param="tools")


def _echo(asked: GenerateRequest, base: LoadedBase, prompt: list[int]) -> tuple[str, tuple[TokenLogprob, ...]]:
    text, first = base.tokenizer.decode(prompt), 0
    if isinstance(asked.prompt, str):
        text = asked.prompt
        # The begin token, which the model wants and nobody wrote.
        first = int(not text or prompt[0] == base.tokenizer.bos_token_id)
    if not asked.logprobs:
        return str(text), ()
    stream = TextStream(lambda ids: str(base.tokenizer.decode(ids)))
    places = [(stream.read, stream.push(token))[0] for token in prompt[first:]]
    told = _scores(asked, base, prompt)[first:]
    return str(text), tuple(replace(token, offset=place) for token, place in zip(told, places, strict=True))


def _scores(asked: GenerateRequest, base: LoadedBase, prompt: list[int]) -> list[TokenLogprob]:
    """Log-probabilities of a prompt's tokens; nothing stands before the first."""
    import torch

    told = [told_token(base.tokenizer, prompt[0])]
    state: dict[str, object] = {}
    for at in range(0, len(prompt) - 1, _SCORED_AT_ONCE):
        part = prompt[at : at + _SCORED_AT_ONCE]
        output = base.forward(
            [asked.adapter_path],
            input_ids=base.to_device(torch.tensor([part])),
            position_ids=base.to_device(torch.arange(at, at + len(part))[None]),
            use_cache=True,
            **state,
        )
        if base.state_name is not None:
            state = {base.state_name: getattr(output, base.state_name)}
        scores_TV = output.logits[0].float().cpu().log_softmax(-1)
        following = prompt[at + 1 : at + 1 + len(part)]
        told += [
            told_token(base.tokenizer, token, scores_TV[place], top=asked.top_logprobs)
            for place, token in enumerate(following)
        ]
    return told
