"""Langfuse: traces, observations and scores, from its blob storage export, its API or its tables.

Shapes by the export field reference (langfuse-docs at 05bdc0e, read on 2026-11-26): observations carry `trace_id`,
`type`, `input` and `output`, scores `trace_id`, `observation_id`, `data_type`, `value` and `string_value`. The API and
the tables write the same names in camel case; corrections are scores of the type CORRECTION there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ragtune.feedback.imports.entries import Answered, Entry, PassedOver, Scored, Shape
from ragtune.feedback.imports.texts import NO_QUESTION, answer_in, asked_in

__all__ = ["LANGFUSE"]


def _get(row: Mapping[str, object], name: str) -> object:
    """A field in snake case or in camel case; an empty text is none."""
    first, *rest = name.split("_")
    found = row.get(name, row.get(first + "".join(part.title() for part in rest)))
    return None if found == "" else found


def _is_score(row: Mapping[str, object]) -> bool:
    return "name" in row and _get(row, "data_type") is not None and ("value" in row or "stringValue" in row)


def _fits(row: Mapping[str, object]) -> bool:
    place = ("trace_id", "traceId", "timestamp")
    return _is_score(row) or ({"id", "input", "output"} <= row.keys() and any(name in row for name in place))


def _read(row: Mapping[str, object], thumbs: Sequence[str]) -> Iterator[Entry]:
    if _is_score(row):
        yield _score(row, thumbs)
        return
    trace, kind = _get(row, "trace_id"), _get(row, "type")
    if trace is not None and kind not in (None, "GENERATION"):
        yield PassedOver(reason=f"an observation of type {kind}, which is no answer of a model")
        return
    answer = answer_in(row.get("output"))
    asked = asked_in(row.get("input"), answer)
    if isinstance(asked, str) or not (answer and answer.strip()):
        yield PassedOver(reason=f"a trace or generation with {asked if isinstance(asked, str) else NO_QUESTION}")
        return
    # The blank ends the name: a key that begins with run/1 may otherwise be one of run/10.
    origin = f"langfuse:{row['id']}/ " if trace is None else f"langfuse:{trace}/{row['id']} "
    model = _get(row, "provided_model_name") or _get(row, "model")
    yield Answered(
        row={
            **asked,
            "answer": answer,
            "model": model,
            "asked_by": _get(row, "user_id"),
        },
        origin=origin,
    )
    scores = row.get("scores")
    for score in scores if isinstance(scores, list) else []:
        if isinstance(score, Mapping) and _is_score(score):
            # Scores that stand inside their trace do not always repeat whose they are.
            yield _score({"trace_id": trace or row["id"], **score}, thumbs)


def _score(row: Mapping[str, object], thumbs: Sequence[str]) -> Entry:
    # What one model says of another must not reach the next dataset as the word of people.
    if row.get("source") == "EVAL":
        return PassedOver(reason="a score that a program gave")
    trace, observation = _get(row, "trace_id"), _get(row, "observation_id")
    if trace is None:
        return PassedOver(reason="a score of no trace")
    said = _said(row, thumbs)
    if said is None:
        return PassedOver(reason="a score without a value")
    by = _get(row, "author_user_id")
    # A score of a whole trace means the trace's own answer, else the one generation in it that was kept.
    origins = [f"langfuse:{trace}/{observation} "] if observation else [f"langfuse:{trace}/ ", f"langfuse:{trace}/"]
    return Scored(origins=origins, said={"comment": _get(row, "comment"), "by": by, **said})


def _said(row: Mapping[str, object], thumbs: Sequence[str]) -> dict[str, object] | None:
    value, words, name = row.get("value"), _get(row, "string_value"), row.get("name")
    number = _number(value)
    match _get(row, "data_type"):
        case "CORRECTION":
            return {"correction": words or value} if isinstance(words or value, str) else None
        case "BOOLEAN" if number is not None:
            return {"verdict": 1 if number else -1}
        case "NUMERIC" if number is not None:
            return (
                {"verdict": 1 if number == 1 else -1} if name in thumbs and number in (1, 0, -1) else {"rating": number}
            )
        case "CATEGORICAL" if isinstance(words or value, str):
            return {"label": str(words or value)}
        case "TEXT" if isinstance(words, str):
            return {"comment": words}
    return None


def _number(value: object) -> float | None:
    try:
        return None if value is None else float(value if isinstance(value, bool) else str(value))
    except ValueError:
        # Tables write truth values as words.
        return {"True": 1.0, "False": 0.0}.get(str(value))


LANGFUSE = Shape(
    name="langfuse",
    expects="id, input, output and trace_id or timestamp (traces, observations), or name, value and data_type (scores)",
    fits=_fits,
    read=_read,
)
