"""What processes of one job say to each other: frames, and sums of arrays too large for one."""

from __future__ import annotations

import socket
import struct
import threading
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, boolean_dtypes, floating_dtypes, integer_dtypes

from outgrow.engine.collective import LARGE, Tcp
from outgrow.engine.frames import Head, Message, send
from outgrow.errors import ArtifactError
from outgrow.stats.counts import ValueCounts
from outgrow.stats.state import merge
from ranks import ranks

KINDS = st.one_of(boolean_dtypes(), integer_dtypes(), floating_dtypes())
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text() | st.binary() | st.floats(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts) | st.tuples(parts, parts),
    max_leaves=8,
)


def crossed(tree: Any) -> Any:
    """A tree as the other end of a connection gets it."""
    here, there = socket.socketpair()
    with here, there, there.makefile("rb") as stream:
        sender = threading.Thread(target=send, args=(here, 3, Message.of(tree)))
        sender.start()
        head = Head.read(stream)
        assert head is not None
        assert head.kind == 3
        message = Message.read(head, stream)
        sender.join()
    return message.tree()


@settings(derandomize=True, max_examples=50, deadline=None)
@given(TREES)
def test_trees_cross(tree: Any) -> None:
    assert repr(crossed(tree)) == repr(tree)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(arrays(KINDS, array_shapes(min_dims=0, min_side=0)))
def test_arrays_cross(array: np.ndarray) -> None:
    (found,) = crossed((array,))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_many_and_large_arrays_cross() -> None:
    sent = [np.arange(n * 1_000.0) for n in range(200)]
    found = crossed(sent)
    assert all(map(np.array_equal, found, sent))
    assert all(array.flags.writeable for array in found)


def heard(stream: Any) -> Any:
    head = Head.read(stream)
    assert head is not None
    return Message.read(head, stream).tree()


def frame(text: bytes, body: bytes = b"", *, arrays: int | None = None) -> bytes:
    return struct.pack("<BIQ", 0, len(text), len(body) if arrays is None else arrays) + text + body


@pytest.mark.parametrize(
    "sent",
    [
        frame(b"[null, [['<f8', [4]]]]"),
        frame(b'[null, [["<f8", [4]]]]', b"\0" * 16),
        frame(b'[null, [["<f8", [-1]]]]', b"\0" * 16),
        frame(b'[null, [["<f8", [1e9]]]]', arrays=8_000_000_000),
        frame(b'[null, [["O", [1]]]]', b"\0" * 8),
        frame(b'[null, [["|V8", [1]]]]', b"\0" * 8),
        frame(b'{"a": 1}'),
        frame(b"\xff"),
        frame(b'[{"$array": "0"}, []]'),
        frame(b'[{"$list": 3}, []]'),
        frame(b"[null, []]")[:9],
        frame(b"[null, []]")[:-2],
        frame(b'[null, [["<f8", [2]]]]', b"\0" * 16)[:-1],
    ],
    ids=lambda sent: repr(sent[13:]),
)
def test_damaged_frames_are_refused(sent: bytes) -> None:
    here, there = socket.socketpair()
    with there, there.makefile("rb") as stream:
        with here:
            here.sendall(sent)
        with pytest.raises((ConnectionResetError, ArtifactError)):
            heard(stream)


def large(rank: int, kind: str = "f8", rows: int = 3) -> np.ndarray:
    values = np.random.default_rng(rank).normal(size=(rows, LARGE // rows + 1)) * 1_000
    return (np.abs(values) if kind.startswith("u") else values).astype(kind)


@pytest.mark.parametrize("size", [2, 3, 7])
def test_large_sums_have_the_bits_of_the_tree(size: int) -> None:
    """Whichever rank is late, states merge in the order of the tree, and all get the same."""

    def whole(rank: int) -> np.ndarray:
        children = [child for child in (2 * rank + 1, 2 * rank + 2) if child < size]
        return reduce(merge, map(whole, children), large(rank))

    def work(comm: Tcp) -> Any:
        threading.Event().wait(0.05 * (comm.rank * 5 % 3))
        return comm.allreduce((large(comm.rank), np.ones(2), ValueCounts({"a": 1.0})))

    for total, small, counts in ranks(size, work):
        assert total.tobytes() == whole(0).tobytes()
        assert small.tolist() == [size, size]
        assert counts.counts == {"a": size}


def test_what_follows_a_large_sum_is_no_part_of_it() -> None:
    def work(comm: Tcp) -> Any:
        turns = range(20)
        sums = [(comm.allreduce(np.full(LARGE, turn)), comm.allreduce(np.array([turn]))) for turn in turns]
        return [(float(large[-1]), float(small[0])) for large, small in sums]

    assert ranks(3, work) == [[(3.0 * turn, 3.0 * turn) for turn in range(20)]] * 3


def test_large_sums_where_ranks_differ() -> None:
    """A rank has no rows, another the transposed array, or one that is not its own to change."""

    def work(comm: Tcp) -> Any:
        own = [
            (large(0, "f4"), None),
            None,
            (np.asfortranarray(large(2)), np.broadcast_to(1.0, (2 * LARGE,))),
            (None, np.broadcast_to(2, (2 * LARGE,))),
        ]
        return comm.allreduce(own[comm.rank])

    expected = large(0, "f4") + large(2)
    for total, ones in ranks(4, work):
        np.testing.assert_array_equal(total, expected)
        assert (ones == 3.0).all()


@pytest.mark.parametrize("kind", ["?", "i2", "i8", "u8", "f4"])
def test_large_sums_of_any_numbers(kind: str) -> None:
    expected = large(0, kind) + large(1, kind)
    for total in ranks(2, lambda comm: comm.allreduce(large(comm.rank, kind))):
        assert total.dtype == expected.dtype
        np.testing.assert_array_equal(total, expected)
