"""What a run says before it starts about examples that will not teach what they seem to; loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragtune.modelling.balance import advised_weights
from ragtune.modelling.encoding.chat_template import ChatTemplate
from ragtune.modelling.encoding.examples import Example, Judged, Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ragtune.modelling.encoding.examples import Taught
    from ragtune.modelling.encoding.tokenizer import Tokenizer
    from ragtune.train.spec import TrainSpec

__all__ = ["labels_advice", "thoughts_advice"]


def thoughts_advice(spec: TrainSpec, examples: Sequence[Taught], tokenizer: Tokenizer) -> str | None:
    """What to say of thoughts that get lost: those of the examples, or the base's habit of thinking."""
    spoken = [_spoken(one) for one in examples]
    if left := sum(one.leaves_thoughts for one in spoken):
        return (
            f"{left} examples hold thoughts that are left out: the chat template of this base writes none as it is "
            "asked here. reasoning='drop' says that this is meant"
        )
    if spec.reasoning == "mask" or any(one.thinks for one in spoken) or not ChatTemplate(tokenizer).thinks:
        return None
    return (
        "This base thinks before it answers and no example holds a thought: it may unlearn thinking. Give the answers "
        "their thoughts (reasoning_content), or choose reasoning='mask', so that empty thoughts are not learned"
    )


def labels_advice(spec: TrainSpec, examples: Sequence[Taught]) -> str | None:
    """What to say of weights under which good or bad answers count for more than they should."""
    labels = [one.is_good for one in examples if isinstance(one, Judged)]
    good, bad = sum(labels), len(labels) - sum(labels)
    desirable, undesirable = (1.0 if w is None else w for w in (spec.desirable_weight, spec.undesirable_weight))
    advice = advised_weights(good, bad, desirable_weight=desirable, undesirable_weight=undesirable)
    if advice is None:
        return None
    return (
        f"{good} good answers of weight {desirable:g} and {bad} bad ones of weight {undesirable:g}: one kind "
        f"outweighs the other; {advice} would balance them"
    )


def _spoken(one: Taught) -> Example:
    if isinstance(one, Pair):
        return one.chosen
    return one.example if isinstance(one, Judged) else one
