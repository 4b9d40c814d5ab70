"""Engines of their own that answer in place of this program: vLLM, SGLang, llama.cpp.

They speak OpenAI's completions and load adapters while they run; this program makes their prompts, hands them adapters,
reads their streams and counts. Nobody above `service.RemoteEngine` knows that an answer came from elsewhere.
"""

from __future__ import annotations

from ragtune.local.remote_engine.address import EngineAddress, EngineCommand, EngineKind, engines_of

__all__ = ["EngineAddress", "EngineCommand", "EngineKind", "engines_of"]
