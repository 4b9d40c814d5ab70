"""Reports as pages: one file, no script, every text escaped."""

from __future__ import annotations

import os
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ragtune as rt
from ragtune.dataset.report.html import histogram
from ragtune.errors import DatasetError


class Reader(HTMLParser):
    """Collects tags and text, and notices tags that are closed in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert "script" not in reader.tags
    assert "http" not in page.replace("http-equiv", "")
    return reader


def test_the_dataset_page_holds_figures_lengths_prices_problems_and_records(tmp_path: Path) -> None:
    """Hostile text in a record is shown, not run."""
    rows = [{"q": f"{n} <script>alert(1)</script>?", "a": f"a{n}"} for n in range(30)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(system="<b>S</b>", user="{q}", assistant="{a}")
    dataset = builder.build(tmp_path / "out", validation=0.1)
    reader = read(dataset.report.to_html())
    for text in (
        "30 (chat)",
        "gpt-4o-mini-2024-07-18",
        "longest",
        "no problems",
        "<script>alert(1)</script>",
        "<b>S</b>",
    ):
        assert text in reader.text
    assert "rect" in reader.tags
    assert "gpt-4.1-2025-04-14" in read(dataset.report._repr_html_()).text


def test_the_dataset_page_groups_problems_by_kind_with_examples(tmp_path: Path) -> None:
    """How often each rule spoke, its first three cases, and where the prices come from."""
    rows = [{"q": f"Question {n % 10}?", "a": f"answer \u200b {n}"} for n in range(30)]
    dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build(tmp_path / "out")
    text = read(dataset.report.to_html()).text
    assert "warninginvisible-character30line 1, messages[1].content:" in text
    assert "warningcontradiction20line 11, messages: the question of line 1" in text
    assert text.count("line 4, messages[1].content") == 0
    assert "Prices: platform.openai.com" in text


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux alone")
def test_a_name_that_is_no_utf_8_is_written_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    rows = [{"q": f"{n}?", "a": f"a{n}"} for n in range(12)]
    dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build(folder)
    page = dataset.report.save_html(tmp_path / "report.html")
    assert "Dataset report: caf\\udce9" in page.read_text(encoding="utf-8")
    assert dataset.train.path is not None
    assert "caf\\udce9" in rt.check_file(dataset.train.path.rename(tmp_path / folder.name / folder.name)).to_html()


def test_the_length_chart_marks_the_context_where_examples_are_longer() -> None:
    """A dashed line, and the number of examples behind it."""
    assert "class='limit'" not in histogram([10, 20, 30], 65_536)
    chart = histogram([10, 20, 30, 200], 100)
    assert "class='limit' x1='347.8'" in chart
    assert "1 longer than a training context of 100" in chart


def test_the_check_page_lists_every_problem_it_kept(tmp_path: Path) -> None:
    """Line, rule, place, message, way out."""
    path = tmp_path / "t.jsonl"
    path.write_text('{"messages": [{"role": "<i>", "content": "x"}]}\n' * 120)
    report = rt.check_file(path)
    assert read(report.to_html()).text.count("unknown-role") == 120
    assert read(report._repr_html_()).text.count("unknown-role") == 100
    assert "20 more" in report._repr_html_()


def test_a_builder_shows_its_source_and_steps_in_order() -> None:
    """Nothing is read for it; hostile text is shown, not run."""

    def unread() -> list[dict[str, str]]:
        raise AssertionError

    builder = (
        rt.DatasetBuilder.from_rows(unread)
        .filter(lambda row: row["a"], reason="<b>empty</b>")
        .deduplicate(question="q", answer="a")
        .drop_columns("b")
        .chat(system="S", user="{q}", assistant="{a}")
    )
    assert repr(builder) == (
        "DatasetBuilder(source: kind=rows; filter: <b>empty</b>; deduplicate: ['q', 'a']; exactly: ['a']; "
        "drop_columns: ['b']; format: chat; system: S; user: {q}; assistant: {a})"
    )
    page = read(builder._repr_html_())
    assert "<b>empty</b>" in page.text
    assert page.tags.count("tr") == 10


def test_the_dataset_page_is_for_people_who_were_not_there(tmp_path: Path) -> None:
    """Where it comes from and when, contradictions with both answers, longest records, other scripts, until when."""
    path = tmp_path / "faq.csv"
    lines = [f"Question {n % 28}?,Answer {n}." for n in range(30)]
    lines[12] = "Wo ist Öskisehir?,Überall."
    lines[20] = f"What is long?,{'very ' * 200}long."
    lines[21] = f"What is longish?,{'very ' * 100}long."
    path.write_text("q,a\n" + "\n".join(lines), encoding="utf-8")
    dataset = rt.DatasetBuilder.from_csv(path).chat(user="{q}", assistant="{a}").build(tmp_path / "help desk")
    report = dataset.report
    assert [(item.question, item.answers, item.lines) for item in report.contradictions] == [
        ("Question 0?", ("Answer 0.", "Answer 28."), (1, 29)),
        ("Question 1?", ("Answer 1.", "Answer 29."), (2, 30)),
    ]
    assert [record.to_dict()["messages"][1]["content"] for record in report.samples.beyond_ascii] == ["Überall."]
    assert report.samples.longest[0].to_dict()["messages"][0]["content"] == "What is long?"
    assert report.save_html(tmp_path / "report.html") == tmp_path / "report.html"
    page = read((tmp_path / "report.html").read_text(encoding="utf-8"))
    for text in (
        "Dataset report: help desk",
        f"from faq.csv; written on {report.written}; fingerprint {dataset.fingerprint[:16]}",
        "Questions answered in two ways",
        "Question 0?Answer 0.Answer 28.1 and 29",
        "With signs beyond ASCII",
        "new jobs until",
        "2027-01-06",
    ):
        assert text in page.text
    assert report.to_dict()["contradictions"][0]["answers"] == ("Answer 0.", "Answer 28.")
    with pytest.raises(DatasetError, match=r"none.report\.html cannot be written"):
        report.save_html(tmp_path / "none" / "report.html")


def test_files_made_elsewhere_have_a_report_too(tmp_path: Path) -> None:
    """Escaped letters are signs beyond ASCII; a pair is as long as the longer of its conversations."""
    pair = '{"input": {"messages": [{"role": "user", "content": "%s?"}]}, "preferred_output": [{"role": "assistant", '
    pair += '"content": "%s"}], "non_preferred_output": [{"role": "assistant", "content": "no"}]}\n'
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(pair % (f"caf\\u00e9 {n}", "yes " * 50) for n in range(12)))
    report = rt.Dataset.from_files(path).report
    assert len(report.samples.beyond_ascii) == 3
    assert report.source == "pairs.jsonl"
    total = rt.Dataset.from_files(path).token_counts("o200k_base")
    assert 0 < report.longest < max(total)
    assert report.tokens == sum(total)
