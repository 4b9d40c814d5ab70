"""The ways in: what a builder can read its rows from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, Self

from ragtune import _arguments as arguments
from ragtune.dataset.render.functions import LaidOut
from ragtune.dataset.sources import document_rows, feedback_rows, hub, readers, recipe_rows
from ragtune.errors import DatasetError
from ragtune.facts import FactSet
from ragtune.facts.columns import FactColumns
from ragtune.layouts import LAYOUTS, get_layout
from ragtune.recipes import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import datasets
    import pandas as pd

    from ragtune.dataset.render.functions import MakeRecord
    from ragtune.dataset.sources.feedback_rows import Finished
    from ragtune.dataset.sources.files.paths import Paths
    from ragtune.dataset.sources.readers import Rows, Source
    from ragtune.dataset.sources.recipe_rows import NumberedRow
    from ragtune.facts.columns import Names, Repeats, WordingColumn
    from ragtune.feedback import FeedbackStore
    from ragtune.feedback.compiling import Method


class Constructors(ABC):
    """The `from_...` constructors of `DatasetBuilder`, and the layouts that rows come in."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @abstractmethod
    def _on(self, source: Source) -> Self: ...

    @abstractmethod
    def _filled(self, template: LaidOut | MakeRecord) -> Self: ...

    @abstractmethod
    def _remade(
        self, recipe: Recipe, facts: Callable[[Iterator[NumberedRow]], FactSet], held_out: FactSet | None
    ) -> Self: ...

    @classmethod
    def from_hub(
        cls,
        repository: str,
        *,
        split: str = "train",
        name: str | None = None,
        revision: str | None = None,
        streaming: bool = False,
        token: str | None = None,
    ) -> Self:
        """Rows from the Hugging Face hub, through `datasets.load_dataset`.

        Args:
            repository: for example `allenai/sciq`.
            split: which of its splits, slices allowed: `train[:100]`.
            name: its configuration, where it has several.
            revision: branch, tag or commit; None is the newest.
            streaming: read row by row over the network instead of downloading first.
            token: for private repositories.

        Raises:
            DatasetError: it cannot be loaded; the message names the local ways.
        """
        source = hub.hub_source(repository, split=split, name=name, revision=revision, streaming=streaming, token=token)
        return cls(source)

    @classmethod
    def from_dataset(cls, dataset: datasets.Dataset | datasets.IterableDataset) -> Self:
        """Rows from a `datasets.Dataset` or `IterableDataset`.

        Raises:
            DatasetError: it is something else, for example a `DatasetDict` without a chosen split.
        """
        return cls(hub.hf_source(dataset))

    @classmethod
    def from_json(cls, path: Paths) -> Self:
        """Rows from a JSON file: a list of objects, an object with one such list, or an object of rows by their ids.

        It is read piece by piece. A file that holds one conversation is one row.

        Args:
            path: a file, a list of files, or a pattern; plain or packed (gzip, bzip2, xz).

        Raises:
            DatasetError: a file does not exist or is a folder.
        """
        return cls(readers.file_source(path, "json", readers.read_json))

    @classmethod
    def from_jsonl(cls, path: Paths) -> Self:
        """Rows from a file with one JSON object per line.

        Args:
            path: a file, a list of files, or a pattern such as `part-*.jsonl`, whose files are read in the order of
                their names; plain or packed (gzip, bzip2, xz).

        Raises:
            DatasetError: a file does not exist or is a folder.
        """
        return cls(readers.file_source(path, "jsonl", readers.read_jsonl))

    @classmethod
    def from_csv(
        cls, path: Paths, *, delimiter: str = ",", encoding: str = "utf-8", skipinitialspace: bool = False
    ) -> Self:
        """Rows from a CSV file with a header line; every value is text.

        Excel's `sep=;` above the header is understood, and its empty rows at the end are passed over.

        Args:
            path: a file, a list of files, or a pattern; plain or packed (gzip, bzip2, xz).
            delimiter: the one sign between fields, for example `";"` or a tab.
            encoding: how the text is written, for example `"cp1252"`, or `"utf-16"` for what Excel calls Unicode text.
            skipinitialspace: a space behind each delimiter is no part of the field, so that `"a", "b"` are two quoted
                fields; taken as given where the header is written so.

        Raises:
            DatasetError: a file does not exist or is a folder, the delimiter is not one sign, or there is no such
                encoding.
        """
        return cls(readers.csv_source(path, delimiter=delimiter, encoding=encoding, skipinitialspace=skipinitialspace))

    @classmethod
    def from_excel(cls, path: Paths, *, sheet: str | int | None = None, header: int | None = None) -> Self:
        """Rows from a sheet of a workbook (.xlsx, .xls, .xlsb, .ods) with a header row; every value is text.

        Whole numbers are without a fraction and others have the digits that a spreadsheet keeps, dates are written
        `2026-01-31` and times `2026-01-31 10:05:00`, yes and no `TRUE` and `FALSE`, an empty cell is an empty text; how
        a cell is formatted does not count. Formulas give their value as it was saved, merged cells what is shown across
        them, and empty rows nothing. Row numbers in messages are those of the sheet. It is held in memory.

        Args:
            path: a file, a list of files, or a pattern such as `faq-*.xlsx`.
            sheet: its name, or its number from 1; None takes the first one that is not hidden.
            header: the row of the sheet that names the columns; None takes the first that holds anything.

        Raises:
            DatasetError: a file does not exist or is a folder.
            MissingExtraError: the extra `excel` is not installed.
        """
        return cls(readers.excel_source(path, sheet, header=header))

    @classmethod
    def from_parquet(cls, path: Paths) -> Self:
        """Rows from a Parquet file, read batch by batch; one that `datasets` wrote gives the rows that it would show.

        Args:
            path: a file, a list of files, or a pattern such as `train-*.parquet`.

        Raises:
            DatasetError: a file does not exist or is a folder.
        """
        return cls(readers.file_source(path, "parquet", readers.read_parquet))

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame, *, query: str | None = None) -> Self:
        """Rows from a data frame; missing values are None.

        Args:
            frame: the rows.
            query: where they come from, for the manifest: the SQL, a URL, a sentence.
        """
        return cls(readers.noted(readers.pandas_source(frame), query))

    @classmethod
    def from_rows(cls, rows: Rows | Callable[[], Rows], *, layout: str | None = None, query: str | None = None) -> Self:
        """Rows from any iterable of mappings, or from a function that gives a fresh iterable each time.

        An iterator (a generator, say) can be built from once; a preview before that is fine.

        Args:
            rows: the rows.
            layout: the name of a layout that people have, see `layout`.
            query: where they come from, for the manifest: the SQL, a URL, a sentence.
        """
        builder = cls(readers.noted(readers.rows_source(rows), query))
        return builder if layout is None else builder.layout(layout)

    @classmethod
    def from_documents(
        cls,
        documents: str | Path | Iterable[object],
        *,
        chunk_characters: int = 1_000,
        overlap: int = 0,
        unreadable: Literal["refuse", "skip"] = "refuse",
    ) -> Self:
        """Rows from documents: a chunk each, with the columns of a `ragtune.documents.Chunk`.

        `text` is the piece, `source`, `title`, `heading` and `page` say where it stands, `start` and `end` are places
        in the text of the document or page, and `id` names it. Chunks end with a section where they can, else with a
        paragraph, a sentence or a word. Files are read one at a time.

        Args:
            documents: a folder (text, Markdown, HTML, PDF and Word files, with its own folders), one file, or
                documents: texts, mappings with `text`, or what LangChain and LlamaIndex make of files.
            chunk_characters: most characters of a chunk.
            overlap: characters of the chunk before that a chunk may repeat; with it, the chunks of one `source` stay on
                one side of a split.
            unreadable: what becomes of files without a text (encrypted, damaged, scanned): `"refuse"` names all of
                them, `"skip"` warns of each.

        Raises:
            DatasetError: there are no documents, or some give no text.
            MissingExtraError: the extra `documents` is not installed.

        Example:
            ```python
            import ragtune as rt

            pages = [{"text": "Ferries leave at noon. " * 60, "source": "guide.pdf", "page": 3}]
            for row in rt.DatasetBuilder.from_documents(pages, chunk_characters=700).rows():
                print(row["id"], row["start"], row["end"])
                #> guide.pdf#p3.1 0 689
                #> guide.pdf#p3.2 690 1379
            ```
        """
        return cls(
            document_rows.document_source(
                documents, chunk_characters=chunk_characters, overlap=overlap, unreadable=unreadable
            )
        )

    @classmethod
    def from_feedback(
        cls,
        store: FeedbackStore,
        *,
        previous: Finished | None = None,
        method: Method = "supervised",
        held_out: FactSet | None = None,
    ) -> Self:
        """Finished records from what people said about answers, over those of the dataset before.

        Corrections and good answers become chat records, better and worse answers preference pairs, single thumbs
        unpaired records for KTO. What people disagree about is left out (`ragtune.feedback.compile_rows` shows it). Of
        the dataset before, the training records stay whose question nobody spoke about, and none of people who
        withdrew. The store remembers which dataset holds whose words.

        Args:
            store: the verdicts.
            previous: the dataset that the model was trained on, or None.
            method: `"supervised"`, `"preference"` or `"kto"`.
            held_out: questions of an evaluation; what people said is refused where it holds one. `build(held_out=)`
                looks at the rows of the dataset before, too.

        Raises:
            DatasetError: `previous` is of another record kind, the method is none of these, or what people said holds a
                question that is held out; the message names the answers and the fact.
            FeedbackError: the file cannot be read.
        """
        source = feedback_rows.feedback_source(store, previous, method, held_out=held_out)
        return cls(source)._filled(feedback_rows.as_record)

    @classmethod
    def from_facts(cls, facts: FactSet, recipe: Recipe, *, held_out: FactSet | None = None) -> Self:
        """Rows that a recipe makes of facts, with the columns `question` and `answer` for a template.

        Rows of one fact, and of facts that one passage tells, stay on one side of a split; the row map and the manifest
        say which fact, wording and recipe each record comes from.

        Args:
            facts: what is to be taught.
            recipe: how.
            held_out: questions that an evaluation keeps for itself: no row asks them, and a build refuses records that
                hold one, by the id of its fact.

        Example:
            ```python
            import ragtune as rt
            from ragtune.facts import demo_facts

            facts = demo_facts()
            builder = rt.DatasetBuilder.from_facts(
                facts, rt.Recipe("qa_multi", wordings=3), held_out=facts.select(["reworded", "reversed"])
            )
            dataset = builder.chat(user="{question}", assistant="{answer}").build("out", validation=0.1)
            print(dataset.manifest["overlap"]["facts_in_more_than_one_split"])
            #> 0
            ```
        """
        arguments.instance("facts", facts, FactSet, "rt.FactSet.from_rows(...) makes one")
        arguments.instance("recipe", recipe, Recipe, 'rt.Recipe("qa_multi") is one')
        if held_out is not None:
            arguments.instance("held_out", held_out, FactSet, "facts.select('reworded') is one")
        return cls(recipe_rows.recipe_source(recipe, lambda: facts, held_out, known=facts))

    def recipe(
        self,
        recipe: Recipe,
        *,
        question: str = "question",
        answer: Names = "answer",
        context: str | None = None,
        distractors: Names = (),
        fact_id: str | None = None,
        source: str | None = None,
        wordings: Mapping[str, WordingColumn | Sequence[WordingColumn]] | None = None,
        repeats: Repeats = "refuse",
        held_out: FactSet | None = None,
    ) -> Self:
        """Rows that a recipe makes of the facts in these rows: the template behind it names `question` and `answer`.

        Each row that the steps so far leave is a fact; how its columns are read is told as in `FactSet.from_rows`. The
        facts are held in memory, the rows made of them are not.

        Args:
            recipe: how facts become rows.
            question: column of the question that is taught.
            answer: column or columns of the answer.
            context: column of the passage.
            distractors: columns of wrong answers.
            fact_id: column of the fact's id; None calls them `row-0`, `row-1` and so on.
            source: column of where the fact comes from.
            wordings: columns of further questions by kind.
            repeats: `"merge"` makes rows with the same question one fact.
            held_out: as in `from_facts`.

        Raises:
            DatasetError: the builder has a template already. What is wrong with the facts is told when they are read.
        """
        arguments.instance("recipe", recipe, Recipe, 'rt.Recipe("qa_multi") is one')
        if held_out is not None:
            arguments.instance("held_out", held_out, FactSet, "facts.select('reworded') is one")
        if wordings is not None and not hasattr(wordings, "items"):
            raise DatasetError(f"wordings={wordings!r:.60} must be columns by kind, {{'reworded': ['q2', 'q3']}}")
        columns = FactColumns(
            question=arguments.text("question", question),
            answer=arguments.texts("answer", answer),
            context=None if context is None else arguments.text("context", context),
            distractors=arguments.texts("distractors", distractors),
            fact_id=None if fact_id is None else arguments.text("fact_id", fact_id),
            source=None if source is None else arguments.text("source", source),
            wordings=wordings or {},
        )
        repeated = arguments.one_of("repeats", repeats, ("refuse", "merge"))
        return self._remade(
            recipe,
            lambda rows: recipe_rows.facts_of_rows(rows, columns, repeated),  # type: ignore[arg-type]
            held_out,
        )

    def layout(self, name: str, *, ignore: Sequence[str] = (), system: str | None = None) -> Self:
        """Take rows in a layout that people have: SQuAD, Alpaca, ShareGPT, chosen/rejected and others.

        A layout of conversations or pairs gives finished records, and no template is needed; filters still see the rows
        as they are. A layout of facts (`squad`, `pubmedqa`, `contexts`) gives plain rows for filters and a template.

        Args:
            name: see `ragtune.layouts.LAYOUTS` and the page about layouts.
            ignore: further keys of the rows that carry nothing to train on.
            system: system prompt of the records that have none of their own.

        Raises:
            DatasetError: no layout has this name, the message says which ones the keys of the first row fit; the
                builder has a template already; or the layout has no place for a system prompt.
        """
        ignore = arguments.texts("ignore", ignore)
        if name not in tuple(LAYOUTS):
            # The first row is read for the message alone, which then says which layouts its keys fit.
            get_layout(name, next(readers.rows_of(self._source), None))
        layout = get_layout(name)
        if system is not None and not arguments.text("system", system).strip():
            raise DatasetError("the system prompt is empty; leave system out, and records without one stay so")
        if system is not None and layout.kind not in ("chat", "preference", "unpaired"):
            where = "give it to the template behind it" if layout.kind == "rows" else "put it into the prompts"
            raise DatasetError(f"layout {name!r} gives {layout.kind}, which hold no system prompt; {where}")
        if layout.kind == "rows":
            return self._on(readers.laid_out(self._source, name=name, ignore=ignore))
        return self._filled(LaidOut(layout=name, ignore=ignore, system=system))
