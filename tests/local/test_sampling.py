"""Drawing tokens: what comes how often."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ragtune.local.engine.decoding.sampling import Sampler
from ragtune.local.engine.request import GenerateRequest

SHARES = [0.5, 0.25, 0.15, 0.1, 0.0]


def sampler(**settings: Any) -> Sampler:
    """A sampler with a fixed seed."""
    return Sampler(GenerateRequest(base_path=Path(), prompt="x", **{"seed": 1, **settings}), 0)


def logits() -> Any:
    """Logits whose softmax is `SHARES`."""
    import torch

    return torch.tensor([math.log(share) if share else -math.inf for share in SHARES])


def drawn(times: int, allowed: list[bool] | None = None, **settings: Any) -> list[float]:
    """How often each token came."""
    import torch

    chooser = sampler(**settings)
    mask = None if allowed is None else torch.tensor(allowed)
    counts = Counter(chooser.draw(logits(), mask) for _ in range(times))
    return [counts[token] / times for token in range(len(SHARES))]


def test_tokens_come_as_often_as_they_are_likely() -> None:
    """4,000 draws: the largest standard error is sqrt(0.25 / 4000) = 0.008; four of them are allowed."""
    assert drawn(4000) == pytest.approx(SHARES, abs=0.032)


def test_a_high_temperature_flattens_and_a_low_one_sharpens() -> None:
    """At temperature 2 shares go by their square roots, at 0.5 by their squares."""
    for temperature in (2.0, 0.5):
        powers = [share ** (1 / temperature) for share in SHARES]
        expected = [power / math.fsum(powers) for power in powers]
        assert drawn(4000, temperature=temperature) == pytest.approx(expected, abs=0.032)


def test_top_p_keeps_the_likeliest_that_hold_it_together() -> None:
    """0.7 needs the first two; between them the ratio stays 2 to 1."""
    assert drawn(4000, top_p=0.7) == pytest.approx([2 / 3, 1 / 3, 0, 0, 0], abs=0.032)


def test_the_likeliest_of_a_large_vocabulary_are_enough_or_all_are_sorted() -> None:
    """With 5,000 equal tokens no 512 hold 0.9: draws reach beyond them, but not into the last tenth of the order."""
    import torch

    chooser = sampler(top_p=0.9)
    came = {chooser.draw(torch.zeros(5000)) for _ in range(800)}
    assert len(came) > 600


def test_what_a_grammar_forbids_never_comes() -> None:
    assert drawn(2000, [False, True, True, False, True]) == pytest.approx([0, 0.625, 0.375, 0, 0], abs=0.045)
    assert drawn(5, [False, False, True, False, False], temperature=0.0)[2] == 1


def test_penalties_and_biases_are_added_to_logits() -> None:
    """Greedy: token 0 leads by log 2 = 0.69; counted twice at 0.3 and once at 0.2 it falls behind."""
    chooser = sampler(temperature=0.0, frequency_penalty=0.3, presence_penalty=0.2)
    assert chooser.draw(logits()) == 0
    chooser.took(0)
    assert chooser.draw(logits()) == 0
    chooser.took(0)
    assert chooser.draw(logits()) == 1
    assert sampler(temperature=0.0, logit_bias={3: 1.7}).draw(logits()) == 3
    assert sampler(temperature=0.0, logit_bias={3: 1.5}).draw(logits()) == 0
