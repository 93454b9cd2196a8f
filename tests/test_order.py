"""The order of batches: each row once, the same batches for any number of ranks, known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outgrow.deep.order import Order, run_sizes

RANKS = (1, 2, 3, 4, 7)
orders = st.builds(
    Order,
    piece_rows=st.lists(st.integers(1, 90), min_size=1, max_size=6).map(np.array),
    batch_size=st.integers(1, 70),
    buffer_batches=st.integers(1, 9),
    shuffle=st.booleans(),
    seed=st.integers(0, 3),
    drop_last=st.booleans(),
)


def batches(order: Order, epoch: int, rank: int = 0, ranks: int = 1) -> list[np.ndarray]:
    """The rows of each batch of an epoch, by their number in the order of the pieces."""
    made = []
    for buffer in range(order.buffers):
        share = order.share(epoch, buffer, rank, ranks)
        rows = share.start + share.rows
        made += [rows[a:b] for a, b in zip(share.ends[:-1], share.ends[1:], strict=True)]
        assert np.all((share.rows >= share.low) & (share.rows < share.high))
    return made


@given(order=orders)
def test_each_row_comes_once(order: Order) -> None:
    made = batches(order, epoch=1) if order.steps else []
    assert len(made) == order.steps
    assert all(len(batch) <= order.batch_size for batch in made)
    rows = np.sort(np.concatenate([np.zeros(0, dtype=int), *made]))
    if order.drop_last:
        assert all(len(batch) == order.batch_size for batch in made)
        assert len(np.unique(rows)) == len(rows) == order.rows // order.batch_size * order.batch_size
    else:
        assert np.array_equal(rows, np.arange(order.rows))
        assert all(2 * len(batch) >= min(order.batch_size, order.rows) for batch in made)


@given(order=orders, ranks=st.sampled_from(RANKS))
def test_ranks_share_the_same_batches(order: Order, ranks: int) -> None:
    if not order.steps:
        return
    parts = [batches(order, 2, rank, ranks) for rank in range(ranks)]
    for step, whole in enumerate(batches(order, 2)):
        shares = [part[step] for part in parts]
        assert np.array_equal(np.concatenate(shares), whole)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(order=orders)
def test_a_step_lies_in_its_buffer(order: Order) -> None:
    for buffer in range(order.buffers):
        for step in range(*order.buffer_steps(buffer)):
            assert order.buffer_of(step) == buffer


def test_the_order_is_what_it_was() -> None:
    """States that were stored go on in the same order: it may not change between versions."""
    order = Order(np.array([3, 4, 5]), batch_size=4, buffer_batches=9, shuffle=True, seed=7)
    assert order.pieces(0).tolist() == [2, 0, 1]
    assert [batch.tolist() for batch in batches(order, 0)] == BATCHES


BATCHES = [[4, 5, 7, 11], [1, 2, 8, 10], [0, 3, 6, 9]]


def test_epochs_and_seeds_differ() -> None:
    made = [
        np.concatenate(batches(Order(np.full(8, 100), 32, 9, shuffle=True, seed=seed), epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len({rows.tobytes() for rows in made}) == 4


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_a_rank_reads_little_more_than_its_share(ranks: int) -> None:
    order = Order(np.full(10, 10_000), 1024, 1000, shuffle=True)
    for rank in range(ranks):
        share = order.share(0, 0, rank, ranks)
        assert share.high - share.low <= order.rows / ranks + 3 * run_sizes(order.rows)[0]


def test_a_shuffled_order_is_even() -> None:
    """Each tenth of the rows is met about equally often in each tenth of an epoch of one buffer."""
    order = Order(np.array([20_000]), 100, 1000, shuffle=True, seed=1)
    rows = np.concatenate(batches(order, 0))
    counts = np.histogram2d(np.arange(20_000), rows, bins=10)[0]
    assert np.all(np.abs(counts - 200) < 60)
    assert abs(np.corrcoef(rows[:-1] % 416, rows[1:] % 416)[0, 1]) < 0.03  # within runs, of some 416 rows
