"""The model card of an exported model: what it is, what it learned from, how to serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.local.export import Exported, Origin
    from ragtune.local.store.schema import JobRow

__all__ = ["model_card"]

_FINGERPRINT = "ragtune_fingerprint"
_MERGE_FIRST = "`transformers serve` loads whole models: for it export once more with `ragtune export ... --merged`."


def model_card(name: str, *, exported: Exported, origin: Origin, job: JobRow | None, metrics: Mapping[str, Any]) -> str:
    """The card as Markdown with the Hub's front matter; what is not known is left out or called unknown.

    Args:
        name: what the backend calls the model.
        exported: where it lies and how it is served.
        origin: its base.
        job: the job that made it.
        metrics: figures of its last step.
    """
    kind = "base and adapter merged into one model" if exported.merged else "a LoRA adapter for its base"
    parts = [
        _front_matter(exported, origin),
        f"# {name}\n\nTuned with ragtune: {kind}, as safetensors, with tokenizer and chat template.",
        "## Base\n\n"
        + _table({"base": origin.name, "from": origin.location, "revision": origin.revision})
        + (f"\n\nIts weights: {origin.source}." if origin.source else ""),
        "## Training\n\n" + _table(_training(job, metrics)),
        "## Licence\n\n" + _licence(origin),
        "## Serving\n\nNothing here needs code of the model's own. From any folder:\n\n"
        + "\n\n".join(f"{server}:\n\n```sh\n{line}\n```" for server, line in exported.commands.items())
        + ("" if exported.merged else f"\n\n{_MERGE_FIRST}"),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(exported: Exported, origin: Origin) -> str:
    lines = {
        "base_model": origin.location,
        "license": (origin.licence or "unknown").lower(),
        "library_name": "transformers" if exported.merged else "peft",
        "pipeline_tag": "text-generation",
    }
    return "---\n" + "".join(f"{key}: {value}\n" for key, value in lines.items()) + "tags: [ragtune]\n---"


def _training(job: JobRow | None, metrics: Mapping[str, Any]) -> dict[str, Any]:
    if job is None:
        return {"job": "unknown"}
    figures = {
        f"{key} at step {metrics['step']}": round(value, 4)
        for key, value in metrics.items()
        if key.startswith(("train_", "full_valid_")) and isinstance(value, float)
    }
    return {
        "job": job.id,
        "method": job.method["type"],
        "data set's fingerprint": (job.metadata or {}).get(_FINGERPRINT, "unknown"),
        "training file's sha256": job.training_sha256,
        "validation file's sha256": job.validation_sha256 or "none",
        **(job.resolved or {}),
        "seed": job.seed,
        "trained tokens": "unknown" if job.trained_tokens is None else job.trained_tokens,
        **figures,
    }


def _licence(origin: Origin) -> str:
    of_base = f"The base is under {origin.licence}." if origin.licence else "The licence of the base is not known here."
    return (
        f"{of_base} A tuned model is made from its base and from its training data: what both of their licences ask "
        "holds for it, and who publishes it has to look at them first."
    )


def _table(values: Mapping[str, Any]) -> str:
    return "| | |\n|---|---|\n" + "\n".join(f"| {key} | {value} |" for key, value in values.items())
