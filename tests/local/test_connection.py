"""One folder, many programs: a backend on a folder that is served becomes a connection to its server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragtune._version import __version__
from ragtune.errors import BackendError
from ragtune.local import LocalBackend, serve
from ragtune.local.inference import Inference
from ragtune.local.lifespan.server_file import ServerFile
from ragtune.testing import ScriptedBackend
from tests.local.kit import trainer

SERVER = """
import sys
from ragtune.local import serve
options = {"threads": 1, "max_batch": 1, "aliases": {"gpt-4o-mini": "tiny-random"}}
serve(sys.argv[1], **options, on_start=lambda backend: print(backend.base_url, flush=True))
"""
KEY = "a-key-of-my-own-1"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder that another program serves, and its address."""
    folder = tmp_path_factory.mktemp("served") / "runs"
    with subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield folder, process.stdout.readline().strip()
        process.terminate()


@pytest.mark.slow
def test_a_backend_on_a_served_folder_is_a_connection(served: tuple[Path, str]) -> None:
    """The same address, key and account; leaving it stops nothing, entering it again finds the server there."""
    folder, url = served
    for _ in range(2):
        with LocalBackend(folder) as backend, backend.client(max_retries=0) as client:
            assert (backend.base_url, backend.is_connection) == (url, True)
            assert backend.api_key == (folder / "api_key.txt").read_text().strip()
            assert backend.account == json.loads((folder / "account.json").read_text())["id"]
            answer = client.models.with_raw_response.list()
            assert "gpt-4o-mini" in [model.id for model in answer.parse()]
            assert answer.headers["ragtune-server"] == f"embedded/{__version__}"
            assert answer.headers["ragtune-folder"] == str(folder)
        with pytest.raises(BackendError, match="not started"):
            _ = backend.base_url
    with LocalBackend.connect(folder) as connected:
        assert connected.base_url == url


def test_the_address_of_a_server_that_was_killed_is_gone_before_the_next_one_listens(tmp_path: Path) -> None:
    """Another program may have its port by now, and would be shown the key by whoever connects meanwhile."""
    ServerFile(kind="embedded", origin="http://127.0.0.1:1", account="org-1").write(tmp_path)
    backend = ScriptedBackend(tmp_path)
    seen: list[ServerFile | None] = []
    make = backend._parts.inference

    def inference() -> Inference:
        seen.append(ServerFile.read(tmp_path))
        return make()

    backend._parts = replace(backend._parts, inference=inference)
    with backend:
        assert (seen, ServerFile.read(tmp_path) is None) == ([None], False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threads": 2}, r"threads=2: the server .* has threads=1; leave it out"),
        ({"aliases": {"gpt-4o": "tiny-random"}}, "aliases=.*has aliases="),
        ({"max_batch": 2}, "max_batch=2: .* has max_batch=1"),
        ({"many_stops": True}, "many_stops=True: .* was started without many_stops"),
        ({"max_running": 3}, "max_running=3: .* was started without max_running"),
        ({"port": 1}, "port=1: .*has port="),
        ({"webhook": "https://me:secret@example.org/"}, "webhook='sha256:.*was started without webhook"),
        ({"trainer": ["true"]}, "trainer="),
        ({"bases": {"mine": "someone/model"}}, "bases=.*someone/model.*was started without bases"),
        ({"key": KEY}, "key: .* asks for another one"),
    ],
)
def test_an_option_that_the_server_has_not_is_refused_by_its_name(
    served: tuple[Path, str], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(BackendError, match=words) as refused:
        LocalBackend(served[0], **options).start()
    assert "secret" not in str(refused.value)


def test_options_that_the_server_has_too_are_no_difference(served: tuple[Path, str]) -> None:
    folder, url = served
    with LocalBackend(folder, threads=1, aliases={"gpt-4o-mini": "tiny-random"}, max_running=1) as backend:
        assert backend.base_url == url


def test_a_second_server_on_a_folder_is_refused_with_the_address_of_the_first(served: tuple[Path, str]) -> None:
    with pytest.raises(BackendError, match=f"already runs on this folder.*answers at {served[1]}"):
        serve(served[0])


def test_a_server_of_a_newer_version_is_found_and_keeps_its_folder(served: tuple[Path, str]) -> None:
    """Its address stands beside words that this version does not know; whoever wants to serve there is told it."""
    folder, url = served
    before = (folder / "server.json").read_text()
    (folder / "server.json").write_text(json.dumps({**json.loads(before), "replicas": ["of a later version"]}))
    try:
        with LocalBackend(folder) as backend:
            assert (backend.is_connection, backend.base_url) == (True, url)
        with pytest.raises(BackendError, match=f"already runs on this folder.*answers at {url}"):
            serve(folder)
    finally:
        (folder / "server.json").write_text(before)


def test_a_connection_insists_on_a_running_server(tmp_path: Path) -> None:
    """Also where one was killed and left its address behind; a folder that is not there is not made."""
    for folder in (tmp_path / "nothing", tmp_path / "left"):
        with pytest.raises(BackendError, match="no backend runs on this folder; start one with"):
            LocalBackend.connect(folder)
        (tmp_path / "left").mkdir(exist_ok=True)
        left = {"kind": "embedded", "origin": "http://127.0.0.1:9", "account": "org-1", "options": {}}
        (tmp_path / "left" / "server.json").write_text(json.dumps(left))
    assert not (tmp_path / "nothing").exists()
    with LocalBackend(tmp_path / "left", trainer=trainer()) as backend:
        assert not backend.is_connection
    assert not (tmp_path / "left" / "server.json").exists()


def test_a_connection_whose_server_ended_is_made_anew(tmp_path: Path) -> None:
    """`start` on a connection that leads nowhere takes the folder, which is free."""
    with LocalBackend(tmp_path / "runs", engine=None) as first:
        connected = LocalBackend.connect(tmp_path / "runs")
        assert connected.start().base_url == first.base_url
        assert connected.is_connection
    with connected as own:
        assert not own.is_connection
        with own.client(max_retries=0) as client:
            assert "tiny-random" in [model.id for model in client.models.list()]


def test_a_server_with_a_key_of_its_own_wants_it_from_a_connection_too(tmp_path: Path) -> None:
    with LocalBackend(tmp_path, host="0.0.0.0", key=KEY, trainer=trainer()) as first:
        with pytest.raises(BackendError, match=r"key: .*keeps no key.*pass key="):
            LocalBackend.connect(tmp_path)
        with LocalBackend(tmp_path, key=KEY) as backend, backend.client(max_retries=0) as client:
            assert backend.base_url == first.base_url.replace("0.0.0.0", "127.0.0.1")
            answer = client.models.with_raw_response.list()
        assert "ragtune-folder" not in answer.headers
    own = LocalBackend(tmp_path / "own", key=KEY, trainer=trainer())
    with own, pytest.raises(BackendError, match=r"key: .*keeps no key"):
        LocalBackend.connect(tmp_path / "own")


def test_a_scripted_server_is_no_embedded_one(tmp_path: Path) -> None:
    with ScriptedBackend(tmp_path) as scripted, scripted.client() as client:
        assert client.models.with_raw_response.list().headers["ragtune-server"] == f"scripted/{__version__}"
        with pytest.raises(BackendError, match="a scripted backend runs on this folder"):
            LocalBackend(tmp_path).start()
        with pytest.raises(BackendError, match="another backend already runs"):
            ScriptedBackend(tmp_path).start()


@pytest.mark.slow
def test_a_folders_name_is_told_to_nobody_from_elsewhere(served: tuple[Path, str]) -> None:
    """Neither through a proxy on this machine nor without the key."""
    with LocalBackend(served[0]) as backend, backend.client(max_retries=0) as client:
        proxied = client.models.with_raw_response.list(extra_headers={"X-Forwarded-For": "192.0.2.1"})
        assert "ragtune-folder" not in proxied.headers
        with backend.client(api_key="wrong", max_retries=0) as stranger, pytest.raises(Exception) as refused:
            stranger.models.list()
        assert "ragtune-folder" not in refused.value.response.headers  # type: ignore[attr-defined]
