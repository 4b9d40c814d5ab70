"""LangSmith: runs and feedback, as its client and its tables give them.

Shapes by docs.langchain.com/langsmith/feedback-data-format and the run schema of langsmith 0.6 (read on 2026-11-26):
a run has `run_type`, `inputs` and `outputs`; feedback has `run_id`, `key`, `score`, `value`, `comment`, `correction`
and `feedback_source`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ragtune.feedback.imports.entries import Answered, Entry, PassedOver, Scored, Shape
from ragtune.feedback.imports.texts import NO_QUESTION, answer_in, asked_in, read_json

__all__ = ["LANGSMITH"]


def _is_feedback(row: Mapping[str, object]) -> bool:
    return {"run_id", "key"} <= row.keys()


def _fits(row: Mapping[str, object]) -> bool:
    return _is_feedback(row) or {"id", "run_type", "inputs"} <= row.keys()


def _read(row: Mapping[str, object], thumbs: Sequence[str]) -> Iterator[Entry]:
    if _is_feedback(row):
        yield _feedback(row, thumbs)
        return
    kind = row.get("run_type")
    # The first run of a chain holds the user's own question, a run of a model what was asked; those between hold
    # neither.
    if kind != "llm" and row.get("parent_run_id"):
        yield PassedOver(reason=f"a run of type {kind} inside another one")
        return
    answer = answer_in(row.get("outputs"))
    asked = asked_in(row.get("inputs"), answer)
    if isinstance(asked, str) or not (answer and answer.strip()):
        yield PassedOver(reason=f"a run with {asked if isinstance(asked, str) else NO_QUESTION}")
        return
    yield Answered(row={**asked, "answer": answer, "model": _model(row)}, origin=f"langsmith:{row['id']} ")
    given = row.get("feedback")
    for one in given if isinstance(given, list) else []:
        if isinstance(one, Mapping) and "key" in one:
            yield _feedback({"run_id": row["id"], **one}, thumbs)


def _model(row: Mapping[str, object]) -> str | None:
    extra = read_json(row.get("extra"))
    told = extra.get("metadata") if isinstance(extra, Mapping) else None
    name = told.get("ls_model_name") if isinstance(told, Mapping) else None
    return name if isinstance(name, str) else None


def _feedback(row: Mapping[str, object], thumbs: Sequence[str]) -> Entry:
    source = read_json(row.get("feedback_source"))
    source = source if isinstance(source, Mapping) else {}
    # What one model says of another must not reach the next dataset as the word of people.
    if source.get("type") in ("model", "auto_eval"):
        return PassedOver(reason="feedback that a program gave")
    said = _said(row, thumbs)
    if not said:
        return PassedOver(reason="feedback without a score, a value, a comment or a correction")
    by = source.get("user_name") or source.get("user_id")
    return Scored(origins=[f"langsmith:{row['run_id']} "], said={**said, "by": by if isinstance(by, str) else None})


def _said(row: Mapping[str, object], thumbs: Sequence[str]) -> dict[str, object]:
    said: dict[str, object] = {}
    score, value, comment = row.get("score"), row.get("value"), row.get("comment")
    number = _number(score)
    if number is not None:
        is_thumb = row.get("key") in thumbs and number in (1, 0, -1)
        # A truth value is a thumb, whatever its name; a number may be a mark on any scale.
        said |= {"verdict": 1 if number == 1 else -1} if is_thumb or isinstance(score, bool) else {"rating": number}
    if isinstance(value, str) and value.strip():
        said["label"] = value
    if isinstance(comment, str) and comment.strip():
        said["comment"] = comment
    right = answer_in(row.get("correction"))
    if right and right.strip():
        said["correction"] = right
    return said


def _number(score: object) -> float | None:
    try:
        # Tables have an empty text where there is no score.
        return None if score in (None, "") else float(str(int(score) if isinstance(score, bool) else score))
    except ValueError:
        return None


LANGSMITH = Shape(
    name="langsmith",
    expects="id, run_type, inputs and outputs (runs), or run_id, key and score (feedback)",
    fits=_fits,
    read=_read,
)
