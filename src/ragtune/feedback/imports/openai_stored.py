"""OpenAI's stored chat completions, each with its messages beside it.

Shape by the examples of `GET /chat/completions` and `GET /chat/completions/{id}/messages` in OpenAI's specification
(openai-openapi at f85dbe2, read on 2026-11-26). The list tells no messages, so they must be put beside each completion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ragtune.errors import FeedbackError
from ragtune.feedback.checking import VERDICT
from ragtune.feedback.imports.entries import Answered, Entry, PassedOver, Shape
from ragtune.feedback.imports.texts import NO_QUESTION, answer_in, asked_in

__all__ = ["OPENAI"]


def _fits(row: Mapping[str, object]) -> bool:
    return row.get("object") == "chat.completion" or ("choices" in row and "model" in row)


def _read(row: Mapping[str, object], thumbs: Sequence[str]) -> Iterator[Entry]:
    messages = row.get("messages")
    if not isinstance(messages, list):
        raise FeedbackError(
            "a stored completion without its messages does not tell what was asked; write each as {**completion, "
            "'messages': [...]} with what client.chat.completions.messages.list(completion.id) gives"
        )
    answer = answer_in({"choices": row.get("choices")})
    asked = asked_in(messages, answer)
    if isinstance(asked, str) or not (answer and answer.strip()):
        yield PassedOver(reason=f"a completion with {asked if isinstance(asked, str) else NO_QUESTION}")
        return
    told = row.get("metadata")
    noted = told if isinstance(told, Mapping) else {}
    said = {name: noted[name] for name in (*VERDICT, "by", "asked_by") if noted.get(name)}
    # Metadata are texts.
    for name in ("verdict", "rating"):
        if name in said:
            try:
                said[name] = float(str(said[name]))
            except ValueError:
                raise FeedbackError(f"metadata.{name}: {said[name]!r:.60} is no number; a thumb is 1 or -1") from None
    yield Answered(
        row={**asked, "answer": answer, "model": row.get("model"), **said},
        origin=f"openai:{row.get('id')} ",
    )


OPENAI = Shape(
    name="openai",
    expects="object 'chat.completion', choices and, put beside them, messages",
    fits=_fits,
    read=_read,
)
