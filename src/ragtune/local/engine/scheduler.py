"""Which row runs when: the bases at work, who may join them, and what must leave memory for it."""

from __future__ import annotations

import logging
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from ragtune.errors import BackendError
from ragtune.local.engine.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ragtune.local.engine.batch_row import BatchRow
    from ragtune.local.engine.model_cache import ModelCache

__all__ = ["Scheduler"]

_log = logging.getLogger("ragtune")


class Scheduler:
    """Owns the models; belongs to one thread.

    Args:
        max_rows: rows of one base that run together.
        models: those that may be asked.
    """

    def __init__(self, models: ModelCache, *, max_rows: int) -> None:
        self.models = models
        self._max_rows = max_rows
        self._decoders: dict[Path, Decoder] = {}

    @property
    def is_busy(self) -> bool:
        """Whether any row is being answered."""
        return bool(self._decoders)

    def admit(self, waiting: Sequence[BatchRow]) -> list[BatchRow]:
        """Let rows join; returns those that must wait, in their order."""
        left: list[BatchRow] = []
        full: set[Path] = set()
        joining: dict[Path, list[BatchRow]] = {}
        for number, row in enumerate(waiting):
            if row.generation.is_cancelled:
                row.abandon()
                continue
            base = row.request.base_path
            # Rows of one base keep their order: a long one would wait for ever if shorter ones went past it.
            if base in full:
                left.append(row)
                continue
            try:
                decoder = self._decoder(row, joining)
            except Exception as error:
                self._tell([row], error)
                continue
            if decoder is None:
                # Memory is needed by what is at work. Nobody goes past, so that it comes free.
                left += waiting[number:]
                break
            together = joining.setdefault(base, [])
            if not decoder.prepare(row):
                continue
            if decoder.fits(row, together):
                together.append(row)
            else:
                left.append(row)
                full.add(base)
        for base, rows in joining.items():
            if rows:
                self._run(self._decoders[base], rows, partial(Decoder.admit, rows=rows))
        return left

    def step(self) -> list[BatchRow]:
        """A token for every row; returns rows that have to wait again."""
        evicted: list[BatchRow] = []
        for decoder in list(self._decoders.values()):
            if decoder.rows:
                self._run(decoder, decoder.rows, lambda decoder: evicted.extend(decoder.step()))
        # A decoder holds its model, and would keep it in memory when the cache lets it go.
        self._decoders = {base: decoder for base, decoder in self._decoders.items() if decoder.rows}
        return evicted

    def forget(self, adapter: Path) -> bool:
        """Let go of an adapter; False while rows are being answered with it."""
        if any(adapter == busy for _, busy in self._busy({})):
            return False
        self.models.forget(adapter)
        return True

    def close(self, error: BaseException) -> None:
        """End all rows with an error and let go of all models."""
        for decoder in self._decoders.values():
            decoder.fail(error)
        self._decoders.clear()
        self.models.clear()

    def _decoder(self, row: BatchRow, joining: Mapping[Path, Sequence[BatchRow]]) -> Decoder | None:
        base = self.models.get(row.request.base_path, row.request.adapter_path, busy=self._busy(joining))
        if base is None:
            return None
        decoder = self._decoders.get(base.folder)
        # The base may have left memory since and been loaded anew.
        if decoder is None or decoder.base is not base:
            decoder = self._decoders[base.folder] = Decoder(base, max_rows=self._max_rows)
        return decoder

    def _busy(self, joining: Mapping[Path, Sequence[BatchRow]]) -> set[tuple[Path, Path | None]]:
        """Bases and adapters of all rows that are being answered or about to be."""
        rows = chain(*joining.values(), *(decoder.rows for decoder in self._decoders.values()))
        asked = [row.request for row in rows]
        # An adapter cannot answer without its base, so both have to stay.
        bases = {(request.base_path, None) for request in asked}
        return bases | {(request.base_path, request.adapter_path) for request in asked}

    def _run(self, decoder: Decoder, rows: Sequence[BatchRow], work: Callable[[Decoder], None]) -> None:
        """Do some work; what goes wrong there ends all rows of this base, as nobody knows which state they are in."""
        concerned = [*rows, *decoder.rows]
        try:
            work(decoder)
        except Exception as error:
            self._tell(concerned, error)
            decoder.fail(error)

    def _tell(self, rows: Sequence[BatchRow], error: Exception) -> None:
        known = isinstance(error, BackendError)
        if not known:
            _log.error("answering failed", exc_info=error)
        failure = error if known else BackendError(f"answering failed: {error}")
        for row in rows:
            if not row.finished:
                row.fail(failure)
