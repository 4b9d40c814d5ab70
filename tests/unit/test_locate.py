"""What a server says of bad data, in its many words, and the local line that it means."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Final

import pytest

import ragtune as rt
from ragtune._api.calls import LocalFile
from ragtune.job.details import JobError
from ragtune.monitor.locate import Blame, blame, excerpt

if TYPE_CHECKING:
    from pathlib import Path

TRAIN: Final = "training_file"
VALID: Final = "validation_file"
SAID = [
    (
        "The job failed due to an invalid training file. Invalid file format. Example 100, message 2 "
        "Discriminator 'role' is missing in value",
        Blame(file=TRAIN, unit="example", numbers=(100,), message=1),
    ),
    (
        'Invalid file format. Line 1, message 3, key "content": Input should be a valid string',
        Blame(file=TRAIN, numbers=(1,), message=2),
    ),
    ("Invalid file format. Line 7 is not a dictionary", Blame(file=TRAIN, numbers=(7,))),
    (
        "Expected file to have JSONL format, where every line is a JSON dictionary. Line 12 is not a dictionary "
        '(starts with "{").',
        Blame(file=TRAIN, numbers=(12,)),
    ),
    ("Line 12, messages[1].role: 'bot' is not a role", Blame(file=TRAIN, numbers=(12,), message=1)),
    ("invalid JSON on line 3, column 17", Blame(file=TRAIN, numbers=(3,))),
    ("Flagged lines: 4, 13, 14...", Blame(file=TRAIN, numbers=(4, 13, 14))),
    ("Examples 4 and 13 have no assistant message", Blame(file=TRAIN, unit="example", numbers=(4, 13))),
    ("rows [4, 13] are too long", Blame(file=TRAIN, numbers=(4, 13))),
    ("row #9: no prompt", Blame(file=TRAIN, numbers=(9,))),
    ("record no. 9 is empty", Blame(file=TRAIN, unit="example", numbers=(9,))),
    ("train.jsonl:12: no prompt", Blame(file=TRAIN, numbers=(12,))),
    ("The validation file is invalid: line 5 is empty", Blame(file=VALID, numbers=(5,))),
]
SILENT = [
    "Unexpected file format, expected either prompt/completion pairs or chat messages.",
    "Input file file-X is in the fine-tune-chat format, but the specified fine-tuning job is not using 'supervised' as "
    "the training method (provided method=dpo).",
    "Training file has 3 example(s), but must have at least 10 examples",
    "This training file was blocked because too many examples were flagged by our moderation API in the following "
    "categories: hate. Use the free OpenAI Moderation API to identify these examples",
    "Expected file to have JSONL format, where every line is a JSON dictionary.",
    "the 10 lines of line 0",
]


@pytest.mark.parametrize(("said", "place"), SAID)
def test_the_place_is_read_from_the_words(said: str, place: Blame) -> None:
    assert blame(JobError(code=None, message=said, param=None)) == place


@pytest.mark.parametrize("said", SILENT)
def test_words_without_a_place_name_none(said: str) -> None:
    """A number that counts something is no line."""
    found = blame(JobError(code="invalid_training_file", message=said, param=None))
    assert (found.file, found.numbers) == (TRAIN, ())


@pytest.mark.parametrize(
    ("code", "param", "file"),
    [
        ("invalid_training_file", None, TRAIN),
        ("invalid_validation_file", None, VALID),
        ("invalid_n_examples", None, TRAIN),
        (None, "training_file", TRAIN),
        (None, "validation_file", VALID),
        ("exceeded_quota", None, None),
    ],
)
def test_code_and_field_say_whether_data_is_to_blame(code: str | None, param: str | None, file: str | None) -> None:
    assert blame(JobError(code=code, message="no good", param=param)).file == file
    assert blame(None).file is None


def written(path: Path, *lines: str) -> LocalFile:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return LocalFile(path=path, name="train.jsonl", bytes=path.stat().st_size, sha256=None)


def test_the_excerpt_shows_the_one_message_that_is_meant(tmp_path: Path) -> None:
    """Its neighbours stay unsaid; examples count no blank lines, lines do."""
    rows = [
        json.dumps({"messages": [{"role": "user", "content": f"private {n}"}, {"content": f"Ü{n}"}]}) for n in (1, 2)
    ]
    file = written(tmp_path / "train.jsonl", rows[0], "", rows[1])
    assert excerpt(file, Blame(file="training_file", unit="example", numbers=(2,), message=1)) == (
        3,
        '{"content": "Ü2"}',
    )
    assert excerpt(file, Blame(file="training_file", numbers=(1,), message=1)) == (1, '{"content": "Ü1"}')
    assert excerpt(file, Blame(file="training_file", numbers=(9,))) == (None, None)


@pytest.mark.parametrize("message", [None, 7, -1])
def test_the_excerpt_is_short_and_holds_no_key(tmp_path: Path, message: int | None) -> None:
    """Where no message can be told, it is the beginning of the line."""
    key = "sk-" + "a1B2" * 10
    file = written(tmp_path / "train.jsonl", json.dumps({"messages": [{"content": key + " x" * 250}]}), "no JSON")
    _, shown = excerpt(file, Blame(file="training_file", numbers=(1,), message=message))
    assert shown is not None
    assert shown.startswith('{"messages"')
    assert len(shown) == 80
    assert key not in shown
    assert excerpt(file, Blame(file="training_file", numbers=(2,), message=message)) == (2, "no JSON")


def test_a_file_that_changed_since_is_not_quoted(tmp_path: Path) -> None:
    file = written(tmp_path / "train.jsonl", "one")
    file.path.write_text("another one\n")
    assert excerpt(file, Blame(file="training_file", numbers=(1,))) == (None, None)
    file.path.unlink()
    assert excerpt(file, Blame(file="training_file", numbers=(1,))) == (None, None)


def test_a_failure_survives_a_pickle_without_its_job() -> None:
    error = rt.JobFailed("bad", code="c", param="p", lines=(3, 5), path="f", excerpt="x", job_id="j", job=object())
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.line, again.lines, again.path, again.excerpt) == ("bad", 3, (3, 5), "f", "x")
    assert (again.code, again.param, again.job_id, again.job) == ("c", "p", "j", None)
