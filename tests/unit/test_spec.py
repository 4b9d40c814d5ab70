"""The limits of a job's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ragtune as rt
from ragtune.dialects import DIALECTS, Dialect, dialect_named, dialect_of

if TYPE_CHECKING:
    from collections.abc import Callable

GRADER = {"type": "string_check", "name": "same", "operation": "eq", "input": "a", "reference": "b"}


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("n_epochs", lambda: rt.Supervised(n_epochs=0)),
        ("n_epochs", lambda: rt.Supervised(n_epochs=51)),
        ("n_epochs", lambda: rt.Supervised(n_epochs=True)),
        ("n_epochs", lambda: rt.DPO(n_epochs=1.5)),  # type: ignore[arg-type]
        ("batch_size", lambda: rt.Supervised(batch_size=257)),
        ("evaluate_every", lambda: rt.Supervised(evaluate_every=0)),
        ("early_stop", lambda: rt.Supervised(early_stop=1.5)),  # type: ignore[arg-type]
        ("learning_rate", lambda: rt.Supervised(learning_rate=1.8)),  # type: ignore[arg-type]
        ("learning_rate", lambda: rt.Multiplier(0)),
        ("learning_rate", lambda: rt.Multiplier(float("nan"))),
        ("learning_rate", lambda: rt.Absolute(1.0)),
        ("beta", lambda: rt.DPO(beta=0.0)),
        ("beta", lambda: rt.DPO(beta=2.01)),
        ("beta", lambda: rt.KTO(beta=0.0)),
        ("batch_size", lambda: rt.KTO(batch_size=1)),
        ("desirable_weight", lambda: rt.KTO(desirable_weight=0)),
        ("undesirable_weight", lambda: rt.KTO(undesirable_weight="auto")),  # type: ignore[arg-type]
        ("compute_multiplier", lambda: rt.Reinforcement(grader=GRADER, compute_multiplier=1e-5)),
        ("eval_interval", lambda: rt.Reinforcement(grader=GRADER, eval_interval=0)),
        ("reasoning_effort", lambda: rt.Reinforcement(grader=GRADER, reasoning_effort="huge")),
        ("grader", lambda: rt.Reinforcement(grader={})),
        ("model", lambda: rt.TuneSpec(model=" ")),
        ("method", lambda: rt.TuneSpec(model="m", method="supervised")),  # type: ignore[arg-type]
        ("seed", lambda: rt.TuneSpec(model="m", seed=2**31)),
        ("seed", lambda: rt.TuneSpec(model="m", seed=-1)),
        ("suffix", lambda: rt.TuneSpec(model="m", suffix="")),
        ("suffix", lambda: rt.TuneSpec(model="m", suffix="x" * 65)),
        ("metadata", lambda: rt.TuneSpec(model="m", metadata={str(n): "" for n in range(17)})),
        ("metadata", lambda: rt.TuneSpec(model="m", metadata={"k" * 65: "v"})),
        ("metadata", lambda: rt.TuneSpec(model="m", metadata={"k": "v" * 513})),
        ("metadata", lambda: rt.TuneSpec(model="m", metadata={"k": 3})),  # type: ignore[dict-item]
    ],
)
def test_a_value_out_of_range_is_refused_with_the_fields_name(field: str, make: Callable[[], object]) -> None:
    with pytest.raises(rt.SpecError, match=rf"^{field}"):
        make()


@pytest.mark.parametrize(
    "method",
    [
        rt.Supervised(n_epochs=1, batch_size=256, learning_rate=rt.Multiplier(0.01)),
        rt.Supervised(n_epochs=50, batch_size=1),
        rt.DPO(beta=2.0),
        rt.KTO(beta=2.0, batch_size=2, undesirable_weight=0.1),
        rt.Reinforcement(grader=GRADER, compute_multiplier=10, eval_samples=1, reasoning_effort="low"),
    ],
)
def test_the_ends_of_a_range_are_allowed(method: Any) -> None:
    assert rt.TuneSpec(model="m", method=method, seed=2**31 - 1, suffix="x" * 64).method is method


def test_hyperparameters_stand_inside_method_and_nothing_is_null() -> None:
    spec = rt.TuneSpec(model="m", method=rt.DPO(beta=0.1, n_epochs=2, learning_rate=rt.Multiplier(1.8)), suffix="s")
    assert spec.request() == {
        "model": "m",
        "suffix": "s",
        "method": {
            "type": "dpo",
            "dpo": {"hyperparameters": {"n_epochs": 2, "learning_rate_multiplier": 1.8, "beta": 0.1}},
        },
    }


def test_settings_left_to_the_server_are_not_sent() -> None:
    assert rt.TuneSpec(model="m").request() == {"model": "m", "method": {"type": "supervised"}}


def test_a_graders_job_sends_grader_and_response_format_beside_the_hyperparameters() -> None:
    method = rt.Reinforcement(grader=GRADER, response_format={"type": "json_schema"}, eval_interval=3)
    assert rt.TuneSpec(model="m", method=method).request()["method"]["reinforcement"] == {
        "grader": GRADER,
        "response_format": {"type": "json_schema"},
        "hyperparameters": {"eval_interval": 3},
    }


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1/", "openai"),
        ("https://mine.openai.azure.com/openai/v1/", "azure-foundry"),
        ("https://api.tokenfactory.nebius.com/v1/", "nebius"),
        ("http://127.0.0.1:8000/v1", "generic"),
        ("https://api.openai.com.example.org/v1", "generic"),
    ],
)
def test_a_dialect_is_chosen_by_the_servers_address(url: str, name: str) -> None:
    assert dialect_of(url).name == name


@pytest.mark.parametrize(
    ("dialect", "method", "feature"),
    [
        ("openai", rt.Supervised(learning_rate=rt.Absolute(1e-4)), "absolute"),
        ("nebius", rt.Supervised(learning_rate=rt.Multiplier(1.8)), "multiplier"),
        ("nebius", rt.DPO(), "dpo"),
        ("nebius", rt.KTO(), "it takes supervised$"),
        ("openai", rt.KTO(), "the method kto.*pair each bad answer with a good one to the same question"),
        ("azure-foundry", rt.KTO(), "the method kto.*and train with DPO"),
    ],
)
def test_what_a_server_is_known_not_to_do_is_refused(dialect: str, method: Any, feature: str) -> None:
    """A multiplier sent where a rate is meant would train with a rate of 1.8."""
    with pytest.raises(rt.Unsupported, match=feature) as refusal:
        rt.TuneSpec(model="m", method=method).request(dialect_named(dialect))
    assert refusal.value.provider == dialect


def test_an_unknown_dialect_names_the_known_ones() -> None:
    with pytest.raises(rt.SpecError, match="nebius"):
        dialect_named("acme")


def test_every_dialect_says_where_its_facts_come_from() -> None:
    assert all(isinstance(known, Dialect) and known.source and known.as_of for known in DIALECTS)


@given(epochs=st.integers(), batch=st.integers())
def test_what_passes_is_what_openai_allows(epochs: int, batch: int) -> None:
    allowed = 1 <= epochs <= 50 and 1 <= batch <= 256
    try:
        method = rt.Supervised(n_epochs=epochs, batch_size=batch)
    except rt.SpecError:
        assert not allowed
    else:
        assert allowed
        assert method.hyperparameters() == {"n_epochs": epochs, "batch_size": batch}


def test_the_first_value_without_a_name_is_shown_with_the_name_that_it_may_mean() -> None:
    told = r"Supervised\(3\): each setting goes by its name: Supervised\(n_epochs=3\)"
    with pytest.raises(rt.SpecError, match=told):
        rt.Supervised(3, 4)  # type: ignore[call-arg]
