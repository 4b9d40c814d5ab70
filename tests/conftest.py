"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data beside the checkout; a test that needs it is skipped by name where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs ../shared: real data that is not part of the project")
    return SHARED
