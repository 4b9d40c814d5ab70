"""What all tests share."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings

if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts into the background deaf to Ctrl-C, and so would be every program that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine one example may take long; what is slow by itself shows in the whole test's time.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
# Before any library reads it: a test that trains in its own process reports to nobody.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
# Before any fixture runs: no test may write into the journal of whoever runs it.
os.environ["RAGTUNE_JOURNAL"] = str(Path(tempfile.mkdtemp(prefix="ragtune-journal-")) / "journal.sqlite3")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test gets twenty minutes before it counts as hanging, unless it says otherwise itself."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(autouse=True)
def _own_journal(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with an empty journal."""
    monkeypatch.setenv(
        "RAGTUNE_JOURNAL", str(tmp_path_factory.getbasetemp() / f"journal-{os.urandom(8).hex()}.sqlite3")
    )


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data beside the checkout; a test that needs it is skipped by name where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs ../shared: real data that is not part of the project")
    return SHARED
