"""What you need to test a program that fine-tunes: a scripted server, failures by name, and pytest fixtures.

See `ScriptedBackend`; `ragtune.testing.failures` holds the failures that have a name, and
`ragtune.testing.plugin` the fixtures. Needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragtune.testing.backend import ScriptedBackend
    from ragtune.testing.faults import SeenRequest
    from ragtune.testing.rules import AnswerRule

__all__ = ["AnswerRule", "ScriptedBackend", "SeenRequest"]

# Loaded on first use: pytest imports this package for its plugin, also in projects that do not ask for it.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            message = f"module 'ragtune.testing' has no attribute {name!r}"
            raise AttributeError(message)
        from ragtune._extras import require

        require("testing", "starlette", "uvicorn", "python_multipart", reason="the scripted backend")
        from ragtune.testing.backend import ScriptedBackend
        from ragtune.testing.faults import SeenRequest
        from ragtune.testing.rules import AnswerRule

        globals().update(AnswerRule=AnswerRule, ScriptedBackend=ScriptedBackend, SeenRequest=SeenRequest)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
