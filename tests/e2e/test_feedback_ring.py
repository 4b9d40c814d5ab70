"""The ring closes: what somebody corrects on the page, the next model answers right, and the rest stays."""

from __future__ import annotations

from pathlib import Path

import httpx2 as httpx
import pytest

import ragtune as rt
from examples.feedback import ASKED, FACTS, RIGHT, WRONG
from ragtune.local import LocalBackend

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.e2e]


def test_a_wrong_answer_is_corrected_on_the_page_and_the_next_model_is_right(tmp_path: Path) -> None:
    rows = [{"question": question, "answer": f"{answer};"} for question, answer in FACTS]
    right = [{"q": question, "a": RIGHT if question == ASKED else answer} for question, answer in FACTS]
    facts = rt.FactSet.from_rows(right, question="q", answer="a")
    first_data = rt.DatasetBuilder.from_rows(rows).chat(user="{question}", assistant="{answer}").build(tmp_path / "1")
    method = rt.Supervised(n_epochs=30, batch_size=1, learning_rate=rt.Multiplier(5.0))
    spec = rt.TuneSpec(model="tiny-random", method=method, seed=1)
    journal = tmp_path / "journal.sqlite3"
    with LocalBackend(tmp_path / "backend", threads=1) as backend, backend.client() as client:
        first_job = rt.FineTuneJob.create(client, first_data, spec=spec, journal=journal)
        first = rt.JobMonitor(first_job).wait(timeout_s=300)
        wrong = first.ask(ASKED, max_tokens=4)
        assert wrong.text.startswith(WRONG)

        origin = backend.base_url.removesuffix("/v1")
        with httpx.Client(base_url=origin, headers={"origin": origin}) as browser:
            browser.post("/login", data={"key": backend.api_key})
            said = {"model": first.name, "question": ASKED, "answer": wrong.text, "by": "anna"}
            reply = browser.post("/playground/feedback", json={**said, "correction": f"{RIGHT};"})
            assert reply.status_code == 200

        next_data = rt.DatasetBuilder.from_feedback(backend.feedback, previous=first_data).build(tmp_path / "2")
        assert len(next_data.train) == len(first_data.train)
        second_job = rt.FineTuneJob.create(client, next_data, spec=spec, journal=journal)
        second = rt.JobMonitor(second_job).wait(timeout_s=300)
        assert second.ask(ASKED, max_tokens=4).text.startswith(RIGHT)

        arms = {"before": first, "after": second}
        card = rt.evaluate(arms, facts, scorers=("contains",), log=tmp_path / "log.jsonl", max_tokens=6)
        before, after = card["before"]["verbatim"].mean, card["after"]["verbatim"].mean
        assert before == pytest.approx(1 - 1 / len(FACTS))
        assert after == 1.0

        gone = backend.feedback.withdraw(by="anna", runs=rt.runs(journal=journal))
        assert [(one.job, one.model) for one in gone.learned] == [(second_job.id, second.name)]
