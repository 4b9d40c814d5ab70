"""A script in a file, for tests that are not written in Python: answers by rule, jobs, failures."""

from __future__ import annotations

import inspect
import json
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragtune.errors import BackendError
from ragtune.testing import failures
from ragtune.testing.rules import AnswerRule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ragtune.testing.backend import ScriptedBackend

__all__ = ["ScriptFile"]


@dataclass(frozen=True, kw_only=True)
class ScriptFile:
    """What stands in a script file, TOML or JSON.

    Attributes:
        path: the file.
        answers: the fields of an `AnswerRule` each.
        jobs: the arguments of `ScriptedBackend.next_job`, one job after the other.
        faults: the arguments of `ScriptedBackend.fail_next`.
        failures: names out of `ragtune.testing.failures`.
    """

    path: Path
    answers: tuple[Mapping[str, Any], ...] = ()
    jobs: tuple[Mapping[str, Any], ...] = ()
    faults: tuple[Mapping[str, Any], ...] = ()
    failures: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> ScriptFile:
        """Read a script.

        Raises:
            BackendError: it cannot be read, is neither TOML nor JSON, or holds something else than the four lists.
        """
        try:
            text = path.read_text(encoding="utf-8")
            found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        except OSError as error:
            raise BackendError(f"{path} cannot be read: {error.strerror}; check the path") from None
        except (ValueError, RecursionError) as error:
            kind = "JSON" if path.suffix == ".json" else "TOML (a script in JSON has a name that ends in .json)"
            raise BackendError(f"{path} is no {kind}: {error}") from None
        known = ("answers", "jobs", "faults", "failures")
        # What is no table is refused in the same words, under the name of its type.
        for name, value in found.items() if isinstance(found, dict) else ((type(found).__name__, found),):
            if name not in known or not isinstance(value, list):
                raise BackendError(f"{path}: {name!r} is not one of the lists {', '.join(known)}; correct its name")
        return cls(path=path, **{name: tuple(value) for name, value in found.items()})

    def rules(self) -> tuple[AnswerRule, ...]:
        """The answers.

        Raises:
            BackendError: one has other fields than a rule, or its pattern is none.
        """
        return tuple(
            self._called("answers", number, AnswerRule, rule) for number, rule in enumerate(self.answers, start=1)
        )

    def play(self, backend: ScriptedBackend) -> None:
        """Tell a backend about its jobs and failures.

        Raises:
            BackendError: an entry is none.
        """
        for number, job in enumerate(self.jobs, start=1):
            self._called("jobs", number, backend.next_job, job)
        for number, fault in enumerate(self.faults, start=1):
            self._called("faults", number, backend.fail_next, fault)
        for name in self.failures:
            if name not in failures.__all__:
                raise BackendError(f"{self.path}: {name!r} is not one of the failures {', '.join(failures.__all__)}")
            getattr(failures, name)(backend)

    def _called(self, part: str, number: int, call: Callable[..., Any], given: object) -> Any:
        # Before the call, whose TypeError would speak of arguments that stand in no script.
        known = inspect.signature(call).parameters
        if not isinstance(given, dict) or not given.keys() <= known.keys():
            raise BackendError(
                f"{self.path}: {part}[{number}] is {given!r:.80}; give a table with some of {', '.join(known)}"
            )
        try:
            return call(**given)
        except (TypeError, ValueError) as error:
            raise BackendError(f"{self.path}: {part}[{number}]: {error}") from None
