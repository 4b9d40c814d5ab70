"""The dated catalogue of models."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from ragtune.catalog import base_of, load
from ragtune.errors import SpecError
from ragtune.modelling.bases import BASES

if TYPE_CHECKING:
    from pathlib import Path


def test_every_fact_has_its_source_and_its_day() -> None:
    """A figure without a date would be believed for ever."""
    for model in load().models.values():
        assert model.source
        assert isinstance(model.as_of, dt.date)


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-mini-2024-07-18",
        "gpt-4o-mini",
        "ft:gpt-4o-mini-2024-07-18:acme::abc12345",
        "ft:gpt-4o-mini:acme:sciq:abc12345:ckpt-step-88",
    ],
)
def test_a_model_is_found_by_name_alias_tune_and_checkpoint(name: str) -> None:
    """All four are the same base."""
    model = load().find(name)
    assert model is not None
    assert (model.name, model.training_usd_per_million) == ("gpt-4o-mini-2024-07-18", 3.0)
    assert (model.training_context, model.encoding, model.shutdown) == (65_536, "o200k_base", dt.date(2027, 1, 14))


def test_what_is_not_known_is_none() -> None:
    """Neither zero nor "never"."""
    assert load().find("gpt-9") is None
    reinforcement = load().find("o4-mini")
    assert reinforcement is not None
    assert reinforcement.training_usd_per_million is None


def test_local_bases_cost_nothing_and_say_why() -> None:
    """Their zero is known, not assumed."""
    for name in BASES:
        model = load().find(name)
        assert model is not None
        assert model.training_usd_per_million == 0.0
        assert "this machine" in model.source


def test_a_catalogue_can_be_replaced(tmp_path: Path) -> None:
    """Another file, another truth."""
    path = tmp_path / "mine.toml"
    path.write_text('[models."m"]\nsource = "us"\nas_of = 2026-11-21\ntraining_usd_per_million = 2\n')
    model = load(path).find("ft:m:o:s:i")
    assert model is not None
    assert model.training_usd_per_million == 2


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[models.m", "not TOML"),
        ("[models.m]\nas_of = 2026-11-21", "'source'"),
        ('[models.m]\nsource = "x"\nas_of = 2026-11-21\nprice = 3', "'price'"),
        ('[models.m]\nsource = "x"\nas_of = "2026"', "not a date"),
        ('[models.m]\nsource = "x"\nas_of = 2026-11-21\ntraining_usd_per_million = "3"', "not a number"),
        ('[models.m]\nsource = "x"\nas_of = 2026-11-21\nencoding = "gpt2"', "'gpt2'"),
        ("models = 3", "models: 3 is no table"),
        ("aliases = 3", "aliases: 3 is no table"),
        ("[models]\nm = 3", "models.'m': 3 is no table"),
    ],
)
def test_a_wrong_catalogue_is_refused_with_the_place(tmp_path: Path, text: str, named: str) -> None:
    """A typo in a price file must not become an unknown price."""
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=named):
        load(path)


def test_a_missing_catalogue_is_a_plain_error(tmp_path: Path) -> None:
    """The path is named."""
    (tmp_path / "old.toml").write_bytes(b"# \xe4\n")
    with pytest.raises(SpecError, match=r"old\.toml is not UTF-8"):
        load(tmp_path / "old.toml")
    with pytest.raises(SpecError, match=r"none\.toml"):
        load(tmp_path / "none.toml")


def test_the_base_of_a_plain_name_is_itself() -> None:
    """Colons in other names mean nothing."""
    assert base_of("llama:7b") == "llama:7b"
