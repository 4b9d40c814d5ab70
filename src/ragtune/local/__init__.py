"""The embedded backend: OpenAI's fine-tuning wire on one's own machine, really training.

It knows files, fine-tuning jobs, models, chat completions and completions. See `LocalBackend`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragtune.local.backend import LocalBackend
    from ragtune.local.remote_engine import EngineAddress
    from ragtune.local.serving import serve

__all__ = ["EngineAddress", "LocalBackend", "serve"]

# Loaded on first use: the training worker imports this package's neighbours and needs no web server.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            message = f"module 'ragtune.local' has no attribute {name!r}"
            raise AttributeError(message)
        from ragtune._extras import require

        require("local", "starlette", "uvicorn", "python_multipart", reason="the embedded backend")
        from ragtune.local.backend import LocalBackend
        from ragtune.local.remote_engine import EngineAddress
        from ragtune.local.serving import serve

        globals().update(EngineAddress=EngineAddress, LocalBackend=LocalBackend, serve=serve)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
