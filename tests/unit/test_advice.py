"""The advisor: sums checked by hand, documents measured, and verdicts that follow from both."""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.advice import Assumptions, Prices, Snapshot
from ragtune.advice.sums import (
    break_even,
    context_at_par,
    question_usd,
    refresh_usd,
    tuned_question_usd,
    wrong_answer_limit,
)
from ragtune.errors import DatasetError, EvaluationError, SpecError
from ragtune.facts import Fact, FactSet, Wording

if TYPE_CHECKING:
    from collections.abc import Sequence

TODAY = dt.date(2026, 6, 1)
PRICES = Prices(embedding_usd_per_million=0.0)
PLAIN = Assumptions()


@pytest.mark.parametrize(("context", "usd"), [(100, 43.0), (600, 93.0), (3_000, 333.0), (8_000, 833.0)])
def test_a_question_with_passages_costs_what_one_works_out_by_hand(context: int, usd: float) -> None:
    """0.10 x (20 + context + 60) + 0.50 x 50, for a million questions."""
    found = question_usd(context, PRICES, PLAIN)
    assert found is not None
    assert found * 1e6 == pytest.approx(usd)


def test_a_question_to_the_tuned_model_costs_what_one_works_out_by_hand() -> None:
    """0.30 x (20 + 10) + 1.20 x 50 = 69; with a tenth passed on to retrieval at 43 it is 73.3."""
    alone = tuned_question_usd(None, PRICES, PLAIN)
    routed = tuned_question_usd(43e-6, PRICES, replace(PLAIN, routed_share=0.1))
    assert (alone, routed) == (pytest.approx(69e-6), pytest.approx(73.3e-6))


def test_caching_batches_and_thinking_change_the_price() -> None:
    """Half of the system prompt cached at 0.01, 200 tokens thought, half the price in batches."""
    prices = replace(PRICES, cached_input_usd_per_million=0.01)
    assumed = replace(PLAIN, cached_share=0.5, reasoning_tokens=200, batch_discount=0.5)
    found = question_usd(600, prices, assumed)
    assert found is not None
    assert found * 1e6 == pytest.approx((0.10 * (20 + 600 + 30) + 0.01 * 30 + 0.50 * 250) / 2)


def test_a_refresh_pays_for_rows_training_and_people() -> None:
    """A million tokens: read at 0.10, five million written at 0.50, trained three times at 3, and 200 for people."""
    usd = refresh_usd(1_000_000, PRICES, replace(PLAIN, review_usd=150, evaluation_usd=50))
    assert usd == pytest.approx(0.10 + 2.50 + 45.0 + 200)


def test_the_price_of_an_error_is_the_saving_over_the_difference_in_accuracy() -> None:
    """At 3,000 tokens of passages: (333 - 69) millionths over 0.88 - 0.65 is a tenth of a cent."""
    assert wrong_answer_limit(264e-6, 0.88, 0.65) == pytest.approx(0.00115, abs=5e-6)
    assert wrong_answer_limit(-1e-6, 0.88, 0.65) == 0
    assert wrong_answer_limit(1e-6, 0.6, 0.7) == math.inf
    assert (wrong_answer_limit(1e-6, 0.7, 0.7), wrong_answer_limit(-1e-6, 0.7, 0.7)) == (math.inf, 0)
    assert wrong_answer_limit(1e-6, None, 0.7) is None


def test_more_questions_help_only_where_each_saves_something() -> None:
    assert break_even(100, 264e-6) == pytest.approx(378_788, rel=1e-4)
    assert break_even(-5, -1e-6) == math.inf
    assert break_even(-5, 1e-6) == 0
    assert break_even(None, 1e-6) is None


@given(
    prices=st.builds(
        Prices,
        input_usd_per_million=st.floats(0.01, 10),
        output_usd_per_million=st.floats(0, 10),
        tuned_input_usd_per_million=st.floats(0, 30),
        tuned_output_usd_per_million=st.floats(0, 30),
    ),
    assumed=st.builds(Assumptions, routed_share=st.floats(0, 0.9), batch_discount=st.floats(0, 0.9)),
)
def test_at_par_both_ways_cost_the_same(prices: Prices, assumed: Assumptions) -> None:
    """Unless retrieval is the dearer one without any passage."""
    context = context_at_par(prices, assumed)
    assert context is not None
    with_passages = question_usd(context, prices, assumed)
    tuned = tuned_question_usd(with_passages, prices, assumed)
    assert with_passages is not None
    assert tuned is not None
    assert with_passages == pytest.approx(tuned) or (context == 0 and with_passages > tuned)


@pytest.mark.parametrize(
    "name",
    [
        "input_usd_per_million",
        "output_usd_per_million",
        "tuned_input_usd_per_million",
        "tuned_output_usd_per_million",
    ],
)
def test_an_unknown_price_is_never_zero(name: str) -> None:
    """No sum that needs it is told, and no verdict to train follows."""
    advice = rt.advise(long_rows(), queries_per_month=1e9, updated="updated", prices=Prices(**{name: None}))
    group = advice.groups[0]
    assert (group.verdict, group.break_even_questions) == ("keep", None)
    assert "unknown" in group.why
    assert {row.name: row.value for row in advice.assumptions}[name] is None
    assert json.loads(advice.to_json())["groups"][0]["break_even_questions"] is None


@pytest.mark.parametrize("name", [one.name for one in fields(Prices)])
def test_with_any_price_unknown_there_is_a_verdict(name: str) -> None:
    """Also where retrieval cannot be added up, as without a price of storage."""
    group = rt.advise(long_rows(), queries_per_month=10, updated="updated", prices=Prices(**{name: None})).groups[0]
    assert group.why
    if group.keep_usd_per_month is None:
        assert (group.verdict, "unknown" in group.why) == ("keep", True)


def long_rows(updated: str = "2019-01-01", count: int = 20) -> list[dict[str, Any]]:
    manual = "How to open a valve of the water line, and how to close it again. " * 200
    return [{"id": str(n), "text": f"{n} {manual}", "updated": updated} for n in range(count)]


def advised(rows: Sequence[dict[str, Any]], questions: float = 2e6, **numbers: Any) -> rt.Advice:
    return rt.advise(
        rows, queries_per_month=questions, updated="updated", today=TODAY, assumptions=Assumptions(**numbers)
    )


def test_short_supports_stay_in_retrieval_and_the_length_that_would_flip_it_is_said() -> None:
    """Passages of some twenty tokens are cheaper than the tuned model's prices: at 356 tokens they are not."""
    rows = [{"text": f"Beavers of pond {n} build with willow.", "updated": "2019-01-01"} for n in range(30)]
    advice = advised(rows, wrong_answer_usd=0.0)
    assert advice.groups[0].verdict == "do not tune"
    assert advice.groups[0].context_at_par == pytest.approx(356)
    assert "passages of 356 tokens cost the same both ways" in str(advice)


def test_long_documents_that_never_change_are_tuned_when_errors_cost_nothing() -> None:
    group = advised(long_rows(), wrong_answer_usd=0.0).groups[0]
    assert (group.verdict, group.static_share) == ("tune", 1.0)
    assert group.context_tokens == 2_400
    dear = advised(long_rows(), wrong_answer_usd=2.0, both_accuracy=None).groups[0]
    assert dear.verdict == "keep"
    assert group.wrong_answer_limit_usd is not None
    assert 0 < group.wrong_answer_limit_usd < 2.0


def test_the_verdict_turns_where_the_sums_say_it_turns() -> None:
    """Just below the price of an error that is told it is `tune`, just above it is not; so with the questions."""
    limit = advised(long_rows(), questions=1e12).groups[0].wrong_answer_limit_usd
    assert limit is not None
    for factor, verdict in ((0.99, "tune"), (1.01, "keep")):
        own = advised(long_rows(), questions=1e12, wrong_answer_usd=limit * factor, both_accuracy=0.0)
        assert own.groups[0].verdict == verdict
    questions = advised(long_rows(), wrong_answer_usd=0.0).groups[0].break_even_questions
    assert questions is not None
    for factor, verdict in ((0.99, "keep"), (1.01, "tune")):
        own = advised(long_rows(), questions=questions * factor, wrong_answer_usd=0.0)
        assert own.groups[0].verdict == verdict


def test_documents_that_change_faster_than_one_trains_are_not_tuned() -> None:
    group = advised(long_rows("2026-05-15"), wrong_answer_usd=0.0).groups[0]
    assert group.verdict == "do not tune"
    assert "trainings a month" in group.why
    assert any("may change in a month" in text for text in group.sensitivity)


def test_documents_that_change_too_fast_are_not_tuned_where_retrieval_is_the_cheapest_as_well() -> None:
    """One verdict for one reason: it stands against a training whatever the volume and the price of an error."""
    assert {
        advised(long_rows("2026-05-15"), questions=questions, wrong_answer_usd=usd).groups[0].verdict
        for questions in (10, 2e6)
        for usd in (0.0, 1.0)
    } == {"do not tune"}


def test_sums_without_meaning_are_said_in_words() -> None:
    rows = [{"text": f"Beavers of pond {n} build with willow.", "updated": "2019-01-01"} for n in range(30)]
    told = str(advised(rows))
    assert "no price of a wrong answer speaks for the weights" in told
    assert "$0.000000" not in told


def test_a_model_that_dies_before_it_has_paid_is_not_tuned() -> None:
    rows, assumed = long_rows(), Assumptions(wrong_answer_usd=0.0, review_usd=300)
    told = {
        model: rt.advise(
            rows,
            queries_per_month=2e6,
            updated="updated",
            assumptions=assumed,
            tuned_model=model,
            today=dt.date(2026, 12, 26),
        )
        for model in ("gpt-4o-mini-2024-07-18", "my-own")
    }
    dying = told["gpt-4o-mini-2024-07-18"].groups[0]
    assert dying.verdict == "do not tune"
    assert "stops answering in 0.6 months" in dying.why
    assert any("my-own stops answering is unknown" in note for note in told["my-own"].notes)


def test_how_documents_change_comes_from_the_days_of_their_last_change() -> None:
    """Ages of one and of three months: two changes in four months of waiting, so one in two a month."""
    rows = [{"text": "a b c", "updated": TODAY - dt.timedelta(days=days)} for days in (30, 91)]
    group = advised(rows).groups[0]
    assert group.changed_per_month == pytest.approx(2 / (121 / (365.25 / 12)))
    assert group.static_share == 0


def test_how_documents_change_comes_from_snapshots() -> None:
    """Of ten documents two change in two months, one is new, one is gone."""

    def day(month: int, texts: dict[int, str]) -> Snapshot:
        rows = [{"id": n, "text": texts.get(n, f"text {n}")} for n in range(10 + (month > 1)) if (month, n) != (3, 9)]
        return Snapshot(date=dt.date(2026, month, 1), documents=rows)

    snapshots = [day(1, {}), day(2, {0: "new"}), day(3, {0: "new", 1: "newer"})]
    group = rt.advise(snapshots, queries_per_month=1).groups[0]
    months = 59 / (365.25 / 12)
    assert group.documents == 10
    assert group.growth_per_month == pytest.approx(0 / months)
    # Ten stood in January and February, one changed; ten of eleven in February and March, one changed.
    assert group.changed_per_month == pytest.approx((2 / 20) * 2 / months)
    # Unchanged throughout: 2 to 8.
    assert group.static_share == pytest.approx(7 / 10)


def test_documents_that_came_late_weigh_the_months_that_they_were_there() -> None:
    """Ten unchanged in 366 days, 1,010 changed in 31: 1,010 / (10 x 12.02 + 1,010 x 1.02)."""

    def day(date: dt.date, count: int, text: str) -> Snapshot:
        return Snapshot(date=date, documents=[{"id": n, "text": f"{text} {n}"} for n in range(count)])

    first, second, third = dt.date(2024, 1, 1), dt.date(2025, 1, 1), dt.date(2025, 2, 1)
    snapshots = [day(first, 10, "a"), day(second, 1_010, "a"), day(third, 1_010, "b")]
    found = rt.advise(snapshots, queries_per_month=1).groups[0].changed_per_month
    assert found == pytest.approx(1_010 * (365.25 / 12) / (10 * 366 + 1_010 * 31))


def test_documents_without_a_known_day_are_counted_and_told() -> None:
    import pandas as pd

    days = ["2019-01-01", "2026-05-30", None, pd.NaT, float("nan"), "2027-01-01"]
    rows = [{"text": f"text {n}", "updated": day} for n, day in enumerate(days)]
    advice = rt.advise(rows, queries_per_month=1, updated="updated", today=TODAY)
    assert advice.groups[0].static_share == 1 / 2
    assert any("of 6 documents 3 have no date and 1 one in the future" in note for note in advice.notes)
    known = rt.advise(rows[:2], queries_per_month=1, updated="updated", today=TODAY)
    assert advice.groups[0].changed_per_month == known.groups[0].changed_per_month
    assert not any("no date" in note for note in known.notes)


@pytest.mark.slow
@given(
    texts=st.lists(st.sampled_from(["a", "b", "c"]), min_size=3, max_size=12),
    later=st.lists(st.sampled_from(["a", "b", "c"]), min_size=3, max_size=12),
    groups=st.lists(st.sampled_from(["x", "y"]), min_size=12, max_size=12),
)
def test_snapshots_are_compared_as_a_loop_would(texts: list[str], later: list[str], groups: list[str]) -> None:
    """Documents that stood in both, by group; ids are places."""
    both = [
        Snapshot(
            date=dt.date(2026, month, 1),
            documents=[
                {"id": str(place), "text": text, "g": group}
                for place, (text, group) in enumerate(zip(said, groups, strict=False))
            ],
        )
        for month, said in ((1, texts), (2, later))
    ]
    advice = rt.advise(both, queries_per_month=1, group="g")
    months = 31 / (365.25 / 12)
    for row in advice.groups:
        common = [(old, new) for old, new, group in zip(texts, later, groups, strict=False) if group == row.group]
        changed = sum(old != new for old, new in common)
        expected = changed / len(common) / months if common else None
        assert row.changed_per_month == (None if expected is None else pytest.approx(expected))
        own = [new for new, group in zip(later, groups, strict=False) if group == row.group]
        assert row.documents == len(own)
        assert row.repeated_share == pytest.approx((len(own) - len(set(own))) / len(own))


def test_without_dates_and_snapshots_nothing_is_said_of_change() -> None:
    group = rt.advise([row["text"] for row in long_rows()], queries_per_month=1e6).groups[0]
    assert (group.changed_per_month, group.static_share, group.verdict) == (None, None, "keep")
    assert "give updated=, or Snapshots" in group.why


def test_questions_find_their_groups() -> None:
    rows = [
        {"text": "The lighthouse of Skarn burns whale oil.", "place": "coast"},
        {"text": "Trains to Vell leave at dawn.", "place": "inland"},
    ]
    queries = ["What does the lighthouse burn?", "Who built the lighthouse?", "When do trains leave?", "Xyzzy?"]
    advice = rt.advise(rows, queries, queries_per_month=1_000, group="place")
    assert {row.group: row.questions_per_month for row in advice.groups} == {"coast": 500, "inland": 250}
    assert "1 of 4 touch none" in " ".join(advice.notes)


def test_a_scorecard_stands_in_the_place_of_published_figures() -> None:
    """Tuned right on all, retrieval on half: the error's price has no limit, and the table says `measured`."""
    facts = FactSet(
        facts=tuple(
            Fact(
                id=f"f{n}",
                answers=(f"word{n}",),
                wordings=(Wording(question=f"Name {n}?", kind="reworded"),),
            )
            for n in range(4)
        )
    )
    number = "".join
    answerers = {
        "base+RAG": lambda question: "word0 word1" if number(c for c in question if c.isdigit()) in "01" else "none",
        "tuned": lambda question: f"word{number(c for c in question if c.isdigit())}",
    }
    card = rt.evaluate(answerers, facts, progress=False)
    advice = rt.advise(long_rows(), queries_per_month=2e6, updated="updated", scorecard=card)
    taken = {row.name: row for row in advice.assumptions}
    assert (taken["retrieval_accuracy"].value, taken["tuned_accuracy"].value) == (0.5, 1.0)
    assert taken["tuned_accuracy"].source.startswith("measured: tuned, reworded")
    assert (taken["both_accuracy"].value, taken["both_accuracy"].source[:10]) == (None, "measure it")
    assert advice.groups[0].wrong_answer_limit_usd == math.inf
    assert '"never"' not in advice.to_json().split('"wrong_answer_limit_usd"')[0]
    with pytest.raises(EvaluationError, match=r"'tuned' and 'base\+RAG'"):
        rt.advise(long_rows(), queries_per_month=1, scorecard=rt.evaluate({"me": str}, facts, progress=False))


@pytest.mark.parametrize(("right", "verdict", "taken"), [(20, "both", 1.0), (11, "keep", 0.5)])
def test_tuning_beside_retrieval_is_advised_where_its_gain_is_measured(right: int, verdict: str, taken: float) -> None:
    """Of twenty facts retrieval knows ten: twenty with tuning are a gain, eleven may be chance."""
    facts = FactSet(
        facts=tuple(
            Fact(id=f"f{n}", answers=(f"w{n}x",), wordings=(Wording(question=f"Name {n}?", kind="reworded"),))
            for n in range(20)
        )
    )

    def knows(count: int) -> Any:
        def answer(question: str) -> str:
            number = int("".join(sign for sign in question if sign.isdigit()))
            return f"w{number}x" if number < count else "no idea"

        return answer

    answerers = {"base+RAG": knows(10), "tuned": knows(2), "tuned+RAG": knows(right)}
    card = rt.evaluate(answerers, facts, progress=False)
    advice = rt.advise(long_rows(), queries_per_month=10_000, updated="updated", today=TODAY, scorecard=card)
    assert advice.groups[0].verdict == verdict
    assert {row.name: row.value for row in advice.assumptions}["both_accuracy"] == taken


def test_a_card_without_the_base_with_passages_is_refused_by_what_it_lacks() -> None:
    facts = FactSet(facts=(Fact(id="f", answers=("x",), wordings=(Wording(question="Name?", kind="reworded"),)),))
    card = rt.evaluate({"tuned": lambda _: "x", "tuned+RAG": lambda _: "x"}, facts, progress=False)
    with pytest.raises(rt.EvaluationError, match=r"the advisor needs 'tuned' and 'base\+RAG'"):
        rt.advise(long_rows(), queries_per_month=10, updated="updated", today=TODAY, scorecard=card)


def test_every_number_has_a_source_and_a_changed_one_is_yours() -> None:
    number: dict[str, Any] = {"question_tokens": np.int64(33)}
    advice = rt.advise(["text"], queries_per_month=1, assumptions=Assumptions(**number))
    assert all(row.source for row in advice.assumptions)
    assert [*advice.assumptions.columns()] == ["assumption", "value", "source", "read"]
    own = [row for row in advice.assumptions if row.source == "given by you"]
    assert [(row.name, row.value, row.as_of) for row in own] == [("question_tokens", 33.0, None)]


BAD: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "nothing": ([], {}, DatasetError, "no document"),
    "one text": ("text", {}, DatasetError, "give rows, texts, or Snapshots"),
    "a number": ([3], {}, DatasetError, "neither a row nor a text"),
    "no column": ([{"body": "x"}], {}, DatasetError, "no column 'text'; its columns are 'body'"),
    "no text": ([{"text": None}], {}, DatasetError, "NoneType, not text"),
    "no date": ([{"text": "x", "u": "soon"}], {"updated": "u"}, DatasetError, "'soon' is no date"),
    "no questions": (["x"], {"queries": []}, DatasetError, "give a list of questions"),
    "one question": (["x"], {"queries": "Why?"}, DatasetError, "give a list of questions"),
    "less than none": (["x"], {"queries_per_month": -1}, SpecError, "0 or more"),
    "endless": (["x"], {"queries_per_month": math.inf}, SpecError, "0 or more"),
    "too many": (["x"], {"queries_per_month": 10**400}, SpecError, "0 or more"),
    "not yet": (
        [Snapshot(date=TODAY + dt.timedelta(days=1), documents=["a"])],
        {"today": TODAY},
        DatasetError,
        "lies in the future",
    ),
    "days": ([{"text": "x", "u": np.zeros(2)}], {"updated": "u"}, DatasetError, "is no date"),
    "no order": (
        [Snapshot(date=TODAY, documents=[]), Snapshot(date=dt.date(2026, 1, 1), documents=[])],
        {},
        DatasetError,
        "order of their dates",
    ),
    "a time": ([Snapshot(date=dt.datetime(2026, 1, 1), documents=[])], {}, DatasetError, r"datetime\.date\("),
    "mixed": ([Snapshot(date=TODAY, documents=[]), "x"], {}, DatasetError, "mixes Snapshots and documents"),
    "texts of two days": (
        [Snapshot(date=dt.date(2026, 1, 1), documents=["a"]), Snapshot(date=TODAY, documents=["a"])],
        {},
        DatasetError,
        "need rows with an id",
    ),
    "twice on the first day": (
        [
            Snapshot(date=dt.date(2026, 1, 1), documents=[{"id": 1, "text": "a"}, {"id": 1, "text": "b"}]),
            Snapshot(date=TODAY, documents=[{"id": 1, "text": "a"}]),
        ],
        {},
        DatasetError,
        "the same id",
    ),
    "twice": (
        [
            Snapshot(date=dt.date(2026, 1, 1), documents=[{"id": 1, "text": "a"}]),
            Snapshot(date=TODAY, documents=[{"id": 1, "text": "a"}, {"id": 1, "text": "b"}]),
        ],
        {},
        DatasetError,
        "the same id",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(case: str) -> None:
    corpus, options, error, message = BAD[case]
    with pytest.raises(error, match=message):
        rt.advise(corpus, **{"queries_per_month": 10, **options})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Assumptions(stale_share=1.5), "a share from 0 to 1"),
        (lambda: Assumptions(stale_share=0), "stale_share=0"),
        (lambda: Assumptions(passages=-1), "0 or more"),
        (lambda: Assumptions(passages="3"), "0 or more"),  # type: ignore[arg-type]
        (lambda: Assumptions(epochs=None), "epochs=None: give a number"),  # type: ignore[arg-type]
        (lambda: Assumptions(epochs=10**400), "0 or more"),
        (lambda: Prices(training_usd_per_million=math.nan), "0 or more"),
        (lambda: Prices(training_usd_per_million=True), "0 or more"),
    ],
)
def test_a_number_that_cannot_be_one_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()
