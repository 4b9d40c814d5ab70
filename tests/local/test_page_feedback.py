"""The page's verdicts over HTTP: what is kept, what is refused, and that no text on it can do harm."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import httpx2 as httpx
import pytest

import ragtune as rt
from ragtune.testing import ScriptedBackend

DEEP = "How deep is Lake Sorrel?"
SAID = {"model": "tiny-random", "question": DEEP, "answer": "12 metres", "by": "anna"}
HOSTILE = "</textarea></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
def browser(backend: ScriptedBackend) -> Iterator[httpx.Client]:
    """A browser that has shown the key, and whose requests come from the server's own pages."""
    origin = backend.base_url.removesuffix("/v1")
    with httpx.Client(base_url=origin, headers={"accept": "text/html", "origin": origin}) as made:
        assert made.post("/login", data={"key": backend.api_key}).status_code == 303
        yield made


def test_a_thumb_and_a_correction_under_an_answer_are_kept(backend: ScriptedBackend, browser: httpx.Client) -> None:
    """One verdict of one person, said in two clicks; the nameless are one person, too."""
    first = browser.post("/playground/feedback", json={**SAID, "verdict": -1})
    again = browser.post("/playground/feedback", json={**SAID, "correction": "83 metres", "system": "Be brief."})
    assert (first.status_code, again.status_code) == (200, 200)
    browser.post("/playground/feedback", json={**SAID, "correction": "83 metres"})
    for verdict in (1, -1):
        browser.post("/playground/feedback", json={**SAID, "by": " ", "verdict": verdict})
    assert [(row.by, row.verdict, row.correction, row.model, row.system) for row in backend.feedback.rows()] == [
        ("anna", None, "83 metres", "tiny-random", "Be brief."),
        ("anna", -1, "83 metres", "tiny-random", None),
        ("page", -1, None, "tiny-random", None),
    ]


def test_a_verdict_on_a_longer_talk_keeps_the_turns_before_and_the_queue_shows_them(
    backend: ScriptedBackend, browser: httpx.Client
) -> None:
    history = [{"role": "user", "content": "Tell me of lakes."}, {"role": "assistant", "content": "Sorrel is one."}]
    reply = browser.post("/playground/feedback", json={**SAID, "history": history, "verdict": -1})
    assert backend.feedback.rows()[0].history == tuple(history)
    assert "assistant: Sorrel is one." in browser.get(reply.json()["path"]).text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "nothing is said"),
        ({"verdict": 1, "history": [{"role": "tool", "content": "7"}]}, "history.[0].role': Input should be"),
        ({"verdict": 2}, "Input should be"),
        ({"verdict": 1, "answer": " "}, "says nothing"),
        ({"verdict": 1, "stars": 5}, "Unrecognized request argument supplied: stars"),
        ({"correction": " "}, "is blank"),
    ],
)
def test_what_is_no_verdict_is_refused_in_words(
    backend: ScriptedBackend, browser: httpx.Client, changes: dict[str, object], words: str
) -> None:
    reply = browser.post("/playground/feedback", json={**SAID, **changes})
    assert (reply.status_code, words in reply.json()["error"]["message"]) == (400, True), reply.text
    assert len(backend.feedback) == 0


def test_a_verdict_about_a_model_that_was_deleted_is_kept(backend: ScriptedBackend, browser: httpx.Client) -> None:
    """What people know outlives the model that did not."""
    reply = browser.post("/playground/feedback", json={**SAID, "model": "ft:gone", "correction": "83 metres"})
    assert reply.status_code == 200
    assert [row.model for row in backend.feedback.rows()] == ["ft:gone"]


@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"origin": ""}])
def test_another_site_can_say_nothing(backend: ScriptedBackend, browser: httpx.Client, headers: dict[str, str]) -> None:
    number = backend.feedback.log("12 metres", question=DEEP)
    browser.headers.pop("origin")
    sent = {name: value for name, value in headers.items() if value}
    for path in ("/playground/feedback", f"/feedback/{number}"):
        reply = browser.post(path, json={**SAID, "verdict": 1}, headers=sent)
        assert reply.status_code in (401, 403)
    assert len(backend.feedback) == 0
    browser.cookies.clear()
    assert browser.get("/feedback").headers["location"] == "/login?next=/feedback"


def test_the_queue_is_worked_off_and_one_step_can_be_taken_back(
    backend: ScriptedBackend, browser: httpx.Client
) -> None:
    store = backend.feedback
    numbers = [store.log(f"answer {n}", question=f"Which is number {n}?", passages=[f"page {n}"]) for n in range(4)]
    assert "Which is number 0?" in browser.get("/feedback").text
    reply = browser.post(f"/feedback/{numbers[0]}", data={"verdict": "good", "by": "anna"})
    assert (reply.status_code, reply.headers["location"]) == (303, f"/feedback?done={numbers[0]}&by=anna")
    shown = browser.get(reply.headers["location"]).text
    assert "Which is number 1?" in shown
    assert 'value="anna"' in shown
    assert f'href="/feedback?id={numbers[0]}&amp;by=anna"' in shown
    # Back to the first: it is judged again. Then one is passed over, and one corrected.
    assert "judged by anna: good" in browser.get("/feedback", params={"id": numbers[0], "by": "anna"}).text
    browser.post(f"/feedback/{numbers[0]}", data={"verdict": "bad", "by": "anna"})
    assert "Which is number 2?" in browser.get("/feedback", params={"after": numbers[1]}).text
    browser.post(f"/feedback/{numbers[2]}", data={"verdict": "", "correction": " two ", "comment": "see page 2"})
    assert "Which is number 3?" in browser.get("/feedback", params={"after": numbers[1]}).text
    assert "No further answer waits" in browser.get("/feedback", params={"after": numbers[3]}).text
    assert [(row.id, row.by, row.verdict, row.correction, row.comment) for row in store.rows()] == [
        (numbers[0], "anna", -1, None, None),
        (numbers[2], "page", None, "two", "see page 2"),
    ]
    assert "4 answers, 2 of them wait for a verdict; 0 good, 1 bad, 1 corrected" in browser.get("/feedback").text


def test_of_two_who_judged_an_answer_each_sees_what_they_said(backend: ScriptedBackend, browser: httpx.Client) -> None:
    for by, verdict in (("anna", 1), ("ben", -1)):
        backend.feedback.add("83 m", verdict, question="How deep is Lake Sorrel?", by=by)
    (number,) = {row.id for row in backend.feedback.rows()}
    for by, said in (("anna", "good"), ("ben", "bad")):
        assert f"judged by {by}: {said}" in browser.get("/feedback", params={"id": number, "by": by}).text


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/feedback?id=99", 404, "has no answer 99"),
        ("/feedback?id=9999999999999999999999", 404, "has no answer 0"),
        ("/feedback?id=x", 404, "has no answer 0"),
        ("/feedback?after=x", 200, "No answer waits"),
    ],
)
def test_what_is_asked_in_vain_is_told_on_a_page(browser: httpx.Client, path: str, status: int, words: str) -> None:
    reply = browser.get(path)
    assert (reply.status_code, words in reply.text) == (status, True)


def test_a_form_that_says_nothing_or_too_much_is_told_on_a_page(
    backend: ScriptedBackend, browser: httpx.Client
) -> None:
    number = backend.feedback.log("12 metres", question=DEEP)
    assert "nothing is said" in browser.post(f"/feedback/{number}", data={"verdict": ""}).text
    assert browser.post(f"/feedback/{number}", data={"comment": "x" * 2_100_000}).status_code == 413
    assert "has no answer 99" in browser.post("/feedback/99", data={"verdict": "good"}).text
    assert len(backend.feedback) == 0


def test_texts_as_long_as_the_form_takes_them_are_kept(backend: ScriptedBackend, browser: httpx.Client) -> None:
    """In letters that a form writes with nine bytes each."""
    number = backend.feedback.log("12 metres", question=DEEP)
    longest = "湖" * 100_000
    reply = browser.post(f"/feedback/{number}", data={"correction": longest, "comment": longest, "by": "anna"})
    assert reply.status_code == 303
    assert [(row.correction, row.comment) for row in backend.feedback.rows()] == [(longest, longest)]


def test_hostile_texts_stay_texts(backend: ScriptedBackend, browser: httpx.Client) -> None:
    store = backend.feedback
    number = store.log(HOSTILE, question=HOSTILE, model=HOSTILE, system=HOSTILE, passages=[HOSTILE], asked_by=HOSTILE)
    store.add(number, 1, correction=HOSTILE, comment=HOSTILE, by=HOSTILE)
    reply = browser.get("/feedback", params={"id": number, "by": HOSTILE})
    assert reply.text.count("&lt;script&gt;") >= 9
    assert not re.search(r"<script>|<img|style=|\s(?<!=x )onerror=alert\(1\)>", reply.text)
    assert "default-src 'none'" in reply.headers["content-security-policy"]


@pytest.mark.slow
def test_a_store_that_another_program_holds_is_told(backend: ScriptedBackend, browser: httpx.Client) -> None:
    number = backend.feedback.log("12 metres", question=DEEP)
    held = sqlite3.connect(backend.feedback.path)
    held.execute("BEGIN IMMEDIATE")
    try:
        text = browser.post(f"/feedback/{number}", data={"verdict": "good"}, timeout=30).text
    finally:
        held.close()
    assert "another program holds it" in text
    assert isinstance(backend.feedback, rt.FeedbackStore)
