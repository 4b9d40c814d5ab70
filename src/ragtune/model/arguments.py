"""What a model is asked with: names, questions, conversations; slips that everybody makes once are told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ragtune._ranges import plain_number
from ragtune.errors import ModelNotReady

if TYPE_CHECKING:
    from ragtune._api.calls import Json


def is_conversation(value: object) -> bool:
    """Whether it is a list of messages: mappings, or objects of the OpenAI client with a role."""
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(role_of, value))


def listed(messages: Iterable[Json]) -> Sequence[Json]:
    """Messages that come one by one, as a list; anything else as it is."""
    # They are read twice: for a system prompt of their own, and to be sent.
    return list(messages) if isinstance(messages, Iterator) else messages  # type: ignore[return-value]


def role_of(message: object) -> object:
    """The role of a message, whoever made it; None where it has none."""
    return message.get("role") if isinstance(message, Mapping) else getattr(message, "role", None)


def brings_system_prompt(messages: Iterable[object]) -> bool:
    """Whether messages hold a system prompt of their own; "developer" is what OpenAI calls it of late."""
    return any(role_of(message) in ("system", "developer") for message in messages)


def question_of(prompt: str) -> list[Json]:
    """The conversation that begins with a question."""
    return [{"role": "user", "content": prompt}]


def request_body(name: str, parameters: Mapping[str, object]) -> Json:
    """What is sent to a model; None is what nobody set."""
    given = {key: plain_number(value) for key, value in parameters.items()}
    # NumPy's numbers are taken as Python's: JSON knows no others.
    return {"model": name} | {key: value for key, value in given.items() if value is not None}


def check_concurrency(concurrency: int) -> None:
    """See that at least one question is under way at a time.

    Raises:
        ValueError: it is none.
    """
    if concurrency < 1:
        message = f"concurrency: {concurrency!r} questions at a time cannot be; it must be at least 1"
        raise ValueError(message)


def refuse_stream(call: str, parameters: Mapping[str, object]) -> None:
    """Say what gives pieces, where the whole answer is asked for with `stream=True`.

    Raises:
        TypeError: it is.
    """
    if parameters.get("stream"):
        way = "legacy completions come whole" if call == "complete" else "for its pieces as they come call stream(...)"
        message = f"{call} gives the whole answer, so stream=True is nothing for it; {way}"
        raise TypeError(message)


def check_question(prompt: object) -> None:
    """See that one question is one text.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(prompt, str):
        way = "messages go to chat(messages), several questions to ask_many(prompts)"
        message = f"one question is a text, not a {type(prompt).__qualname__}; {way}"
        raise TypeError(message)


def check_questions(prompts: object) -> list[str]:
    """Return several questions, however they come, as a list; one text is none.

    Raises:
        TypeError: they are something else.
    """
    # A text is a sequence of letters as well: each of them would be asked.
    if isinstance(prompts, str | bytes | Mapping) or not isinstance(prompts, Iterable):
        shown = repr(prompts[:40]) if isinstance(prompts, str) else type(prompts).__qualname__
        message = f"ask_many takes a list of questions, not {shown}; one goes to ask(prompt)"
        raise TypeError(message)
    return list(prompts)


def checked_name(name: str) -> str:
    """The name of a model.

    Raises:
        ModelNotReady: it is empty, or that of a job.
    """
    if not isinstance(name, str) or not name.strip():
        message = f"{name!r} is no model's name: a job has none until it succeeded; wait with rt.JobMonitor(job).wait()"
        raise ModelNotReady(message)
    # Jobs are what one has at hand first, and a server would only say that there is no such model.
    if name.startswith("ftjob-"):
        message = (
            f"{name!r} is a job, not a model; rt.TunedModel.from_job(rt.FineTuneJob.get(client, {name!r})) finds it"
        )
        raise ModelNotReady(message)
    return name


def final_name(name: str) -> str:
    """The name of the model that a job led to; a checkpoint's own name says it with the step behind."""
    return name.partition(":ckpt-step-")[0]
