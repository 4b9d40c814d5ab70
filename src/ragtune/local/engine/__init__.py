"""Serving base and tuned models: batched generation, adapters swapped per request.

One thread owns the models. Requests become rows (one per choice); rows that want the same model run together in one
`generate` call of transformers, each with its own sampling, its own stop rules and its own seed.
"""

from __future__ import annotations

from ragtune.local.engine.generation import Choice, Completed, GeneratedPiece, Generation, TokenLogprob
from ragtune.local.engine.request import ContextOverflowError, EngineClosedError, GenerateRequest
from ragtune.local.engine.service import Engine

__all__ = [
    "Choice",
    "Completed",
    "ContextOverflowError",
    "Engine",
    "EngineClosedError",
    "GenerateRequest",
    "GeneratedPiece",
    "Generation",
    "TokenLogprob",
]
