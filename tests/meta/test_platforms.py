"""Nothing that only POSIX has stands on the way of a user of Windows: those modules and functions are taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Windows' Python has none of this. `mypy --platform win32` (in `make lint`) finds what is used; this, what is imported.
TAKE_AWAY = """
import builtins, importlib, os, pkgutil, signal, sys

MODULES = "curses fcntl grp posix pty pwd readline resource syslog termios tty _posixshmem _posixsubprocess".split()
IN_OS = '''O_CLOEXEC chown fchmod fchown fork forkpty getegid geteuid getgid getpgid getpgrp getuid getloadavg killpg
    lchown mkfifo mknod nice posix_fadvise posix_fallocate pread pwrite sched_getaffinity sched_setaffinity sendfile
    setpgid setsid statvfs sysconf'''.split()
IN_SIGNAL = "SIGALRM SIGHUP SIGKILL SIGQUIT SIGUSR1 SIGUSR2 alarm pthread_kill pthread_sigmask setitimer".split()

real_import = builtins.__import__

def guarded_import(name, globals=None, locals=None, fromlist=(), level=0):
    importer = str((globals or {}).get("__name__"))
    if importer.split(".")[0] == "ragtune" and name.split(".")[0] in MODULES:
        raise ImportError(f"{importer} imports {name}")
    return real_import(name, globals, locals, fromlist, level)

builtins.__import__ = guarded_import
for module, names in ((os, IN_OS), (signal, IN_SIGNAL)):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""

IMPORT_ALL = """
import importlib, pkgutil, ragtune

found = [module.name for module in pkgutil.walk_packages(ragtune.__path__, "ragtune.") if "__main__" not in module.name]
assert len(found) > 150, found
for name in found:
    importlib.import_module(name)
"""

USE = """
import openai
import ragtune as rt

rows = [{"q": f"Who keeps lighthouse {n}?", "a": f"Ada {n} keeps it \\U0001f98a."} for n in range(40)]
dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("facts", validation=0.1, seed=7)
assert rt.check_file(dataset.train.path).ok
again = rt.DatasetBuilder.from_jsonl(rt.demo_file()).chat(user="{question}", assistant="{correct_answer}")
assert len(again.build("demo", seed=7).train) > 40
client = openai.OpenAI(api_key="sk-none", base_url="http://127.0.0.1:9/v1")
spec = rt.TuneSpec(model="gpt-4o-mini-2024-07-18", method=rt.Supervised(n_epochs=2))
plan = rt.FineTuneJob.plan(client, dataset, spec)
assert plan.calls
assert rt.runs(journal=rt.Journal("runs.sqlite3")) is not None
"""


# So that the packages of others are loaded, which choose their way by the platform; ours are told Windows.
FORGET = """
import socket, subprocess, sys
sys.platform = "win32"
socket.SO_EXCLUSIVEADDRUSE = -5
subprocess.CREATE_NEW_PROCESS_GROUP = 0x200
for name in [name for name in sys.modules if name.split(".")[0] == "ragtune"]:
    del sys.modules[name]
"""


def run(code: str, folder: Path) -> None:
    words = [sys.executable, "-X", "warn_default_encoding", "-c", code]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    # What is read or written in the encoding of the machine is read differently on the next one.
    assert not [line for line in done.stderr.splitlines() if "EncodingWarning" in line and "ragtune/" in line], (
        done.stderr
    )


@pytest.mark.slow
def test_every_module_is_imported_without_what_only_posix_has(tmp_path: Path) -> None:
    """The client's rooms and the server's, the trainer included."""
    run(IMPORT_ALL + FORGET + TAKE_AWAY + IMPORT_ALL, tmp_path)


@pytest.mark.slow
def test_a_dataset_is_built_checked_and_planned_without_what_only_posix_has(tmp_path: Path) -> None:
    run(TAKE_AWAY + USE, tmp_path)


def test_a_module_that_only_posix_has_would_be_found(tmp_path: Path) -> None:
    """The tests above can fail."""
    stowaway = "import types; code = compile('import fcntl', 'x', 'exec'); exec(code, {'__name__': 'ragtune.x'})"
    with pytest.raises(AssertionError, match=r"ragtune\.x imports fcntl"):
        run(TAKE_AWAY + stowaway, tmp_path)
