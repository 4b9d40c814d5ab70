"""What every value and every command has in common, so that nobody has to look it up."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any

import click
import pytest
import typer

import ragtune
from ragtune.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each counts, collects or remembers while something runs; what is handed to a user is none of them.
CHANGING = """
_api.identity.Heard _encodings.Misreading advice.corpus.Corpus advice.corpus.GroupFacts advice.corpus._Seen
checks.one_pass.Pass checks.content.thoughts.Thoughts checks.content.verdicts.Verdicts checks.legacy.Profile
checks.legacy.Side dataset.deduplicate.Duplicates dataset.render.steps.RunningTake evaluation.scoring.Scoring
evaluation.session.Evaluation facts.paid_chat.PaidChat facts.rewording.Rewriter job.state.JobState
local.engine.batch_row._Unsent local.http.multipart.Form local.remote_engine.reader._Choice
migration.interview.Interview testing.faults.Script testing.faults._Act
""".split()
# Some are said like a word (`Budget(20.0)`, `Absolute(1e-4)`); the rest are not made by users.
BY_POSITION = """
_encodings.Misreading checks.one_pass.Pass checks.content.thoughts.Thoughts checks.content.verdicts.Verdicts
checks.legacy.Profile checks.legacy.Side evaluation.scoring.Scoring evaluation.session.Evaluation
journal.budget.Budget migration.interview.Interview recipes.recipe.Recipe records.base.RecordFault
spec.learning_rate.Absolute spec.learning_rate.Multiplier testing.faults.Script
""".split()
# What these look at or delete is the smaller surprise: left out, something stays that nobody asked to keep.
ON_FROM_THE_START = {"models delete --checkpoints", "registry add --ask", "cleanup --orphans"}


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """Every dataclass of the package."""
    found = {}
    for module in pkgutil.walk_packages(ragtune.__path__, "ragtune."):
        if "__main__" in module.name:
            continue
        for name, made in vars(importlib.import_module(module.name)).items():
            own = inspect.isclass(made) and made.__module__ == module.name
            if own and dataclasses.is_dataclass(made):
                found[f"{module.name.removeprefix('ragtune.')}.{name}"] = made
    return found


@pytest.mark.slow
def test_a_value_does_not_change_after_it_was_made(values: dict[str, Any]) -> None:
    assert {name for name, made in values.items() if not made.__dataclass_params__.frozen} == set(CHANGING)


def test_a_value_is_made_by_the_names_of_its_parts(values: dict[str, Any]) -> None:
    given = {name: [part.kw_only for part in dataclasses.fields(made) if part.init] for name, made in values.items()}
    assert {name for name, by_name in given.items() if not all(by_name)} == set(BY_POSITION)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(group, "list_commands"):
        yield " ".join(path), group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        yield from commands(group.get_command(context, name), (*path, name))


def test_a_switch_is_off_until_it_is_given() -> None:
    switches = {
        f"{path} {parameter.opts[0]}": parameter.default
        for path, command in commands(typer.main.get_command(app))
        for parameter in command.params
        if getattr(parameter, "is_flag", False)
    }
    assert len(switches) > 60
    assert {name for name, default in switches.items() if default} == ON_FROM_THE_START
