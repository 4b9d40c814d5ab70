"""What every value and every command has in common, so that nobody has to look it up."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any

import click
import typer

import ragtune
from ragtune.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each counts, collects or remembers while something runs; what is handed to a user is none of them.
CHANGING = """
_api.identity.Heard _encodings.Misreading advice.corpus.Corpus advice.corpus.GroupFacts advice.corpus._Seen
checks.check._Pass checks.content.thoughts.Thoughts checks.content.verdicts.Verdicts checks.legacy.Profile
checks.legacy.Side dataset.deduplicate.Duplicates dataset.render.steps.RunningTake evaluation.scoring.Scoring
evaluation.session.Evaluation facts.paid_chat.PaidChat facts.rewording.Rewriter job.state.JobState
local.engine.batch_row._Unsent local.http.multipart.Form local.remote_engine.reader._Choice
migration.interview.Interview testing.faults.Script testing.faults._Act
""".split()
# What these look at or delete is the smaller surprise: left out, something stays that nobody asked to keep.
ON_FROM_THE_START = {"models delete --checkpoints", "registry add --ask", "cleanup --orphans"}


def test_a_value_does_not_change_after_it_was_made() -> None:
    found = set()
    for module in pkgutil.walk_packages(ragtune.__path__, "ragtune."):
        if "__main__" in module.name:
            continue
        for name, made in vars(importlib.import_module(module.name)).items():
            own = inspect.isclass(made) and made.__module__ == module.name
            if own and dataclasses.is_dataclass(made) and not made.__dataclass_params__.frozen:  # type: ignore[attr-defined]
                found.add(f"{module.name.removeprefix('ragtune.')}.{name}")
    assert found == set(CHANGING)


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
