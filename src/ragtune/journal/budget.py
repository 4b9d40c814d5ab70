"""A limit on what the jobs of a day, a month or a year may cost together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from ragtune._checked import checked
from ragtune._ranges import make_numbers_plain, require_dollars
from ragtune.errors import BudgetExceeded, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ragtune.journal.rows import Run

__all__ = ["Budget", "dollars"]

PERIODS = ("day", "month", "year")


@checked()
@dataclass(frozen=True)
class Budget:
    """A limit on the sum of all jobs in the journal, whatever account they ran on.

    A job counts with its billed price, before that is known with the predicted one; so do jobs whose outcome is
    uncertain, and failed and cancelled jobs as long as the server does not say how many tokens it billed.

    Attributes:
        usd: the limit in US dollars, 0 or more.
        period: the calendar `day`, `month` or `year` (UTC) that it holds for.

    Raises:
        SpecError: the limit is negative or no number, or the period is another one.

    Example:
        ```python
        import ragtune as rt

        print(rt.Budget(20.0))
        #> Budget(usd=20.0, period='month')
        ```
    """

    usd: float
    period: Literal["day", "month", "year"] = "month"

    def __post_init__(self) -> None:
        make_numbers_plain(self)
        require_dollars("usd", self.usd)
        if self.period not in PERIODS:
            raise SpecError(f"period: {self.period!r} is not one of {', '.join(PERIODS)}")

    def began(self, now: float) -> float:
        """Return when the period around `now` began; both in seconds since 1970."""
        # In UTC, as servers bill: two machines in two zones must not begin a month at different moments.
        today = datetime.fromtimestamp(now, tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        first = {"day": today, "month": today.replace(day=1), "year": today.replace(month=1, day=1)}
        return first[self.period].timestamp()

    def check(self, others: Iterable[Run], cost_usd: float | None, *, allow_unknown: bool) -> None:
        """Hold a job that would cost `cost_usd` against the limit.

        Args:
            others: the runs of the period that were sent.
            cost_usd: price of the new job, None when it is unknown.
            allow_unknown: count unknown prices as nothing instead of refusing.

        Raises:
            BudgetExceeded: the sum is above the limit, or a price in it is unknown.
        """
        if cost_usd == 0:
            return  # what costs nothing takes nothing from any budget
        amounts = [run.cost_usd for run in others]
        spent = sum(amount for amount in amounts if amount is not None)
        unknown = amounts.count(None)
        if not allow_unknown and (unknown or cost_usd is None):
            whose = "the price of this job" if cost_usd is None else f"the price of {_jobs(unknown, which='earlier ')}"
            message = f"{whose} is unknown, so a budget of {dollars(self.usd)} a {self.period} cannot be kept; "
            raise BudgetExceeded(message + "nothing was bought. Pass allow_unknown_cost=True to count it as nothing")
        if spent + (cost_usd or 0.0) > self.usd:
            message = (
                # Never a negative rest: bills may have been higher than what was foreseen, or the budget lowered since.
                f"the budget of {dollars(self.usd)} a {self.period} has {dollars(max(0.0, self.usd - spent))} left "
                f"({dollars(spent)} for {_jobs(len(amounts))}), this job is estimated at {dollars(cost_usd or 0.0)}; "
                "nothing was bought. Look at `ragtune runs --spend`, use fewer rows or epochs, or raise the budget"
            )
            raise BudgetExceeded(message)


def _jobs(count: int, *, which: str = "") -> str:
    return f"{count} {which}job{'' if count == 1 else 's'}"


def dollars(usd: float) -> str:
    """Write an amount; two places would show a small one as $0.00."""
    return f"${usd:.2f}" if usd >= 0.01 or usd == 0 else f"${usd:.2g}"
