"""What runs `build_batch` over all rows; every engine gives the same batches in the same order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ragtune._extras import require
from ragtune.dataset.bad_rows import BadRows, BadRowsError
from ragtune.dataset.render import arrow
from ragtune.dataset.render.rendered import Made
from ragtune.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

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
        return _all_or_bad_rows(map(build_batch.make, batches))
    if engine == "ray":
        require("ray", "ray", reason='engine="ray"')
        return _all_or_bad_rows(map(_read, _on_ray(build_batch, batches)))
    raise DatasetError(f"engine={engine!r} is not one of in_process, ray")


def _all_or_bad_rows(made: Iterator[Made]) -> Iterator[Made]:
    """The batches; behind one with a bad row the others are only looked at for further ones.

    Raises:
        BadRowsError: the bad rows of all batches.
    """
    bad = BadRows()
    while True:
        try:
            # Not by a loop, which an error would end: what makes the batches can be asked for the next one all the
            # same.
            batch = next(made)
        except StopIteration:
            break
        except BadRowsError as error:
            bad.add_all(error)
        else:
            if not bad:
                yield batch
    bad.refuse()


def _read(batch: Made | pa.Table) -> Made:
    return batch if isinstance(batch, Made) else arrow.read_made(batch)


def _on_ray(build_batch: BuildBatch, batches: Iterable[Selection]) -> Iterator[Made | pa.Table]:
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
        yield ray.get(block)
