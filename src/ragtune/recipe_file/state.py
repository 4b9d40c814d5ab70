"""What a run has done already: a small file in its folder, written whole after each stage."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragtune._atomic import write_whole
from ragtune.errors import RagtuneError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["State", "fingerprint"]

_VERSION = 1
# What each stage left behind that later ones read.
_RESULTS = {
    "build": ("fingerprint",),
    "tune": ("model",),
    "evaluate": ("sentence", "log"),
    "promote": ("outcome", "held", "told"),
}


@dataclass(frozen=True, kw_only=True)
class State:
    """Finished stages, each with the fingerprint of what went into it.

    Attributes:
        path: the file.
    """

    path: Path

    def result(self, stage: str, inputs: str) -> Mapping[str, Any] | None:
        """What a stage gave for these inputs; None where it has not been done for them.

        Raises:
            RagtuneError: the file is damaged, or of another version.
        """
        found = self._read().get(stage)
        return found["result"] if found is not None and found["inputs"] == inputs else None

    def was_done(self, stage: str) -> bool:
        """Whether the stage was done for any inputs."""
        return stage in self._read()

    def note(self, stage: str, inputs: str, result: Mapping[str, object]) -> None:
        """Write down that a stage is done."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        stages = self._read() | {stage: {"inputs": inputs, "result": dict(result)}}
        text = json.dumps({"ragtune": _VERSION, "stages": stages}, indent=1, ensure_ascii=False)
        # On disk before the next stage spends anything.
        write_whole(self.path, text + "\n", flush=True)

    def _read(self) -> dict[str, Any]:
        try:
            said = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise self._refusal(f"is damaged ({error})") from error
        if not isinstance(said, dict):
            raise self._refusal(f"is damaged (it holds {said!r:.60})")
        if said.get("ragtune") != _VERSION:
            raise self._refusal(f"is of version {said.get('ragtune')!r:.60} and this ragtune reads {_VERSION}")
        stages = said.get("stages")
        if not isinstance(stages, dict):
            raise self._refusal(f"is damaged (stages = {stages!r:.60})")
        for name, stage in stages.items():
            if not _is_stage(name, stage):
                raise self._refusal(f"is damaged ({name} = {stage!r:.60})")
        return stages

    def _refusal(self, what: str) -> RagtuneError:
        way_out = "delete it to begin anew: each stage is looked at again, and a job is found again by its key"
        return RagtuneError(f"{self.path} {what}; {way_out}, so that none is bought twice")


def _is_stage(name: str, stage: object) -> bool:
    if not isinstance(stage, dict) or not isinstance(stage.get("inputs"), str):
        return False
    result = stage.get("result")
    # A stage at a server has that server behind its name.
    return isinstance(result, dict) and all(key in result for key in _RESULTS.get(name.partition(" ")[0], ()))


def fingerprint(*parts: object) -> str:
    """One sha256 over values that JSON can hold."""
    # Options of a recipe may be dates, which TOML and YAML know and JSON does not.
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
