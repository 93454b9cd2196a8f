"""Rows placed by a key: all of them, each key once, on any ranks, within any budget; and ranks that die."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from outgrow.data.batch import Batch
from outgrow.data.hashing import row_hash
from outgrow.data.keys import key_hash
from outgrow.data.matrix import Matrix
from outgrow.engine import exchange
from outgrow.engine.collective import Alone, Tcp
from outgrow.engine.context import FitContext
from outgrow.engine.memory import Memory
from outgrow.engine.peer import PeerFailedError
from outgrow.engine.shard import Shard
from outgrow.errors import DataError, SchemaError
from outgrow.stats.quantiles import Gathered
from outgrow.testing import EngineCase
from ranks import ranks
from shards import BUDGET, shard_of, table


def batches_of(shard: Shard) -> list[list[tuple[Any, ...]]]:
    """The batches that a pass over a rank's rows sees, as lists of rows."""
    return [
        [tuple(map(str, row.values())) for row in batch.to_arrow().to_pylist()]
        for unit in shard.rows.units()
        for batch in unit()
    ]


def rows_of(rows: pa.Table) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(map(str, row.values())) for row in rows.to_pylist())


def check_placed(found: list[list[tuple[Any, ...]]], rows: pa.Table) -> None:
    """The laws: no row is lost, added or changed, and no key is in two batches."""
    assert Counter(row for batch in found for row in batch) == rows_of(rows)
    assert all(batch for batch in found)
    for batch in found:
        keys = [row[0] for row in batch]
        assert len({*keys}) == 1 + sum(a != b for a, b in pairwise(keys))
    seen = [key for batch in found for key in {row[0] for row in batch}]
    assert len(seen) == len({*seen})


KEYS = st.lists(st.none() | st.integers(-3, 12), max_size=60)


@given(KEYS, st.integers(1, 20), st.sampled_from([1, BUDGET]), st.integers(1, 3))
@settings(max_examples=20)
def test_all_rows_and_each_key_once(keys: list[int | None], piece: int, budget: int, threads: int) -> None:
    rows = table(keys)
    placed = shard_of(rows, piece=piece, budget=budget, threads=threads).exchange(
        ["key"], nbytes=1e5 * len(keys)
    )
    found = batches_of(placed)
    check_placed(found, rows)
    assert found == batches_of(placed)  # a second pass sees the same
    assert bool(placed.run.memory.spilled) == (budget == 1 and bool(keys))


@given(KEYS, st.integers(2, 4), st.sampled_from([1, BUDGET]), st.randoms())
@settings(max_examples=6)
def test_between_ranks(keys: list[int | None], size: int, budget: int, random: Any) -> None:
    """Some rank may have all rows and others none; inside a key, values but lists give the order."""
    rows = table(keys)
    owner = np.array([random.randrange(size) for _ in keys], dtype=int)

    def work(comm: Tcp) -> Any:
        own = rows.filter(pa.array(owner == comm.rank, pa.bool_()))
        return batches_of(shard_of(own, comm, budget=budget).exchange(["key"]))

    found = ranks(size, work)
    check_placed([batch for own in found for batch in own], rows)
    alone = batches_of(shard_of(rows).exchange(["key"]))
    by_key = [
        {
            key: [row[:-1] for row in batch if row[0] == key]
            for batch in each
            for key in {row[0] for row in batch}
        }
        for each in (alone, [batch for own in found for batch in own])
    ]
    assert by_key[0] == by_key[1]


def test_passes_over_placed_rows_merge_over_ranks() -> None:
    """Sums of sums by key: what only whole keys can give."""
    rows = table([n % 5 for n in range(200)])

    def largest(batch: Batch) -> Gathered:
        _, counts = np.unique(key_hash(batch, ["key"]), return_counts=True)
        return Gathered((counts,))

    def work(comm: Any) -> list[int]:
        own = rows.slice(comm.rank * 60, 60) if comm.rank < comm.size - 1 else rows.slice(comm.rank * 60)
        placed = shard_of(own, comm).exchange(["key"], last=True)
        return sorted(placed.reduce(largest).values[0].tolist())

    assert work(Alone()) == [40] * 5
    assert ranks(3, work) == [[40] * 5] * 3


def test_vectors_and_steps_come_along() -> None:
    """Dense and sparse matrices, made by a step before the exchange, keep their values and names."""
    keys = np.arange(40) % 7

    def widened(batch: Batch) -> Batch:
        key = np.asarray(batch["key"]).astype(float)
        dense = Matrix(np.column_stack([key, key**2]), ("one", "two"))
        return batch.select(["key"]).with_columns(
            {"dense": dense, "sparse": Matrix(sp.csr_array(dense.values), ("u", "v"))}
        )

    def work(comm: Any) -> Any:
        own = pa.table({"key": keys[comm.rank :: comm.size]})
        placed = shard_of(own, comm).transformed(widened).exchange(["key"])
        parts = [batch for unit in placed.rows.units() for batch in unit()]
        for batch in parts:
            assert batch["dense"].names == ("one", "two")
            assert batch["sparse"].sparse
            np.testing.assert_array_equal(batch["sparse"].values.toarray(), batch["dense"].values)
        return [int(value) for batch in parts for value in batch["dense"].values[:, 1]]

    assert sorted(work(Alone())) == sorted((keys**2).tolist())
    assert sorted(chain.from_iterable(ranks(3, work))) == sorted((keys**2).tolist())


def test_small_budgets_make_small_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LEAST_BYTES", 100)
    large, small = FitContext(memory=Memory(1 << 40)), FitContext(memory=Memory(16_000))
    assert exchange.bin_count(large, 1e6) == 1
    assert exchange.bin_count(small, 1e6) == 1000


def test_what_cannot_be_a_key_is_refused() -> None:
    with pytest.raises(SchemaError, match="list"):
        shard_of(table([1, 2])).exchange(["list"])


def test_an_error_of_one_rank_is_raised_by_all() -> None:
    """Raised on purpose while rows go out: the ranks stay in step, and may go on."""

    def work(comm: Tcp) -> Any:
        def refuse(batch: Batch) -> Batch:
            if comm.rank == 1 and batch.num_rows:
                raise DataError("row 3 is odd")
            return batch

        shard = shard_of(table([1, 2, 3, 4] * 20), comm).transformed(refuse)
        with pytest.raises(DataError, match="row 3 is odd"):
            shard.exchange(["key"], nbytes=1.0)
        return float(comm.allreduce(np.ones(1))[0])

    assert ranks(3, work) == [3.0] * 3


def test_a_rank_that_gives_up_ends_the_exchange_of_others() -> None:
    """An error that nobody raised on purpose: the others learn its reason, and do not wait."""

    def work(comm: Tcp) -> str:
        def fail(batch: Batch) -> Batch:
            if comm.rank == 1 and batch.num_rows:
                raise ZeroDivisionError("by zero")
            return batch

        shard = shard_of(table([1, 2, 3, 4] * 20), comm).transformed(fail)
        wanted = ZeroDivisionError if comm.rank == 1 else PeerFailedError
        with pytest.raises(wanted) as caught:
            shard.exchange(["key"], nbytes=1.0)
        if comm.rank == 1:
            comm.abort(str(caught.value))
            return "own"
        return str(getattr(caught.value, "reason", None))

    began = time.monotonic()
    assert ranks(3, work) == ["by zero", "own", "by zero"]
    assert time.monotonic() - began < 15


DYING = """
import os, sys
import numpy as np, pyarrow as pa
from outgrow.engine.ranks.rendezvous import join
from outgrow.errors import RankLostError
from shards import shard_of, table

rank, secret = int(sys.argv[1]), bytes.fromhex(sys.argv[2])
comm = join(rank, ["127.0.0.1"] * 3, secret, ports=(20_000, 30_000), joining=60, deadline=5.0)

def step(batch):
    if rank == 2 and batch.num_rows:
        os.kill(os.getpid(), int(sys.argv[3]))
    return batch

shard = shard_of(table([1, 2, 3, 4] * 50), comm).transformed(step)
try:
    shard.exchange(["key"], nbytes=1.0)
except RankLostError as error:
    print("lost", error.rank)
"""


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_a_rank_that_dies_or_stands_still_is_noticed(signal: str) -> None:
    """As by the collective: within its deadline, by every rank, with the number of the lost one."""
    import signal as signals

    number = int(getattr(signals, f"SIG{signal}"))
    secret, here = os.urandom(16).hex(), str(Path(__file__).parent)
    given = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": given}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DYING, str(rank), secret, str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(3)
    ]
    try:
        assert [process.communicate(timeout=90)[0] for process in processes[:2]] == ["lost 2\n"] * 2
    finally:
        processes[2].kill()
        processes[2].communicate()


def test_every_engine(engine: EngineCase) -> None:
    """Each key's rows and their sum, found on one rank."""
    random = np.random.default_rng(0)
    keys, numbers = random.integers(0, 20, 500), random.normal(size=500)
    rows = engine.open(pa.table({"key": [f"k{key}" for key in keys], "number": numbers}))
    expected = np.bincount(keys, numbers, 20)
    found = rows.engine.fit(_sums_by_key, rows.scan).result
    assert len(found) == len({*keys.tolist()})
    np.testing.assert_allclose(np.sort(found), np.sort(expected))


def _sums_by_key(shard: Shard) -> np.ndarray:
    def sums(batch: Batch) -> Gathered:
        _, codes = np.unique(key_hash(batch, ["key"]), return_inverse=True)
        return Gathered((np.bincount(codes, np.asarray(batch["number"])),))

    return shard.exchange(["key"]).reduce(sums).values[0]


def test_threads_end() -> None:
    before = threading.active_count()
    ranks(3, lambda comm: shard_of(table([1, 2, 3]), comm).exchange(["key"]) is None)
    time.sleep(0.5)
    assert threading.active_count() <= before + 3


def test_order_within_a_key_follows_values() -> None:
    rows = table([5] * 50)
    mixed = rows.take(pa.array(np.random.default_rng(1).permutation(50)))
    ones, others = (
        [
            row_hash(batch.select(["number", "text"])).tolist()
            for unit in shard_of(each).exchange(["key"]).rows.units()
            for batch in unit()
        ]
        for each in (rows, mixed)
    )
    assert ones == others
