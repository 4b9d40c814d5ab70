"""What this machine is, and whether the main job runs on it: train the small base on the demo's facts and ask it.

Each check is a small function that gives one `Diagnosis`. What is shown holds no key, no host and no path of the home
folder, so that it can be pasted into a question.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import platform
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ragtune
from ragtune import catalog
from ragtune._extras import EXTRAS, Extra
from ragtune.errors import BackendError, JournalError, MissingExtraError
from ragtune.journal import Journal
from ragtune.modelling.bases import BASES, resolve_base
from ragtune.modelling.cache import default_cache_dir
from ragtune.modelling.forecast import Forecast, ModelSize, Workload, forecast
from ragtune.modelling.hardware.machine import Machine, this_machine, usable_cores
from ragtune.modelling.hardware.memory import usable_memory
from ragtune.modelling.hardware.placement import Placement, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["EXTRAS", "Diagnosis", "Examination", "Extra", "examine"]

Level = Literal["ok", "note", "missing"]

BASE = "smollm2-135m-instruct"
# The demo's work, so that it can be foretold before anything is fetched: 54 facts, read eight times.
DEMO_BASE = ModelSize(
    parameters=134_515_008, linear=106_168_320, sides=305_280, vocabulary=49_152, hidden=576, wide=1536, layers=30
)
DEMO = Workload(tokens=2901, labelled=945, longest=63, n_epochs=8, batch_size=4)
_DEMO_BYTES = 500_000_000  # its adapters, checkpoints and uploads
_FETCH_BYTES = 600_000_000  # the download, its unpacked file and the converted weights, which lie there together
_PORT = 8000
_A_DAY_S = 86_400
_PACKAGES = ("openai", "pydantic", "datasets", "torch", "transformers", "peft", "accelerate", "trl", "gguf")
_SYNC: Mapping[str, str] = {
    "linux": "sudo timedatectl set-ntp true",
    "darwin": "sudo sntp -sS time.apple.com",
    "win32": "w32tm /resync",
}


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What one check found.

    Attributes:
        name: the check.
        text: what it found, for people.
        level: `ok`; `note` for what is worth knowing; `missing` where the main job would not run.
        mend: what mends it, mostly a command; None where nothing is to be mended.
        values: the same for programs.
    """

    name: str
    text: str
    level: Level = "ok"
    mend: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        mark = {"ok": "", "note": "note: ", "missing": "missing: "}[self.level]
        mend = "" if self.mend is None else f"\n{'':10}to mend: {self.mend}"
        return f"{self.name:10}{mark}{self.text}{mend}"

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-ready values."""
        return {"level": self.level, "text": self.text, "mend": self.mend, **self.values}


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Everything that was found, in the order of the checks.

    Attributes:
        findings: one per check.

    Example:
        ```python
        from ragtune.doctor import examine

        found = examine()
        print(found.ready, [finding.name for finding in found.findings][:3])
        #> True ['machine', 'versions', 'local']
        ```
    """

    findings: tuple[Diagnosis, ...]

    @property
    def ready(self) -> bool:
        """Whether the main job would run here."""
        return all(finding.level != "missing" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The examination as JSON-ready values: `ready`, and each check by its name."""
        return {"ready": self.ready, "checks": {finding.name: finding.to_dict() for finding in self.findings}}

    def __str__(self) -> str:
        return "\n".join((*map(str, self.findings), "", *self._last_words()))

    def _last_words(self) -> Iterator[str]:
        if self.ready:
            yield "The main job runs here: make demo, or LocalBackend in a program of yours."
            return
        yield "The main job would not run here:"
        for finding in self.findings:
            if finding.level == "missing":
                yield f"  {finding.text}: {finding.mend}"


def examine(*, folder: str | Path = ".", port: int = _PORT, now: dt.datetime | None = None) -> Examination:
    """Look at this machine; measures its speed when nobody has before (seconds, kept in the cache folder).

    Args:
        folder: where the main job would write.
        port: TCP port that a server would take.
        now: the time by this machine's clock; None asks it.

    Returns:
        The findings. Without the extra `local` what it would tell is called unknown.
    """
    cache = default_cache_dir()
    base = _base_folder()
    findings = (
        _machine(),
        _versions(),
        _local(),
        _extras(),
        *_device_and_demo(),
        _base(base),
        # A base that is there wants no further room.
        _room("cache", cache, needed=_FETCH_BYTES if base is None else 0, mend="export RAGTUNE_CACHE=FOLDER"),
        _room("folder", Path(folder), needed=_DEMO_BYTES, mend="cd FOLDER"),
        _journal(),
        _port(port),
        _clock(now or dt.datetime.now(dt.UTC), newest=_newest((cache, Path(folder), Path(tempfile.gettempdir())))),
    )
    return Examination(findings=findings)


def _machine() -> Diagnosis:
    total, free = _memory()
    memory = "memory unknown" if total is None or free is None else f"{_gb(total)} of memory, {_gb(free)} of it free"
    cores = usable_cores()
    system = f"{platform.system()} {platform.machine()}"
    return Diagnosis(
        name="machine",
        text=f"{system}, {cores} core{'' if cores == 1 else 's'}, {memory}",
        values={"system": system, "cores": cores, "memory_bytes": total, "free_memory_bytes": free},
    )


def _versions() -> Diagnosis:
    versions = {"python": platform.python_version(), "ragtune": ragtune.__version__}
    versions |= {name: found for name in _PACKAGES if (found := _version(name)) is not None}
    return Diagnosis(
        name="versions",
        text=", ".join(f"{name} {number}" for name, number in versions.items()),
        values={"versions": versions},
    )


def _local() -> Diagnosis:
    lacking = _lacking("local")
    if not lacking:
        return Diagnosis(name="local", text="everything that training and serving need is installed")
    text = f"training and serving here need {', '.join(lacking)}, which the extra local brings"
    mend = "python -m pip install 'ragtune[local]'"
    return Diagnosis(name="local", text=text, level="missing", mend=mend, values={"missing": lacking})


def _extras() -> Diagnosis:
    lacking = {name: modules for name in EXTRAS if (modules := _lacking(name))}
    there = [name for name in EXTRAS if name not in lacking]
    text, values = f"installed: {', '.join(there) or 'none'}", {"installed": there, "missing": lacking}
    if not lacking:
        return Diagnosis(name="extras", text=text, values=values)
    text += f"; not installed: {', '.join(f'{name} ({EXTRAS[name].purpose})' for name in lacking)}"
    mend = f"python -m pip install 'ragtune[{next(iter(lacking))}]', or whichever you want"
    return Diagnosis(name="extras", text=text, level="note", mend=mend, values=values)


def _lacking(extra: str) -> list[str]:
    return [module for module in EXTRAS[extra].modules if find_spec(module) is None]


def _device_and_demo() -> tuple[Diagnosis, ...]:
    """Device, format and forecast, which torch has to be asked about."""
    if _lacking("local"):
        unknown = "unknown until the extra local is installed, which brings PyTorch"
        return (Diagnosis(name="device", text=unknown, level="note", values={"device": None, "dtype": None}),)
    try:
        machine = this_machine()
        placement = place(machine, parameters=DEMO_BASE.parameters)
    except (ImportError, OSError, RuntimeError) as error:
        # A torch whose libraries do not fit the machine says so in errors of the loader.
        text = f"PyTorch is installed and cannot be used: {_sayable(str(error).splitlines()[0] if str(error) else '')}"
        mend = "python -m pip install --force-reinstall torch"
        return (
            Diagnosis(name="device", text=text, level="missing", mend=mend, values={"device": None, "dtype": None}),
        )
    foretold = forecast(DEMO_BASE, DEMO, placement)
    return _device(machine, placement), _demo(foretold, placement)


def _device(machine: Machine, placement: Placement) -> Diagnosis:
    return Diagnosis(
        name="device",
        text=f"{machine.name}: {placement}",
        values={
            "device": placement.device,
            "dtype": placement.dtype,
            "threads": placement.threads,
            "why": placement.why,
            "gflops": dict(machine.gflops),
            "device_memory_bytes": placement.memory_bytes,
        },
    )


def _demo(foretold: Forecast, placement: Placement) -> Diagnosis:
    values = {"seconds": foretold.seconds, "memory_bytes": foretold.memory_bytes}
    text, free = f"its training takes {foretold}", _memory()[1]
    if placement.memory_bytes is not None and foretold.memory_bytes > placement.memory_bytes:
        told = f"{text}; {placement.device} has {_gb(placement.memory_bytes)}"
        mend = f"a machine or container with {_gb(foretold.memory_bytes)} of memory"
        return Diagnosis(name="demo", text=told, level="missing", mend=mend, values=values)
    if placement.device == "cpu" and free is not None and foretold.memory_bytes > free:
        told = f"{text}; only {_gb(free)} are free now"
        return Diagnosis(name="demo", text=told, level="note", mend="end programs that use much memory", values=values)
    return Diagnosis(name="demo", text=text, values=values)


def _base(folder: Path | None) -> Diagnosis:
    if folder is not None:
        place_ = _sayable(str(folder))
        return Diagnosis(name="base", text=f"{BASE} is in {place_}", values={"fetched": True, "folder": place_})
    values = {"fetched": False, "folder": None}
    wheel = BASES[BASE].wheel
    size = "" if wheel is None else f" ({wheel.bytes / 1e6:.0f} MB)"
    if find_spec("pip") is None:
        text = f"{BASE} is not fetched{size}, and this Python has no pip to fetch it with"
        return Diagnosis(name="base", text=text, level="missing", mend="python -m ensurepip", values=values)
    text = f"{BASE} is not fetched{size}; `make demo` fetches it, too"
    return Diagnosis(name="base", text=text, level="note", mend=f"ragtune fetch {BASE}", values=values)


def _base_folder() -> Path | None:
    try:
        return resolve_base(BASE)
    except (BackendError, MissingExtraError):
        return None


def _room(name: str, folder: Path, *, needed: int, mend: str) -> Diagnosis:
    """Whether a folder can be written and has room."""
    shown = _sayable(str(folder.absolute()))
    try:
        if name == "cache":
            # As the first fetch would; the other folder is the user's, who may have meant another one.
            folder.mkdir(parents=True, exist_ok=True)
        # Tried, since rights alone do not tell: disks are full, mounted read-only, or of another user's.
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        text = f"{shown} cannot be written: {error.strerror or type(error).__name__}"
        values = {"folder": shown, "free_bytes": None, "needed_bytes": needed}
        return Diagnosis(name=name, text=text, level="missing", mend=f"{mend}  (one that you can write)", values=values)
    values = {"folder": shown, "free_bytes": free, "needed_bytes": needed}
    if free < needed:
        text = f"{shown} has {_gb(free)} free, and {_gb(needed)} are needed"
        return Diagnosis(name=name, text=text, level="missing", mend=f"{mend}  (one with room)", values=values)
    return Diagnosis(name=name, text=f"{shown}, {_gb(free)} free", values=values)


def _journal() -> Diagnosis:
    path = Journal().path
    shown = _sayable(str(path.absolute()))
    text = shown if path.exists() else f"{shown}, not there yet"
    if path.exists():
        try:
            Journal(path).runs(limit=1)
        except (JournalError, OSError) as error:
            # Without it no job is created, so that nothing is bought twice.
            told = f"{shown} cannot be read as a journal ({_sayable(str(error))})"
            mend = "move that file away, or set RAGTUNE_JOURNAL to another one"
            return Diagnosis(
                name="journal", text=told, level="missing", mend=mend, values={"file": shown, "there": True}
            )
    return Diagnosis(name="journal", text=text, values={"file": shown, "there": path.is_file()})


def _port(port: int) -> Diagnosis:
    values = {"port": port, "free": True}
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, after an earlier one
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            why = "in use" if error.errno == errno.EADDRINUSE else "not to be had"
            text = f"{port} is {why}; programs that start their own backend take another one by themselves"
            mend = "ragtune serve --port 0"
            return Diagnosis(name="port", text=text, level="note", mend=mend, values={**values, "free": False})
    return Diagnosis(name="port", text=f"{port} is free", values=values)


def _clock(now: dt.datetime, *, newest: float) -> Diagnosis:
    """The time, with a warning where it is plainly wrong: dates go into journals, names and certificates."""
    # The newest day of the catalogue is one that this version has surely seen.
    known = max(model.as_of for model in catalog.load().models.values())
    text, values = f"{now:%Y-%m-%d %H:%M} UTC", {"utc": now.isoformat(timespec="seconds")}
    mend = _SYNC.get(sys.platform)
    if now.date() < known:
        told = f"{text} is before {known}, when this version was made"
        return Diagnosis(name="clock", text=told, level="note", mend=mend, values=values)
    if now.timestamp() < newest - _A_DAY_S:
        file_time = dt.datetime.fromtimestamp(newest, dt.UTC)
        told = f"{text} is before {file_time:%Y-%m-%d %H:%M}, when a folder here was last written"
        return Diagnosis(name="clock", text=told, level="note", mend=mend, values=values)
    return Diagnosis(name="clock", text=text, values=values)


def _newest(folders: Sequence[Path]) -> float:
    return max((folder.stat().st_mtime for folder in folders if folder.exists()), default=0.0)


def _memory() -> tuple[int | None, int | None]:
    """Memory that this process may use, and how much of it is free; psutil comes with the extra `local`."""
    if find_spec("psutil") is None:
        return None, None
    import psutil

    # In a container the machine's free memory may be more than the container has.
    total = usable_memory()
    return total, min(total, int(psutil.virtual_memory().available))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size < 10**10 else f"{size / 1e9:.0f} GB"


def _sayable(text: str) -> str:
    """A text without the place of the home folder, which often holds a person's name."""
    homes = {str(Path.home()), str(Path.home().resolve())} - {os.sep}
    # The longer first: one may be the beginning of the other.
    for home in sorted(homes, key=len, reverse=True):
        text = text.replace(home, "~")
    return text
