"""Who may come in: the key that a folder makes for itself, and the one that is given for other machines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from ragtune.errors import BackendError
from ragtune.local import LocalBackend, serve
from tests.local.kit import trainer

KEY = "a-key-of-my-own-1"


def test_other_hosts_need_a_key(tmp_path: Path) -> None:
    """Neither the class nor `serve` opens a machine to the network without an explicit key."""
    with pytest.raises(BackendError, match="can be reached from other machines"):
        LocalBackend(tmp_path, host="0.0.0.0")
    with pytest.raises(BackendError, match="can be reached from other machines"):
        serve(tmp_path, host="0.0.0.0")


def test_a_key_for_other_machines_is_kept_as_a_salted_hash(tmp_path: Path) -> None:
    """Given once; no file holds it; later starts ask for it without having it."""
    with LocalBackend(tmp_path, host="0.0.0.0", key=KEY, trainer=trainer()) as backend:
        with backend.client(base_url=local(backend)) as client:
            assert client.models.list().data
        account = json.loads((tmp_path / "account.json").read_text())
        assert len(account["key_sha256"]) == 64
        for path in tmp_path.rglob("*"):
            assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    with LocalBackend(tmp_path, host="0.0.0.0", trainer=trainer()) as backend:
        with pytest.raises(BackendError, match="keeps only a hash of the key"):
            backend.client()
        with backend.client(api_key=KEY, base_url=local(backend)) as client:
            assert client.models.list().data
        wrong = backend.client(api_key=KEY + "x", base_url=local(backend), max_retries=0)
        with wrong, pytest.raises(openai.AuthenticationError):
            wrong.models.list()


def test_a_new_key_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for key in (KEY, KEY[::-1]):
        with LocalBackend(tmp_path, host="0.0.0.0", key=key, trainer=trainer()):
            pass
    with LocalBackend(tmp_path, host="0.0.0.0", trainer=trainer()) as backend:
        with backend.client(api_key=KEY[::-1], base_url=local(backend)) as client:
            assert client.models.list().data
        old = backend.client(api_key=KEY, base_url=local(backend), max_retries=0)
        with old, pytest.raises(openai.AuthenticationError):
            old.models.list()


def test_equal_keys_have_unequal_hashes(tmp_path: Path) -> None:
    """Each folder has a salt of its own."""
    hashes = set()
    for name in ("one", "two"):
        with LocalBackend(tmp_path / name, host="0.0.0.0", key=KEY, trainer=trainer()):
            hashes.add(json.loads((tmp_path / name / "account.json").read_text())["key_sha256"])
    assert len(hashes) == 2


@pytest.mark.parametrize(("host", "key"), [("0.0.0.0", "short"), ("127.0.0.1", ""), ("127.0.0.1", "two words")])
def test_an_unfit_key_is_refused(tmp_path: Path, host: str, key: str) -> None:
    """Too short for a network, empty, or not one word."""
    with pytest.raises(BackendError, match="the key"):
        LocalBackend(tmp_path, host=host, key=key).start()


def test_the_own_key_is_the_owners_alone(tmp_path: Path) -> None:
    """Kept with mode 600, and in no repr; a removed one is made anew."""
    with LocalBackend(tmp_path, trainer=trainer()) as backend:
        own = backend.api_key
        assert (tmp_path / "api_key.txt").read_text() == own + "\n"
        for name in ("api_key.txt", "account.json"):
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert own not in repr(backend)
        assert own not in repr(backend._running.account)
    (tmp_path / "api_key.txt").unlink()
    with LocalBackend(tmp_path, trainer=trainer()) as backend:
        assert backend.api_key != own


def test_a_key_for_this_machine_is_written_nowhere(tmp_path: Path) -> None:
    with LocalBackend(tmp_path, key="mine", trainer=trainer()) as backend, backend.client() as client:
        assert client.models.list().data
    assert all(path.is_dir() or b"mine" not in path.read_bytes() for path in tmp_path.glob("*.*"))
    assert "key_sha256" not in (tmp_path / "account.json").read_text()


def test_a_new_folder_and_its_database_are_its_owners_alone(tmp_path: Path) -> None:
    """The database keeps dialogues; in a folder that was there before, its own mode keeps them."""
    (tmp_path / "old").mkdir(mode=0o755)
    for name, folder_mode in (("new", 0o700), ("old", 0o755)):
        with LocalBackend(tmp_path / name, trainer=trainer()):
            assert (tmp_path / name).stat().st_mode & 0o777 == folder_mode
            modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / name).glob("state.sqlite3*")}
            modes.pop("state.sqlite3.reserve")  # zeros alone
            assert set(modes.values()) == {0o600}, modes


def local(backend: LocalBackend) -> str:
    return backend.base_url.replace("0.0.0.0", "127.0.0.1")


@pytest.mark.slow
def test_the_command_shows_a_new_key_once(tmp_path: Path) -> None:
    """`--new-key` prints it; the next start on the folder asks for the same key without a word of it."""
    shown = []
    run = [sys.executable, "-c", "from ragtune.cli import main; main()"]
    for option in (["--new-key"], []):
        command = [*run, "serve", str(tmp_path), "--host", "127.0.0.2", "--port", "0", *option]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
            assert serving.stdout is not None
            assert "it keeps a hash of its API key" in serving.stdout.readline()
            base_url = serving.stdout.readline().strip().partition("=")[2]
            if option:
                line = serving.stdout.readline()
                assert line.endswith("  # shown this once\n")
                shown.append(line.partition("=")[2].split()[0])
            with openai.OpenAI(base_url=base_url, api_key=shown[0]) as client:
                assert client.models.list().data
            serving.send_signal(signal.SIGINT)
            rest = serving.stdout.read()
            assert shown[0] not in rest
    assert all(path.is_dir() or shown[0].encode() not in path.read_bytes() for path in tmp_path.rglob("*"))
