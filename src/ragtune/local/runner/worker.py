"""One training process: started with a lifeline, stopped by letting go of it, never left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, Self

from ragtune.local.processes import OWN_GROUP, kill_with_children, last_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

__all__ = ["Worker"]

# What a training process may see of the server's environment: where things are, never a key. A store of checkpoints is
# asked with the keys in its own files below the home folder.
_ENVIRONMENT = frozenset(
    {
        "APPDATA",
        "ATEN_CPU_CAPABILITY",
        "CUDA_VISIBLE_DEVICES",
        "HF_HOME",
        "HF_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "HIP_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "LC_ALL",
        "LD_LIBRARY_PATH",
        "LOCALAPPDATA",
        "MKL_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OMP_WAIT_POLICY",
        "ONEDNN_MAX_CPU_ISA",
        "PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONUTF8",
        "RAGTUNE_CACHE",
        "RAY_ADDRESS",
        "ROCR_VISIBLE_DEVICES",
        "SYSTEMROOT",  # without it Python does not start on Windows
        "TEMP",
        "TMP",
        "TMPDIR",
        "TZ",
        "USERPROFILE",
        "VIRTUAL_ENV",
        "XDG_CACHE_HOME",
        "ZE_AFFINITY_MASK",
    }
)
# Launchers and what carries tensors between processes are set up this way; none of it is a key.
_ENVIRONMENT_OF_LAUNCHERS = ("ACCELERATE_", "GLOO_", "MASTER_", "NCCL_", "PYTORCH_", "SLURM_", "TORCH_")


class Worker:
    """A process that trains one job in its folder.

    The process holds the other end of a pipe on its standard input. When the pipe closes, because `ask_to_stop` was
    called or because this whole process died, it writes a checkpoint and ends by itself.

    Args:
        command: argv to start; the path of the spec is added as its last word.
        spec: the job's spec file; its folder also gets the process's output as `worker.log`.

    Raises:
        OSError: the command cannot be started.

    Example:
        ```python
        import sys
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from ragtune.local.runner.worker import Worker

        with TemporaryDirectory() as folder:
            with Worker([sys.executable, "-c", "import sys; sys.stdin.read()"], Path(folder) / "spec.json") as worker:
                worker.ask_to_stop()
                print(worker.wait(30))
                #> 0
        ```
    """

    def __init__(self, command: Sequence[str], spec: Path) -> None:
        self._log = spec.parent / "worker.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(spec)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                creationflags=OWN_GROUP,
                env={name: value for name, value in os.environ.items() if _may_see(name)},
            )

    @property
    def pid(self) -> int:
        """Process id, on POSIX also the id of its process group."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while the process lives."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end; None when it did not come in time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def ask_to_stop(self) -> None:
        """Let go of the lifeline: the process writes a checkpoint and ends. Calling it again does nothing."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        if self._process.poll() is None:
            kill_with_children(self._process.pid)

    def last_words(self) -> str:
        """The last line that the process printed, or an empty string."""
        return last_line(self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._process.wait()
        # Only now the pipe: closed before, it would ask for one more checkpoint.
        self.ask_to_stop()


def _may_see(name: str) -> bool:
    return name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_OF_LAUNCHERS)
