"""The report's page in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import ragtune as rt

WIDTH, HEIGHT = 500, 1_800
BAR, ANSWER, PAPER = (91, 127, 166), (220, 239, 224), (255, 255, 255)
DARK_BAR, DARK_PAPER = (126, 166, 212), (23, 24, 27)


@pytest.fixture(scope="module")
def browser() -> str:
    """Chromium, by `RAGTUNE_CHROMIUM` or on the path."""
    found = os.environ.get("RAGTUNE_CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("needs a browser: install chromium or set RAGTUNE_CHROMIUM")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with charts, problems and a record that would like to fetch something."""
    folder = tmp_path_factory.mktemp("page")
    fetch = "<img src='http://127.0.0.1:9/leak.png'><script src='http://127.0.0.1:9/leak.js'></script>"
    rows = [{"q": f"Question {n}? {fetch}", "a": "word " * (n + 1) + "x" * 300} for n in range(60)]
    builder = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}")
    train = builder.build(folder / "out", validation=0.2).train.path
    assert train is not None
    train.write_text(train.read_text() + '{"messages": [{"role": "banana", "content": "x"}]}\n')
    report = rt.Dataset.from_files(train, validation=folder / "out/validation.jsonl").report
    (folder / "report.html").write_text(report.to_html(), encoding="utf-8")
    return folder / "report.html"


def run(browser: str, folder: Path, *options: str) -> str:
    fixed = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars"
    quiet = "--disable-component-update --disable-sync --disable-default-apps"
    command = [browser, *fixed.split(), *quiet.split(), f"--user-data-dir={folder / 'profile'}", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def colours(image: Path) -> dict[tuple[int, int, int], int]:
    """How many pixels have each colour."""
    reader = pytest.importorskip("PIL.Image", reason="needs the extra plots")
    with reader.open(image) as picture:
        assert picture.size == (WIDTH, HEIGHT)
        return {colour: count for count, colour in picture.convert("RGB").getcolors(WIDTH * HEIGHT)}


@pytest.mark.slow
def test_the_page_shows_its_chart_and_bubbles_on_a_phone(browser: str, page: Path, tmp_path: Path) -> None:
    """Bars, answers and paper have their colours, and nothing is wider than the screen."""
    shot = tmp_path / "light.png"
    run(browser, tmp_path, f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}", page.as_uri())
    seen = colours(shot)
    assert seen[BAR] > 5_000
    assert seen[ANSWER] > 5_000
    assert max(seen, key=lambda colour: seen[colour]) == PAPER


@pytest.mark.slow
def test_the_page_is_dark_where_the_reader_likes_it_dark(browser: str, page: Path, tmp_path: Path) -> None:
    """The same page, other colours."""
    shot = tmp_path / "dark.png"
    dark = "--blink-settings=preferredColorScheme=0"
    run(browser, tmp_path, f"--window-size={WIDTH},{HEIGHT}", dark, f"--screenshot={shot}", page.as_uri())
    seen = colours(shot)
    assert seen[DARK_BAR] > 5_000
    assert max(seen, key=lambda colour: seen[colour]) == DARK_PAPER


@pytest.mark.slow
def test_the_page_asks_the_network_for_nothing(browser: str, page: Path, tmp_path: Path) -> None:
    """The browser's log of requests names no other address; it does for a page that fetches something."""
    telling = tmp_path / "telling.html"
    telling.write_text("<img src='http://127.0.0.1:9/leak.png'>")
    for path, leaks in ((page, False), (telling, True)):
        log = tmp_path / f"{path.stem}.json"
        run(browser, tmp_path, f"--log-net-log={log}", "--dump-dom", path.as_uri())
        assert ("127.0.0.1:9/leak" in log.read_text()) is leaks
        assert json.loads(log.read_text())["events"]
