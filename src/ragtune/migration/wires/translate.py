"""The intent of an archived job in another server's words, and everything that is lost on the way, said beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ragtune._checked import checked
from ragtune.errors import SpecError, Unsupported
from ragtune.limits import MAX_BATCH_SIZE, MAX_EPOCHS
from ragtune.spec import DPO, Absolute, Method, Multiplier, Reinforcement, Supervised, TuneSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ragtune.dialects import Dialect
    from ragtune.job import JobDetails

__all__ = ["Translation", "translated"]

# What a LoRA is usually trained with (1e-4 to 2e-4 in TRL's documents, read 2026-11-21): OpenAI's own rate, which its
# multiplier is a factor on, was never published.
LORA_RATE = 1e-4
# Servers whose models go by OpenAI's names.
_SAME_BASES = ("openai", "azure-foundry", "local", "generic")
_OURS = "ragtune_"
# What an order has and the requests of wires of their own leave out, see `hosted`.
_NOT_SENT = {"together": ("seed",), "fireworks": ("seed", "batch_size")}

Rate = Multiplier | Absolute | Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A job for another server.

    Attributes:
        spec: what is ordered there.
        carried: what goes over as it is.
        approximated: what means something else there, with what was made of it.
        dropped: what the server has no place for.

    Example:
        ```python
        import ragtune as rt
        from ragtune.dialects import dialect_named
        from ragtune.migration import translated

        wire = {"id": "ftjob-1", "status": "succeeded", "model": "gpt-4o-mini-2024-07-18", "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 3, "learning_rate_multiplier": 1.8}},
        }}
        job = rt.JobDetails.from_wire(wire)
        there = translated(job, "openai", dialect_named("nebius"), base="meta-llama/Llama-3.1-8B")
        print(there.spec.method.learning_rate)
        #> Absolute(value=0.00018)
        print(there.approximated[-3].partition(";")[0])
        #> learning_rate: the multiplier 1.8 becomes the absolute rate 0.00018
        ```
    """

    spec: TuneSpec
    carried: tuple[str, ...]
    approximated: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a careful person would want to know before it runs."""
        return (*self.approximated, *(f"not carried over: {one}" for one in self.dropped))

    def __str__(self) -> str:
        lines = [f"{self.spec.model}, {self.spec.method.type}"]
        lines += [f"  as it was: {one}" for one in self.carried]
        lines += [f"  approximated: {one}" for one in self.approximated]
        return "\n".join(lines + [f"  dropped: {one}" for one in self.dropped])


@checked()
def translated(
    job: JobDetails, source: Dialect | str, target: Dialect, *, base: str | None = None, spec: TuneSpec | None = None
) -> Translation:
    """Say a job in another server's words.

    Args:
        job: as it was archived, its hyperparameters as the server had chosen them.
        source: dialect of the server that it ran on, or its name.
        target: dialect of the server that it shall run on.
        base: base model there; None takes the same name where the server may have it.
        spec: what is ordered instead of what is worked out here; only its limits there are said.

    Raises:
        SpecError: the base has to be named.
        Unsupported: the server does not have the method, or the job's data would be read otherwise.
    """
    name = source if isinstance(source, str) else source.name
    notes = _Notes()
    if spec is None:
        spec = TuneSpec(
            model=_base(job, target=target, base=base, notes=notes),
            method=_method(job, source=name, target=target, notes=notes),
            seed=_seed(job, target, notes),
            suffix=_suffix(job, target, notes),
            metadata=_metadata(job.metadata, target, notes),
        )
    elif base is not None:
        spec = replace(spec, model=base)
    _about_the_server(target, spec, notes)
    return Translation(
        spec=spec, carried=tuple(notes.carried), approximated=tuple(notes.approximated), dropped=tuple(notes.dropped)
    )


class _Notes:
    """What is said of a translation, as it is made."""

    def __init__(self) -> None:
        self.carried: list[str] = []
        self.approximated: list[str] = []
        self.dropped: list[str] = []


def _base(job: JobDetails, *, target: Dialect, base: str | None, notes: _Notes) -> str:
    old = job.model or "an unknown base"
    if base is None:
        # A tuned model is there on its own account alone.
        if job.model is None or job.model.startswith("ft:"):
            why = "the server did not say on which base" if job.model is None else f"it trained {old} further"
            raise SpecError(f"base: {job.id} cannot be replayed as it was ({why}); name a base, base='...'")
        if target.name not in _SAME_BASES:
            message = f"base: {target.name} has no {old}; name one of its models, base='...'"
            raise SpecError(message)
        notes.carried.append(f"the base {old}, if the server has it")
        return job.model
    if base != job.model:
        notes.approximated.append(f"base: {old} becomes {base}; it is another model and learns otherwise")
    return base


def _method(job: JobDetails, *, source: str, target: Dialect, notes: _Notes) -> Method:
    kind = job.method or "supervised"
    if kind not in target.methods:
        takes = ", ".join(sorted(target.methods))
        raise Unsupported(target.name, f"the method {kind} of {job.id}", f"it takes {takes}; choose another server")
    values = {"n_epochs": _count("n_epochs", job.n_epochs, MAX_EPOCHS, notes)}
    sent = "batch_size" not in _NOT_SENT.get(target.wire, ())
    values["batch_size"] = _count("batch_size", job.batch_size, MAX_BATCH_SIZE, notes, sent=sent)
    rate = _rate(job, source=source, target=target, notes=notes)
    if kind == "dpo":
        return DPO(**values, learning_rate=rate, beta=_beta(job, notes))
    if kind == "reinforcement":
        return _reinforcement(job, values, rate)
    return Supervised(n_epochs=values["n_epochs"], batch_size=values["batch_size"], learning_rate=rate)


def _count(name: str, value: int | str | None, most: int, notes: _Notes, *, sent: bool = True) -> int:
    if isinstance(value, int) and 1 <= value <= most:
        if sent:
            notes.carried.append(f"{name} {value}")
        return value
    notes.approximated.append(f"{name}: what it was is not known ({value!r}); the server chooses")
    return "auto"  # type: ignore[return-value]  # "auto" stands beside numbers in every spec


def _rate(job: JobDetails, *, source: str, target: Dialect, notes: _Notes) -> Rate:
    factor, rate = job.learning_rate_multiplier, job.learning_rate
    if isinstance(rate, int | float) and target.learning_rate != "multiplier":
        notes.carried.append(f"the learning rate {rate:g}")
        return Absolute(float(rate))
    if isinstance(rate, int | float):
        if target.multiplier_of is None:
            notes.dropped.append(
                f"the learning rate {rate:g}: {target.name} takes a factor on a rate that is not known"
            )
            return "auto"
        factor = rate / target.multiplier_of
        said = f"the absolute rate {rate:g} becomes the multiplier {factor:.4g}"
        notes.approximated.append(f"learning_rate: {said}; {target.name} multiplies it by {target.multiplier_of:g}")
        return Multiplier(factor)
    if not isinstance(factor, int | float):
        notes.approximated.append(f"learning_rate: it was {factor or 'not said'}, and the server chooses its own")
        return "auto"
    if target.learning_rate == "absolute":
        # Six digits: 1.1 times 1e-4 is 0.00011000000000000002, and that would be ordered.
        made = float(f"{factor * LORA_RATE:.6g}")
        notes.approximated.append(
            f"learning_rate: the multiplier {factor:g} becomes the absolute rate {made:g}; it is a factor on a rate "
            f"that {source} never published, so {factor:g} x {LORA_RATE:g} (what a LoRA is usually trained with) is a "
            "guess: give spec= with rt.Absolute(...) where you know better"
        )
        return Absolute(made)
    return _factor(job, factor, source=source, target=target, notes=notes)


def _factor(job: JobDetails, factor: float, *, source: str, target: Dialect, notes: _Notes) -> Multiplier:
    """A multiplier that stays one: it is a factor on another rate all the same."""
    if target.name in (source, "openai", "azure-foundry"):
        notes.carried.append(f"the learning rate multiplier {factor:g}")
    else:
        # What is known is the rate of supervised jobs.
        known = None if job.method == "dpo" else target.multiplier_of
        of = "a rate that is not known" if known is None else f"{known:g}"
        notes.approximated.append(
            f"learning_rate: the multiplier {factor:g} stays {factor:g} but is a factor on {of} there, not on "
            f"{source}'s rate"
        )
    return Multiplier(float(factor))


def _beta(job: JobDetails, notes: _Notes) -> float:
    method = job.raw.get("method")
    settings = method.get("dpo", {}).get("hyperparameters", {}) if isinstance(method, dict) else {}
    beta = settings.get("beta")
    if isinstance(beta, int | float) and not isinstance(beta, bool):
        notes.carried.append(f"beta {beta:g}")
        return float(beta)
    notes.approximated.append(f"beta: it was {beta!r}, and the server chooses its own")
    return "auto"  # type: ignore[return-value]  # as above


def _reinforcement(job: JobDetails, values: Mapping[str, int], rate: Rate) -> Reinforcement:
    settings = job.raw.get("method", {}).get("reinforcement", {})
    if not settings.get("grader"):
        raise SpecError(f"{job.id} was graded and its grader is not in the archive; give spec= with one")
    return Reinforcement(
        grader=settings["grader"],
        response_format=settings.get("response_format"),
        learning_rate=rate,
        n_epochs=values["n_epochs"],
        batch_size=values["batch_size"],
    )


def _seed(job: JobDetails, target: Dialect, notes: _Notes) -> int | None:
    if job.seed is not None and "seed" not in _NOT_SENT.get(target.wire, ()):
        notes.approximated.append(f"seed: {job.seed} goes along, and gives another model on another server")
    return job.seed


def _suffix(job: JobDetails, target: Dialect, notes: _Notes) -> str | None:
    if job.suffix is None:
        return None
    if target.suffix == "refused":
        notes.dropped.append(f"the suffix {job.suffix!r}: the server names its models itself")
        return None
    if len(job.suffix) > target.longest_suffix:
        short = job.suffix[: target.longest_suffix]
        notes.approximated.append(f"suffix: {job.suffix!r} is cut to {short!r}")
        return short
    notes.carried.append(f"the suffix {job.suffix!r}")
    return job.suffix


def _metadata(given: Mapping[str, str], target: Dialect, notes: _Notes) -> dict[str, str]:
    # Ours say which order a job fulfils, and this is another order.
    own = {key: value for key, value in given.items() if not key.startswith(_OURS)}
    if own and not target.keeps_metadata:
        notes.dropped.append(f"metadata ({', '.join(sorted(own))}): the server keeps none")
        return {}
    return own


def _about_the_server(target: Dialect, spec: TuneSpec, notes: _Notes) -> None:
    """What the server itself does otherwise, whatever the job says."""
    for name, value in (("seed", spec.seed), ("batch_size", spec.method.batch_size)):
        if name in _NOT_SENT.get(target.wire, ()) and value not in (None, "auto"):
            notes.dropped.append(f"{name} {value}, which is not sent to {target.name}")
    if not target.trains_answers_alone:
        way = "pass a dialect with extra_body={'train_on_completions': True}"
        if target.extra_body.get("train_on_completions"):
            notes.approximated.append("loss: the message `weight` is not honoured there")
        else:
            notes.approximated.append(f"loss: all tokens are trained, prompts too, and `weight` is not honoured; {way}")
    if target.jobs_at_once is not None:
        notes.approximated.append(
            f"queue: it takes {target.jobs_at_once} job at a time and answers 409 to the next; run one after the other"
        )
    if not target.keeps_metadata:
        notes.approximated.append(
            "search: the server keeps no metadata, so a job whose answer was lost is looked for by file, base and time"
        )
    if not target.called_live and target.name != "generic":
        notes.approximated.append(
            f"server: {target.name} was never called live by this package; its facts are of {target.as_of} "
            f"({target.source})"
        )
    if target.result == "deploy" and target.serving is not None:
        notes.approximated.append(f"serving: its model answers once you deploy it: {target.serving}")
