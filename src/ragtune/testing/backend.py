"""`ScriptedBackend`: the embedded backend with jobs that are scripted instead of trained."""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ragtune._checked import checked
from ragtune.catalog import load
from ragtune.journal import Journal
from ragtune.journal.file import FILE
from ragtune.local.inference import Inference
from ragtune.local.lifespan.embedded_server import EmbeddedServer
from ragtune.local.lifespan.running import JobsPart, ServerParts
from ragtune.local.models.registry import BaseModels
from ragtune.local.webhook_sender import check_url
from ragtune.testing.engine import ScriptedAnswer, ScriptedEngine
from ragtune.testing.faults import Change, Fault, Script, SeenRequest, Stage, encoded, faulty_answer
from ragtune.testing.lifecycle import End, JobPace, Life, Lives, ScriptedRunner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ragtune.local.store import Store

__all__ = ["ScriptedBackend"]


@checked("pace", "answer", "change", "end")
class ScriptedBackend(EmbeddedServer):
    """A real server over loopback whose jobs live by script: whole fine-tunes in milliseconds, failures on demand.

    It is the embedded backend in everything but training and answering: the same routes, the same checks of files and
    requests, the same database. A job makes as many steps as its hyperparameters say, with losses of 3 / step, and ends
    with a model that answers. Nothing runs between requests, so a test never waits and never races.

    Args:
        folder: where it keeps its state; None takes a temporary one that goes with `stop()`.
        pace: when a job's stages happen (its files are validated, it starts, each step, its end). `immediate`: all of
            them before the next request is answered. `poll`: one before each `fine_tuning.jobs.retrieve` of the job.
            A number: one every so many seconds.
        answer: what models say: a text, a function of the model's name and the messages, or rules (`AnswerRule`), of
            which the first that fits speaks. None, and where no rule fits, lets a tuned model know its training file by
            heart and say "I do not know." to everything else, as base models do.
        models: base models that are served; None serves those of the catalogue, shut down or not.
        key: the API key to ask for; None makes one.
        webhook: URL that is told when a job ends, as by `LocalBackend`; None tells nobody.
        port: TCP port, 0 for any free one.

    Raises:
        MissingExtraError: (on import) the extra `testing` is not installed.

    Example:
        ```python
        import ragtune as rt
        from ragtune.testing import ScriptedBackend

        rows = [{"q": f"What is {n} + {n}?", "a": f"{n + n}."} for n in range(12)]
        dataset = rt.DatasetBuilder.from_rows(rows).chat(user="{q}", assistant="{a}").build("sums")
        with ScriptedBackend() as backend, backend.client() as client:
            job = rt.FineTuneJob.create(client, dataset, rt.TuneSpec(model="tiny-random"))
            model = rt.JobMonitor(job).wait()
            print(model.ask("What is 4 + 4?").text)
            #> 8.
            backend.fail_next("chat.completions.create", status=429, code="insufficient_quota", times=None)
            try:
                model.ask("What is 5 + 5?")
            except Exception as error:
                print(type(error).__name__)
                #> RateLimitError
        ```
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        pace: JobPace = "immediate",
        answer: ScriptedAnswer = None,
        models: Sequence[str] | None = None,
        key: str | None = None,
        webhook: str | None = None,
        port: int = 0,
    ) -> None:
        if not (pace in ("immediate", "poll") or (isinstance(pace, int | float) and pace > 0)):
            message = f"pace={pace!r}: give 'immediate', 'poll', or a number of seconds above 0"
            raise ValueError(message)
        self._models = _ScriptedModels(served=tuple(load().models if models is None else models))
        self._pace = pace
        # Of the backend and not of a start: what was said holds when it is stopped and started again on its folder.
        self._lives = Lives()
        self._script = Script()
        # Named here and made at the start: a backend that is never started leaves no folder behind.
        place = Path(tempfile.gettempdir(), f"ragtune-{secrets.token_hex(8)}") if folder is None else Path(folder)
        super().__init__(
            ServerParts(
                folder=place.resolve(),
                address=("127.0.0.1", port),
                key=key,
                exposed=False,
                webhook=None if webhook is None else check_url(webhook),
                bases=self._models,
                jobs=self._play_jobs,
                inference=lambda: Inference(self._models, engine=ScriptedEngine(answer)),
                temporary=folder is None,
                kind="scripted",
            )
        )

    @property
    def requests(self) -> list[SeenRequest]:
        """The requests that came, oldest first; the list grows as they come."""
        return self._script.requests

    @property
    def journal(self) -> Journal:
        """Where ragtune writes down the jobs of this server: they stay out of the user's own journal.

        The environment variable `RAGTUNE_JOURNAL`, which the fixtures set, and `journal=` name another one.
        """
        return Journal(self.folder / FILE)

    def next_job(
        self,
        *,
        end: End = "succeeded",
        steps: int | None = None,
        code: str = "server_error",
        message: str = "The training failed",
        param: str | None = None,
        trained_tokens: int | None = None,
        times: int | None = 1,
    ) -> Self:
        """Say how the next new job goes. Several calls speak of one job after the other.

        Args:
            end: how it ends. `paused` stays so until it is resumed, and then succeeds; `running` never ends.
            steps: how many steps are made until then; None makes as many as the hyperparameters say.
            code: of a failed job's error, for example `invalid_training_file`.
            message: of a failed job's error.
            param: of a failed job's error: `training_file`, `validation_file` or None.
            trained_tokens: what a job that succeeded is billed for; None counts a token per four bytes and epoch.
            times: how many jobs go so; None is all of them.

        Returns:
            The backend itself.
        """
        life = Life(end=end, steps=steps, code=code, message=message, param=param, trained_tokens=trained_tokens)
        self._lives.announce(life, times)
        return self

    def fail_next(
        self,
        call: str,
        *,
        status: int | None = None,
        code: str | None = None,
        message: str | None = None,
        type: str | None = None,
        param: str | None = None,
        body: Mapping[str, object] | Sequence[object] | str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        after_commit: bool = False,
        drop: bool = False,
        delay_s: float = 0.0,
        times: int | None = 1,
    ) -> Self:
        """Say what goes wrong with the next request of a call. Several calls speak of one request after the other.

        The OpenAI client tries 408, 409, 429 and 5xx again by itself, twice unless its `max_retries` says otherwise.

        Args:
            call: its name in the OpenAI client, for example `files.create`, or `*` for any.
            status: HTTP status to answer. With neither this nor `drop` the true answer comes, after `delay_s`.
            code: of the error, for example `rate_limit_exceeded`.
            message: of the error.
            type: of the error; None takes `server_error` from 500 on and `invalid_request_error` below.
            param: of the error.
            body: the whole body instead of OpenAI's error envelope: JSON-ready data, or a text such as an HTML page.
            headers: response headers; None sends `retry-after-ms: 1`, so that the client's own retries take no time.
            after_commit: do what was asked, and only then go wrong: the reply is lost, the job is made.
            drop: close the connection without an answer.
            delay_s: seconds to wait before anything else.
            times: how many requests meet this; None is all of them.

        Raises:
            ValueError: there is no such call, or nothing would go wrong.

        Returns:
            The backend itself.
        """
        if status is None and not drop and not delay_s:
            message = f"fail_next({call!r}): say what goes wrong: status=..., drop=True or delay_s=..."
            raise ValueError(message)
        envelope = faulty_answer(status, code=code, message=message, type=type, param=param)
        content, kind = encoded(envelope if body is None else body)
        sent = {"content-type": kind} | ({"retry-after-ms": "1"} if headers is None else dict(headers))
        fault = Fault(status=status, body=content, headers=sent, after_commit=after_commit, drop=drop, delay_s=delay_s)
        self._script.add(call, fault, times)
        return self

    def change_next(self, call: str, change: Change, *, times: int | None = 1) -> Self:
        """Let the next answer to a call be changed before it is sent.

        Args:
            call: its name in the OpenAI client, or `*` for any.
            change: takes the JSON body of the true answer and returns the one to send; errors, streams and contents of
                files pass unchanged.
            times: how many answers are changed; None is all of them.

        Raises:
            ValueError: there is no such call.

        Returns:
            The backend itself.
        """
        self._script.add(call, change, times)
        return self

    def reset(self) -> None:
        """Forget what was said about coming requests and jobs, and which requests came; files, jobs and models stay."""
        self._script.clear()
        self._lives.clear()

    def _play_jobs(self, store: Store, _: Inference) -> JobsPart:
        runner = ScriptedRunner(store, bases=self._models, lives=self._lives, pace=self._pace)
        return JobsPart(runner=runner, around=lambda app: Stage(app, self._script, runner))


@dataclass(frozen=True, kw_only=True)
class _ScriptedModels(BaseModels):
    """Base models that are nothing but names."""

    served: tuple[str, ...]

    def names(self) -> list[str]:
        return sorted(self.served)

    def real_name(self, name: str) -> str | None:
        return name if name in self.served else None

    def folder(self, base: str) -> Path:
        # Nobody looks inside; the name alone tells the engine which model was asked.
        return Path(base)
