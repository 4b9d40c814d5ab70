"""Pictures for the pages, taken of what `make demo` left: `python docs/make/screenshots.py runs/quickstart`.

Needs playwright, Pillow and a Chromium (`RAGTUNE_CHROMIUM`, or on the path).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import ragtune as rt
from ragtune.local import LocalBackend

PICTURES = Path(__file__).parents[1] / "assets"
SIZE = {"width": 1000, "height": 640}


def keep(page: Page, name: str) -> None:
    """As a picture of 64 colours, which are enough for pages and a fifth of the bytes."""
    file = PICTURES / f"{name}.png"
    page.screenshot(path=file)
    with Image.open(file) as full:
        full.convert("RGB").quantize(64).save(file, optimize=True)
    print(file.name, file.stat().st_size)


def server(page: Page, folder: Path) -> None:
    with LocalBackend(folder / "backend") as backend, backend.client() as client:
        address = backend.base_url.removesuffix("/v1")
        page.goto(address)
        page.fill("#key", backend.api_key)
        page.keyboard.press("Enter")
        page.wait_for_selector("h1:has-text('Jobs')")
        page.goto(f"{address}/jobs/{rt.list_jobs(client, limit=1, status='succeeded')[0].id}")
        page.wait_for_selector("#loss canvas")
        page.set_viewport_size({**SIZE, "height": 832})  # down to the curves
        keep(page, "page-job")
        page.set_viewport_size(SIZE)


def report(page: Page, folder: Path) -> None:
    shown = folder / "report.html"
    rt.Dataset.load(folder / "dataset").report.save_html(shown)
    page.goto(shown.resolve().as_uri())
    keep(page, "page-report")


def card(page: Page, folder: Path) -> None:
    page.goto((folder / "card.html").resolve().as_uri())
    keep(page, "page-card")


if __name__ == "__main__":
    found = os.environ.get("RAGTUNE_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = chromium.new_page(viewport=SIZE)
        for look in (server, report, card):
            look(tab, Path(sys.argv[1]))
        chromium.close()
