"""Where keys come from and where they must not go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

import ragtune as rt
from ragtune import aio
from ragtune._keys import client_from_anywhere, redact

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_line_that_is_not_blank_is_the_key(tmp_path: Path) -> None:
    file = tmp_path / "api_key.txt"
    file.write_bytes("\ufeff\r\n   \r\n sk-one \r\nsk-two\r\n".encode())
    with rt.client_from_key_file(file, base_url="http://127.0.0.1:9/v1", timeout=3) as client:
        assert (client.api_key, client.timeout, type(client)) == ("sk-one", 3, openai.OpenAI)
    twin = aio.client_from_key_file(file, timeout=3)
    assert (twin.api_key, twin.timeout, type(twin)) == ("sk-one", 3, openai.AsyncOpenAI)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"two words\n", b"sk-\xff\xfe-not-text", "sk-schlüssel".encode()])
def test_a_file_without_a_key_names_the_four_ways_and_never_its_content(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "api_key.txt"
    file.write_bytes(content)
    with pytest.raises(rt.MissingKey) as missing:
        rt.client_from_key_file(file)
    for way in ("OPENAI_API_KEY", "client_from_key_file", "openai.OpenAI(api_key=", "LocalBackend"):
        assert way in str(missing.value)
    assert "two words" not in str(missing.value)
    assert "schl" not in str(missing.value)
    assert missing.value.__cause__ is None
    assert "\n" not in str(missing.value)


@pytest.mark.parametrize(
    "line",
    [
        "OPENAI_API_KEY=sk-one",
        'OPENAI_API_KEY = "sk-one"',
        "export OPENAI_API_KEY=sk-one",
        "api_key: sk-one",
        "'sk-one'",
    ],
)
def test_a_line_of_an_env_file_is_refused_with_what_to_do(tmp_path: Path, line: str) -> None:
    file = tmp_path / "api_key.txt"
    file.write_text(f"{line}\n")
    with pytest.raises(rt.MissingKey, match="write the key alone") as missing:
        rt.client_from_key_file(file)
    assert "sk-one" not in str(missing.value)


@pytest.mark.parametrize("key", ["sk-monkey=", "a" * 43 + "=", "keyless", "turnkey-1"])
def test_a_key_may_look_like_a_word_or_end_in_an_equals_sign(tmp_path: Path, key: str) -> None:
    file = tmp_path / "api_key.txt"
    file.write_text(key)
    with rt.client_from_key_file(file, base_url="http://127.0.0.1:9/v1") as client:
        assert client.api_key == key


@pytest.mark.parametrize("name", ["absent.txt", "."])
def test_no_file_or_a_folder_is_a_missing_key(tmp_path: Path, name: str) -> None:
    with pytest.raises(rt.MissingKey, match="cannot read"):
        rt.client_from_key_file(tmp_path / name)


def test_without_a_key_anywhere_the_message_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(rt.MissingKey, match="LocalBackend"):
        client_from_anywhere()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment")
    with client_from_anywhere(base_url="http://127.0.0.1:9/v1") as client:
        assert client.api_key == "sk-from-environment"


def test_keys_are_struck_from_texts() -> None:
    text = "bad key sk-proj-abcdefghijklmnop and local-secret-1"
    assert redact(text, "local-secret-1") == "bad key [key hidden] and [key hidden]"
    assert redact("the letter x stays", "x") == "the letter x stays"
    assert redact("risk-management stays", None) == "risk-management stays"
