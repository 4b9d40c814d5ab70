"""What ragtune writes into a job's metadata: the only words of ours that a server keeps with a job.

The key finds the job again when an answer was lost; the rest tells a tuned model, years later and on another machine,
how it was trained. The names are part of every account's history, so they never change.
"""

from __future__ import annotations

from ragtune.limits import MAX_METADATA_VALUE

__all__ = ["FINGERPRINT", "KEY", "SYSTEM", "SYSTEM_TOO_LONG", "system_notes", "training_notes"]

KEY = "ragtune_key"
FINGERPRINT = "ragtune_fingerprint"
SYSTEM = "ragtune_system"
SYSTEM_TOO_LONG = "ragtune_system_chars"


def training_notes(fingerprint: str, system: str | None) -> dict[str, str]:
    """Return what the metadata of a job on a dataset says about it.

    Args:
        fingerprint: the dataset's.
        system: its constant system prompt, or None.
    """
    return {FINGERPRINT: fingerprint, **system_notes(system)}


def system_notes(system: str | None) -> dict[str, str]:
    """What the metadata say of a system prompt.

    One that is too long for metadata is told by its length, so that its model can say what it misses; the journal keeps
    prompts of any length.
    """
    if not system:
        return {}
    if len(system) <= MAX_METADATA_VALUE:
        return {SYSTEM: system}
    return {SYSTEM_TOO_LONG: str(len(system))}
