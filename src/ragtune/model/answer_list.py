"""The answers to several questions: a list that shows itself in a notebook."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from ragtune._checked import checked
from ragtune._html import table
from ragtune.model.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AnswerList"]


@checked()
class AnswerList(list[Answer | Exception]):
    """What `ask_many` gives: an ordinary list, in the order of the questions; in a notebook a table.

    Attributes:
        questions: the questions.

    Example:
        ```python
        from ragtune.model import Answer, AnswerList, Choice

        answers = AnswerList([Answer(choices=(Choice(index=0, text="4."),))], questions=["2 + 2?"])
        print(answers[0].text, answers.questions)
        #> 4. ('2 + 2?',)
        ```
    """

    def __init__(self, answers: Iterable[Answer | Exception] = (), *, questions: Iterable[str] = ()) -> None:
        super().__init__(answers)
        self.questions = tuple(questions)

    def _repr_html_(self) -> str:
        rows = [(question, *_cells(answer)) for question, answer in zip_longest(self.questions, self, fillvalue="")]
        return table(rows, head=("question", "answer", "ended", "tokens"))


def _cells(answer: Answer | Exception | str) -> tuple[str, str, str]:
    if not isinstance(answer, Answer):
        return (f"{type(answer).__name__}: {answer}" if isinstance(answer, Exception) else "", "", "")
    tokens = "" if answer.usage is None else str(answer.usage.total_tokens or "")
    return answer.said, answer.hint or answer.finish_reason or "", tokens
