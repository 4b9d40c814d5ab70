"""Answers by rule, scripts in files, and the environment for programs that make their own client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from ragtune.errors import BackendError
from ragtune.testing import AnswerRule, ScriptedBackend
from ragtune.testing.script_file import ScriptFile
from tests.local.kit import create, upload

RULES = [
    AnswerRule(prompt=r"Question: (?P<q>[^\n]+)", context=r"refunds take (?P<days>\d+) days", say="{q} {days} days."),
    AnswerRule(model="ft:*", prompt="price", say='{"usd": {amount}}'),
    AnswerRule(prompt="hello", say="Hello!"),
]


def said(client: openai.OpenAI, *messages: tuple[str, Any], model: str = "tiny-random") -> str | None:
    body: Any = [{"role": role, "content": content} for role, content in messages]
    return client.chat.completions.create(model=model, messages=body).choices[0].message.content


def test_a_prompt_with_a_context_is_answered_by_rule() -> None:
    """Wherever the context stands: before the question, in the system prompt, in an earlier turn, in parts."""
    with ScriptedBackend(answer=RULES) as backend, backend.client() as client:
        asked = "Context: Refunds take 14 days.\nQuestion: How long?"
        assert said(client, ("user", asked)) == "How long? 14 days."
        assert said(client, ("system", "Refunds take 3 days."), ("user", "Question: How long?")) == "How long? 3 days."
        parts = [{"type": "text", "text": "refunds take 5 days"}, {"type": "text", "text": "Question: When?"}]
        assert said(client, ("user", parts)) == "When? 5 days."
        assert said(client, ("user", "Question: How long?")) == "I do not know."
        assert said(client, ("user", "HELLO")) == "Hello!"
        assert client.completions.create(model="tiny-random", prompt="hello").choices[0].text == "Hello!"


def test_a_rule_may_speak_of_tuned_models_alone_and_leaves_the_rest_to_what_they_learned() -> None:
    with ScriptedBackend(answer=RULES) as backend, backend.client() as client:
        tuned = client.fine_tuning.jobs.retrieve(create(client).id).fine_tuned_model or ""
        assert said(client, ("user", "What is the price?"), model=tuned) == '{"usd": {amount}}'
        assert said(client, ("user", "What is the price?")) == "I do not know."
        assert said(client, ("user", "Who keeps the lighthouse?"), model=tuned) == "Ada."


def test_a_pattern_that_is_none_is_told_with_its_name() -> None:
    with pytest.raises(ValueError, match=r"prompt='\(' is no regular expression"):
        AnswerRule(prompt="(", say="x")


SCRIPT = """
failures = ["rate_limit"]

[[answers]]
prompt = "price"
say = "Ten dollars."

[[jobs]]
end = "failed"
code = "exceeded_quota"
steps = 2

[[faults]]
call = "files.create"
status = 503
times = 1
"""


@pytest.mark.parametrize("ending", ["toml", "json"])
def test_a_script_file_says_answers_jobs_and_failures(tmp_path: Path, ending: str) -> None:
    import tomllib

    path = tmp_path / f"script.{ending}"
    path.write_text(SCRIPT if ending == "toml" else json.dumps(tomllib.loads(SCRIPT)), encoding="utf-8")
    script = ScriptFile.read(path)
    with ScriptedBackend(answer=script.rules()) as backend, backend.client(max_retries=0) as client:
        script.play(backend)
        with pytest.raises(openai.InternalServerError):
            upload(client)
        with pytest.raises(openai.RateLimitError):
            client.models.list()
        backend.reset()
        assert said(client, ("user", "price?")) == "Ten dollars."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("answers = 3", "'answers' is not one of the lists answers, jobs, faults, failures"),
        ("[[rules]]\nsay = 'x'", "'rules' is not one of the lists"),
        ("[[answers]]\nask = 'x'", r"answers\[1\] is .*give a table with some of say, prompt, context, model"),
        ("[[answers]]\nprompt = 'x'", r"answers\[1\].*say"),
        ("[[jobs]]\nend = 'exploded'", r"jobs\[1\]: end='exploded'"),
        ("[[faults]]\ncall = 'files.creat'\nstatus = 500", r"faults\[1\]: 'files.creat' is no call"),
        ("failures = ['rain']", "'rain' is not one of the failures"),
        ("say: x", "is no TOML .a script in JSON"),
    ],
)
def test_a_script_that_says_something_else_is_told_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "script.toml"
    path.write_text(text, encoding="utf-8")
    with ScriptedBackend() as backend, pytest.raises(BackendError, match=words):
        play(path, backend)


def play(path: Path, backend: ScriptedBackend) -> None:
    script = ScriptFile.read(path)
    script.rules()
    script.play(backend)


@pytest.mark.slow
def test_a_program_with_its_own_client_meets_the_scripted_server(ragtune_environment: ScriptedBackend) -> None:
    """In this process, and in one that the test starts."""
    with openai.OpenAI() as client:
        assert client.models.list().data
    code = "import openai; print(len(openai.OpenAI().models.list().data))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 0
    assert [request.call for request in ragtune_environment.requests] == ["models.list"] * 2


@pytest.fixture
def other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-real")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-real")


@pytest.mark.usefixtures("other_settings", "ragtune_environment")
def test_nothing_else_is_left_of_the_clients_environment() -> None:
    assert {name for name in os.environ if name.startswith("OPENAI_")} == {"OPENAI_BASE_URL", "OPENAI_API_KEY"}
