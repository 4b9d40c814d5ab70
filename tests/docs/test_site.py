"""The documentation builds without a single warning, holds every public name, and finds what people look for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import ragtune

ROOT = Path(__file__).resolve().parents[2]
FOUND_FIRST = {
    "csv": "how-to/csv-to-model",
    "price": "rooms/built",
    "resume": "rooms/training",
    "streaming": "how-to/web-application",
    "dpo": "how-to/preference-tuning",
    "gpu": "how-to/many-gpus",
    "delete": "rooms/maintenance",
    "test": "rooms/testing",
    "webhook": "rooms/webhooks",
    "shutdown": "how-to/leave-openai",
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built strictly: dead links, missing pages and bad references are errors."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_first_page_shows_the_version_and_asks_no_other_host(site: Path) -> None:
    html = (site / "index.html").read_text(encoding="utf-8")
    assert "fonts.googleapis.com" not in html
    assert f"ragtune {ragtune.__version__}" in html


def test_assistants_find_an_index_and_all_pages_in_one_file(site: Path) -> None:
    short, full = ((site / name).read_text(encoding="utf-8") for name in ("llms.txt", "llms-full.txt"))
    assert "tutorial" in short
    assert "| ragtune build" in full.replace("`", ""), "tables stay tables"


def test_every_public_name_and_what_it_inherits_can_be_linked_to(site: Path) -> None:
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    names = {line.split()[0] for line in zlib.decompress(packed).decode().splitlines()}
    inherited = {"DatasetBuilder.from_csv", "local.LocalBackend.client", "testing.ScriptedBackend.client"}
    assert {f"ragtune.{name}" for name in {*ragtune.__all__, *inherited}} - names == set()


def test_no_page_shows_a_path_of_the_machine_that_built_it(site: Path) -> None:
    shown = [page for page in site.rglob("*.html") if str(ROOT) in page.read_text(encoding="utf-8")]
    assert shown == []


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_search_finds_the_page_of_the_task_first(address: str) -> None:
    """In a real browser."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    browser = os.environ.get("RAGTUNE_CHROMIUM") or shutil.which("chromium")
    if not browser:
        pytest.skip("needs a browser: install chromium or set RAGTUNE_CHROMIUM")
    found = {}
    with driver.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        for word in FOUND_FIRST:
            page.goto(f"{address}?q={word}")
            first = page.wait_for_selector(".md-search-result__link", timeout=60_000)
            found[word] = first.evaluate("link => link.href").removeprefix(address).split("/?")[0]
        chromium.close()
    assert found == FOUND_FIRST
