"""`ragtune feedback`, as a program of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ragtune as rt
from ragtune.testing import ScriptedBackend
from tests.contract.test_cli import run

DEEP = "How deep is Lake Sorrel?"


def found(*args: str | Path) -> Any:
    code, out, err = run("feedback", *args, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.slow
def test_a_verdict_goes_its_whole_way(tmp_path: Path) -> None:
    """In by hand and by file, listed, compiled, exported, and out again with whoever leaves."""
    here = ("--store", tmp_path / "said.sqlite3")
    assert found("add", DEEP, "12 metres", "--bad", "--correction", "83 metres", "--by", "anna", *here) == {"id": 1}
    rows = [{"question": f"Which is number {n}?", "answer": f"{n}", "verdict": 1, "by": "ben"} for n in range(12)]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert found("import", tmp_path / "more.jsonl", *here)["verdicts"] == 12
    assert [row["by"] for row in found("list", "--limit", "2", *here)] == ["ben", "ben"]
    assert [row["correction"] for row in found("list", "--by", "anna", *here)] == ["83 metres"]
    assert found("list", "--unjudged", *here) == []
    assert found("suggest", *here)["method"] == "supervised"
    built = found("build", "--out", tmp_path / "next", *here)
    assert (built["feedback_rows"], len(rt.Dataset.load(tmp_path / "next").train)) == (13, 13)
    assert found("export", tmp_path / "out.csv", "--by", "ben", *here)["verdicts"] == 12
    assert len((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()) == 13
    gone = found("withdraw", "anna", "--journal", tmp_path / "journal.sqlite3", *here)
    assert (gone["verdicts"], gone["datasets"], gone["learned"]) == (1, [[built["fingerprint"], built["folder"]]], [])
    assert run("feedback", "remove", "2", *here)[:2] == (0, "answer 2 is gone\n")
    assert len(rt.FeedbackStore(tmp_path / "said.sqlite3")) == 11


@pytest.mark.slow
def test_who_leaves_hears_which_jobs_and_models_learned_from_them(tmp_path: Path) -> None:
    store = rt.FeedbackStore(tmp_path / "said.sqlite3")
    store.add_many({"question": f"Which is {n}?", "answer": f"{n}", "verdict": 1, "by": "anna"} for n in range(12))
    dataset = rt.DatasetBuilder.from_feedback(store).build(tmp_path / "data")
    journal = tmp_path / "journal.sqlite3"
    with ScriptedBackend() as backend, backend.client() as client:
        job = rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model="tiny-random"), journal=journal)
        model = rt.JobMonitor(job).wait(timeout_s=60)
    code, out, _ = run("feedback", "withdraw", "anna", "--journal", journal, "--store", store.path)
    assert code == 0
    assert out == (
        f"anna: 12 verdicts and 0 answers removed; datasets that hold them:\n  {dataset.fingerprint[:12]}  "
        f"{dataset.folder}\njobs and models that learned from these:\n  {job.id}  {model.name}  from "
        f"{dataset.fingerprint[:12]}\n"
    )


@pytest.mark.slow
def test_disagreements_and_doubts_are_said(tmp_path: Path) -> None:
    store = rt.FeedbackStore(tmp_path / "feedback.sqlite3")
    store.add("83 m", 1, question=DEEP, by="anna")
    store.add("83 m", -1, question=DEEP, by="ben")
    passages = ["The bell hangs 12 metres deep."]
    store.add("12 metres", question="How deep is the bell?", correction="20 metres", by="cem", passages=passages)
    code, out, _ = run("feedback", "suggest", "--folder", tmp_path)
    assert code == 0
    assert f"people disagree, left out: '{DEEP}': anna says 'good', ben says 'bad'" in out
    assert "in doubt, look at it: 'How deep is the bell?': cem says '20 metres', and the passages '12 metres'" in out


@pytest.mark.slow
def test_what_goes_wrong_is_said_without_a_traceback(tmp_path: Path) -> None:
    here = ("--store", tmp_path / "said.sqlite3")
    (tmp_path / "bad.jsonl").write_text('{"question": "Q?", "answer": "A", "verdict": 7}\n', encoding="utf-8")
    code, _, err = run("feedback", "import", tmp_path / "bad.jsonl", *here)
    assert (code, "bad.jsonl line 1: verdict: 7 must be 1 for good" in err, "Traceback" in err) == (1, True, False)
    assert run("feedback", "build", "--out", tmp_path / "d", "--method", "magic", *here)[0] == 2
    assert run("feedback", "build", "--out", tmp_path / "d", "--allow", "x", *here)[0] == 2
    assert run("feedback", "list", "--folder", tmp_path / "none")[0] == 1
    rt.FeedbackStore(tmp_path / "said.sqlite3").add("83", 1, question="Held out?", by="anna")
    facts = rt.FactSet.from_rows([{"q": "Held out?", "a": "83"}], question="q", answer="a")
    facts.to_jsonl(tmp_path / "facts.jsonl")
    code, _, err = run("feedback", "build", "--out", tmp_path / "d", "--held-out", tmp_path / "facts.jsonl", *here)
    assert (code, "feedback:1, question: it holds the held-out verbatim question" in err, "'row-0'" in err) == (
        1,
        True,
        True,
    )
