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
            RagtuneError: the file is damaged.
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
        write_whole(self.path, text + "\n", flush=True)

    def _read(self) -> dict[str, Any]:
        try:
            stages: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))["stages"]
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            message = f"{self.path} is damaged ({error}); delete it: each stage is looked at again, no job bought twice"
            raise RagtuneError(message) from error
        return stages


def fingerprint(*parts: object) -> str:
    """One sha256 over values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
