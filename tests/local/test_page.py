"""The server's page over HTTP: who is let in, what is shown, and that nothing on it can do harm."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

from ragtune.errors import BackendError
from ragtune.local import LocalBackend
from ragtune.local.auth.sessions import Sessions, checked_origin, safe_next
from ragtune.local.page.rendering import FOLDER
from ragtune.testing import ScriptedBackend
from tests.local.kit import create, rows, trainer, upload, wait_for

HTML = {"accept": "text/html"}
DIALOGUE = {
    "mode": "chat",
    "models": ["tiny-random"],
    "system": "",
    "temperature": 0.5,
    "max_tokens": 20,
    "turns": [{"question": "Who?", "answers": ["Ada."]}],
}


@pytest.fixture
def origin(backend: LocalBackend) -> str:
    return backend.base_url.removesuffix("/v1")


@pytest.fixture
def stranger(origin: str) -> Iterator[httpx.Client]:
    """A browser that has not shown the key."""
    with httpx.Client(base_url=origin, headers=HTML) as made:
        yield made


@pytest.fixture
def browser(origin: str, backend: LocalBackend, stranger: httpx.Client) -> httpx.Client:
    """A browser that has."""
    reply = log_in(stranger, backend.api_key)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    return stranger


def log_in(browser: httpx.Client, key: str, **fields: str) -> httpx.Response:
    return browser.post("/login", data={"key": key, **fields}, headers={"origin": str(browser.base_url).rstrip("/")})


def test_a_browser_without_the_key_is_sent_to_the_form_and_back(backend: LocalBackend, stranger: httpx.Client) -> None:
    reply = stranger.get("/usage")
    assert (reply.status_code, reply.headers["location"]) == (303, "/login?next=/usage")
    assert log_in(stranger, "rt-wrong").status_code == 401
    assert stranger.get("/").status_code == 303
    assert log_in(stranger, backend.api_key, next="/usage").headers["location"] == "/usage"
    assert "Nothing was asked" in stranger.get("/usage").text


def test_a_session_ends_when_the_browser_logs_out(browser: httpx.Client) -> None:
    name, cookie = next(iter(browser.cookies.items()))
    browser.post("/logout", headers={"origin": str(browser.base_url).rstrip("/")})
    assert browser.get("/", headers={"cookie": f"{name}={cookie}"}).status_code == 303


def test_the_cookie_is_out_of_reach_for_scripts_and_for_other_sites(
    stranger: httpx.Client, backend: LocalBackend
) -> None:
    cookie = log_in(stranger, backend.api_key).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert backend.api_key.lower() not in cookie


@pytest.mark.parametrize("others", ["_ga=GA1.1", 'ui={"theme":"dark"}', "name=Ada L", "flag", "ragtune_session="])
def test_cookies_of_other_programs_on_this_host_keep_nobody_out(
    stranger: httpx.Client, backend: LocalBackend, others: str
) -> None:
    own = log_in(stranger, backend.api_key).headers["set-cookie"].partition(";")[0]
    stranger.cookies.clear()
    for cookie in (f"{others}; {own}", f"{own}; {others}"):
        assert stranger.get("/", headers={"cookie": cookie}).status_code == 200


def test_two_servers_on_one_host_have_a_session_each(
    browser: httpx.Client, backend: LocalBackend, tmp_path: Path
) -> None:
    with ScriptedBackend(tmp_path / "second", models=["tiny-random"]) as second:
        place = second.base_url.removesuffix("/v1")
        form = {"key": second.api_key}
        assert browser.post(f"{place}/login", data=form, headers={"origin": place}).status_code == 303
        assert browser.get(f"{place}/").status_code == 200
        assert browser.get("/").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_another_site_cannot_change_anything_with_the_cookie(
    browser: httpx.Client, client: openai.OpenAI, headers: dict[str, str]
) -> None:
    """Even a browser that sends the cookie along is refused when the page comes from elsewhere."""
    file = upload(client)
    reply = browser.post("/v1/fine_tuning/jobs", json={"model": "tiny-random", "training_file": file}, headers=headers)
    assert reply.status_code == 401
    assert client.fine_tuning.jobs.list().data == []


def test_the_key_cannot_be_tried_from_another_site(stranger: httpx.Client, backend: LocalBackend) -> None:
    reply = stranger.post("/login", data={"key": backend.api_key}, headers={"origin": "http://evil.example"})
    assert (reply.status_code, "set-cookie" in reply.headers) == (403, False)
    assert "--origin http://evil.example" in reply.text


def test_behind_a_proxy_the_page_is_used_at_the_proxys_address(tmp_path: Path) -> None:
    """Whichever of the two names it sends as `Host`; a third site stays out, and a TLS proxy gets a secure cookie."""
    outside = {"origin": "https://tunes.example.com"}
    backend = LocalBackend(tmp_path, trainer=trainer(), origin="https://tunes.example.com/")
    with backend, httpx.Client(base_url=backend.base_url.removesuffix("/v1"), headers=HTML) as browser:
        for host in ({}, {"host": "tunes.example.com"}):
            reply = browser.post("/login", data={"key": backend.api_key}, headers=outside | host)
            assert (reply.status_code, "secure" in reply.headers["set-cookie"].lower()) == (303, True)
            cookie = {"cookie": reply.headers["set-cookie"].partition(";")[0]}
            assert browser.get("/", headers=cookie | host).status_code == 200
            assert browser.post("/logout", headers=outside | cookie | host).status_code == 303
        assert browser.get("/", headers={"host": "evil.example"}).status_code == 403
        other = {"origin": "https://evil.example"}
        assert browser.post("/login", data={"key": backend.api_key}, headers=other).status_code == 403


@pytest.mark.parametrize("origin", ["tunes.example.com", "https://", "https://a.example/page", "ftp://a.example", ""])
def test_an_origin_that_is_none_is_refused(tmp_path: Path, origin: str) -> None:
    with pytest.raises(BackendError, match="for example https://tunes"):
        LocalBackend(tmp_path, origin=origin)


@pytest.mark.parametrize("origin", ["https://tunes.example.com:443/", "HTTPS://Tunes.example.com"])
def test_an_origin_is_taken_as_browsers_send_it(origin: str) -> None:
    assert checked_origin(origin) == "https://tunes.example.com"


def test_a_deep_link_survives_the_login(backend: LocalBackend, stranger: httpx.Client) -> None:
    link = "/playground?dialogue=dlg-1&model=a%20b"
    form = stranger.get(link).headers["location"]
    target = re.search(r'name="next" value="([^"]+)"', stranger.get(form).text)
    assert target is not None
    assert log_in(stranger, backend.api_key, next=html.unescape(target[1])).headers["location"] == link


@pytest.mark.parametrize(
    "path", ["/?state=melted", "/?after=ftjob-none", "/playground?dialogue=none", "/logout", "/no"]
)
def test_what_a_browser_asks_in_vain_is_told_on_a_page(browser: httpx.Client, path: str) -> None:
    reply = browser.get(path)
    assert (reply.status_code, 'role="alert"' in reply.text) == (405 if path == "/logout" else 404, True)


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "http://evil.example", "javascript:x", "/a\r\nx: y", ""]
)
def test_the_form_never_leads_to_another_host(path: str) -> None:
    assert safe_next(path) == "/"


def test_old_sessions_go_when_there_are_too_many() -> None:
    sessions = Sessions()
    tokens = [sessions.open() for _ in range(1_001)]
    admitted = [sessions.admits(scope(token)) for token in (tokens[0], tokens[1], tokens[-1])]
    assert admitted == [False, True, True]


def scope(token: str) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "headers": [(b"cookie", f"ragtune_session={token}".encode())]}


def test_jobs_are_listed_and_filtered_by_state(browser: httpx.Client, client: openai.OpenAI) -> None:
    good = create(client, suffix="<b>sly</b>")
    wait_for(client, good.id)
    bad = create(client, training_file=upload(client, rows(3)))
    wait_for(client, bad.id)
    everything = browser.get("/").text
    assert good.id in everything
    assert bad.id in everything
    failed = browser.get("/", params={"state": "failed"}).text
    assert (good.id in failed, bad.id in failed) == (False, True)
    assert browser.get("/", params={"state": "banana"}).status_code == 404


def test_a_job_shows_its_figures_events_files_and_curves(browser: httpx.Client, client: openai.OpenAI) -> None:
    job = create(client, seed=4711, metadata={"team": "<script>alert(1)</script>"})
    done = wait_for(client, job.id)
    text = browser.get(f"/jobs/{job.id}").text
    for shown in (
        "4711",
        done.fine_tuned_model,
        f"{done.trained_tokens:,}",
        f'<td>training</td><td><a href="/v1/files/{job.training_file}/content"',
        "Created fine-tuning job",
    ):
        assert shown in text
    assert "<script>alert" not in text
    live = browser.get(f"/jobs/{job.id}/live").json()
    assert live["done"] is True
    assert live["curves"]["step"] == list(range(1, 10))
    assert len(live["curves"]["train_loss"]) == 9
    assert all(loss is not None for loss in live["curves"]["train_loss"])
    assert "No step" not in text  # nor for readers without scripts
    assert "<noscript>" in text


def test_a_failed_job_says_why(browser: httpx.Client, client: openai.OpenAI) -> None:
    job = create(client, training_file=upload(client, rows(3)))
    failed = wait_for(client, job.id)
    text = browser.get(f"/jobs/{job.id}").text
    assert failed.error.code in text
    assert "No step has been reported.<" in text


def test_a_job_is_paused_resumed_and_cancelled_from_its_page(
    backend: ScriptedBackend, browser: httpx.Client, client: openai.OpenAI, origin: str
) -> None:
    backend.next_job(end="running", steps=2)
    job = create(client)
    for action, states in (
        ("pause", ["paused"]),
        ("resume", ["validating_files", "queued", "running"]),
        ("cancel", ["cancelled"]),
    ):
        reply = browser.post(f"/jobs/{job.id}/{action}", headers={"origin": origin})
        assert (reply.status_code, reply.headers["location"]) == (303, f"/jobs/{job.id}")
        assert client.fine_tuning.jobs.retrieve(job.id).status in states
    again = browser.post(f"/jobs/{job.id}/cancel", headers={"origin": origin})
    assert again.status_code == 400
    assert "cannot be cancelled" in again.text
    assert browser.post(f"/jobs/{job.id}/explode", headers={"origin": origin}).status_code == 404


def test_answers_are_counted_per_model_and_day(browser: httpx.Client, client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny-random", "max_tokens": 5, "temperature": 0}
    first = client.chat.completions.create(messages=[{"role": "user", "content": "Hi"}], **asked)
    list(client.completions.create(prompt="Once", stream=True, **asked))
    assert first.usage is not None
    cells = re.findall(r'<td class="figure">([\d,]+)</td>', browser.get("/usage").text)
    requests, prompt, completion = (int(cell.replace(",", "")) for cell in cells[:3])
    assert (requests, completion) == (2, 2 * first.usage.completion_tokens)
    assert prompt > first.usage.prompt_tokens


def test_a_dialogue_is_saved_shown_and_deleted(browser: httpx.Client, origin: str) -> None:
    sly = "</script><script>alert(1)</script>"
    dialogue = {**DIALOGUE, "turns": [{"question": sly, "answers": ["yes"]}]}
    kept = browser.post("/playground/dialogues", json=dialogue, headers={"origin": origin}).json()
    text = browser.get(kept["path"]).text
    assert sly not in text
    found = re.search(r'id="dialogue">(.*?)</script>', text)
    assert found is not None
    assert json.loads(found[1]) == dialogue
    browser.post(f"/playground/dialogues/{kept['id']}/delete", headers={"origin": origin})
    assert browser.get(kept["path"]).status_code == 404


def test_a_dialogue_that_is_none_is_refused_by_name(browser: httpx.Client, origin: str) -> None:
    reply = browser.post("/playground/dialogues", json={**DIALOGUE, "mode": "banana"}, headers={"origin": origin})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "mode")


def test_what_is_not_there_is_told_on_a_page(browser: httpx.Client, client: openai.OpenAI) -> None:
    """A path that nobody serves, and a link to a model that was deleted since."""
    reply = browser.get("/no<where>")
    assert (reply.status_code, "There is no page /no&lt;where&gt;." in reply.text) == (404, True)
    name = wait_for(client, create(client).id).fine_tuned_model
    link = {"model": str(name)}
    assert "any more" not in browser.get("/playground", params=link).text
    client.models.delete(str(name))
    assert f"{name} is not on this server any more." in browser.get("/playground", params=link).text


def test_pages_take_nothing_from_other_hosts(browser: httpx.Client, client: openai.OpenAI) -> None:
    """The header forbids it to the browser, and no page tries."""
    job = create(client)
    for path in ("/", f"/jobs/{job.id}", "/playground", "/feedback", "/usage", "/login"):
        reply = browser.get(path)
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert not re.search(r'(?:src|href)="(?:https?:)?//', reply.text)
        assert not re.search(r"<script>|style=|\son\w+=", reply.text)


def test_the_library_for_the_curves_is_the_one_that_it_says_it_is() -> None:
    folder = FOLDER / "static" / "uplot"
    stated = dict(re.findall(r"\| (uPlot\S+) \| ([0-9a-f]{64}) \|", (folder / "SOURCE.md").read_text()))
    assert stated == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in stated}
    assert len(stated) == 2


def test_the_page_stays_out_of_the_way_of_programs(origin: str) -> None:
    """Without a browser's wish for HTML the answer is the envelope that clients know."""
    reply = httpx.get(f"{origin}/")
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")


def test_a_folder_from_before_the_page_gets_its_tables(tmp_path: Path) -> None:
    """An older database is brought up to date when it is opened."""
    from ragtune._sqlite import Database
    from ragtune.errors import BackendError
    from ragtune.local.store import Store
    from ragtune.local.store.migrations import MIGRATIONS

    Database(tmp_path / "state.sqlite3", migrations=MIGRATIONS[:1], error=BackendError).close()
    store = Store(tmp_path)
    store.usage.add("m", prompt_tokens=1, completion_tokens=2)
    assert [row.requests for row in store.usage.days(1)] == [1]
    store.close()
