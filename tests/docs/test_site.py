"""The documentation builds without a single warning, holds every public name, and finds what people look for."""

from __future__ import annotations

import os
import re
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
from PIL import Image

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


SMALL = """INHERIT: {root}/mkdocs.yml
docs_dir: pages
theme: {{custom_dir: "{root}/docs/make/theme"}}
hooks: []
plugins: []
nav: [index.md, deeper/page.md]
extra_css: []
"""


@pytest.mark.parametrize(
    ("public", "pictures"),
    [
        ("https://docs.example/ragtune", ["https://docs.example/ragtune/assets/card.png"] * 2),
        (None, ["assets/card.png", "../../assets/card.png"]),
    ],
)
def test_a_link_to_a_page_shows_the_card(
    public: str | None, pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its whole address where the site has one; of two pages alone, which takes no time."""
    monkeypatch.delenv("RAGTUNE_SITE_URL", raising=False)
    if public is not None:
        monkeypatch.setenv("RAGTUNE_SITE_URL", public)
    (tmp_path / "pages/deeper").mkdir(parents=True)
    (tmp_path / "pages/index.md").write_text("# Start", encoding="utf-8")
    (tmp_path / "pages/deeper/page.md").write_text('# A "page" & more', encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(SMALL.format(root=ROOT), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for page, title, picture in zip(
        ("index.html", "deeper/page/index.html"),
        ("ragtune", "A &#34;page&#34; &amp; more - ragtune"),
        pictures,
        strict=True,
    ):
        html = (tmp_path / "site" / page).read_text(encoding="utf-8")
        assert re.findall(r'<meta property="og:image" content="([^"]*)">', html) == [picture]
        assert re.findall(r'<meta property="og:title" content="([^"]*)">', html) == [title]
        assert '<meta name="twitter:card" content="summary_large_image">' in html


def test_the_card_has_the_size_that_its_tags_say(site: Path) -> None:
    with Image.open(site / "assets/card.png") as card:
        assert card.size == (1200, 630)
    html = (site / "index.html").read_text(encoding="utf-8")
    assert '<meta property="og:image:width" content="1200">' in html


def test_a_notebook_stands_as_a_page_with_what_it_printed(site: Path) -> None:
    html = (site / "learn/fine-tune/index.html").read_text(encoding="utf-8")
    (curve,) = re.findall(r'src="../(fine-tune-\d+\.png)"', html)
    assert (site / "learn" / curve).read_bytes().startswith(b"\x89PNG")
    assert (site / "learn/fine-tune.ipynb").is_file()
    assert "refused: the guard is closed" in html


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
