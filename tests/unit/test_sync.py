"""The driver that runs asynchronous code without an event loop."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING

import pytest

from ragtune._sync import SuspendedError, iterate, run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def double(number: int) -> int:
    return 2 * number


async def numbers(log: list[str]) -> AsyncGenerator[int, None]:
    try:
        for number in range(3):
            yield await double(number)
    finally:
        log.append("closed")


def test_a_coroutine_that_never_waits_is_carried_to_its_end() -> None:
    async def twice() -> int:
        return await double(await double(3))

    assert run(twice()) == 12


def test_an_error_inside_comes_out_as_itself() -> None:
    async def broken() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        run(broken())


def test_a_coroutine_that_waits_is_refused_and_closed() -> None:
    log: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            log.append("closed")

    with pytest.raises(SuspendedError, match="waits waited for"):
        run(waits())
    assert log == ["closed"]


def test_it_works_inside_a_running_loop_as_in_a_notebook() -> None:
    async def cell() -> tuple[int, list[int]]:
        return run(double(4)), list(iterate(numbers([])))

    assert asyncio.run(cell()) == (8, [0, 2, 4])


def test_leaving_an_iteration_early_closes_the_generator_at_once() -> None:
    log: list[str] = []
    items = iterate(numbers(log))
    assert next(items) == 0
    items.close()
    assert log == ["closed"]


@pytest.mark.slow
def test_the_error_of_a_caller_is_not_thrown_into_the_generator() -> None:
    log: list[str] = []

    def divide() -> None:
        for number in iterate(numbers(log)):
            _ = 1 // number

    with pytest.raises(ZeroDivisionError):
        divide()
    gc.collect()
    assert log == ["closed"]


def test_an_iteration_begun_in_a_loop_goes_on_after_the_loop_has_ended() -> None:
    """A loop adopts generators that start in its thread and closes them when it ends; ours must escape that."""
    log: list[str] = []
    items = iterate(numbers(log))

    async def begin() -> int:
        return next(items)

    assert asyncio.run(begin()) == 0
    assert list(items) == [2, 4]


def test_the_hooks_of_a_running_loop_are_put_back() -> None:
    before = sys.get_asyncgen_hooks()
    assert list(iterate(numbers([]))) == [0, 2, 4]
    assert sys.get_asyncgen_hooks() == before
