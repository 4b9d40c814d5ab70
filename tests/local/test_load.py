"""What one server bears: the short version of `benchmarks/load.py`, and how much is read of a folder that has grown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.large_folder import fill
from benchmarks.load import BASE, load, lost, served
from ragtune.local.store import Store

SMALL, LARGE = 50, 500


@pytest.mark.slow
def test_ten_clients_at_once_lose_nothing_and_see_no_error(tmp_path: Path) -> None:
    """Each uploads, makes a job, lists, polls and asks; another client then finds all of it."""
    with served(tmp_path / "runs") as server:
        seen = asyncio.run(load(server, clients=10, rounds=1))
        assert lost(server, seen) == (set(), set())
    assert (len(seen.files), len(seen.jobs)) == (10, 10)
    assert seen.calls == 10 * 7
    assert set(seen.answers) == {"200"}
    assert not seen.failed


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    """A folder of fifty jobs and one of five hundred: one in ten waits, half of the events are of the first."""
    made = []
    for jobs in (SMALL, LARGE):
        folder = tmp_path_factory.mktemp("grown") / "runs"
        fill(folder, jobs=jobs, events=10 * jobs)
        made.append(Store(folder))
    yield made[0], made[1]
    for store in made:
        store.close()


def work(store: Store, question: Callable[[Store], object]) -> int:
    """How many instructions SQLite's machine takes for a question."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    with store.transaction() as connection:
        connection.set_progress_handler(tick, 1)
        question(store)
        connection.set_progress_handler(None, 1)
    return count


@pytest.mark.slow
@pytest.mark.parametrize(
    "question",
    [
        pytest.param(lambda store: store.jobs.page(after=None, limit=3), id="first page of jobs"),
        pytest.param(lambda store: store.jobs.page(after="ftjob-9", limit=3), id="last page of jobs"),
        pytest.param(lambda store: store.jobs.page(after=None, limit=3, status="queued"), id="jobs in a state"),
        pytest.param(lambda store: store.jobs.page(after=None, limit=3, status="failed"), id="jobs in no such state"),
        pytest.param(lambda store: store.jobs.page(after=None, limit=3, metadata={"number": "3"}), id="a rare label"),
        pytest.param(lambda store: store.jobs.page(after=None, limit=3, metadata={"number": "x"}), id="no such label"),
        pytest.param(lambda store: store.jobs.page(after=None, limit=3, metadata={"all": "yes"}), id="a common label"),
        pytest.param(lambda store: store.jobs.next("queued", but_not={"ftjob-9"}), id="next in the queue"),
        pytest.param(lambda store: store.jobs.events("ftjob-0", after=None, limit=3), id="first page of events"),
        pytest.param(lambda store: store.jobs.last_step("ftjob-0"), id="last step"),
        pytest.param(lambda store: store.files.find("file-none"), id="one file"),
        pytest.param(
            lambda store: store.files.page(purpose="fine-tune", after=None, limit=3, newest_first=True),
            id="files of a purpose",
        ),
        pytest.param(
            lambda store: store.files.page(purpose="evals", after=None, limit=3, newest_first=True),
            id="files of a purpose that none has",
        ),
        pytest.param(lambda store: store.files.drop_unused("0" * 64), id="is a content needed"),
        pytest.param(lambda store: store.models.find(f"ft:{BASE}:local::5"), id="one model"),
        pytest.param(lambda store: store.models.needed_by(f"ft:{BASE}:local::5"), id="is a model needed"),
        pytest.param(lambda store: store.models.drop_unused("ftjob-5"), id="deleted models of a job"),
        pytest.param(lambda store: store.models.checkpoints("ftjob-5", after=None, limit=3), id="checkpoints"),
        pytest.param(lambda store: store.uploads.find("upload_none"), id="one upload"),
        pytest.param(lambda store: store.outbox.next(), id="next webhook"),
    ],
)
def test_a_question_takes_as_much_work_on_ten_times_as_much(
    stores: tuple[Store, Store], question: Callable[[Store], object]
) -> None:
    """Counted in instructions of SQLite; a tree of one more level costs a few."""
    small, large = (work(store, question) for store in stores)
    assert large <= small + 20
