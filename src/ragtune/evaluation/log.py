"""The log of an evaluation: one JSONL file, a line for each answer, whole whenever the program is killed."""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import orjson
from filelock import FileLock, Timeout

from ragtune._version import __version__
from ragtune.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from ragtune.facts import FactSet

    Line = dict[str, Any]

VERSION = 1
# What each reader of a log takes for granted, by the type of a line.
_FIELDS: Mapping[str, Mapping[str, type]] = {
    "evaluation": {"facts": str},
    "arm": {"arm": str, "identity": dict},
    "probe": {"by": str},
    "answer": {"arm": str, "fact": str, "kind": str, "wording": int, "question": str},
}
# What is not known of a server that is away, and what older logs do not say.
_NOT_ALWAYS = frozenset(("parameters", "system", "finds"))
_TEXTS = frozenset(("system", "template", "options_template"))
_SHOWN = 80
# A power cut loses what came since; a killed program loses nothing.
FLUSH_S = 10.0


def fingerprint(facts: FactSet) -> str:
    """Return what tells one set of facts from another: a hash of all ids, answers and wordings in their order."""
    digest = hashlib.sha256()
    for fact in facts:
        wordings = [(wording.kind, wording.question, wording.answers) for wording in fact.wordings]
        digest.update(_encoded([fact.id, fact.answers, fact.distractors, wordings]))
    return digest.hexdigest()


def read_log(path: Path, *, start: int = 0) -> Iterator[tuple[int, Line]]:
    """Iterate the lines with the offset at which each begins; half a line at the end, which a kill left, is left out.

    Raises:
        EvaluationError: the file is missing, is no log of an evaluation, or is damaged before its last line.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        message = f"{path}: the log cannot be read ({error.strerror}); rt.evaluate(..., log=...) writes one"
        raise EvaluationError(message) from error
    with file:
        offset = file.seek(start)
        for number, content in enumerate(file, start=1):
            if not content.endswith(b"\n"):
                return
            line = _decoded(content)
            if line is None or (fault := _fault(line)):
                place = f"{path} line {number}" if start == 0 else f"{path} at byte {offset}"
                told = "this is no line of an evaluation's log" if line is None else fault
                raise EvaluationError(f"{place}: {told}; take another file, or mend the line")
            yield offset, line
            offset += len(content)


def read_header(path: Path) -> Line:
    """Return the first line.

    Raises:
        EvaluationError: the file is missing or does not begin as a log does.
    """
    line = next((line for _, line in read_log(path)), None)
    if line is None or line["type"] != "evaluation" or line.get("version") != VERSION:
        what = "is empty" if line is None else f"begins with {str(line)[:60]!r}"
        message = f"{path} {what} and is no log of version {VERSION} of rt.evaluate; give another path"
        raise EvaluationError(message)
    return line


class AnswerLog:
    """A log to append to; nobody else may append meanwhile.

    Args:
        path: the file; made, with the folders above it, where it is not there.
        facts: fingerprint of the facts that are asked for.
        arms: who is asked, by name, with what tells one from another.

    Raises:
        EvaluationError: the log is of other facts or of another model under the same name, is none, is in use, or
            cannot be written.
    """

    def __init__(self, path: Path, *, facts: str, arms: Mapping[str, Mapping[str, str]]) -> None:
        self.path = path
        self._file: int | None = None
        self._writing = threading.Lock()
        if not path.name or os.path.isdir(path):  # a name too long for the disk is told when it is opened
            raise EvaluationError(f"log={str(path)!r} is a folder; give the path of a file in it, such as eval.jsonl")
        # Not of a thread: the log may be closed by another one than opened it.
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0, thread_local=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self.known = self._open(facts, arms)
        except Timeout as error:
            message = f"{path}: another evaluation is writing this log; wait for it, or give another path"
            raise EvaluationError(message) from error
        except OSError as error:
            self._lock.release()
            message = f"{path}: the log cannot be written ({error.strerror or error}); give another path"
            raise EvaluationError(message) from error
        except BaseException:
            self._lock.release()
            raise

    @classmethod
    def reopened(cls, path: Path) -> Self:
        """Open a log that exists, for those who add to what was answered.

        Raises:
            EvaluationError: there is none, or it is in use.
        """
        return cls(path, facts=read_header(path)["facts"], arms={})

    def _open(self, facts: str, arms: Mapping[str, Mapping[str, str]]) -> dict[str, Line]:
        fresh = not self.path.exists() or self.path.stat().st_size == 0
        known = {} if fresh else self._checked(facts, arms)
        # Windows would write CR LF otherwise, and every offset of a line would be wrong.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        # By itself `os.open` makes files that can be run.
        self._file = opened = os.open(self.path, flags, 0o666)
        self._flushed = time.monotonic()
        if fresh:
            self.append({"type": "evaluation", "version": VERSION, "ragtune": __version__, "facts": facts})
        else:
            # What a kill left half: appended to, it would spoil the next line as well.
            os.ftruncate(opened, _whole_bytes(self.path))
        for name, identity in arms.items():
            if name not in known:
                self.append({"type": "arm", "arm": name, "identity": dict(identity)})
        return known

    def _checked(self, facts: str, arms: Mapping[str, Mapping[str, str]]) -> dict[str, Line]:
        """The arms that the log knows.

        Raises:
            EvaluationError: they, or the facts, are others than now.
        """
        header = read_header(self.path)
        if header["facts"] != facts:
            message = (
                f"{self.path} is the log of other facts (fingerprint {header['facts'][:12]}, now {facts[:12]}); give "
                "another path, or the facts that it was made with"
            )
            raise EvaluationError(message)
        known = {line["arm"]: line["identity"] for _, line in read_log(self.path) if line["type"] == "arm"}
        for name in known.keys() & arms.keys():
            if other := differing(known[name], arms[name]):
                was, now = _told(known[name], arms[name], other), _told(arms[name], known[name], other)
                message = (
                    f"{self.path}: {name!r} was {was} when this log was made and is {now} now; give another path, or "
                    "another name to the new one"
                )
                raise EvaluationError(message)
        return known

    def append(self, line: Line) -> int:
        """Write a line with one call of the system, which a kill leaves done or not begun; returns its length.

        Closed, it takes nothing, and 0 comes back.

        Raises:
            OSError: the disk is full.
        """
        content = _encoded(line) + b"\n"
        with self._writing:
            # A thread that hung may come back when the file is closed and its number belongs to another one.
            if self._file is None:
                return 0
            # Past Python's buffer: what it held would be lost with the program.
            written = os.write(self._file, content)
            if written != len(content):
                message = f"{self.path}: the disk took only {written} of {len(content)} bytes of an answer; is it full?"
                raise OSError(message)
            if time.monotonic() - self._flushed > FLUSH_S:
                os.fsync(self._file)
                self._flushed = time.monotonic()
        return written

    def close(self) -> None:
        """Wait until the disk has everything, and let others write."""
        with self._writing:
            if self._file is not None:
                os.fsync(self._file)
                os.close(self._file)
            self._file = None
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _whole_bytes(path: Path) -> int:
    """Where the last whole line ends."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - 65536)
            file.seek(begin)
            place = file.read(end - begin).rfind(b"\n")
            if place >= 0:
                return begin + place + 1
            end = begin
    return 0


def _encoded(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # Half a surrogate pair in an answer, which is no UTF-8.
        return json.dumps(value).encode("ascii")


def _decoded(content: bytes) -> Line | None:
    try:
        line = orjson.loads(content)
    except orjson.JSONDecodeError:
        try:
            line = json.loads(content)
        except (ValueError, RecursionError):
            return None
    return line if isinstance(line, dict) else None


def _fault(line: Line) -> str | None:
    """What is wrong with a line, None where nothing is."""
    kind = line.get("type")
    if not isinstance(kind, str):
        return "this is no line of an evaluation's log"
    for name, wanted in _FIELDS.get(kind, {}).items():
        if not isinstance(line.get(name), wanted):
            return f"{name} = {reprlib.repr(line.get(name))} in a line of the type {kind!r}"
    return None


def differing(known: Mapping[str, object], now: Mapping[str, object]) -> tuple[str, ...]:
    """Return in what somebody who is asked differs from whom a log knows by that name."""
    there = [key for key in {**known, **now} if key not in _NOT_ALWAYS or (key in known and key in now)]
    return tuple(key for key in there if known.get(key) != now.get(key))


def _told(identity: Mapping[str, object], other: Mapping[str, object], keys: Iterable[str]) -> str:
    return ", ".join(_shown(key, identity.get(key), other.get(key)) for key in keys)


def _shown(key: str, value: object, other: object) -> str:
    """A value with its name; of long ones what stands around the place where both part."""
    if value is None:
        return f"without {key}"
    text = str(value)
    parts = (place for place, pair in enumerate(zip(text, str(other), strict=False)) if pair[0] != pair[1])
    begin = 0 if len(text) <= _SHOWN else max(0, next(parts, _SHOWN) - _SHOWN // 4)
    part = text[begin : begin + _SHOWN]
    cut = ("..." if begin else "") + part + ("..." if begin + len(part) < len(text) else "")
    # Texts of the user's own have quotes, so that an empty one is seen.
    return f"{key} {cut!r}" if key in _TEXTS else f"{key} {cut}"
