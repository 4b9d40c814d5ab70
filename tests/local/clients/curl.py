"""The methods of OpenAI's client that the wire suite calls, each one run of curl."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import openai

_ERRORS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
}
# name -> method, path; the first positional argument fills the path.
_ROUTES = {
    "files.create": ("POST", "/files"),
    "files.list": ("GET", "/files"),
    "files.retrieve": ("GET", "/files/{}"),
    "files.content": ("GET", "/files/{}/content"),
    "files.delete": ("DELETE", "/files/{}"),
    "uploads.create": ("POST", "/uploads"),
    "uploads.parts.create": ("POST", "/uploads/{}/parts"),
    "uploads.complete": ("POST", "/uploads/{}/complete"),
    "uploads.cancel": ("POST", "/uploads/{}/cancel"),
    "fine_tuning.jobs.create": ("POST", "/fine_tuning/jobs"),
    "fine_tuning.jobs.list": ("GET", "/fine_tuning/jobs"),
    "fine_tuning.jobs.retrieve": ("GET", "/fine_tuning/jobs/{}"),
    "fine_tuning.jobs.cancel": ("POST", "/fine_tuning/jobs/{}/cancel"),
    "fine_tuning.jobs.list_events": ("GET", "/fine_tuning/jobs/{}/events"),
    "fine_tuning.jobs.checkpoints.list": ("GET", "/fine_tuning/jobs/{}/checkpoints"),
    "models.list": ("GET", "/models"),
    "models.retrieve": ("GET", "/models/{}"),
    "models.delete": ("DELETE", "/models/{}"),
    "chat.completions.create": ("POST", "/chat/completions"),
    "chat.completions.list": ("GET", "/chat/completions"),
    "chat.completions.update": ("POST", "/chat/completions/{}"),
    "chat.completions.delete": ("DELETE", "/chat/completions/{}"),
    "chat.completions.messages.list": ("GET", "/chat/completions/{}/messages"),
    "completions.create": ("POST", "/completions"),
    "responses.create": ("POST", "/responses"),
    "responses.retrieve": ("GET", "/responses/{}"),
    "responses.delete": ("DELETE", "/responses/{}"),
    "responses.input_items.list": ("GET", "/responses/{}/input_items"),
    "embeddings.create": ("POST", "/embeddings"),
}
_BINARY = frozenset({"files.content"})


class Curl:
    """A client whose every call is a curl command."""

    def __init__(self, base_url: str, api_key: str, name: str = "") -> None:
        self._base_url, self._api_key, self._name = base_url, api_key, name

    def __getattr__(self, part: str) -> Curl:
        return Curl(self._base_url, self._api_key, f"{self._name}.{part}".lstrip("."))

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self._name == "post":
            return json.loads(self._run("POST", arguments[0], ["--data", "{}", "-H", "Content-Type: application/json"]))
        method, path = _ROUTES[self._name]
        query = {**options.pop("extra_query", {})}
        body = {**options, **options.pop("extra_body", {})}
        body.pop("extra_body", None)
        if method == "GET":
            query, body = {**body, **query}, {}
        return self._answer(method, path.format(*(quote(each, safe="") for each in arguments)), query, body)

    def _answer(self, method: str, path: str, query: dict[str, Any], body: dict[str, Any]) -> Any:
        if query:
            path += "?" + "&".join(f"{quote(name)}={quote(str(value))}" for name, value in query.items())
        with tempfile.TemporaryDirectory() as folder:
            content = self._run(method, path, _body(body, Path(folder)))
        if self._name in _BINARY:
            return SimpleNamespace(content=content)
        if body.get("stream"):
            lines = [line.partition("data: ")[2] for line in content.decode().split("\n\n") if line]
            named = content.startswith(b"event: ")
            assert named or lines.pop() == "[DONE]"
            return [_object(line) for line in lines]
        answer = _object(content)
        # As the client's pages do: a list is read to its end.
        if method == "GET" and getattr(answer, "has_more", False) and "limit" in query:
            rest = self._answer(method, path.partition("?")[0], {**query, "after": answer.last_id}, {})
            return _Object(data=[*answer.data, *rest.data])
        return answer

    def _run(self, method: str, path: str, more: list[str]) -> bytes:
        key = f"Authorization: Bearer {self._api_key}"
        command = ["curl", "-sS", "--globoff", "--include", "--no-buffer", "-X", method, "-H", key, "-H", "Expect:"]
        done = subprocess.run([*command, *more, self._base_url + path], capture_output=True, check=True, timeout=60)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        code = int(status.split(" ")[1])
        if code >= 400:
            headers = dict(line.lower().split(": ", 1) for line in lines)
            error = json.loads(content)["error"]
            response: Any = SimpleNamespace(status_code=code, request=None, headers=headers)
            raise _ERRORS[code](error["message"], response=response, body=error)
        return content


def _body(body: dict[str, Any], folder: Path) -> list[str]:
    if not body:
        return []
    if not {"file", "data"} & body.keys():
        return ["--data-binary", json.dumps(body), "-H", "Content-Type: application/json"]
    form = []
    for name, value in body.items():
        if name in ("file", "data"):
            filename, content = value if isinstance(value, tuple) else ("part", value)
            (folder / name).write_bytes(content)
            form += ["-F", f"{name}=@{folder / name};filename={filename}"]
        else:
            form += ["-F", f"{name}={value}"]
    return form


def _object(text: str | bytes) -> Any:
    return json.loads(text, object_hook=lambda pairs: _Object(**pairs))


class _Object(SimpleNamespace):
    """A JSON object: its fields by attribute, by key, and a list's entries one by one."""

    def __getattr__(self, name: str) -> None:
        # As in the client: a field that was left out is None.
        if name.startswith("__"):
            raise AttributeError(name)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __iter__(self) -> Any:
        return iter(self.data)
