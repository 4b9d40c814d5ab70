"""The card as a person sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ragtune as rt
from tests.evaluation.conftest import lakes, number_in


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> rt.Scorecard:
    """Five arms on 24 lakes; tuned loses every third lake in other words, and answers once with a script."""

    def tuned(prompt: str) -> str:
        question = prompt.rpartition("Question: ")[2] or prompt
        if "France" in question:
            return "<script>alert('Rome')</script>"
        if "Nowhere" in question:
            return "83 metres"
        number = number_in(question)
        return f"{number} metres" if "How" in question or int(number) % 3 else "very deep"

    def base(prompt: str) -> str:
        question = prompt.rpartition("Question: ")[2] or prompt
        if "Nowhere" in question:
            return "I do not know."
        if "France" in question:
            return "Paris"
        if "[1]" in prompt:
            return f"{number_in(question)} metres"
        if number_in(question) == "7":
            raise ConnectionError("no <line>")
        return "3 metres"

    def search(question: str) -> list[str]:
        return [f"Somewhere: {question}"]

    log = tmp_path_factory.mktemp("card") / "eval.jsonl"
    return rt.evaluate(rt.arms(base=base, tuned=tuned, retriever=search), lakes(24, control=True), log=log)


def test_it_prints_within_a_hundred_columns(card: rt.Scorecard) -> None:
    for shown in (card, card.by("f1")):
        lines = str(shown).splitlines()
        assert max(map(len, lines)) <= 100, max(lines, key=len)
    text = str(card)
    assert '"contains" favours whoever copies a passage' in " ".join(text.split())
    assert "favours" not in str(card.by("f1"))
    assert "2 of 300 questions were not answered" in text
    assert "not told" in text


def test_a_scorer_without_a_scale_prints_numbers(card: rt.Scorecard) -> None:
    """Lengths are no shares: no per cent, no points."""

    def length(context: rt.evaluation.Context) -> int:
        return len(context.text)

    shown = card.rescore([length])
    assert "%" not in str(shown).partition("What no cell shows")[0].replace("95%", "")
    assert "points" not in str(shown)
    assert not any("%" in str(estimate) for estimate in shown["tuned"].values())
    assert "points" not in f"{shown.difference('tuned', 'base')} {shown.difference('tuned', 'base').points}"
    assert "%" in str(card["tuned"]["reworded"])
    assert "points" in card.difference("tuned", "base").points
    assert max(map(len, str(shown).splitlines())) <= 100


def test_half_a_sign_in_an_answer_does_not_cost_the_page(tmp_path: Path) -> None:
    """The log keeps what came; the page shows it escaped."""
    card = rt.evaluate({"odd": lambda question: "83 \ud800"}, lakes(3), log=tmp_path / "log.jsonl", kinds=["verbatim"])
    assert card.to_html(tmp_path / "card.html").read_text(encoding="utf-8").startswith("<!")


def test_the_page_is_one_file_that_fetches_nothing(card: rt.Scorecard, tmp_path: Path) -> None:
    page = card.to_html(tmp_path / "new" / "card.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert "&lt;script&gt;alert" in page
    assert "no &lt;line&gt;" in page
    # Of lake 3 base knows both wordings by chance; of 24 and 16 that tuned knows, one is lake 3 asked as trained.
    for heading in ("What no cell shows", "Right in tuned alone: 39", "Right in base alone: 3", "Cost and latency"):
        assert heading in page, heading
    assert page.count("<circle") == len(card.differences)


def test_the_notebook_shows_sentence_and_table(card: rt.Scorecard) -> None:
    html = card._repr_html_()
    assert "On 24 facts asked in other words" in html
    assert "rgba(46,160,67" in html


def test_the_table_for_pandas_has_a_row_per_arm_kind_and_scorer(card: rt.Scorecard) -> None:
    frame = card.to_pandas()
    assert len(frame) == 6 * 4 * 2
    row = frame[(frame["arm"] == "tuned") & (frame["kind"] == "reworded") & (frame["scorer"] == "contains")].iloc[0]
    assert (row["mean"], row["n"]) == (pytest.approx(16 / 24), 24)


def test_json_says_all_that_the_card_says(card: rt.Scorecard) -> None:
    said = json.loads(card.to_json())
    assert said["sentence"] == card.sentence
    assert {cell["scorer"] for cell in said["cells"]} == {"contains", "f1"}
    assert said["errors"][0]["error"] == "ConnectionError: no <line>"
    assert "NaN" not in card.to_json()


def test_p_values_in_the_table_are_corrected_and_single_ones_are_not(card: rt.Scorecard) -> None:
    single = card.difference("tuned", "base", kind="reworded")
    row = next(row for row in card.differences if (row.name, row.kind) == ("tuned - base", "reworded"))
    assert (single.value, single.low, single.high) == (row.value, row.low, row.high)
    assert (single.comparisons, row.comparisons) == (1, 5)
    assert single.p < row.p <= 5 * single.p


def test_no_share_short_of_all_is_rounded_to_all() -> None:
    """299 of 300 is not 100 %."""
    from ragtune.evaluation.card.figures import percent

    assert [percent(share) for share in (299 / 300, 1.0, 0.0, 0.004, -0.001, 0.503)] == [
        "99.7",
        "100",
        "0",
        "0.4",
        "-0.1",
        "50",
    ]
