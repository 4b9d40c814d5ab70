"""A program that fine-tunes: every night it trains a model on the help desk's answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import openai

import ragtune as rt

SYSTEM = "Answer as the help desk does."


@dataclass(frozen=True, kw_only=True)
class Night:
    """How a night ended: with a new model, or with a reason why yesterday's goes on."""

    model: str | None
    reason: str


def retrain(client: openai.OpenAI, answers: Path, folder: Path, *, base: str) -> Night:
    """Train on a file of questions and answers; whatever happens, nothing is bought twice and nobody is woken up."""
    builder = rt.DatasetBuilder.from_jsonl(answers).chat(system=SYSTEM, user="{question}", assistant="{answer}")
    dataset = builder.build(folder, overwrite=True)
    try:
        job = rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model=base, suffix="helpdesk"))
        model = rt.JobMonitor(job).wait(timeout_s=4 * 3600)
    except rt.TuningClosed:
        return Night(model=None, reason="this account may not train any more")
    except rt.JobFailed as failure:
        return Night(model=None, reason=f"the server found fault with line {failure.line} [{failure.code}]")
    except rt.JobCancelled:
        return Night(model=None, reason="somebody cancelled the training")
    except openai.RateLimitError as refusal:
        return Night(model=None, reason=f"refused: {refusal.code}")
    return Night(model=model.name, reason="trained")
