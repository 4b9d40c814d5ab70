"""A progress bar where somebody can see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ragtune._api.fields import number
from ragtune._progress import bar, visible

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from ragtune.monitor.events import JobEvent


class ProgressBar:
    """Steps done, time to go and loss of a job, drawn by tqdm.

    Args:
        label: stands before the bar.
        wanted: True draws always, False never, None on a terminal and in a notebook.
    """

    def __init__(self, label: str, *, wanted: bool | None) -> None:
        self._label = label
        self._stepped = False
        drawn = visible() if wanted is None else wanted
        self._bar: Any = bar(label, unit="step") if drawn else None

    def show(self, event: JobEvent) -> None:
        """Move to the step that an event tells of; other events change the text only."""
        if self._bar is None:
            return
        step, total = number(event.data.get("step")), number(event.data.get("total_steps"))
        if step is None:
            # Between start and first step this is all that can be seen.
            if not self._stepped:
                # Servers name the job in their own words, too.
                said = event.message.replace(self._label, "").strip(" :")
                self._bar.set_description_str(f"{self._label}: {said[:60]}" if said else self._label)
            return
        if total:
            self._bar.total = total
        if not self._stepped:
            self._begin(event, step)
            self._stepped = True
        self._bar.set_description_str(self._label, refresh=False)
        loss = number(event.data.get("train_loss"))
        if loss is not None:
            self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        # A resumed job steps from its last checkpoint again, and a bar must not run backwards.
        self._bar.update(max(0, step - self._bar.n))

    def _begin(self, event: JobEvent, step: float) -> None:
        """Start the clock at the first step: loading and waiting in a queue say nothing of the time to go."""
        self._bar.reset(total=self._bar.total)
        self._bar.initial = self._bar.n = self._bar.last_print_n = step
        if event.created_at is not None:
            # Somebody who comes late sees many steps at once, which were not made at once.
            self._bar.start_t = min(self._bar.start_t, event.created_at.timestamp())

    def end(self, status: str) -> None:
        """Write how the job ended."""
        if self._bar is not None:
            self._bar.set_description_str(f"{self._label} {status}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


class Pace:
    """How fast a job steps, by the server's own times, which a late or sleeping watcher does not disturb."""

    def __init__(self) -> None:
        self._first: tuple[float, datetime] | None = None
        self._last: tuple[float, datetime] | None = None
        self._total: float | None = None

    def add(self, event: JobEvent) -> None:
        """Take an event in, if it tells of a step."""
        step, total = number(event.data.get("step")), number(event.data.get("total_steps"))
        if step is None or event.created_at is None:
            return
        if self._first is None or self._last is None or step < self._last[0]:
            # A resumed job steps from its last checkpoint again.
            self._first = (step, event.created_at)
        self._last = (step, event.created_at)
        self._total = self._total if total is None else total

    @property
    def end(self) -> datetime | None:
        """When the last step is made at this pace; None until two steps were seen."""
        if self._first is None or self._last is None or self._total is None or self._last[0] <= self._first[0]:
            return None
        per_step = (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])
        try:
            return self._last[1] + max(0.0, self._total - self._last[0]) * per_step
        except OverflowError:
            return None  # beyond the calendar

    def __str__(self) -> str:
        if self._last is None or self._total is None:
            return ""
        end = "" if self.end is None else f", done about {self.end:%H:%M} UTC"
        return f"step {self._last[0]:g} of {self._total:g}{end}"
