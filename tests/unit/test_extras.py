"""The error that names a missing extra."""

from __future__ import annotations

import pytest

from ragtune._extras import require
from ragtune.errors import MissingExtraError


@pytest.mark.parametrize(
    ("missing", "words"),
    [(["no_such_a"], "no_such_a, which is not installed"), (["no_such_a", "no_such_b"], "no_such_b, which are not")],
)
def test_one_and_several_missing_modules_are_named(missing: list[str], words: str) -> None:
    with pytest.raises(MissingExtraError, match=words):
        require("local", "json", *missing, reason="a test")
