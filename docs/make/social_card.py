"""The picture that a chat program shows of a link to the site: `python docs/make/social_card.py`.

Needs playwright, Pillow and a Chromium (`RAGTUNE_CHROMIUM`, or on the path).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

DRAWN = Path(__file__).with_name("card.svg")
TARGET = DRAWN.parents[1] / "assets/card.png"

if __name__ == "__main__":
    found = os.environ.get("RAGTUNE_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1200, "height": 630})
        page.goto(DRAWN.as_uri())
        page.screenshot(path=TARGET)
        chromium.close()
    with Image.open(TARGET) as full:
        full.convert("RGB").quantize(64).save(TARGET, optimize=True)
    print(TARGET.name, TARGET.stat().st_size)
