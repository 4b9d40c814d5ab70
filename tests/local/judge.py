"""Judges every answer that passes by OpenAI's own schema."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema


class Judge:
    """Checks responses against an OpenAPI document; counts what it has seen as `METHOD path`.

    Args:
        document: file with OpenAPI 3.1, whose error answers are described, too.
    """

    def __init__(self, document: Path) -> None:
        self._spec = json.loads(document.read_text(encoding="utf-8"))
        self._routes = [
            (re.compile("/v1" + re.sub(r"\{[^}]+\}", "[^/]+", path.removeprefix("/v1")) + "$"), path)
            for path in self._spec["paths"]
        ]
        self.seen: set[str] = set()

    def __call__(self, method: str, path: str, status: int, kind: str, body: bytes) -> None:
        """Look at one response; anything wrong raises `jsonschema.ValidationError` or `AssertionError`."""
        template = next((template for pattern, template in self._routes if pattern.match(path)), None)
        if template is None:
            assert status == 404
            self.check({"$ref": "#/components/schemas/ErrorResponse"}, json.loads(body))
            return
        described = self._spec["paths"][template][method.lower()]["responses"]
        assert str(status) in described, f"{method} {template} answered {status}"
        content = described[str(status)]["content"]
        kind = kind.partition(";")[0]
        assert kind in content, f"{method} {template} answered {kind}"
        if kind == "application/json":
            whole = json.loads(body)
            if template.endswith("/completions") and "chat" not in template and status == 200:
                _fill_in_what_nothing_stands_before(whole)
            self.check(content[kind]["schema"], whole)
        elif kind == "text/event-stream":
            name = "CreateChatCompletionStreamResponse" if "chat" in template else "CreateCompletionResponse"
            for line in body.decode().split("\n\n")[:-2]:
                chunk = json.loads(line.removeprefix("data: "))
                if name == "CreateCompletionResponse":
                    # The schema describes the whole answer; in a stream reason and usage are null until the end.
                    for choice in chunk["choices"]:
                        choice["finish_reason"] = choice["finish_reason"] or "stop"
                    chunk = {key: value for key, value in chunk.items() if (key, value) != ("usage", None)}
                    _fill_in_what_nothing_stands_before(chunk)
                self.check({"$ref": f"#/components/schemas/{name}"}, chunk)
        self.seen.add(f"{method} {template} {status}")

    def check(self, schema: dict[str, Any], value: Any) -> None:
        """Hold a value against a schema that may refer to the document's components."""
        whole = {**schema, "components": self._spec["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)


def _fill_in_what_nothing_stands_before(completion: dict[str, Any]) -> None:
    """An echoed text's first token has no probability: null, as OpenAI's servers send it, where the schema has none."""
    for choice in completion["choices"]:
        told = choice["logprobs"] or {"token_logprobs": [1], "top_logprobs": [1]}
        if told["token_logprobs"][:1] == [None]:
            told["token_logprobs"][0], told["top_logprobs"][0] = 0.0, {}
