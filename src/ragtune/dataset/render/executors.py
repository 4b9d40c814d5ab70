"""What runs `build_batch` over all rows; every engine gives the same batches in the same order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ragtune._extras import require
from ragtune.dataset.render import arrow
from ragtune.dataset.render.rendered import Made
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ragtune.dataset.render.pipeline import BuildBatch
    from ragtune.dataset.render.rows import Selection

Engine = Literal["in_process", "ray"]


def run(engine: Engine, build_batch: BuildBatch, batches: Iterable[Selection]) -> Iterator[Made]:
    """What became of each batch, in the order of the rows.

    Raises:
        DatasetError: no engine has this name, or a batch makes no records.
        MissingExtraError: the engine is not installed.
    """
    if engine == "in_process":
        return map(build_batch.make, batches)
    if engine == "ray":
        require("ray", "ray", reason='engine="ray"')
        return _on_ray(build_batch, batches)
    raise DatasetError(f"engine={engine!r} is not one of in_process, ray")


def _on_ray(build_batch: BuildBatch, batches: Iterable[Selection]) -> Iterator[Made]:
    import ray.data

    given: list[Any] = []
    for rows in batches:
        # What was counted here is handed on here; the workers count what they do.
        yield Made(numbers=(), data=b"", counts=rows.counts)
        if len(rows):
            given.append(ray.put(arrow.of_rows(rows)))
    if not given:
        return
    blocks = (
        ray.data.from_arrow_refs(given)
        .map_batches(build_batch, batch_format="pyarrow", batch_size=None)
        .to_arrow_refs()
    )
    # Ray promises no order, so the numbers of the rows decide.
    for block in sorted(blocks, key=lambda block: arrow.first_row(ray.get(block))):
        yield arrow.read_made(ray.get(block))
