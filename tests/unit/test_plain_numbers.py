"""Numbers of NumPy, Decimals and generators are welcome wherever numbers and lists are."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ragtune as rt
from ragtune._ranges import plain_number
from ragtune.testing import ScriptedBackend


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 2), 0.5),
        (True, True),
        (3, 3),
        ("auto", "auto"),
        (None, None),
    ],
)
def test_a_number_of_another_kind_becomes_one_of_pythons_own(given: object, plain: object) -> None:
    found = plain_number(given)
    assert (found, type(found)) == (plain, type(plain))
    assert json.dumps(found) == json.dumps(plain)


def test_a_list_of_numbers_stays_one() -> None:
    assert plain_number([np.int64(3)]) == [3]
    array = np.zeros(2)
    assert plain_number(array) is array


def test_settings_take_numbers_of_numpy() -> None:
    spec = rt.TuneSpec(
        model="base",
        method=rt.Supervised(n_epochs=np.int64(3), learning_rate=rt.Multiplier(np.float32(0.5))),  # type: ignore[arg-type]
        seed=np.int64(7),  # type: ignore[arg-type]
    )
    plain = rt.TuneSpec(model="base", method=rt.Supervised(n_epochs=3, learning_rate=rt.Multiplier(0.5)), seed=7)
    assert spec == plain
    assert json.dumps(spec.request()) == json.dumps(plain.request())
    verdicts = rt.KTO(n_epochs=np.int64(3), beta=np.float32(0.5), desirable_weight=np.float64(2))  # type: ignore[arg-type]
    assert verdicts == rt.KTO(n_epochs=3, beta=0.5, desirable_weight=2.0)
    with pytest.raises(rt.SpecError, match="n_epochs: 51 is out of range"):
        rt.Supervised(n_epochs=np.int64(51))  # type: ignore[arg-type]
    with pytest.raises(rt.SpecError, match="n_epochs: True is no whole number"):
        rt.Supervised(n_epochs=np.bool_(True))  # type: ignore[arg-type]


def test_a_budget_takes_decimals() -> None:
    assert rt.Budget(Decimal("5")) == rt.Budget(5.0)  # type: ignore[arg-type]
    assert repr(rt.Budget(np.float32(0.5))) == repr(rt.Budget(0.5))  # type: ignore[arg-type]
    with pytest.raises(rt.SpecError, match="is no budget"):
        rt.Budget(Decimal("-1"))  # type: ignore[arg-type]


def test_a_limit_on_a_jobs_price_takes_numbers_of_numpy() -> None:
    spec = rt.TuneSpec(model="gpt-4.1-2025-04-14")
    with ScriptedBackend() as backend, backend.client() as client:
        for limit in (np.int64(5), np.float32(0.5), Decimal("5")):
            rt.FineTuneJob.plan(client, "file-1", spec, max_cost_usd=limit, allow_unknown_cost=True, journal=None)  # type: ignore[arg-type]
        with pytest.raises(rt.SpecError, match="max_cost_usd: True must be a number"):
            rt.FineTuneJob.plan(client, "file-1", spec, max_cost_usd=np.bool_(True), journal=None)  # type: ignore[arg-type]


def test_a_journal_takes_numbers_of_numpy(tmp_path: Path) -> None:
    journal = rt.Journal(tmp_path / "journal.sqlite3")
    assert list(journal.runs(limit=np.int64(2))) == []  # type: ignore[arg-type]
    with pytest.raises(rt.JournalError, match="has no run 3"):
        journal.run(np.int64(3))  # type: ignore[arg-type]
    with pytest.raises(rt.SpecError, match=r"limit: .*0.* must be"):
        journal.runs(limit=np.int64(0))  # type: ignore[arg-type]


def test_a_model_takes_generators_and_numbers_of_numpy() -> None:
    def said(model: str, messages: Any) -> str:
        return str(messages[-1]["content"])

    with ScriptedBackend(answer=said) as backend, backend.client() as client:
        model = rt.TunedModel(client, "gpt-4.1-2025-04-14", system="", journal=None)
        answers = model.ask_many((f"q{n}" for n in range(3)), concurrency=np.int64(2), max_tokens=np.int64(9))  # type: ignore[arg-type]
        assert [answer.text for answer in answers if isinstance(answer, rt.Answer)] == ["q0", "q1", "q2"]
        assert answers.questions == ("q0", "q1", "q2")
        turns = ({"role": "user", "content": text} for text in ("a", "b"))
        assert model.chat(turns, temperature=np.float32(0), top_p=Decimal("0.5")).text == "b"
        assert len(rt.list_jobs(client, limit=np.int64(2))) == 0  # type: ignore[arg-type]
        for wrong in ("x", {"a": 1}, 3):
            with pytest.raises(TypeError, match="ask_many takes a list of questions"):
                model.ask_many(wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="chat takes a list of messages"):
                model.chat(wrong)  # type: ignore[arg-type]
