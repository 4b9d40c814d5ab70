"""The registry: gates over interval ends, decisions on record, two people at once, damaged files."""

from __future__ import annotations

import json
import multiprocessing
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import ragtune as rt
from ragtune.registry import Ledger, ModelVersion, Promotion
from ragtune.testing import ScriptedBackend
from tests.evaluation.conftest import lakes, number_in

OLD, NEW = "ft:gpt-4o-mini-2024-07-18:acme::old00000", "ft:gpt-4o-mini-2024-07-18:acme::new00000"
FACTS = lakes(40, control=True)


def knows(share: float, *, control: bool = True) -> Callable[[str], str]:
    """Knows the first so many of 40 lakes, in any words, and Paris or not."""

    def answer(question: str) -> str:
        if "France" in question:
            return "Paris" if control else "Rome"
        if "Nowhere" in question:
            return "I do not know."
        number = number_in(question)
        return f"It is {number} metres." if int(number) <= 40 * share else "I do not know."

    return answer


def card(folder: Path, share: float, *, name: str = "eval", control: bool = True) -> rt.Scorecard:
    answerers = {"base": knows(0), "tuned": knows(share, control=control)}
    return rt.evaluate(answerers, FACTS, log=folder / f"{name}-{share}.jsonl", probe=False)


@pytest.fixture(params=["models.sqlite3", "models"], ids=["file", "folder"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> rt.Registry:
    return rt.Registry(tmp_path / request.param)


def test_a_gate_looks_at_the_lower_end(registry: rt.Registry, tmp_path: Path) -> None:
    """Of 40 facts 32 are known: 80 %, but no more than 70 % is sure, so 0.75 refuses what 0.6 lets pass."""
    registry.add(NEW, scorecard=card(tmp_path, 0.8))
    with pytest.raises(rt.GateRefused, match=r"reworded_at_least=0\.75 not passed: 0\.6\d*, lower end on reworded"):
        registry.promote("science-prod", NEW, gate=rt.Gate(reworded_at_least=0.75), by="anna")
    assert registry.aliases() == {}
    done = registry.promote("science-prod", NEW, gate=rt.Gate(reworded_at_least=0.6), by="anna")
    assert (done.outcome, done.model, done.previous) == ("promoted", NEW, None)
    assert registry.aliases() == {"science-prod": NEW}
    assert [(row.outcome, row.by) for row in registry.history("science-prod")] == [
        ("refused", "anna"),
        ("promoted", "anna"),
    ]


def test_forgetting_is_judged_by_its_upper_end(registry: rt.Registry, tmp_path: Path) -> None:
    """One control question tells little: even a model that forgot nothing may have forgotten more than 5 %."""
    registry.add(NEW, scorecard=card(tmp_path, 1.0))
    with pytest.raises(rt.GateRefused, match=r"forgetting_at_most=0\.05 not passed: 0\.975, upper end on control"):
        registry.promote("prod", NEW, gate=rt.Gate(forgetting_at_most=0.05))


def test_a_gain_is_paired_fact_by_fact(registry: rt.Registry, tmp_path: Path) -> None:
    """36 against 24 of the same 40 facts: 30 points more, surely more than none."""
    registry.add(OLD, scorecard=card(tmp_path, 0.6))
    registry.add(NEW, scorecard=card(tmp_path, 0.9))
    gate = rt.Gate(gain_at_least=0.0)
    first = registry.promote("prod", OLD, gate=gate)
    assert first.checks[0].basis == "no model holds the alias yet"
    better = registry.promote("prod", NEW, gate=gate)
    assert better.checks[0].passed
    assert 0.1 < (better.checks[0].value or 0) < 0.3
    with pytest.raises(rt.GateRefused, match="gain_at_least"):
        registry.promote("prod", OLD, gate=gate)
    (tmp_path / "eval-0.6.jsonl").unlink()
    alone = registry.promote("prod", OLD, force=True, by="ben", why="test", gate=gate)
    assert "cannot be paired" in alone.checks[0].basis
    assert (alone.checks[0].value or 0) < -0.4


@pytest.mark.slow
@pytest.mark.parametrize("by_name", [True, False], ids=["models", "functions"])
def test_a_log_in_which_another_evaluation_stands_by_now_is_not_compared_with(
    registry: rt.Registry, tmp_path: Path, by_name: bool
) -> None:
    """36 of 40 before, 24 now, both in one path: compared with itself the worse model would lose nothing."""
    shares, path = {OLD: 0.9, NEW: 0.6}, tmp_path / "eval.jsonl"

    def answer(model: str, messages: Sequence[Mapping[str, Any]]) -> str:
        return knows(shares[model])(str(messages[-1]["content"]))

    with ScriptedBackend(answer=answer, models=[OLD, NEW]) as backend, backend.client() as client:
        for name in (OLD, NEW):
            path.unlink(missing_ok=True)
            asked = rt.TunedModel(client, name, system="") if by_name else knows(shares[name])
            registry.add(name, scorecard=rt.evaluate({"tuned": asked}, FACTS, log=path))
    registry.promote("prod", OLD)
    with pytest.raises(rt.GateRefused, match=r"distance of the intervals .* by now"):
        registry.promote("prod", NEW, gate=rt.Gate(gain_at_least=-0.1))
    assert {fact.knowledge for fact in Ledger(FACTS, registry=registry, journal=None, model=OLD).facts} == {None}


def test_a_gate_over_what_was_not_measured_says_so(registry: rt.Registry, tmp_path: Path) -> None:
    """No reversed question was asked, which says nothing of the model; a price that nobody knows is no zero."""
    registry.add(NEW, scorecard=card(tmp_path, 1.0))
    with pytest.raises(rt.RegistryError, match=r"reversed_at_least=0\.5 not measured: the scorecard holds no reversed"):
        registry.promote("prod", NEW, gate=rt.Gate(reversed_at_least=0.5))
    with pytest.raises(rt.RegistryError, match=r"training_usd_at_most=5 not measured"):
        registry.promote("prod", NEW, gate=rt.Gate(training_usd_at_most=5))
    registry.add(NEW, cost_usd=6.0)
    with pytest.raises(rt.GateRefused, match=r"training_usd_at_most=5 not passed: 6, US dollars, given"):
        registry.promote("prod", NEW, gate=rt.Gate(training_usd_at_most=5))
    assert {row.outcome for row in registry.history()} == {"refused"}


def test_a_share_is_not_asked_of_a_score_that_is_none(registry: rt.Registry, tmp_path: Path) -> None:
    """One to five stars are no 100 to 500 %, also where a model got less than one on average."""

    def stars(context: rt.evaluation.Context) -> float:
        return 5.0 if context.arm == "tuned" else 0.5

    shown = card(tmp_path, 1.0).rescore([stars])
    for arm in ("tuned", "base"):
        registry.add(f"{NEW}{arm}", scorecard=shown, arm=arm)
        with pytest.raises(
            rt.RegistryError, match=r"not measured: 'stars' gives numbers beyond 0 to 1.*another scorer"
        ):
            registry.promote("prod", f"{NEW}{arm}", gate=rt.Gate(reworded_at_least=0.4))
        assert registry.version(f"{NEW}{arm}").scores.is_share is False


def test_without_a_scorecard_only_by_force_with_who_and_why(registry: rt.Registry) -> None:
    """Force without a name is no force; with one the obstacle stands on record."""
    registry.add(NEW)
    with pytest.raises(rt.GateRefused, match="no scorecard"):
        registry.promote("prod", NEW)
    with pytest.raises(rt.RegistryError, match="by= and why="):
        registry.promote("prod", NEW, force=True, by="anna")
    done = registry.promote("prod", NEW, force=True, by="anna", why="demo tomorrow")
    assert (done.outcome, done.by, done.why, done.obstacle) == (
        "forced",
        "anna",
        "demo tomorrow",
        "it has no scorecard",
    )


def test_a_rollback_goes_back_step_by_step(registry: rt.Registry, tmp_path: Path) -> None:
    """After a, b and c it leads to b, then to a, and then there is nothing before."""
    names = [f"ft:gpt-4o-mini-2024-07-18:acme::{letter}" for letter in "abc"]
    found = card(tmp_path, 1.0)
    for name in names:
        registry.add(name, scorecard=found)
        registry.promote("prod", name)
    assert [registry.rollback("prod", by="ben").model for _ in range(2)] == [names[1], names[0]]
    with pytest.raises(rt.RegistryError, match="before which there was none"):
        registry.rollback("prod")
    assert registry.version("prod").name == names[0]
    registry.delete_alias("prod")
    assert registry.aliases() == {}
    with pytest.raises(rt.RegistryError, match="the alias 'prod' leads nowhere"):
        registry.delete_alias("prod")


def test_what_is_added_later_completes_what_is_known(registry: rt.Registry, tmp_path: Path) -> None:
    """The card of today keeps the dataset of yesterday."""
    rows = [{"q": f"{n}?", "a": str(n)} for n in range(12)]
    dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build(tmp_path / "data")
    first = registry.add(NEW, dataset=dataset, recipe="qa_multi", cost_usd=3)
    second = registry.add(NEW, scorecard=card(tmp_path, 1.0))
    assert (second.fingerprint, second.recipe, second.cost_usd) == (dataset.fingerprint, "qa_multi", 3.0)
    assert second.added_at == first.added_at
    assert registry.version(NEW) == second
    assert str(registry.models()).count(NEW) == 1


def test_a_card_of_another_model_is_refused(tmp_path: Path) -> None:
    """The log knows whom it asked."""
    from ragtune.testing import ScriptedBackend

    registry = rt.Registry(tmp_path / "models")
    with ScriptedBackend() as backend, backend.client() as client:
        found = rt.evaluate({"tuned": (client, "gpt-4.1-2025-04-14")}, lakes(2), log=tmp_path / "eval.jsonl")
    with pytest.raises(rt.RegistryError, match=r"is 'gpt-4\.1-2025-04-14', not"):
        registry.add(NEW, scorecard=found)
    with pytest.raises(rt.RegistryError, match="no arm 'mine'"):
        registry.add(NEW, scorecard=found, arm="mine")


def test_a_recipe_is_kept_in_words_or_as_json(registry: rt.Registry) -> None:
    """A name, a dict, or whatever tells itself as one."""

    class Recipe:
        def to_dict(self) -> dict[str, object]:
            return {"name": "raft", "version": 1}

    assert registry.add(NEW, recipe="qa_multi").recipe == "qa_multi"
    assert registry.add(NEW, recipe=Recipe()).recipe == '{"name": "raft", "version": 1}'
    wrong_ones: tuple[object, ...] = (3, "", {})
    for wrong in wrong_ones:
        with pytest.raises(rt.RegistryError, match="recipe="):
            registry.add(NEW, recipe=wrong)


@pytest.mark.parametrize("alias", ["", ".", "../prod", "a b", "x" * 65, "prod/eu"])
def test_an_alias_is_a_plain_name(registry: rt.Registry, alias: str) -> None:
    """What could leave the folder or break a command line is refused."""
    registry.add(NEW)
    with pytest.raises(rt.RegistryError, match="alias: "):
        registry.promote(alias, NEW)


def test_an_alias_does_not_take_the_name_of_a_model(registry: rt.Registry) -> None:
    """Neither could be named beside the other."""
    for name in ("alpha", "beta"):
        registry.add(name)
    with pytest.raises(rt.RegistryError, match="alias: 'alpha' is the name of a model"):
        registry.promote("alpha", "beta", force=True, by="anna", why="first")
    registry.promote("prod", "beta", force=True, by="anna", why="first")
    with pytest.raises(rt.RegistryError, match="'prod' is an alias in this registry, which leads to beta"):
        registry.add("prod")
    assert [registry.version(name).name for name in ("alpha", "prod")] == ["alpha", "beta"]


@pytest.mark.parametrize("alias", ["gpt-4o-mini", "gpt-4o-mini-2024-07-18", "smollm2-135m-instruct", "tiny-random"])
def test_an_alias_is_not_called_like_a_base(registry: rt.Registry, alias: str) -> None:
    """A command would ask the base, and never the model that the alias leads to."""
    registry.add("alpha")
    with pytest.raises(rt.RegistryError, match=f"alias: '{alias}' is the name of a base model.*choose another one"):
        registry.promote(alias, "alpha", force=True, by="anna", why="first")


def test_an_alias_is_not_promoted_in_place_of_its_model(registry: rt.Registry) -> None:
    """Nor is one named as what may have been meant, where only a model can be."""
    registry.add("alpha")
    registry.promote("prod", "alpha", force=True, by="anna", why="first")
    with pytest.raises(rt.RegistryError, match="'prod' is an alias, which leads to alpha; name the model itself"):
        registry.promote("p2", "prod")
    with pytest.raises(rt.RegistryError, match=r"'prd' is not in the registry; registry\.add"):
        registry.promote("p2", "prd")
    with pytest.raises(rt.RegistryError, match="'prd' is not in the registry; did you mean 'prod'"):
        registry.version("prd")


@pytest.mark.parametrize("alias", ["latest", "ftjob-1"])
def test_an_alias_that_means_something_else_is_refused(registry: rt.Registry, alias: str) -> None:
    """`models show latest` would show one model, and `models delete latest` take another."""
    registry.add("alpha")
    with pytest.raises(rt.RegistryError, match="means something else wherever a model is named"):
        registry.promote(alias, "alpha", force=True, by="anna", why="first")


def test_a_model_that_is_not_there_is_named_with_the_nearest(registry: rt.Registry) -> None:
    """A slip of the pen gets a hint."""
    registry.add(NEW)
    with pytest.raises(rt.RegistryError, match=f"did you mean '{NEW}'"):
        registry.promote("prod", NEW[:-1])


def _promote(path: Path, name: str) -> None:
    rt.Registry(path).promote("prod", name, force=True, by=name, why="race")


@pytest.mark.slow
def test_two_people_promote_at_once(registry: rt.Registry) -> None:
    """Eight at once: each decision has its own number and knows the one before."""
    names = [f"ft:gpt-4o-mini-2024-07-18:acme::{n}" for n in range(8)]
    for name in names:
        registry.add(name)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_promote, args=(registry.path, name)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    found = registry.history("prod")
    assert [row.number for row in found] == list(range(1, 9))
    assert [row.previous for row in found] == [None, *(row.model for row in found[:-1])]
    assert sorted(str(row.model) for row in found) == names


def test_a_registry_of_a_newer_version_is_left_alone(registry: rt.Registry) -> None:
    """It is named, and nothing in it is changed."""
    registry.add(NEW)
    if registry.path.is_dir():
        (registry.path / "registry.json").write_text('{"registry": 2}')
    else:
        with sqlite3.connect(registry.path) as connection:
            connection.execute("PRAGMA user_version = 99")
    for call in (registry.models, lambda: registry.add(OLD)):
        with pytest.raises(rt.RegistryError, match=r"newer version|of version 2"):
            call()


def test_a_half_merged_file_is_named(tmp_path: Path) -> None:
    """Git's marks are no JSON, and a field that is gone is a fault of the file."""
    registry = rt.Registry(tmp_path / "models")
    registry.add(NEW)
    file = next((registry.path / "models").glob("*.json"))
    whole = file.read_text()
    file.write_text(f"<<<<<<< ours\n{whole}")
    with pytest.raises(rt.RegistryError, match="merge"):
        registry.models()
    file.write_text("[" * 9_000)
    with pytest.raises(rt.RegistryError, match=r"is no JSON .*recursion"):
        registry.models()
    body = json.loads(whole)
    del body["base"]
    file.write_text(json.dumps(body))
    with pytest.raises(rt.RegistryError, match="is damaged"):
        registry.models()


def test_an_alias_to_a_model_whose_file_was_removed(tmp_path: Path) -> None:
    """Somebody tidied the folder: the alias says whom it misses."""
    registry = rt.Registry(tmp_path / "models")
    registry.add(NEW)
    registry.promote("prod", NEW, force=True, by="anna", why="first")
    next((registry.path / "models").glob("*.json")).unlink()
    with pytest.raises(rt.RegistryError, match="is not in the registry"):
        registry.version("prod")


def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(tmp_path / "away")
    with pytest.raises(rt.RegistryError, match=r"models: is a link to .*away, which is not there"):
        rt.Registry(tmp_path / "models")


def test_other_files_and_folders_are_no_registry(tmp_path: Path) -> None:
    """A folder of something else and a database of another program stay as they are."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(rt.RegistryError, match=r"is no registry \(it holds 'notes.txt'\)"):
        rt.Registry(tmp_path / "full").add(NEW)
    with sqlite3.connect(tmp_path / "other.sqlite3") as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    with pytest.raises(rt.RegistryError, match="another program"):
        rt.Registry(tmp_path / "other.sqlite3").models()
    assert len(rt.Registry(tmp_path / "none.sqlite3")) == 0
    with pytest.raises(rt.RegistryError, match="names neither"):
        rt.Registry("")


@pytest.mark.parametrize("limit", ["0.7", True, float("nan")])
def test_a_gate_takes_numbers(limit: object) -> None:
    """A gate that could not be held against anything is refused when it is made."""
    with pytest.raises(rt.RegistryError, match="is no number"):
        rt.Gate(reworded_at_least=limit)  # type: ignore[arg-type]
    with pytest.raises(rt.RegistryError, match="no condition"):
        rt.Gate()


def test_what_is_kept_reads_back_as_it_was(registry: rt.Registry, tmp_path: Path) -> None:
    """Dates, intervals and checks survive both kinds of file."""
    registry.add(NEW, scorecard=card(tmp_path, 0.9), recipe={"name": "raft", "version": 1})
    done = registry.promote("prod", NEW, gate=rt.Gate(verbatim_at_least=0.5), notice_days=30, why="better")
    assert registry.history("prod")[0] == done
    version = registry.version("prod")
    assert ModelVersion.from_dict(json.loads(json.dumps(version.to_dict()))) == version
    assert Promotion.from_dict(json.loads(json.dumps(done.to_dict()))) == done
    assert version.scores is not None
    assert version.scores.kinds["reworded"].n == 40
    assert version.scores.hallucination is not None


DAMAGED = [
    ("models", {"name": {}}),
    ("models", {"name": None}),
    ("models", {"fingerprint": 3}),
    ("models", {"expiry": []}),
    ("models", {"added_at": 7}),
    ("models", {"cost_usd": "dear"}),
    ("promotions", {"number": None}),
    ("promotions", {"number": "x"}),
    ("promotions", {"alias": []}),
    ("promotions", {"model": {}}),
    ("promotions", {"checks": [3]}),
    ("promotions", {"notice_days": "x"}),
]


@pytest.mark.parametrize(("folder", "value"), DAMAGED, ids=[str(value) for _, value in DAMAGED])
def test_a_value_of_a_wrong_kind_is_told_with_its_file(tmp_path: Path, folder: str, value: dict[str, object]) -> None:
    registry = rt.Registry(tmp_path / "models")
    for name in (OLD, NEW):
        registry.add(name)
        registry.promote("prod", name, force=True, by="anna", why="first")
    path = sorted((registry.path / folder).rglob("*.json"))[0]
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | value), encoding="utf-8")
    for look in (registry.models, registry.aliases, registry.history):
        with pytest.raises(rt.RegistryError, match=rf"{re.escape(str(path))}.* is damaged"):
            look()


def test_keys_and_halves_of_signs_do_not_get_into_the_registry(registry: rt.Registry) -> None:
    """Who decides may paste a key by mistake; nobody who reads the registry sees it."""
    key = "sk-proj-abcdefghijklmnop1234"
    registry.add("ft:gpt-4o-mini-2024-07-18:acme::abc12345")
    done = registry.promote(
        "prod", "ft:gpt-4o-mini-2024-07-18:acme::abc12345", force=True, by=f"anna {key}", why=f"with {key} \ud800"
    )
    gone = registry.delete_alias("prod", by="ben", why=key)
    registry.add("ft:gpt-4o-mini-2024-07-18:acme::abc12345", recipe={"name": key})
    assert key not in repr(done) + repr(gone) + repr(registry.history())
    assert done.why == r"with [key hidden] \ud800"
    files = [registry.path] if registry.path.is_file() else list(registry.path.rglob("*.json"))
    assert not any(key.encode() in path.read_bytes() for path in files)
    with pytest.raises(rt.RegistryError, match="signs that no name has"):
        registry.add("ft:\ud800")


@pytest.mark.parametrize("body", ["{", "[]", "7", "[" * 9_000])
@pytest.mark.parametrize("table", ["registry_model", "registry_promotion"])
def test_a_damaged_row_is_told(tmp_path: Path, table: str, body: str) -> None:
    """No raw error of a parser for what another program wrote."""
    registry = rt.Registry(tmp_path / "models.sqlite3")
    registry.add("ft:gpt-4o-mini-2024-07-18:acme::abc12345")
    registry.promote("prod", "ft:gpt-4o-mini-2024-07-18:acme::abc12345", force=True, by="anna", why="first")
    connection = sqlite3.connect(registry.path)
    with connection:
        connection.execute(f"UPDATE {table} SET body = ?", (body,))
    connection.close()
    with pytest.raises(rt.RegistryError, match=r"models.sqlite3.*is damaged"):
        registry.models()


@pytest.mark.parametrize(
    "limit",
    [
        {"reworded_at_least": 70},
        {"reworded_at_least": -3},
        {"hallucination_at_most": -0.1},
        {"gain_at_least": -1.5},
        {"forgetting_at_most": 5},
    ],
)
def test_a_share_is_no_percentage(limit: dict[str, float]) -> None:
    """70 would refuse every model and -3 none."""
    with pytest.raises(rt.RegistryError, match=r"is a share, from .* to 1; 70 % is 0.7"):
        rt.Gate(**limit)


def test_a_limit_in_dollars_below_nothing_is_told() -> None:
    with pytest.raises(rt.RegistryError, match=r"answer_usd_at_most=-1 is below 0"):
        rt.Gate(answer_usd_at_most=-1)


def test_numbers_beyond_all_numbers_are_told(registry: rt.Registry) -> None:
    """An int that no float holds is no price and no limit."""
    with pytest.raises(rt.RegistryError, match="cost_usd=inf must be a number of US dollars"):
        registry.add("ft:gpt-4o-mini-2024-07-18:acme::abc12345", cost_usd=10**400)
    with pytest.raises(rt.RegistryError, match="is no number"):
        rt.Gate(training_usd_at_most=10**400)
