"""`server.json`: where the server that has a folder listens, for programs that want the same folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ragtune._atomic import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ServerFile"]

NAME = "server.json"


@dataclass(frozen=True, kw_only=True)
class ServerFile:
    """What a running server tells other programs of its owner; one that was killed leaves it behind.

    Attributes:
        kind: `embedded` or `scripted`.
        origin: its address, without a path.
        account: whose it is.
        options: how it was started, as JSON holds it.
    """

    kind: str
    origin: str
    account: str
    options: Mapping[str, object] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Put it into a folder, for its owner's eyes alone."""
        write_whole(folder / NAME, json.dumps(asdict(self)), private=True)

    @classmethod
    def read(cls, folder: Path) -> ServerFile | None:
        """Read that of a folder; None where there is none. What a newer version tells besides is passed over."""
        try:
            told = json.loads((folder / NAME).read_text(encoding="utf-8"))
            return cls(**{name: told[name] for name in cls.__dataclass_fields__ if name in told})
        # A damaged one counts as none: whoever asks looks again, and the lock says whether a server is there.
        except (OSError, TypeError, ValueError):
            return None

    @staticmethod
    def remove(folder: Path) -> None:
        """Take it away; it need not be there."""
        (folder / NAME).unlink(missing_ok=True)
