"""Serving base and tuned models: batched generation, adapters swapped per request.

One thread owns the models. Requests become rows (one per choice); rows that want the same base run together, a token
each per step, each with its own adapter, sampling, stop rules, form and seed. They join and leave between two tokens.
"""

from __future__ import annotations

from ragtune.local.engine.generation import (
    Completed,
    GeneratedCall,
    GeneratedChoice,
    GeneratedPiece,
    Generation,
    TokenLogprob,
)
from ragtune.local.engine.request import (
    ContextOverflowError,
    EngineClosedError,
    EngineFaultError,
    GenerateRequest,
    RequestError,
)
from ragtune.local.engine.service import Engine

__all__ = [
    "Completed",
    "ContextOverflowError",
    "Engine",
    "EngineClosedError",
    "EngineFaultError",
    "GenerateRequest",
    "GeneratedCall",
    "GeneratedChoice",
    "GeneratedPiece",
    "Generation",
    "RequestError",
    "TokenLogprob",
]
