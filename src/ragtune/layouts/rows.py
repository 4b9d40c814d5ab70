"""Layouts that give plain rows: question answering over one or several contexts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ragtune.layouts.base import KeySet, Layout, MisfitError, Row, is_list, list_at, mapping_at, text_at

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTEXT_JOINT = "\n\n"
PlainRow = dict[str, object]


def _squad_file(row: Row) -> Iterator[PlainRow]:
    for index, item in enumerate(list_at(row["data"], "data")):
        path = f"data[{index}]"
        article = mapping_at(item, path)
        if "paragraphs" not in article:
            raise MisfitError(f"{path}.paragraphs", "is missing")
        yield from _squad_article(article, f"{path}.")


def _squad_article(row: Row, path: str = "") -> Iterator[PlainRow]:
    for index, item in enumerate(list_at(row["paragraphs"], f"{path}paragraphs")):
        place = f"{path}paragraphs[{index}]"
        paragraph = mapping_at(item, place)
        context = text_at(paragraph.get("context"), f"{place}.context")
        for number, entry in enumerate(list_at(paragraph.get("qas"), f"{place}.qas")):
            here = f"{place}.qas[{number}]"
            question = mapping_at(entry, here)
            yield _question_row({**question, "context": context, "title": row.get("title")}, f"{here}.")


def _squad_flat(row: Row) -> Iterator[PlainRow]:
    yield _question_row(row, "")


def _question_row(entry: Row, path: str) -> PlainRow:
    """One plain row; `answer` is the first answer, None for a question that its context does not answer."""
    # Several people answered each question of the held-out part, often with the same words.
    answers = list(dict.fromkeys(_answer_texts(entry.get("answers", []), f"{path}answers")))
    # All keys in every row, so that a template may name any of them.
    return {
        "question": text_at(entry.get("question"), f"{path}question"),
        "answer": answers[0] if answers else None,
        "answers": answers,
        "context": text_at(entry["context"], f"{path}context"),
        "title": entry.get("title"),
        "id": entry.get("id"),
    }


def _answer_texts(value: object, path: str) -> Iterator[str]:
    """Texts of SQuAD answers: a list of objects in the files, one object of lists in the tables made from them."""
    if is_list(value):
        for index, item in enumerate(list_at(value, path)):
            yield text_at(mapping_at(item, f"{path}[{index}]").get("text"), f"{path}[{index}].text")
        return
    for index, text in enumerate(list_at(mapping_at(value, path).get("text"), f"{path}.text")):
        yield text_at(text, f"{path}.text[{index}]")


def _joined(value: object, path: str) -> tuple[str, list[str]]:
    parts = [text_at(part, f"{path}[{index}]") for index, part in enumerate(list_at(value, path))]
    return CONTEXT_JOINT.join(parts), parts


def _pubmedqa(row: Row) -> Iterator[PlainRow]:
    context = mapping_at(row["context"], "context")
    joined, parts = _joined(context.get("contexts"), "context.contexts")
    yield {
        "question": text_at(row["question"], "question"),
        "answer": text_at(row["final_decision"], "final_decision"),
        "explanation": text_at(row["long_answer"], "long_answer"),
        "context": joined,
        "contexts": parts,
        "id": row.get("pubid"),
    }


def _pubmedqa_file(row: Row) -> Iterator[PlainRow]:
    joined, parts = _joined(row["CONTEXTS"], "CONTEXTS")
    yield {
        "question": text_at(row["QUESTION"], "QUESTION"),
        "answer": text_at(row["final_decision"], "final_decision"),
        "explanation": text_at(row["LONG_ANSWER"], "LONG_ANSWER"),
        "context": joined,
        "contexts": parts,
        "id": row.get("pubid"),
    }


def _contexts_row(names: tuple[str, str, str], row: Row) -> Iterator[PlainRow]:
    question, contexts, answer = names
    joined, parts = _joined(row[contexts], contexts)
    yield {
        "question": text_at(row[question], question),
        "answer": text_at(row[answer], answer),
        "context": joined,
        "contexts": parts,
        "id": row.get("id"),
    }


def _contexts(question: str, contexts: str, answer: str, *, generated: str = "") -> KeySet:
    """A spelling; `generated` is the key of a pipeline's own answer, which is nothing to learn from."""
    return KeySet(
        required=frozenset({question, contexts, answer}),
        optional=frozenset({"id"}),
        ignored=frozenset({generated} - {""}),
        convert=partial(_contexts_row, (question, contexts, answer)),
    )


SQUAD = Layout(
    name="squad",
    about="SQuAD 1.1 and 2.0: a whole file, one article of it, or the flat rows of the tables made from it.",
    kind="rows",
    keys=(
        KeySet(
            required=frozenset({"context", "question", "answers"}),
            optional=frozenset({"id", "title"}),
            # SQuAD 2.0 has answers there that look right and are not, for questions that have none.
            ignored=frozenset({"is_impossible", "plausible_answers"}),
            convert=_squad_flat,
        ),
        KeySet(required=frozenset({"paragraphs"}), optional=frozenset({"title"}), convert=_squad_article),
        KeySet(required=frozenset({"data"}), ignored=frozenset({"version"}), convert=_squad_file),
    ),
)

PUBMEDQA = Layout(
    name="pubmedqa",
    about="PubMedQA's labelled questions: a list of contexts, a long answer and a decision.",
    kind="rows",
    keys=(
        KeySet(
            required=frozenset({"question", "context", "long_answer", "final_decision"}),
            optional=frozenset({"pubid"}),
            convert=_pubmedqa,
        ),
        KeySet(
            # The authors' own file writes its keys in capitals, the table on the Hub does not.
            required=frozenset({"QUESTION", "CONTEXTS", "LONG_ANSWER", "final_decision"}),
            optional=frozenset({"pubid"}),
            ignored=frozenset(
                {"LABELS", "MESHES", "YEAR", "reasoning_required_pred", "reasoning_free_pred"},
            ),
            convert=_pubmedqa_file,
        ),
    ),
)

CONTEXTS = Layout(
    name="contexts",
    about="A question, a list of contexts and an answer, as retrieval pipelines and their evaluation tools keep them.",
    kind="rows",
    keys=(
        _contexts("question", "contexts", "answer"),
        # Ragas' names before its version 0.2, and those since.
        _contexts("question", "contexts", "ground_truth", generated="answer"),
        _contexts("user_input", "retrieved_contexts", "reference", generated="response"),
    ),
)
