"""The reference holds every public name: what the site's build makes of it, without building the site."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

import ragtune
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = spec_from_file_location("reference", ROOT / "docs/make/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_name_of_the_front_stands_in_the_reference_once(reference: ModuleType) -> None:
    held = [name for names in reference.pages().values() for name in names]
    assert [name for name in ragtune.__all__ if f"ragtune.{name}" not in held] == []
    assert len(held) == len(set(held))


def test_every_room_has_a_page(reference: ModuleType) -> None:
    """A new room is named in `docs/make/reference.py`; the command line has a page of its own."""
    rooms = {found.name for found in pkgutil.iter_modules(ragtune.__path__) if found.name[0] != "_"} - {"cli"}
    public = {room for room in rooms if getattr(import_module(f"ragtune.{room}"), "__all__", None)}
    assert public - {place for places in reference.PAGES.values() for place in places} == set()


def test_a_name_is_linked_by_the_shortest_way_to_import_it(reference: ModuleType) -> None:
    pages = reference.pages()
    assert "ragtune.DatasetBuilder" in pages["Dataset"]
    assert "ragtune.evaluation.judge" in pages["Evaluation"]
    assert "ragtune.AsyncFineTuneJob" in pages["Async twins"]
