"""The store: answers and verdicts in one SQLite file that several processes may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeVar, overload

from ragtune.errors import FeedbackError
from ragtune.feedback.checking import (
    answer_values,
    checked_number,
    checked_passages,
    checked_text,
    checked_verdict,
    row_values,
)
from ragtune.feedback.compiling import compile_rows
from ragtune.feedback.exports import write_rows
from ragtune.feedback.file import write_answer, write_verdict
from ragtune.feedback.imports import Imported, write_file
from ragtune.feedback.imports.entries import THUMBS
from ragtune.feedback.keeping import keep_answer, keeping
from ragtune.feedback.lineage import Lineage
from ragtune.feedback.results import FeedbackCounts, Suggestion, suggestion
from ragtune.feedback.rows import FeedbackTable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from ragtune.feedback.checking import Said

__all__ = ["FeedbackStore"]

# The sum of no rows is NULL, hence `coalesce`.
_COUNTS = """
    SELECT (SELECT count(*) FROM feedback_answer) AS answers,
           (SELECT count(*) FROM feedback_answer a
            WHERE NOT EXISTS (SELECT 1 FROM feedback_verdict v WHERE v.answer = a.id)) AS unjudged,
           coalesce(sum(verdict = 1), 0) AS good, coalesce(sum(verdict = -1), 0) AS bad,
           count(correction) AS corrections
    FROM feedback_verdict
"""

F = TypeVar("F", bound="Callable[..., Any]")


class FeedbackStore(Lineage):
    """Answers, and what people said about them, in one SQLite file.

    An answer is kept once, by its id or by question, earlier turns, text and model. One person has one verdict about an
    answer: a later one takes its place, field by field. Several processes may use one file at the same time. It holds
    texts as they were said; only its owner can read it.

    Args:
        path: the file, made when something is first written.
        timeout_s: how long to wait for another process that writes, in seconds.

    Example:
        ```python
        import ragtune as rt

        store = rt.FeedbackStore("feedback.sqlite3")
        question = "How deep is Lake Sorrel?"
        store.add("12 metres", question=question, verdict=-1, correction="83 metres", by="anna")
        store.add("83 metres", question=question, verdict=1, by="ben")
        print(len(store), [row.verdict for row in store.rows()])
        #> 2 [-1, 1]
        ```
    """

    def log(
        self,
        answer: Said | str,
        *,
        question: str | None = None,
        model: str | None = None,
        system: str | None = None,
        history: Iterable[Mapping[str, object]] | None = None,
        passages: Iterable[object] = (),
        asked_by: str | None = None,
    ) -> int:
        """Keep an answer that may be judged later, and return its number; one that is there already keeps it.

        Args:
            answer: an `Answer`, which knows its question, or a text.
            question: what was asked; needed beside a text.
            model: which model answered; of an `Answer` its own.
            system: the system prompt; of an `Answer` its own.
            history: the turns before the question, each with `role` and `content`; of an `Answer` its own.
            passages: what the model was given to read: texts, or objects with a `text` as retrievers give them.
            asked_by: who asked.

        Raises:
            FeedbackError: no question or no text, a talk before it that is not all text, or the file cannot be written.
        """
        about = {"question": question, "model": model, "system": system, "asked_by": asked_by}
        values = answer_values(answer, history=history, **about)
        with self._opened() as database, database.transaction() as connection:
            return write_answer(connection, values, checked_passages(passages))

    def keep(self, answer: Said | str, *, asked_by: str | None = None) -> None:
        """Keep an answer as `log` does, but warn where `log` raises: `model.ask(..., log=store)` calls it.

        Args:
            answer: an `Answer`; one without text is passed over.
            asked_by: who asked.
        """
        keep_answer(self.log, self.path, answer, asked_by=asked_by)

    @overload
    def logged(self, function: F, /) -> F: ...
    @overload
    def logged(
        self,
        /,
        *,
        question: str | None = None,
        model: str | None = None,
        system: str | None = None,
        asked_by: str | None = None,
    ) -> Callable[[F], F]: ...
    def logged(
        self,
        function: Any = None,
        /,
        *,
        question: str | None = None,
        model: str | None = None,
        system: str | None = None,
        asked_by: str | None = None,
    ) -> Any:
        """Keep what a function of yours answers: `@store.logged`, or `@store.logged(model="...")`.

        The function, plain or `async`, returns a text, an `Answer`, or one of these and the passages it was made of:
        `return answer, passages`. Its caller gets what it returned, even where it cannot be kept, which is a warning.

        Args:
            function: the function, where the decorator stands without arguments.
            question: the parameter that holds the question; default: the first one.
            model: which model answers; of an `Answer` its own.
            system: its system prompt; of an `Answer` its own.
            asked_by: the parameter that says who asks, None for none.

        Raises:
            FeedbackError: the function has no such parameter.

        Example:
            ```python
            import ragtune as rt

            store = rt.FeedbackStore("feedback.sqlite3")

            @store.logged(model="my-rag")
            def answer(question: str) -> tuple[str, list[str]]:
                passages = ["Divers measured 83 metres."]
                return "83 metres", passages

            answer("How deep is Lake Sorrel?")
            print([(row.answer, row.passages) for row in store.unjudged()])
            #> [('83 metres', ('Divers measured 83 metres.',))]
            ```
        """

        def decorate(chosen: F) -> F:
            about = {"question": question, "model": model, "system": system, "asked_by": asked_by}
            return keeping(chosen, self.log, self.path, **about)

        return decorate if function is None else decorate(function)

    def add(
        self,
        answer: Said | str | int,
        verdict: SupportsIndex | None = None,
        *,
        question: str | None = None,
        correction: str | None = None,
        rating: SupportsFloat | None = None,
        label: str | None = None,
        comment: str | None = None,
        by: str | None = None,
        model: str | None = None,
        system: str | None = None,
        history: Iterable[Mapping[str, object]] | None = None,
        passages: Iterable[object] = (),
    ) -> int:
        """Keep what somebody says about an answer, and return the answer's number.

        Args:
            answer: an `Answer`, a text, or the number of an answer that is kept already.
            verdict: 1 for good, -1 for bad, None for neither.
            question: what was asked; needed beside a text.
            correction: the answer that would have been right.
            rating: a mark on a scale of your own.
            label: a word of your own.
            comment: whatever else was said.
            by: who judged.
            model: which model answered; of an `Answer` its own.
            system: the system prompt; of an `Answer` its own.
            history: the turns before the question, each with `role` and `content`; of an `Answer` its own.
            passages: what the model was given to read: texts, or objects with a `text` as retrievers give them.

        Raises:
            FeedbackError: nothing is said, a value of the wrong kind, no question, a talk before it that is not all
                text, no answer of that number, or the file cannot be written.
        """
        said = checked_verdict(
            {
                "verdict": verdict,
                "rating": rating,
                "label": label,
                "correction": correction,
                "comment": comment,
                "by": by,
            }
        )
        about = {"question": question, "model": model, "system": system, "asked_by": None}
        # A column of numbers gives NumPy's; True is no answer's number, though Python counts it as 1.
        known = index(answer) if isinstance(answer, SupportsIndex) and not isinstance(answer, bool) else None
        values = answer_values(answer, history=history, **about) if known is None else {}  # type: ignore[arg-type]
        read = checked_passages(passages)
        with self._opened() as database, database.transaction() as connection:
            number = write_answer(connection, values, read) if known is None else self._known(connection, known)
            write_verdict(connection, number, said)
        return number

    def add_many(self, rows: Iterable[Mapping[str, object]]) -> int:
        """Keep many verdicts, all of them or none, and return how many they were.

        Args:
            rows: each with `question` and `answer` and whichever of `verdict`, `correction`, `rating`, `label`,
                `comment`, `by`, `model`, `system`, `history`, `passages` and `asked_by` there are.

        Raises:
            FeedbackError: a row lacks its question or answer or has a value of the wrong kind; the message says which.
        """
        given: object = rows
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
            raise FeedbackError(f"rows={rows!r:.60} is no list of rows; give mappings with question and answer")
        count = 0
        with self._opened() as database, database.transaction() as connection:
            for number, row in enumerate(rows):
                try:
                    values, passages, said = row_values(row)
                except FeedbackError as error:
                    raise FeedbackError(f"row {number}: {error}") from None
                answer = write_answer(connection, values, passages)
                if said is not None:
                    write_verdict(connection, answer, said)
                count += 1
        return count

    def rows(
        self, *, by: str | None = None, model: str | None = None, verdict: SupportsIndex | None = None
    ) -> FeedbackTable:
        """Return the verdicts, oldest first.

        Args:
            by: those of one person alone.
            model: those about one model alone.
            verdict: 1 or -1: the good or the bad ones alone.

        Raises:
            FeedbackError: the file cannot be read.
        """
        texts = {"by": by, "model": model}
        for name, value in texts.items():
            if value is not None:
                checked_text(name, value)
        wanted = {
            "v.judged_by": by,
            "a.model": model,
            "v.verdict": None if verdict is None else checked_number("verdict", verdict),
        }
        chosen = {name: value for name, value in wanted.items() if value is not None}
        where = "WHERE " + " AND ".join(f"{name} = ?" for name in chosen) if chosen else ""
        return FeedbackTable(rows=tuple(self._each("", where, tuple(chosen.values()))))

    def unjudged(self, *, limit: int = 100, after: int = 0) -> FeedbackTable:
        """Return answers that nobody has judged, oldest first: the queue.

        Args:
            limit: how many at most.
            after: only answers with a higher number, to pass over those before.

        Raises:
            FeedbackError: the file cannot be read.
        """
        most, first = checked_number("limit", limit), checked_number("after", after)
        # Paged by number and not by OFFSET: answers leave the queue while somebody works through it.
        found = self._each("LEFT", "WHERE v.id IS NULL AND a.id > ?", (first,), limit=max(most, 0))
        return FeedbackTable(rows=tuple(found))

    def about(self, number: int) -> FeedbackTable:
        """Return all that was said about one answer; where nobody has judged it, the answer alone.

        Args:
            number: the answer's, as `log` and `add` return it.

        Raises:
            FeedbackError: there is no answer of this number, or the file cannot be read.
        """
        found = tuple(self._each("LEFT", "WHERE a.id = ?", (checked_number("number", number),)))
        if not found:
            raise FeedbackError(f"{self.path}: has no answer {number}; its list tells the numbers")
        return FeedbackTable(rows=found)

    def counts(self) -> FeedbackCounts:
        """Return how many answers there are, how many wait for a verdict, and what the verdicts say.

        Raises:
            FeedbackError: the file cannot be read.
        """
        with self._opened(read_only=True) as database:
            row = database.row(_COUNTS)
        return FeedbackCounts(**dict(row or ()))

    def remove(self, number: int) -> None:
        """Remove an answer and all that was said about it; what was built with it stays as it is.

        Args:
            number: the answer's, as `log` and `add` return it.

        Raises:
            FeedbackError: there is no answer of this number, or the file cannot be written.
        """
        with self._opened() as database, database.transaction() as connection:
            connection.execute(
                "DELETE FROM feedback_answer WHERE id = ?", (self._known(connection, checked_number("number", number)),)
            )

    def import_file(
        self, path: str | os.PathLike[str], *, shape: str | None = None, thumbs: Sequence[str] = THUMBS
    ) -> Imported:
        """Keep what a file of JSON lines, JSON or CSV says, all of it or nothing; it is read row by row.

        Whose file it is shows in its first row: our own columns, conversations (`messages`), Langfuse's traces,
        observations and scores, LangSmith's runs and feedback, or OpenAI's stored completions with their messages. A
        file of verdicts finds the answers of files that were imported before it. The same file twice changes nothing.

        Args:
            path: the file; gzip is unpacked.
            shape: `ragtune`, `messages`, `langfuse`, `langsmith` or `openai`, where the first row should not decide.
            thumbs: names of scores whose 1 is a thumb up, and whose 0 or -1 is one down; other numbers are ratings.

        Raises:
            FeedbackError: it cannot be read, is of no known shape, or a row is wrong; the message names the line.
        """
        with self._opened() as database, database.transaction() as connection:
            return write_file(connection, path, shape=shape, thumbs=thumbs)

    def export(self, path: str | os.PathLike[str], *, by: str | None = None, model: str | None = None) -> int:
        """Write the verdicts into a file, `.jsonl` or `.csv`, and return how many; `import_file` reads it again.

        In CSV a text that a spreadsheet would take for a formula has a quote before it.

        Args:
            path: the file; one that is there is replaced.
            by: those of one person alone.
            model: those about one model alone.

        Raises:
            FeedbackError: another ending, or a file that cannot be read or written.
        """
        return write_rows(Path(path), self.rows(by=by, model=model))

    def suggest(self) -> Suggestion:
        """Return which method the verdicts are enough for, and why.

        Raises:
            FeedbackError: the file cannot be read.
        """
        rows = self.rows()
        corrections = len({row.question for row in rows if row.correction is not None})
        # Answers and not verdicts: ten people about one answer give one row.
        good = len({row.id for row in rows if row.verdict == 1})
        bad = len({row.id for row in rows if row.verdict == -1})
        # Made and counted, so that it is what a build would get.
        pairs = len(compile_rows(rows, method="preference").rows)
        return suggestion(corrections=corrections, pairs=pairs, good=good, bad=bad)

    def __len__(self) -> int:
        with self._opened(read_only=True) as database:
            row = database.row("SELECT count(*) FROM feedback_verdict")
        return 0 if row is None else int(row[0])

    def __repr__(self) -> str:
        return f"FeedbackStore({str(self.path)!r})"
