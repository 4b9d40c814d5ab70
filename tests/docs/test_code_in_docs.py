"""Every Python fence of the README, the docs and the docstrings runs, page by page, and prints what it says.

A fence that cannot run here carries its reason: ```` ```python {test="skip: needs the hub"} ````. Fences of one page
share their names, as a reader who types them one after another would expect.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

ROOT = Path(__file__).resolve().parents[2]


def pages() -> dict[str, list[CodeExample]]:
    """All Python fences by the file they stand in; each docstring is a page of its own."""
    found: dict[str, list[CodeExample]] = defaultdict(list)
    for example in find_examples(str(ROOT / "README.md"), str(ROOT / "docs"), str(ROOT / "src")):
        if example.prefix.split()[:1] not in (["python"], ["py"]):
            continue
        name = str(example.path.relative_to(ROOT))
        found[f"{name}:{example.start_line}" if name.endswith(".py") else name].append(example)
    return found


PAGES = pages()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a key file and the environment of somebody who has set up OpenAI's client.

    `openai.OpenAI()` in a fence reaches a real server on loopback that knows OpenAI's model names as aliases.
    """
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AZURE_")):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def server(desk: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Started only for pages that speak to OpenAI's address."""
    source = "".join(e.source for e in PAGES[request.node.callspec.params["page"]])
    if "openai.OpenAI()" not in source and "client_from_key_file" not in source:
        yield
        return
    from ragtune.local import LocalBackend

    with LocalBackend(desk / "openai-double", aliases={"gpt-4o-mini-2024-07-18": "tiny-random"}) as backend:
        monkeypatch.setenv("OPENAI_BASE_URL", backend.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", backend.api_key)
        (desk / "api_key.txt").write_text(backend.api_key + "\n", encoding="utf-8")
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_code_of_a_page_runs_and_prints_what_it_says(page: str, eval_example: EvalExample) -> None:
    run_page(page, eval_example)


@pytest.mark.slow
@pytest.mark.usefixtures("desk")
def test_one_page_after_the_other_runs_in_one_folder(eval_example: EvalExample) -> None:
    """With a dataset, a backend and a journal that are not empty any more."""
    for page in ("monitor", "job", "journal"):
        run_page(f"docs/rooms/{page}.md", eval_example)


def run_page(page: str, eval_example: EvalExample) -> None:
    """Names carry over from fence to fence of one page."""
    eval_example.set_config(line_length=120)
    names: dict[str, Any] = {}
    for example in PAGES[page]:
        if example.prefix_settings().get("test", "").startswith("skip:"):
            continue
        if page.endswith(".md"):
            # The tiny base stands in for the small one: the same code, seconds instead of minutes.
            example.source = example.source.replace('model="smollm2-135m-instruct"', 'model="tiny-random"')
        # A fence that shows output must print just that; one that shows none may print what it likes.
        run = eval_example.run_print_check if "#>" in example.source else eval_example.run
        names.update(run(example, module_globals=names))


def test_few_fences_are_skipped() -> None:
    """At most one fence in twenty may be unable to run, and each says why."""
    fences = [e for page in PAGES.values() for e in page]
    skipped = [e for e in fences if "test" in e.prefix_settings()]
    assert all(e.prefix_settings()["test"].removeprefix("skip:").strip() for e in skipped)
    assert len(skipped) <= max(1, len(fences) // 20), [f"{e.path}:{e.start_line}" for e in skipped]
