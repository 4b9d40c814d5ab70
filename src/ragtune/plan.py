"""What would happen: the calls, the price and the warnings of something that was not done."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ragtune._api.calls import PlannedCall
from ragtune._api.planning import PlanPort

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ragtune._api import Api
    from ragtune.cost import CostEstimate

__all__ = ["Plan", "PlannedCall"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The calls that would be made, in order; data, not a second way to run.

    Attributes:
        server: base URL that they would go to.
        calls: all of them, reads included; with `probe=True` the reads were made and only the rest stands here.
        cost: estimate of the price, or None when there is nothing to estimate it from.
        warnings: what a careful person would want to know first.

    Example:
        ```python
        import ragtune as rt
        from ragtune.local import LocalBackend

        with LocalBackend("runs") as backend:
            maintenance = rt.Maintenance(backend.client())
            plan = maintenance.delete_file("file-abc", dry_run=True)
            for call in plan.calls:
                print(call)
                #> files.delete: DELETE /files/file-abc
        ```
    """

    server: str
    calls: tuple[PlannedCall, ...]
    cost: CostEstimate | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it; dates become ISO strings."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return plain

    def __str__(self) -> str:
        writes = sum(call.writes for call in self.calls)
        lines = [f"Plan for {self.server}: calls: {len(self.calls)}, of which change something: {writes}; nothing sent"]
        lines += [f"  {call}" for call in self.calls]
        if self.cost is not None:
            lines.append("  cost: " + str(self.cost).replace("\n", "\n  "))
        return "\n".join(lines + [f"  warning: {warning}" for warning in self.warnings])


async def plan_of(api: Api, call: Callable[[Api], Awaitable[object]]) -> Plan:
    """What a call would send, found out by making it over a port that only writes down."""
    port = PlanPort(api.port)
    await call(api.over(port))
    return Plan(server=port.base_url, calls=tuple(port.calls))
