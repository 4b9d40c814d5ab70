"""A whole life on the server's page, clicked through in a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune.local import LocalBackend
from tests.local.kit import create, rows, until, upload, wait_for

pytestmark = pytest.mark.slow
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
NAMELESS = """[...document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea')]
    .filter((one) => !(one.textContent.trim() || one.labels?.length || one.ariaLabel)).map((one) => one.outerHTML)"""
BROKEN = "[...document.querySelectorAll('td code')].filter((id) => id.offsetHeight > 60).map((id) => id.textContent)"
PAPER = {"light": (255, 255, 255), "dark": (21, 24, 26)}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium, driven by playwright; by `RAGTUNE_CHROMIUM` or on the path."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = os.environ.get("RAGTUNE_CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("needs a browser: install chromium or set RAGTUNE_CHROMIUM")
    with driver.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    """One backend for all looks; it really trains."""
    with LocalBackend(tmp_path_factory.mktemp("page") / "backend", threads=1) as running:
        yield running


@pytest.fixture(scope="module")
def client(backend: LocalBackend) -> Iterator[openai.OpenAI]:
    with backend.client(max_retries=0) as made:
        yield made


@pytest.fixture
def look(chromium: Any, backend: LocalBackend) -> Iterator[Any]:
    """A tab, logged in; whatever the page complains about or asks another host for fails the test."""
    context = chromium.new_context(viewport=WIDE, base_url=origin(backend))
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(origin(backend)) else complaints.append(sent.url))
    log_in(page, backend.api_key)
    yield page
    context.close()
    assert complaints == []


def origin(backend: LocalBackend) -> str:
    return backend.base_url.removesuffix("/v1")


def told(page: Any, words: str) -> bool:
    """Whether the note below the last answer says so."""
    return words in (page.locator(".answer .note").last.text_content() or "")


def log_in(page: Any, key: str) -> None:
    page.goto("/")
    page.fill("#key", key)
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Jobs')")


def colours(page: Any, folder: Path) -> set[tuple[int, int, int]]:
    """The colours that fill more than a hundredth of a screenshot."""
    reader = pytest.importorskip("PIL.Image", reason="needs the extra plots")
    shot = folder / "shot.png"
    page.screenshot(path=shot)
    with reader.open(shot) as picture:
        pixels = picture.convert("RGB")
        least = pixels.width * pixels.height // 100
        return {colour for count, colour in pixels.getcolors(pixels.width * pixels.height) if count > least}


def test_a_life_is_watched_from_the_first_step_to_the_first_answer(look: Any, client: openai.OpenAI) -> None:
    """The job's page follows without a reload; its model is asked beside its base; dialogue and usage are kept."""
    job = create(client, n_epochs=10, suffix="watched")
    look.goto("/")
    look.click(f"text={job.id}")
    look.wait_for_selector("#loss canvas")
    look.wait_for_selector(".state.succeeded", timeout=60_000)
    until(lambda: look.evaluate("points.step.length === 30"))
    look.click("button:has-text('time')")
    assert look.get_attribute("button:has-text('time')", "aria-pressed") == "true"

    look.click("text=Ask it")
    name = client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model
    assert look.input_value("#model") == name
    look.fill("#length", "5")
    look.fill("#question", "Who keeps the lighthouse?")
    look.keyboard.press("Control+Enter")
    until(lambda: all(notes := look.locator(".answer .note").all_text_contents()) and len(notes) == 2)
    assert look.locator(".answer h3").all_text_contents() == ["tiny-random", name]
    assert all("5 tokens" in note for note in look.locator(".answer .note").all_text_contents())
    look.click("summary:has-text('Python')")
    compile(look.text_content("#code"), "code", "exec")

    look.click("#save")
    look.wait_for_url("**dialogue=*")
    assert look.text_content(".turn .asked") == "Who keeps the lighthouse?"
    look.click("a:has-text('Usage')")
    assert name in look.text_content("table")


def test_a_long_job_is_paused_resumed_and_cancelled_with_the_keyboard(look: Any, client: openai.OpenAI) -> None:
    job = create(client, n_epochs=50, training_file=upload(client, rows(400)))
    look.goto(f"/jobs/{job.id}")
    for button, state in (("#pause", "paused"), ("#resume", "running"), ("#cancel", "cancelled")):
        look.focus(button)
        look.keyboard.press("Enter")
        look.wait_for_selector(f".state.{state}", timeout=30_000)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"


def test_an_answer_is_judged_and_corrected_below_it(look: Any, backend: LocalBackend) -> None:
    look.goto("/playground?model=tiny-random")
    look.fill("#by", "anna")
    look.fill("#length", "5")
    look.fill("#system", "Be brief.")
    look.fill("#question", "Who keeps the lighthouse?")
    look.keyboard.press("Control+Enter")
    look.click("button[aria-label='Bad: tiny-random']")
    look.wait_for_selector(".thumbs .status:has-text('kept')")
    assert look.get_attribute("button[aria-label='Bad: tiny-random']", "aria-pressed") == "true"
    look.click("button[aria-label='Correct: tiny-random']")
    look.fill(".correct textarea", "Ada")
    look.click("text=Keep correction")
    until(lambda: look.locator(".correct").count() == 0)
    said = backend.feedback.rows(by="anna")
    assert [(row.question, row.verdict, row.correction, row.system) for row in said] == [
        ("Who keeps the lighthouse?", -1, "Ada", "Be brief.")
    ]
    first = look.locator(".answer p").first.text_content()
    assert (said[0].answer, said[0].history) == (first, ())
    look.fill("#question", "And who rings the bell?")
    look.keyboard.press("Control+Enter")
    look.locator("button[aria-label='Good: tiny-random']").nth(1).click()
    until(lambda: len(backend.feedback.rows(by="anna")) == 2)
    assert [turn["content"] for turn in backend.feedback.rows(by="anna")[1].history] == [
        "Who keeps the lighthouse?",
        first,
    ]


def test_a_queue_is_labelled_without_a_mouse(look: Any, backend: LocalBackend) -> None:
    """Twelve answers: a thumb each but one that is corrected, one that is passed over and one that is taken back."""
    store = backend.feedback
    sly = "<img src=x onerror=alert(1)>"
    numbers = [store.log(f"{sly} {n}", question=f"{sly} Which is number {n}?") for n in range(12)]
    before = store.counts()
    look.goto("/feedback")

    def shown(number: int) -> None:
        look.wait_for_selector(f"#asked:has-text('Which is number {number}?')")

    def press(*keys: str) -> None:
        for key in keys:
            look.keyboard.press(key)

    shown(0)
    press("n")
    look.keyboard.type("ben")
    press("Escape", "g")
    shown(1)
    press("b")
    shown(2)
    press("u")
    look.wait_for_selector("text=judged by ben: bad")
    press("g")
    shown(2)
    press("c")
    look.keyboard.type("good, and no thumb: b g s")
    press("Control+Enter")
    shown(3)
    press("s")
    for number in range(4, 12):
        shown(number)
        press("m")
        look.keyboard.type("hm")
        press("Escape", "g" if number % 2 else "b")
    look.wait_for_selector("#empty:has-text('No further answer waits')")
    after = store.counts()
    assert (after.good - before.good, after.bad - before.bad, after.corrections - before.corrections) == (6, 4, 1)
    assert [row.id for row in store.unjudged()] == [numbers[3]]
    assert {row.by for row in store.rows() if row.id in numbers} == {"ben"}


def test_a_dialogue_outlives_its_session(chromium: Any, backend: LocalBackend) -> None:
    """Whoever was logged out is told so, keeps what was said, and goes on after logging in beside it."""
    context = chromium.new_context(viewport=WIDE, base_url=origin(backend))
    page, beside = context.new_page(), context.new_page()
    log_in(page, backend.api_key)
    page.goto("/playground?model=tiny-random")
    page.fill("#length", "5")
    for words in ("5 tokens", "The session has ended", "5 tokens"):
        page.fill("#question", "Who keeps the lighthouse?")
        page.keyboard.press("Control+Enter")
        until(partial(told, page, words))
        if words.startswith("The"):
            page.click("#save")
            page.wait_for_selector("#said:has-text('The session has ended')")
            log_in(beside, backend.api_key)
        else:
            context.clear_cookies()
    assert page.locator(".turn").count() == 3
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_has_the_colours_that_the_reader_likes(
    scheme: str, chromium: Any, backend: LocalBackend, client: openai.OpenAI, tmp_path: Path
) -> None:
    failed = create(client, training_file=upload(client, rows(3)))
    wait_for(client, failed.id)
    context = chromium.new_context(color_scheme=scheme, viewport=WIDE, base_url=origin(backend))
    page = context.new_page()
    page.goto("/login")
    assert PAPER[scheme] in colours(page, tmp_path)
    log_in(page, backend.api_key)
    backend.feedback.log("Ada", question="Who keeps the lighthouse?", passages=["Ada keeps it."])
    for path in ("/", f"/jobs/{failed.id}", "/playground", "/feedback", "/usage"):
        page.goto(path)
        assert PAPER[scheme] in colours(page, tmp_path)
    context.close()


def test_every_page_fits_a_phone(chromium: Any, backend: LocalBackend, client: openai.OpenAI) -> None:
    """Nothing is wider than the screen, and everything that can be clicked has a name."""
    failed = create(client, training_file=upload(client, rows(3)))
    wait_for(client, failed.id)
    context = chromium.new_context(viewport=PHONE, is_mobile=True, has_touch=True, base_url=origin(backend))
    page = context.new_page()
    log_in(page, backend.api_key)
    backend.feedback.log("Ada", question="Who keeps the lighthouse?", passages=["Ada keeps it."])
    for path in ("/", f"/jobs/{failed.id}", "/playground", "/feedback", "/usage"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(BROKEN) == []
    context.close()
