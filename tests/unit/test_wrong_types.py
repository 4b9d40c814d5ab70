"""Whatever is given in place of an argument, the answer is a sentence about it: no error comes from the inside."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ragtune as rt
from ragtune import layouts, records
from ragtune.dataset import near_duplicates
from ragtune.errors import RagtuneError
from ragtune.facts import demo_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WRONG = [None, 3, -1, True, 1.5, "no", b"x", [3], {"a": 1}, object(), [], lambda: None]
ROWS = [{"q": f"Question {n}?", "a": f"Answer {n}.", "s": f"Some longer text {n}."} for n in range(12)]
SHAREGPT = {"conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Here."}]}


def rows() -> Any:
    return rt.DatasetBuilder.from_rows(ROWS)


def ready() -> Any:
    return rows().chat(user="{q}", assistant="{a}")


def read(made: object) -> None:
    """What is lazy does its work now."""
    if isinstance(made, rt.DatasetBuilder):
        builder: Any = made if made._template else made.chat(user="{q}", assistant="{a}")
        builder.preview(1)
    elif inspect.isgenerator(made):
        list(made)


FILES: dict[str, str] = {
    "rows.jsonl": '{"q": "Where?", "a": "Here."}\n' * 3,
    "rows.json": '[{"q": "Where?", "a": "Here."}]',
    "rows.csv": "q,a\nWhere?,Here.\n",
    "train.jsonl": '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}\n'
    * 12,
}
FUNCTIONS = ("rows", "keep", "change", "make")
# Each callable with arguments that it takes.
CALLS: dict[str, tuple[Callable[[], Callable[..., object]], dict[str, object]]] = {
    "from_rows": (lambda: rt.DatasetBuilder.from_rows, {"rows": ROWS, "layout": None, "query": "q"}),
    "from_json": (lambda: rt.DatasetBuilder.from_json, {"path": "rows.json"}),
    "from_jsonl": (lambda: rt.DatasetBuilder.from_jsonl, {"path": "rows.jsonl"}),
    "from_csv": (
        lambda: rt.DatasetBuilder.from_csv,
        {"path": "rows.csv", "delimiter": ",", "encoding": "utf-8", "skipinitialspace": False},
    ),
    "from_excel": (lambda: rt.DatasetBuilder.from_excel, {"path": "none.xlsx", "sheet": None, "header": 1}),
    "from_parquet": (lambda: rt.DatasetBuilder.from_parquet, {"path": "none.parquet"}),
    "from_feedback": (
        lambda: rt.DatasetBuilder.from_feedback,
        {"store": 1, "previous": None, "method": "supervised", "held_out": None},
    ),
    "from_documents": (
        lambda: rt.DatasetBuilder.from_documents,
        {"documents": ["A text."], "chunk_characters": 100, "overlap": 0, "unreadable": "refuse"},
    ),
    "rows": (lambda: rows().rows, {}),
    "from_facts": (
        lambda: rt.DatasetBuilder.from_facts,
        {"facts": demo_facts(), "recipe": rt.Recipe("qa_single"), "held_out": None},
    ),
    "recipe": (
        lambda: rows().recipe,
        {
            "recipe": rt.Recipe("qa_single"),
            "question": "q",
            "answer": "a",
            "context": "s",
            "distractors": ["s"],
            "fact_id": None,
            "source": None,
            "wordings": None,
            "repeats": "refuse",
            "held_out": None,
        },
    ),
    "from_pandas": (lambda: rt.DatasetBuilder.from_pandas, {"frame": 1, "query": None}),
    "from_dataset": (lambda: rt.DatasetBuilder.from_dataset, {"dataset": 1}),
    "DatasetBuilder": (lambda: rt.DatasetBuilder, {"source": 1}),
    "filter": (lambda: rows().filter, {"keep": lambda row: row["a"], "reason": "r"}),
    "map": (lambda: rows().map, {"change": lambda row: row}),
    "rename": (lambda: rows().rename, {"names": {"s": "t"}}),
    "take": (lambda: rows().take, {"count": 2}),
    "sample": (lambda: rows().sample, {"count": 2, "seed": 1}),
    "keep_newest": (lambda: rows().keep_newest, {"per": "q", "by": "n"}),
    "add": (lambda: rows().__add__, {"other": rows()}),
    "deduplicate": (lambda: rows().deduplicate, {"question": "q", "answer": "a", "context": "s", "answers": "exact"}),
    "duplicates": (lambda: rows().duplicates, {"question": "q", "answer": "a", "context": "s", "answers": "exact"}),
    "mask_private": (lambda: rows().mask_private, {"allow": ["@acme.com"], "kinds": ["email"]}),
    "chat": (lambda: rows().chat, {"user": "{q}", "assistant": "{a}", "system": "s"}),
    "completion": (lambda: rows().completion, {"prompt": "{q}", "completion": "{a}"}),
    "preference": (lambda: rows().preference, {"prompt": "{q}", "preferred": "{a}", "rejected": "no", "system": None}),
    "unpaired": (
        lambda: rows().map(lambda row: {**row, "l": True}).unpaired,
        {"prompt": "{q}", "completion": "{a}", "label": "l", "system": None},
    ),
    "reinforcement": (lambda: rows().reinforcement, {"user": "{q}", "reference": {"of": "{a}"}, "developer": None}),
    "records": (lambda: rows().records, {"make": lambda row: {"prompt": row["q"], "completion": row["a"]}}),
    "layout": (
        lambda: rt.DatasetBuilder.from_rows([SHAREGPT]).layout,
        {"name": "sharegpt", "ignore": (), "system": "s"},
    ),
    "preview": (lambda: ready().preview, {"count": 1}),
    "audit": (lambda: rows().audit, {"question": "q", "answer": "a", "context": "s", "distractors": ["s"]}),
    "overlap of builders": (lambda: rows().overlap, {"other": rows(), "columns": ["q"]}),
    "build": (
        lambda: ready().build,
        {
            "folder": "out",
            "validation": 0.2,
            "test": 0.1,
            "seed": 1,
            "group_by": "q",
            "stratify_by": None,
            "near_duplicates": False,
            "overwrite": True,
            "count": None,
            "counter": None,
            "engine": "in_process",
            "fact_id": None,
            "held_out": None,
        },
    ),
    "load": (lambda: rt.Dataset.load, {"folder": "built"}),
    "from_files": (
        lambda: rt.Dataset.from_files,
        {"train": "train.jsonl", "validation": "train.jsonl", "test": None, "format": "chat"},
    ),
    "token_counts": (lambda: data().token_counts, {"encoding": "o200k_base", "counter": None}),
    "cost": (
        lambda: data().cost,
        {
            "model": "gpt-4o-mini-2024-07-18",
            "n_epochs": 1,
            "batch_size": "auto",
            "embedded": None,
            "catalogue": None,
            "forecast": False,
        },
    ),
    "check": (lambda: data().check, {"model": None, "split": "train", "privacy": False}),
    "overlap": (lambda: data().overlap, {"other": None}),
    "save_html": (lambda: data().report.save_html, {"path": "report.html"}),
    "near_duplicates": (lambda: near_duplicates, {"texts": ["a b c d e"], "threshold": 0.8}),
    "check_file": (
        lambda: rt.check_file,
        {
            "path": "train.jsonl",
            "format": "chat",
            "model": None,
            "max_problems": 10,
            "min_examples": 1,
            "fix": False,
            "privacy": False,
            "mask": False,
            "catalogue": None,
        },
    ),
    "parse_record": (lambda: rt.parse_record, {"source": {"prompt": "a", "completion": "b"}, "format": None}),
    "detect_format": (lambda: records.detect_format, {"data": {"prompt": "a"}}),
    "get_layout": (lambda: layouts.get_layout, {"name": "dpo", "row": None}),
    "detect": (lambda: layouts.detect, {"row": SHAREGPT}),
    "explain": (lambda: layouts.explain, {"row": SHAREGPT}),
    "convert_rows": (lambda: layouts.convert_rows, {"name": "sharegpt", "rows": [SHAREGPT], "ignore": ()}),
    "convert": (
        lambda: layouts.get_layout("sharegpt").convert,
        {"row": SHAREGPT, "number": None, "ignore": ()},
    ),
}


def data() -> rt.Dataset:
    return rt.Dataset.load("built")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(content, encoding="utf-8")
    ready().build("built")


def cases() -> Iterator[Any]:
    for name, (_, arguments) in CALLS.items():
        for argument in arguments:
            yield pytest.param(name, argument, id=f"{name}({argument})")


@pytest.mark.parametrize(("name", "argument"), list(cases()))
def test_an_argument_of_a_wrong_type_is_told_in_words(name: str, argument: str) -> None:
    """Either it is taken, or one of our own errors says what it is."""
    call, arguments = CALLS[name]
    told: list[str] = []
    # What a function of the user's own raises is the user's.
    for wrong in (each for each in WRONG if not (callable(each) and argument in FUNCTIONS)):
        try:
            read(call()(**{**arguments, argument: wrong}))
        except RagtuneError as error:
            told.append(str(error))
        except Exception as error:
            pytest.fail(f"{name}({argument}={wrong!r}) ends in {type(error).__name__}: {error}")
    assert all(len(message) > 20 for message in told)


def test_an_argument_that_is_missing_or_unknown_is_named_before_the_others_are_judged() -> None:
    """Else a slip in a name would be told after all that stands beside it."""
    wait: Any = rt.JobMonitor.wait
    with pytest.raises(TypeError, match="timeout_s is 'long'; it takes a number or None"):
        wait(None, timeout_s="long")
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        wait(None, timeout_s="long", colour=1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'self'"):
        wait(timeout_s="long")


def test_every_argument_is_tried() -> None:
    """A new parameter must be added to the table."""
    for name, (call, arguments) in CALLS.items():
        if name not in ("DatasetBuilder",):
            assert {*inspect.signature(call()).parameters} == {*arguments}, name


def test_every_public_method_of_the_builder_is_tried() -> None:
    methods = {name for name, _ in inspect.getmembers(rt.DatasetBuilder, inspect.isroutine) if not name.startswith("_")}
    assert methods - {*CALLS} == {"drop_columns", "from_hub", "overlap"} - {*CALLS}
