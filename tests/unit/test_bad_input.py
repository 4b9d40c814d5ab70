"""Bad input gets a clear error, and nothing is lost."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import datasets
import pytest

import ragtune as rt
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

ROWS: list[dict[str, Any]] = [{"question": f"Question {n}?", "answer": f"answer {n}"} for n in range(12)]


def builder(rows: Any = None) -> rt.DatasetBuilder:
    return rt.DatasetBuilder.from_rows(ROWS if rows is None else rows).chat(user="{question}", assistant="{answer}")


def with_row(**row: Any) -> rt.DatasetBuilder:
    return builder([*ROWS, {"question": "Q?", "answer": "a", **row}])


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda: builder([]), "no rows"),
        (lambda: rt.DatasetBuilder.from_rows(ROWS).chat(user="{q}", assistant="x"), "'q'.*'question', 'answer'"),
        (lambda: builder().drop_columns("nope"), "'nope'.*'question', 'answer'"),
        (lambda: builder().filter(lambda row: row["nope"], reason="r"), "filter 'r'.*'nope'.*'question', 'answer'"),
        (lambda: builder().filter(lambda row: False, reason="none good"), "all 12 rows.*12 for 'none good'"),
        (lambda: with_row(question="  "), r"row 12.*user.*empty"),
        (lambda: with_row(answer=""), r"row 12.*assistant.*empty"),
        (lambda: with_row(answer=None), r"row 12, column 'answer': None is NoneType, not text"),
        (lambda: with_row(answer=42), r"row 12, column 'answer': 42 is int, not text"),
        (lambda: with_row(answer=["a", "b"]), r"row 12, column 'answer': \['a', 'b'\] is list"),
        (lambda: with_row(answer="a\ud800"), r"row 12, column 'answer'.*surrogate"),
        (lambda: builder([*ROWS, {"question": "Q?"}]), r"row 12 has no column 'answer'"),
        (lambda: builder([*ROWS, "text"]), r"row 12.*mapping.*'text'"),
        (lambda: rt.DatasetBuilder.from_rows(ROWS), "say what a record looks like"),
        (lambda: rt.DatasetBuilder.from_rows(ROWS).records(lambda row: None), "row 0.*None"),
        (lambda: rt.DatasetBuilder.from_rows(ROWS).records(lambda row: {"messages": []}), "row 0.*messages"),
        (
            lambda: rt.DatasetBuilder.from_rows(ROWS).records(
                lambda row: (
                    rt.CompletionRecord(prompt="a", completion="b")
                    if row["answer"] == "answer 5"
                    else rt.ChatRecord(messages=(rt.Message(role="user", content="x"),))
                )
            ),
            "row 5 became a completion record, earlier rows chat",
        ),
    ],
)
def test_rows_that_make_no_dataset_are_named_and_nothing_is_written(tmp_path: Path, made: Any, named: str) -> None:
    """The row, the column, the value; and no folder afterwards."""
    with pytest.raises(DatasetError, match=f"(?s){named}"):
        made().build(tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "template", ["{question.x}", "{question[0]}", "{question!r}", "{question:>3}", "{}", "{question", "", None, 7]
)
def test_a_template_takes_plain_column_names_only(template: Any) -> None:
    """Everything else is refused when it is written down, not when it runs."""
    with pytest.raises(DatasetError, match="user template"):
        rt.DatasetBuilder.from_rows(ROWS).chat(user=template, assistant="{answer}")


def test_a_second_template_and_a_dropped_column_are_refused() -> None:
    """Both would be silent surprises."""
    with pytest.raises(DatasetError, match="template already"):
        builder().completion(prompt="", completion="{answer}")
    with pytest.raises(DatasetError, match=r"'answer'.*took away"):
        rt.DatasetBuilder.from_rows(ROWS).drop_columns("answer").chat(user="{question}", assistant="{answer}")
    with pytest.raises(DatasetError, match="'messages'"):
        rt.DatasetBuilder.from_rows(ROWS).reinforcement(user="{question}", reference={"messages": "{answer}"})


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, "0.1", True])
def test_shares_out_of_range_are_refused(tmp_path: Path, share: Any) -> None:
    """They are shares of the rows in [0, 1)."""
    with pytest.raises(DatasetError, match="share"):
        builder().build(tmp_path / "out", validation=share)
    with pytest.raises(DatasetError, match="nothing to train on"):
        builder().build(tmp_path / "out", validation=0.5, test=0.5)


def test_fewer_than_ten_records_are_built_and_reported(tmp_path: Path) -> None:
    """A server without that rule may take them; the report and the check say what OpenAI would say."""
    dataset = builder(ROWS[:9]).build(tmp_path / "out")
    assert not dataset.check().ok
    assert "too-few-examples" in str(dataset.report)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("rows.jsonl", b'{"question": "a"}\n{"question": \n', "line 2 is not JSON"),
        ("rows.jsonl", b'{"question": "caf\xe9"}\n', "line 1.*0xe9.*not UTF-8"),
        ("rows.jsonl", '{"question": "a"}\n'.encode("utf-16"), "line 1.*not UTF-8.*iconv -f utf-16 -t utf-8"),
        ("rows.jsonl", b"[1]\n", "row 0.*mapping"),
        ("rows.jsonl", b"", "no rows"),
        ("rows.json", b'[{"question": "a"}, {"ques', "not JSON"),
        ("rows.json", b'{"a": 1}\n{"a": 2}', "from_jsonl"),
        ("rows.json", b'{"a": 1}', "only list"),
        ("rows.json", b'["caf\xe9"]', "not UTF-8"),
        ("rows.csv", b"question,answer\na\n", "line 2.*fields"),
        ("rows.csv", b"question,answer\na,b,c\n", "line 2.*fields"),
        ("rows.json", '[{"question": "a"}]'.encode("utf-16"), "not UTF-8.*iconv -f utf-16 -t utf-8"),
        ("rows.csv", b"question,answer\ncaf\xe9,b\n", "not UTF-8.*encoding='cp1252'"),
        ("rows.csv", "question,answer\na,b\n".encode("utf-16"), "not UTF-8.*encoding='utf-16'"),
        ("rows.csv", b"question,answer\n", "no rows"),
        ("rows.parquet", b"not parquet at all", "not a Parquet file"),
    ],
)
def test_a_spoilt_source_file_is_named_with_the_place(tmp_path: Path, name: str, content: bytes, named: str) -> None:
    """The file, the line, the byte."""
    path = tmp_path / name
    path.write_bytes(content)
    read = getattr(rt.DatasetBuilder, f"from_{path.suffix[1:]}")
    with pytest.raises(DatasetError, match=f"(?s){named}"):
        read(path).chat(user="{question}", assistant="{answer}").build(tmp_path / "out")


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet"])
def test_a_folder_or_a_missing_file_as_source_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """Before anything is read."""
    read = getattr(rt.DatasetBuilder, f"from_{kind}")
    with pytest.raises(DatasetError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(DatasetError, match="does not exist"):
        read(tmp_path / "none")


def test_bom_crlf_and_blank_lines_in_a_source_do_no_harm(tmp_path: Path) -> None:
    """They are how files come from other systems; the dataset is clean."""
    path = tmp_path / "rows.jsonl"
    lines = b"".join(b'{"question": "%d?", "answer": "a\xe2\x80\xa8b"}\r\n\r\n' % n for n in range(10))
    path.write_bytes(b"\xef\xbb\xbf" + lines)
    dataset = rt.DatasetBuilder.from_jsonl(path).chat(user="{question}", assistant="{answer}").build(tmp_path / "out")
    assert len(dataset.train) == 10
    assert {p.code for p in dataset.check().problems} == {"invisible-character"}


def test_a_dataset_dict_is_refused_with_the_way_to_choose() -> None:
    """`load_dataset` without split gives one."""
    with pytest.raises(DatasetError, match=r'dataset\["train"\]'):
        rt.DatasetBuilder.from_dataset(datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}))


def test_the_hub_without_a_network_names_the_local_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline is the usual state of this test machine."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DatasetError, match=r"(?s)'nobody/nothing'.*from_json.*from_rows"):
        rt.DatasetBuilder.from_hub("nobody/nothing", split="train")


def test_a_generator_is_built_from_once_and_says_so() -> None:
    """A second pass would silently see no rows."""
    rows = ({"question": f"{n}?", "answer": "a"} for n in range(20_000))
    made = builder(rows)
    sum(len(part) for part in made._source.read())
    with pytest.raises(DatasetError, match="cannot be read again"):
        list(made._source.read())


def test_an_occupied_folder_is_left_alone(tmp_path: Path) -> None:
    """With overwrite a dataset is replaced, and other people's files stay."""
    out = tmp_path / "out"
    first = builder().build(out, validation=0.2)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"not empty.*overwrite=True"):
        builder().build(out)
    assert rt.Dataset.load(out) == first
    second = builder(ROWS[:10]).build(out, overwrite=True)
    assert len(second.train) == 10
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.json",
        "notes.txt",
        "report.json",
        "train.jsonl",
        "train.rows.txt",
    ]
    with pytest.raises(DatasetError, match="is a file"):
        builder().build(out / "notes.txt")


def test_a_failed_overwrite_keeps_the_old_dataset(tmp_path: Path) -> None:
    """The old files are touched only when the new ones are whole."""
    out = tmp_path / "out"
    first = builder().build(out)
    with pytest.raises(DatasetError):
        with_row(answer=None).build(out, overwrite=True)
    assert rt.Dataset.load(out) == first


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_a_plain_error(tmp_path: Path) -> None:
    """The operating system's reason, in our words."""
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DatasetError, match="Permission denied"):
            builder().build(tmp_path / "out")
    finally:
        tmp_path.chmod(0o700)


def test_a_place_that_takes_no_files_is_a_plain_error() -> None:
    """`/proc` refuses everybody, root too."""
    with pytest.raises(DatasetError, match="cannot be written"):
        builder().build("/proc/ragtune-out")


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """A limit on file size stands for the full disk: the write fails, the folder is gone."""
    rows = [{"question": f"{n} {'x' * 500}?", "answer": "a"} for n in range(2_000)]
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
        with pytest.raises(DatasetError, match=os.strerror(errno.EFBIG)):
            builder(rows).build(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_during_a_build_leaves_nothing_half(tmp_path: Path) -> None:
    """A real interrupt in a real process, in the middle of the rows."""
    program = f"""
import os, signal, ragtune as rt
def rows():
    for n in range(100_000):
        if n == 50_000:
            os.kill(os.getpid(), signal.SIGINT)
        yield {{"question": f"{{n}}?", "answer": "a"}}
rt.DatasetBuilder.from_rows(rows()).chat(user="{{question}}", assistant="{{answer}}").build({str(tmp_path / "out")!r})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_opening_what_is_no_dataset_says_what_to_do(tmp_path: Path) -> None:
    """A folder without a manifest, a damaged manifest, files that are no training data."""
    with pytest.raises(DatasetError, match="from_files"):
        rt.Dataset.load(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DatasetError, match="damaged"):
        rt.Dataset.load(tmp_path)
    (tmp_path / "t.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(DatasetError, match="no training record"):
        rt.Dataset.from_files(tmp_path / "t.jsonl")
    (tmp_path / "e.jsonl").write_text("")
    with pytest.raises(DatasetError, match="is empty"):
        rt.Dataset.from_files(tmp_path / "e.jsonl")
    with pytest.raises(DatasetError, match="is a folder"):
        rt.Dataset.from_files(tmp_path)


def test_a_bad_line_in_a_split_is_named_when_it_is_read(tmp_path: Path) -> None:
    """The file, the line, the place in the record."""
    good = '{"prompt": "a", "completion": "b"}\n'
    (tmp_path / "t.jsonl").write_text(good + '{"prompt": "a", "completion": 3}\n')
    dataset = rt.Dataset.from_files(tmp_path / "t.jsonl")
    with pytest.raises(rt.RecordError, match=r"t\.jsonl line 2: completion"):
        list(dataset.train)


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_a_value_that_nests_too_deeply_is_told_in_words(tmp_path: Path, name: str) -> None:
    """No error from inside a parser."""
    path = tmp_path / name
    path.write_text('[{"question": ' * (name == "rows.json") + "[" * 100_000)
    with pytest.raises(DatasetError, match=rf"{name}.*nests more deeply than can be read"):
        getattr(rt.DatasetBuilder, f"from_{path.suffix[1:]}")(path).chat(user="{question}", assistant="x").preview()


def test_a_source_that_is_gone_is_named_and_not_the_target(tmp_path: Path) -> None:
    """Deleted after the builder was made, or while it builds; the old dataset in the folder stays."""
    path = tmp_path / "rows.csv"
    path.write_text("question,answer\nWhy?,So.\n")
    made = rt.DatasetBuilder.from_csv(path).chat(user="{question}", assistant="{answer}")
    made.build(tmp_path / "out")

    def keep(row: object) -> bool:
        path.unlink()
        return True

    going = made.filter(keep, reason="gone")
    for builder in (going, made):
        with pytest.raises(DatasetError, match=rf"the source {path} cannot be read: No such file"):
            builder.build(tmp_path / "out", overwrite=True)
    assert len(rt.Dataset.load(tmp_path / "out").train) == 1


@pytest.mark.parametrize("name", ["overwrite", "near_duplicates"])
def test_a_text_is_no_yes_and_no_no(tmp_path: Path, name: str) -> None:
    """`overwrite="no"` once overwrote."""
    builder().build(tmp_path / "out")
    wish: dict[str, Any] = {name: "no"}
    with pytest.raises(DatasetError, match=f"{name}='no' must be True or False"):
        builder().build(tmp_path / "out", **wish)


def test_rows_given_to_the_class_itself_are_told_the_constructor() -> None:
    with pytest.raises(DatasetError, match=r"DatasetBuilder.from_rows\(...\) for rows from memory"):
        rt.DatasetBuilder(ROWS)  # type: ignore[arg-type]
